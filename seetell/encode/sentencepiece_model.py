"""Llama's sentencepiece files, turned into a `tokenizers` tokenizer that gives the same ids.

Why not transformers' own conversion: it orders merges by piece id, and takes an existing leading space for the
one that sentencepiece puts before every text, so runs of spaces come out different. Here merges are ordered by
piece score, which is what sentencepiece's BPE goes by, and the space is put in front by a normalizer, always.

Sources: google/sentencepiece `bpe_model.cc`, `sentencepiece_model.proto`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from seetell.errors import BadInput

SPACE = "▁"
_UNIGRAM, _BPE = 1, 2
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)


def convert_sentencepiece(model_file: str | Path) -> PreTrainedTokenizerFast:
    """A fast tokenizer with the ids of a sentencepiece BPE model; BOS is put in front, no EOS behind."""
    model = _read(Path(model_file))
    vocab = {piece.piece: index for index, piece in enumerate(model.pieces)}
    unknown = next(piece.piece for piece in model.pieces if piece.type == _UNKNOWN)
    backend = Tokenizer(
        models.BPE(
            vocab, _merges(model), unk_token=unknown, fuse_unk=True, byte_fallback=model.trainer_spec.byte_fallback
        )
    )
    backend.normalizer = spaces_normalizer(model.normalizer_spec.precompiled_charsmap)
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", left=1)]
    )
    for piece in model.pieces:
        if piece.type in (_UNKNOWN, _CONTROL):
            backend.add_special_tokens([AddedToken(piece.piece, normalized=False, special=True)])
        elif piece.type == _USER_DEFINED:
            backend.add_tokens([AddedToken(piece.piece, normalized=False)])
    names = {
        role: model.pieces[index].piece
        for role, index in (("bos_token", model.trainer_spec.bos_id), ("eos_token", model.trainer_spec.eos_id))
        if index >= 0
    }
    if bos := names.get("bos_token"):
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, vocab[bos])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token=unknown, clean_up_tokenization_spaces=False, **names
    )


def spaces_normalizer(charsmap: bytes = b"") -> normalizers.Normalizer:
    """A space before every text, then every space a piece character; the model's own character map first."""
    steps: list[normalizers.Normalizer] = [normalizers.Precompiled(charsmap)] if charsmap else []
    return normalizers.Sequence([*steps, normalizers.Prepend(SPACE), normalizers.Replace(Regex(" "), SPACE)])


def _merges(model: Any) -> list[tuple[str, str]]:
    """Every way to make a piece of two, best score first; of one piece's, the longest left half first."""
    usable = {piece.piece for piece in model.pieces if piece.type in (_NORMAL, _USER_DEFINED, _UNUSED)}
    merges: list[tuple[float, int, str, str]] = []
    for index, piece in enumerate(model.pieces):
        if piece.type != _NORMAL:
            continue
        for cut in range(len(piece.piece) - 1, 0, -1):
            left, right = piece.piece[:cut], piece.piece[cut:]
            if left in usable and right in usable:
                merges.append((-piece.score, index, left, right))
    merges.sort(key=lambda merge: merge[:2])
    return [(left, right) for _, _, left, right in merges]


def _read(path: Path) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    model: Any = sentencepiece_model_pb2.ModelProto()  # pyright: ignore[reportAttributeAccessIssue]
    try:
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read the sentencepiece model {path}: {error.strerror or error}") from error
    except Exception as error:  # protobuf's DecodeError, whose module moves between versions
        raise BadInput(f"{path} is not a sentencepiece model: {error}") from error
    spec = model.normalizer_spec
    if not model.pieces or model.trainer_spec.model_type != _BPE:
        raise BadInput(f"{path} is not a sentencepiece BPE model; give this tokenizer as tokenizer.json")
    if spec.remove_extra_whitespaces or not spec.add_dummy_prefix or not spec.escape_whitespaces:
        raise BadInput(f"{path} treats spaces unlike Llama's models do; give this tokenizer as tokenizer.json")
    return model
