"""Every decoder family and vision tower that transformers has, tiny and random, against its own forward.

    python benchmarks/families.py                       # the table, and docs/families.md with --out
    python benchmarks/families.py --only phi3 jetmoe

For each decoder a VLM is made and checked as training and chatting do it. Then packed documents with a picture,
prefill and decode, the last layer where it is read alone, the folder read back, and the folder in transformers where
its config says that it is transformers' LLaVA: each must give the numbers of the family's own forward, to 1e-5 of
the largest. A family is right when it matches, or when a sentence refuses it; other numbers and tracebacks are faults.

Each runs in a process of its own, so that none ends the script. Random weights, no network, a few minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import transformers
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from benchmarks.family_cases import (
    IMAGE_ID,
    SIDE_PX,
    Case,
    decoder_cases,
    join,
    tiny_decoder,
    tiny_tower,
    tiny_vision,
    tower_cases,
)
from seetell.errors import SeetellError
from seetell.model.attention import NAME
from seetell.model.cache import KeyValueCache
from seetell.model.last_layer import prune
from seetell.model.self_check import check_model
from seetell.model.tower import normalized
from seetell.model.vlm import VLM
from seetell.model.weights import load_model, save_model

TOLERANCE = 1e-5
TIME_S = 120
LENGTHS = (12, 7, 1, 60)

INTRODUCTION = """# Which language models and vision towers can be used

Give any decoder and vision tower that transformers has, by hub name or folder:
`--set model.language=NAME`, `--set model.vision=NAME`. A model is checked once, when it is made or
loaded (`seetell/model/self_check.py`): three forward passes of at most 24 tokens. A family that is
not listed here is checked as well.

* *Matches*: packed documents with pictures, prefill and decode, the pruned last layer, the folder
  read back, and the folder in transformers where it says `LlavaForConditionalGeneration` are all
  within 1e-5 of the family's own forward.
* *Refused*: a sentence gives the reason when the model is made or loaded, before anything trains or
  answers. If the reason is the length of a document, it comes with the first such document.

`python benchmarks/families.py --out docs/families.md` wrote this page (torch {torch}, transformers
5.23.0), with each family's own config class, tiny sizes and random weights."""
MATCHES, REFUSED, FAULT, UNTRIED = "matches", "refused", "FAULT", "not tried"


@dataclass(frozen=True)
class Row:
    """What became of a case: `verdict` is one of the four above."""

    name: str
    family: str
    verdict: str
    reason: str = ""


def differs(what: str, ours: Tensor, theirs: Tensor) -> None:
    """Ends the case when two roads to the same numbers differ."""
    largest = theirs.float().abs().max().clamp_min(1e-30)
    difference = float((ours.float() - theirs.float()).abs().max() / largest) if ours.shape == theirs.shape else 9.0
    if not difference <= TOLERANCE:
        raise AssertionError(f"{what}: {difference:.1e} of the largest")


@torch.no_grad()
def compare_decoder(vlm: VLM) -> None:
    """Every way in which this project runs a decoder, against the decoder by itself; AssertionError says which."""
    pixels = torch.randint(0, 256, (2, 3, SIDE_PX, SIDE_PX), generator=torch.Generator().manual_seed(3)).byte()
    documents = _documents(vlm)
    embedded = vlm.merge(torch.cat(documents), vlm.see(pixels)).split(LENGTHS)
    ids, positions = torch.cat(documents), torch.cat([torch.arange(n) for n in LENGTHS])
    ours = vlm.logits(vlm(ids, positions, LENGTHS, pixels=pixels))
    own = own_logits(vlm, embedded)
    differs("packed", ours, torch.cat(own))
    _compare_decoding(vlm, documents, own)
    reread = _compare_folder(vlm, documents, pixels, ours)
    ends = list(accumulate(LENGTHS))
    rows = torch.tensor([2, 3, ends[0] - 1, ends[1] - 1, ends[2] - 1, ends[3] - 9, ends[3] - 1])
    prune(reread.language)
    differs("last layer", reread.logits(reread(ids, positions, LENGTHS, pixels=pixels, rows=rows)), ours[rows])


def _documents(vlm: VLM) -> list[Tensor]:
    """Ids of documents of LENGTHS; the first and the last hold a picture."""
    generator = torch.Generator().manual_seed(2)
    documents = [torch.randint(3, IMAGE_ID, (n,), generator=generator) for n in LENGTHS]
    for index in (0, 3):
        documents[index][1 : 1 + vlm.slots_per_image] = IMAGE_ID
    return documents


def own_logits(vlm: VLM, embedded: Iterable[Tensor]) -> list[Tensor]:
    """Each document [n, D] alone through the family's own forward -> [n, vocabulary]"""
    language = vlm.language
    language.set_attn_implementation("sdpa" if getattr(language, "_supports_sdpa", False) else "eager")
    try:
        return [language(inputs_embeds=one[None], use_cache=False).logits[0] for one in embedded]
    finally:
        language.set_attn_implementation(NAME)


def _compare_decoding(vlm: VLM, documents: list[Tensor], own: list[Tensor]) -> None:
    """The two documents without a picture of 7 and 1 tokens, the first with 4 prefilled, the second with 1 and none."""
    words = [documents[1], torch.cat([documents[2], documents[1][:3]])]
    expected = [own[1], own_logits(vlm, [vlm.embedding(words[1])])[0]]
    cache, given, slots = KeyValueCache(slots=3, max_tokens=16), [4, 1], [2, 0]
    ids = torch.cat([words[0][:4], words[1][:1]])
    positions = torch.cat([torch.arange(4), torch.arange(1)])
    found = vlm.prefill(ids, positions, given, None, cache, slots)
    for step in range(3):
        for row in (0, 1):
            what = "prefill" if step == 0 else "decode"
            differs(what, vlm.logits(found[row]), expected[row][given[row] + step - 1])
        found = vlm.decode(torch.stack([words[row][given[row] + step] for row in (0, 1)]), cache, slots)


def _compare_folder(vlm: VLM, documents: list[Tensor], pixels: Tensor, ours: Tensor) -> VLM:
    """The model written, read back, and opened by transformers where the folder says that it can be."""
    ids, positions = torch.cat(documents), torch.cat([torch.arange(n) for n in LENGTHS])
    with tempfile.TemporaryDirectory() as place:
        save_model(vlm, place)
        reread = load_model(place)
        differs("read back", reread.logits(reread(ids, positions, LENGTHS, pixels=pixels)), ours)
        if '"model_type": "llava"' in (Path(place) / "config.json").read_text().split('"text_config"')[0] or (
            "LlavaForConditionalGeneration" in (Path(place) / "config.json").read_text()
        ):
            family: Any = LlavaForConditionalGeneration
            theirs, report = family.from_pretrained(place, output_loading_info=True)
            for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
                if report[problem]:
                    raise AssertionError(f"in transformers: {problem} {sorted(map(str, report[problem]))[:2]}")
            numbers = normalized(pixels, vlm.pixel_mean, vlm.pixel_std, torch.float32)
            for index, one in ((0, numbers[:1]), (3, numbers[1:])):
                logits = theirs.eval()(input_ids=documents[index][None], pixel_values=one).logits[0]
                start = sum(LENGTHS[:index])
                differs("in transformers", ours[start : start + len(logits)], logits)
    return reread


def try_decoder(case: Case) -> Row:
    """One family, from its config to the last comparison."""
    try:
        language = tiny_decoder(case)
    except Exception as error:
        return Row(case.name, "", UNTRIED, _sentence(error))
    family = type(language).__name__
    return _judge(case.name, family, lambda: compare_decoder(check_model(join(tiny_tower(), language))))


@torch.no_grad()
def compare_tower(vlm: VLM) -> None:
    """What is read of a tower against its own hidden states, and the model that it makes, as a decoder's."""
    pixels = torch.randint(0, 256, (2, 3, SIDE_PX, SIDE_PX), generator=torch.Generator().manual_seed(3)).byte()
    numbers = normalized(pixels, vlm.pixel_mean, vlm.pixel_std, torch.float32)
    own = vlm.vision(pixel_values=numbers, output_hidden_states=True).hidden_states[vlm.layers_used]
    ours = vlm.tower_features(pixels)
    differs("features", ours, own[:, own.shape[1] - vlm.slots_per_image :])
    differs("one picture alone", vlm.tower_features(pixels[1:]), ours[1:])
    compare_decoder(vlm)


def try_tower(case: Case) -> Row:
    """One tower with a tiny Llama, from its config to the last comparison."""
    try:
        vision = tiny_vision(case)
    except Exception as error:
        return Row(case.name, "", UNTRIED, _sentence(error))
    family = type(vision).__name__
    llama = tiny_decoder(Case("llama", {}))
    return _judge(case.name, family, lambda: compare_tower(check_model(join(vision, llama))))


def _judge(name: str, family: str, compare: Callable[[], None]) -> Row:
    try:
        compare()
    except SeetellError as refusal:
        return Row(name, family, REFUSED, str(refusal))
    except AssertionError as other:
        return Row(name, family, FAULT, f"silent: {other}")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Row(name, family, FAULT, f"traceback: {_sentence(error)} ({Path(where.filename).name}:{where.lineno})")
    return Row(name, family, MATCHES)


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"


def apart(attempt: Callable[[Case], Row], case: Case) -> Row:
    """In a process of its own, with a limit of time."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=lambda: send.send(attempt(case)))
    process.start()
    send.close()
    try:
        row = receive.recv() if receive.poll(TIME_S) else Row(case.name, "", FAULT, f"not done in {TIME_S} s")
    except EOFError:
        row = Row(case.name, "", FAULT, "the process died")
    if process.is_alive():
        process.join(1)
        process.kill()
    process.join()
    return row


def table(rows: Iterable[Row]) -> str:
    """Markdown, what matches first."""
    ordered = sorted(rows, key=lambda row: (row.verdict != MATCHES, row.name))
    reasons = {
        row.name: "no tiny config of it can be made" if row.verdict == UNTRIED else row.reason for row in ordered
    }
    lines = [f"| `{row.name}` | {row.family} | {row.verdict} | {_cell(reasons[row.name])} |" for row in ordered]
    return "\n".join(["| model type | class | | reason |", "| --- | --- | --- | --- |", *lines])


def _cell(reason: str) -> str:
    return reason.replace("|", "\\|").replace("<", "&lt;")


def page(decoders: list[Row], towers: list[Row]) -> str:
    """docs/families.md"""
    parts = [
        INTRODUCTION.format(torch=torch.__version__.partition("+")[0], transformers=transformers.__version__),
        f"## Decoders: {_counted(decoders)}",
        table(decoders),
        f"## Towers: {_counted(towers)}",
        "Tried with a tiny Llama. A tower must give a square grid of patches, with CLS before it or nothing.",
        table(towers),
    ]
    return "\n\n".join(parts) + "\n"


def _counted(rows: list[Row]) -> str:
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in (MATCHES, REFUSED, FAULT, UNTRIED)}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], help="model types")
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")

    def tried(attempt: Callable[[Case], Row], cases: Iterable[Case]) -> list[Row]:
        rows: list[Row] = []
        for case in cases:
            if not options.only or case.kind in options.only:
                rows.append(apart(attempt, case))
                print(f"{rows[-1].name:44s} {rows[-1].verdict:10s} {rows[-1].reason}", flush=True)
        return rows

    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_CACHE_HOME"] = place  # a check that passed before is made again
        decoders, towers = tried(try_decoder, decoder_cases()), tried(try_tower, tower_cases())
    print(f"decoders: {_counted(decoders)}\ntowers: {_counted(towers)}")
    if options.out:
        options.out.write_text(page(decoders, towers), encoding="utf-8")
    sys.exit(any(row.verdict == FAULT for row in decoders + towers))


if __name__ == "__main__":
    main()
