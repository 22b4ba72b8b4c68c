"""Text to ids, in the one place where that happens.

Two copies of one tokenizer work side by side. `hf` is the whole tokenizer, which is saved and exported. The
other lacks every added token and is the only one that reads text: a control token that a user spells is plain
text to it, and control ids come from `control` alone.

Where the two could read a text unlike each other, the exported one is made to agree: sentencepiece-style
tokenizers put a space in front of *every* stretch of text between control tokens (transformers' newer default
is the first stretch only), which is also what LLaVA was trained with.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Encoding, pre_tokenizers
from transformers import AddedToken, AutoTokenizer, PreTrainedTokenizerFast

from seetell.encode.sentencepiece_model import convert_sentencepiece, spaces_normalizer
from seetell.encode.templates import BOS, EOS, IMAGE_TOKEN, BadTurns
from seetell.errors import BadInput, UsageError
from seetell.files import read_json, write_json
from seetell.hub import fetched

__all__ = ["Tokenizer", "convert_sentencepiece", "load_tokenizer"]

PAD_TOKEN = "<pad>"
CONFIG_FILE = "tokenizer_config.json"
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


class Tokenizer:
    """A fast tokenizer with a picture token and a pad token, that cannot be talked into a control token."""

    def __init__(self, hf: PreTrainedTokenizerFast) -> None:
        backend = _settle(hf.backend_tokenizer)
        names = {role: token for role, token in hf.special_tokens_map.items() if isinstance(token, str)}
        self.hf = PreTrainedTokenizerFast(
            tokenizer_object=backend,
            clean_up_tokenization_spaces=False,
            chat_template=hf.chat_template,
            **names,
        )
        self.hf.add_tokens([AddedToken(IMAGE_TOKEN, special=True, normalized=False)], special_tokens=True)
        if self.hf.pad_token is None:
            self.hf.add_tokens([AddedToken(PAD_TOKEN, special=True, normalized=False)], special_tokens=True)
            self.hf.pad_token = PAD_TOKEN
        self._plain = _without_added_tokens(self.hf.backend_tokenizer)
        added = self.hf.added_tokens_decoder
        self._added = {token.content: index for index, token in added.items()}
        self._swallows = {token.content: (token.lstrip, token.rstrip) for token in added.values()}
        roles = self.hf.special_tokens_map
        self.bos, self.eos = (str(roles[role]) if role in roles else None for role in (BOS.token, EOS.token))
        unknown = self.hf.unk_token_id
        self._forbidden = frozenset(index for index in self._added.values() if index != unknown)
        around = self.hf("a")["input_ids"]
        inside = self.hf("a", add_special_tokens=False)["input_ids"]
        count = len(around) - len(inside)
        if around[count:] != inside:
            raise UsageError(
                "this tokenizer ends every text with a special token, so no answer could follow a prompt; "
                "save it with add_eos_token=false"
            )
        self.prefix_ids: tuple[int, ...] = tuple(around[:count])

    def __len__(self) -> int:
        """Rows that an embedding table needs."""
        return len(self.hf)

    def pieces(self, text: str) -> Encoding:
        """Plain text with the characters behind each id (`offsets`); never holds a control token."""
        try:
            encoding = self._plain.encode(text, add_special_tokens=False)
        except TypeError as error:  # half of a surrogate pair, as broken JSON escapes leave it
            raise BadTurns("text is not Unicode") from error
        if not self._forbidden.isdisjoint(encoding.ids):
            raise BadInput(f"this tokenizer makes a control token out of plain text: {text!r}")
        return encoding

    def encode_text(self, text: str) -> list[int]:
        return self.pieces(text).ids

    def control(self, token: str) -> list[int]:
        """The id of a control token by its name; `bos_token` and `eos_token` mean this tokenizer's own."""
        name = self.control_text(token)
        if name not in self._added:
            raise UsageError(f"this tokenizer has no control token {name!r}; choose a template that does without it")
        return [self._added[name]]

    def control_text(self, token: str) -> str:
        """How a control token is written in a rendered prompt."""
        if token not in (BOS.token, EOS.token):
            return token
        name = self.bos if token == BOS.token else self.eos
        if name is None:
            raise UsageError(f"this tokenizer has no {token}, which the template needs")
        return name

    def swallows(self, token: str) -> tuple[bool, bool]:
        """Whether a control token takes the white space before and after it with it, as Phi-3's do."""
        return self._swallows.get(self.control_text(token), (False, False))

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return str(self.hf.decode(list(ids), skip_special_tokens=skip_special_tokens))

    @cached_property
    def added_tokens(self) -> frozenset[str]:
        """The names of all control tokens."""
        return frozenset(self._added)

    @cached_property
    def image_id(self) -> int:
        return self._added[IMAGE_TOKEN]

    @property
    def pad_id(self) -> int:
        return self._added[str(self.hf.pad_token)]

    @property
    def stop_ids(self) -> frozenset[int]:
        """What ends any text of this language model; a template may add its own."""
        return frozenset(() if self.eos is None else self.control(self.eos))

    def save(self, folder: str | Path) -> None:
        """tokenizer.json is the whole truth; the class named beside it reads that file and changes nothing."""
        self.hf.save_pretrained(folder)
        path = Path(folder) / CONFIG_FILE
        settings = {key: value for key, value in read_json(path).items() if value is not None}
        write_json(path, {**settings, "tokenizer_class": "PreTrainedTokenizerFast"})


def load_tokenizer(path_or_name: str | Path) -> Tokenizer:
    """A folder or a hub name. A sentencepiece file without a tokenizer.json beside it is converted here."""
    folder = Path(path_or_name).expanduser()
    if not folder.exists():
        folder = fetched(str(path_or_name), "language model", weights=False)
    if not any((folder / file).is_file() for file in VOCABULARIES):
        raise BadInput(
            f"{path_or_name} holds no tokenizer, a tokenizer.json or tokenizer.model: copy its language model's."
        )
    if not (folder / "tokenizer.json").is_file() and (folder / "tokenizer.model").is_file():
        return Tokenizer(_with_settings(convert_sentencepiece(str(folder / "tokenizer.model")), folder))
    try:
        hf = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # the tokenizers library raises bare ones at damaged files
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise BadInput(f"no tokenizer can be loaded from {path_or_name}: {why}") from error
    if not isinstance(hf, PreTrainedTokenizerFast):
        raise BadInput(
            f"the tokenizer in {path_or_name} is of a kind without a tokenizer.json: choose another language model"
        )
    return Tokenizer(hf)


def _with_settings(hf: PreTrainedTokenizerFast, folder: Path) -> PreTrainedTokenizerFast:
    """Takes over added tokens, token roles and the chat template that lie beside a sentencepiece file."""
    added_file, config_file = folder / "added_tokens.json", folder / CONFIG_FILE
    added = read_json(added_file) if added_file.is_file() else {}
    for token in sorted(added, key=added.__getitem__):
        hf.add_tokens([AddedToken(token, special=True, normalized=False)], special_tokens=True)
    settings: dict[str, Any] = read_json(config_file) if config_file.is_file() else {}
    for role in ("pad_token", "eos_token"):
        value = settings.get(role)
        token = value.get("content") if isinstance(value, dict) else value
        if token and token in hf.get_vocab():
            setattr(hf, role, token)
    hf.chat_template = settings.get("chat_template")
    return hf


def _settle(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A copy that reads each stretch between control tokens alike, wherever it stands."""
    settled = tokenizers.Tokenizer.from_str(backend.to_str())
    settled.no_padding()
    settled.no_truncation()
    spaces, model = settled.pre_tokenizer, settled.model
    if isinstance(spaces, pre_tokenizers.Metaspace) and spaces.prepend_scheme != "never":
        if isinstance(model, tokenizers.models.BPE) and model.byte_fallback and settled.normalizer is None:
            # Llama's: sentencepiece always adds a space, Metaspace takes one that is there already for it.
            settled.pre_tokenizer = None  # pyright: ignore[reportAttributeAccessIssue]
            settled.normalizer = spaces_normalizer()
        else:
            spaces.prepend_scheme = "always"
            settled.pre_tokenizer = spaces
    return settled


def _without_added_tokens(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A copy in which no text becomes an added token.

    Taking them off the list is not enough: a Unigram model matches any entry of its vocabulary, and so do
    models that look whole words up. Their entries get names that nobody can type.
    """
    state: dict[str, Any] = json.loads(backend.to_str())
    model = state["model"]
    secret = secrets.token_hex(16)
    needed = {model.get("unk_token")}
    needed.update(piece for merge in model.get("merges", ()) for piece in merge)
    hidden = {token["content"]: f"\0{secret}-{token['id']}" for token in state["added_tokens"]}
    hidden = {token: name for token, name in hidden.items() if token not in needed}
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        model["vocab"] = {hidden.get(token, token): index for token, index in vocab.items()}
    else:
        model["vocab"] = [[hidden.get(token, token), score] for token, score in vocab]
    state["added_tokens"] = []
    state["post_processor"] = None
    return tokenizers.Tokenizer.from_str(json.dumps(state))
