"""A language model against itself, once: what is trained packed must be what runs elsewhere.

A family of transformers can do what this project's passes do not know: attend twice in a layer, mix tokens outside
of attention, see both ways, put layers into its head. Some of that is refused by its name in the config
(`check_language`); the rest shows here. Three forwards of at most 24 tokens:

1. two documents packed, of 11 and 6 tokens, into a cache, and behind them what is no token, as pictures are;
2. one token more for each, decoded out of that cache;
3. the same tokens through the family's own forward, with its own attention, in two rows of 12.

The second document lies at the far end of the context, where some families scale queries or choose other
frequencies. What differs or cannot be run is refused by a sentence with the family's name.

A check that passed is remembered as an empty file in the user's cache folder, named by a hash of the config, the
types of the weights, the device, the versions and the code of this room; where it cannot be written, the check is
made again.

Shapes  N tokens of a row, T packed tokens, D width, V vocabulary.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from torch import Tensor

from seetell.errors import BadInput, SeetellError, UsageError
from seetell.files import is_there, json_text, sha256_file, sha256_text
from seetell.model.attention import ANOTHER, NAME
from seetell.model.cache import Decode, KeyValueCache, Prefill
from seetell.model.limits import context_end, longest_document
from seetell.model.quiet import quiet
from seetell.model.vlm import VLM

TOKENS = 12  # of a row
# Of two ways to the same numbers, by the largest; 24 layers of random weights gave up to 1.3e-6 in 32 bits and 2.2e-2
# in 16. There the median place counts: a token whose experts are nearly a tie may meet another one.
AGREEMENT, ROUGH_AGREEMENT = 1e-4, 5e-2

Result = TypeVar("Result")


def check_model(vlm: VLM) -> VLM:
    """The same model, if its language model computes here what it computes by itself; else a UsageError."""
    mark = _mark_of(vlm)
    if mark is not None and is_there(mark):
        return vlm
    if why := why_not_itself(vlm):
        raise UsageError(f"{type(vlm.language).__name__} {why}: {ANOTHER}.")
    if mark is not None:
        try:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        except OSError:
            pass  # a read-only place: the check is made again
    return vlm


@torch.no_grad()
def why_not_itself(vlm: VLM) -> str | None:
    """What the language model computes otherwise here than by itself; None when it is the same."""
    training = vlm.language.training
    vlm.language.eval()
    try:
        with quiet(), warnings.catch_warnings():  # what a family says and warns of in a trial is no news
            warnings.simplefilter("ignore")
            return _difference(vlm)
    except _CannotRun as error:
        return str(error)
    finally:
        vlm.language.set_attn_implementation(NAME)
        vlm.language.train(training)


class _CannotRun(Exception):
    """A forward that ends in something else than a sentence."""


def _difference(vlm: VLM) -> str | None:
    ids, positions, lengths = _documents(vlm)
    cache = KeyValueCache(slots=3, max_tokens=TOKENS)
    packed = _attempt("cannot run packed documents", lambda: _packed(vlm, ids, positions, lengths, cache))
    decoded = _attempt("cannot decode with a cache", lambda: _decoded(vlm, ids, positions, lengths, cache))
    vlm.language.set_attn_implementation("sdpa" if getattr(vlm.language, "_supports_sdpa", False) else "eager")
    hidden, own = _attempt("cannot run by itself", lambda: _own(vlm, ids, positions))
    if not bool(own.isfinite().all()):
        raise BadInput(
            f"{type(vlm.language).__name__} gives numbers that are not finite: its weights are damaged, or too large "
            "for the type that they are loaded in; fetch them again, or load them in another type."
        )
    ends = list(enumerate(lengths))
    pairs = {
        "computes other numbers for packed documents than by itself": (
            packed,
            torch.cat([own[row, :n] for row, n in ends]),
        ),
        "computes other numbers token by token, with a cache, than by itself": (
            decoded,
            torch.stack([own[row, n] for row, n in ends]),
        ),
    }
    if hidden is not None:
        pairs = {"has a head that is more than one matrix": (vlm.logits(hidden), own), **pairs}
    exact = _is_exact(vlm)
    differences = {what: _relative(*pair, worst=exact) for what, pair in pairs.items()}
    allowed = AGREEMENT if exact else ROUGH_AGREEMENT
    if not exact and max(differences.values()) > allowed and vlm.language.config._attn_implementation == "sdpa":
        # In 16 bits a family with experts can differ as much from itself: in doubt, by another way to its own numbers.
        vlm.language.set_attn_implementation("eager")
        allowed = max(allowed, _relative(_own(vlm, ids, positions)[1], own, worst=True))
    refusals = (f"{what} (logits differ by {by:.2g})" for what, by in differences.items() if not by <= allowed)
    return next(refusals, None)


def _documents(vlm: VLM) -> tuple[Tensor, Tensor, list[int]]:
    """ids and positions [2, N] of two documents, and how many of each row's tokens are packed; one more is decoded."""
    config: Any = vlm.language.config
    end, limit = context_end(config), longest_document(config)
    tokens = min(TOKENS, limit.tokens if limit else TOKENS)
    generator = torch.Generator().manual_seed(0)
    rows = vlm.embedding.weight.shape[0]
    ids = torch.randint(min(3, rows - 1), rows, (2, tokens), generator=generator)
    # Neither an image's token nor padding, which some families treat by its id.
    apart = {vlm.image_id, getattr(config, "pad_token_id", None)}
    spare = next(token for token in range(min(3, rows - 1), rows) if token not in apart)
    for token in apart - {None}:
        ids[ids == token] = spare
    steps = torch.arange(tokens)
    positions = torch.stack([steps, steps + end - tokens])
    return ids.to(vlm.device), positions.to(vlm.device), [tokens - 1, tokens // 2]


def _packed(vlm: VLM, ids: Tensor, positions: Tensor, lengths: list[int], cache: KeyValueCache) -> Tensor:
    """[2, N] twice -> [T, V]. Behind them stands a document of what is no token, as pictures are: it must run."""
    given, places = (torch.cat([of[row, :n] for row, n in enumerate(lengths)]) for of in (ids, positions))
    embeddings = vlm.embedding(given)
    picture = embeddings[:1] * 0.5 + embeddings[1:2] * 0.25
    attending = Prefill([*lengths, 1], cache, [0, 1, 2])
    whole, places = torch.cat([embeddings, picture]), torch.cat([places, places[:1]])
    hidden = vlm.run(whole[None], places[None], attending)[0, :-1]
    attending.finish()
    return vlm.logits(hidden)


def _decoded(vlm: VLM, ids: Tensor, positions: Tensor, lengths: list[int], cache: KeyValueCache) -> Tensor:
    """[2, N] twice -> [2, V]"""
    given, places = (torch.stack([of[row, n] for row, n in enumerate(lengths)]) for of in (ids, positions))
    hidden = vlm.run(vlm.embedding(given)[:, None], places[:, None], Decode(cache, [0, 1], ids.device))[:, 0]
    return vlm.logits(hidden)


def _own(vlm: VLM, ids: Tensor, positions: Tensor) -> tuple[Tensor | None, Tensor]:
    """[2, N] twice -> the body's hidden states [2, N, D], where it runs as a whole, and the logits [2, N, V].

    From ids, for families that embed those otherwise than their table says. A row is longer than what is compared of
    it, which changes nothing where tokens see their past alone.
    """
    kept: list[Tensor] = []
    hook = vlm.language.base_model.register_forward_hook(lambda _module, _given, out: kept.append(out[0]))
    try:
        logits: Tensor = vlm.language(input_ids=ids, position_ids=positions, use_cache=False).logits
    finally:
        hook.remove()
    return kept[0] if kept else None, logits


def _attempt(what: str, forward: Callable[[], Result]) -> Result:
    """A family can fail in any way, and none of them is a traceback."""
    try:
        return forward()
    except (SeetellError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        told = " ".join(str(error).split())
        raise _CannotRun(f"{what} ({type(error).__name__}: {told[:160]})") from error


def _relative(ours: Tensor, theirs: Tensor, worst: bool) -> float:
    """[*, V] twice -> the largest difference at the worst place, or at the median one, relative to the largest."""
    places = (ours.float() - theirs.float()).abs().flatten(0, -2).amax(-1)
    difference = places.amax() if worst else places.median()
    return float(difference / theirs.float().abs().amax().clamp_min(1e-30))


def _is_exact(vlm: VLM) -> bool:
    """Whether everything is computed in 32 bits or more."""
    rough = vlm.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest"
    return not rough and {p.dtype for p in vlm.language.parameters()} <= {torch.float32, torch.float64}


def _mark_of(vlm: VLM) -> Path | None:
    """The file that says that this check has passed before; None on a machine without a place for it."""
    language = vlm.language
    facts = {
        "family": type(language).__name__,
        "config": language.config.to_dict(),
        "types": sorted({str(p.dtype) for p in language.parameters()}),
        "image": vlm.image_id,
        "device": torch.cuda.get_device_name(vlm.device) if vlm.device.type == "cuda" else vlm.device.type,
        "versions": [torch.__version__, transformers.__version__],
        "code": [sha256_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))],
    }
    try:
        key = sha256_text(json_text(facts))
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seetell" / "checked" / key
    except (OSError, RuntimeError, TypeError, ValueError):
        return None
