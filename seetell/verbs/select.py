"""`seetell select`: a concept-balanced subset of captions, as stage-1 data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.console import progress, say
from seetell.errors import BadInput, UsageError
from seetell.files import as_object, read_json, read_jsonl, telling_full_disk, write_atomic, write_json
from seetell.generate.phrases import make_chunker
from seetell.generate.select import Choice, choose, curve, forget_reading, read_phrases, taken_of
from seetell.page import Page, Plot
from seetell.publish import output_folder
from seetell.sources.coco import read_coco
from seetell.sources.conversations import read_conversations, write_conversations
from seetell.sources.dialects import TAG
from seetell.sources.pairs import pair
from seetell.text import why_not_text, why_not_utf8
from seetell.types import Conversation, Image, Rejected

PAIRS, REPORT, PAGE = "pairs.json", "report.json", "report.html"
IMAGE_NAME = "GCC_train_{:09d}.jpg"


@dataclass(frozen=True, slots=True)
class Captioned:
    """A picture's name and its caption."""

    id: str
    image: str
    caption: str


def select(
    captions: Path,
    out: Path,
    *,
    images: Path | None = None,
    image_name: str = IMAGE_NAME,
    seed: int = 0,
    least: int = 3,
    most: int = 100,
    chunker: str = "auto",
) -> dict[str, Any]:
    """Writes `pairs.json`, ready for align, and a report; run again with the same `out`, it goes on."""
    if least < 1 or most < 1:
        raise UsageError("--least and --most are 1 or more.")
    check_pattern(image_name)
    out = output_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    chunks, called = make_chunker(chunker)
    places = _names_in(images) if images is not None else None
    status = captions.stat()
    source = {
        "captions": str(captions.absolute()),
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "pictures": -1 if places is None else len(places),
        "image_name": image_name,
        "chunker": called,
    }

    skipped = Counter[str]()

    def rows(skipped: Counter[str]) -> Iterator[Captioned]:
        return usable(read_captions(captions, image_name), places, skipped)

    with progress("captions", None) as bar, telling_full_disk(out):
        phrases, lengths = read_phrases((row.caption for row in rows(skipped)), chunks, out, source, bar.advance)
    if not len(lengths):
        place = "" if images is None else f" whose picture is in {images}"
        raise BadInput(f"{captions} has no caption{place}.{_skipped_in_words(skipped)}")
    choice = choose(phrases, lengths, least, most, seed)
    folder, taken = images or Path(), taken_of(rows(Counter()), choice.taken)
    pairs = (pair(row.id, Image(str(folder / row.image)), row.caption, seed) for row in taken)
    write_conversations(out / PAIRS, pairs, folder)
    settings = {"least": least, "most": most, "seed": seed, "chunker": called}
    report = report_of(choice, len(lengths), least) | {"skipped": dict(skipped)} | settings
    write_json(out / REPORT, report)
    write_page(out / PAGE, report, choice)
    forget_reading(out)
    sentence = f"{report['taken']} of {report['captions']} captions, by {called}: {out / PAIRS}."
    say(sentence + _skipped_in_words(skipped))
    return report


def check_pattern(image_name: str) -> None:
    """A pattern that gives several rows one picture is refused before anything is read."""
    try:
        names = {image_name.format(number) for number in (1234567, 1234568)}
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        raise UsageError(f"--image-name {image_name!r} is no pattern ({error}): use one like {IMAGE_NAME}.") from None
    if len(names) < 2:
        raise UsageError(
            f"--image-name {image_name!r} gives all rows one picture: it needs a number, as {IMAGE_NAME} has."
        )


def report_of(choice: Choice, captions: int, least: int) -> dict[str, Any]:
    """The counts of report.json."""
    frequent = choice.before >= least
    return {
        "captions": captions,
        "taken": int(choice.taken.sum()),
        "phrases": len(choice.before),
        "phrases_frequent": int(frequent.sum()),
        "phrases_taken": int((choice.after > 0).sum()),
        "frequent_phrases_lost": int((choice.after[frequent] == 0).sum()),
    }


def write_page(path: Path, report: dict[str, Any], choice: Choice) -> None:
    """The same as a page, with the frequencies before and after."""
    page = Page("Concept-balanced captions")
    skipped = {f"skipped: {reason}": count for reason, count in report["skipped"].items()}
    figures = {name: value for name, value in report.items() if name not in ("skipped", "chunker")} | skipped
    page.paragraph(f"Noun phrases were found by {report['chunker']}.")
    page.table([[name.replace("_", " "), value] for name, value in figures.items()], ["", ""])
    page.plots(
        [
            Plot(
                "How often noun phrases occur, before and after",
                "log10 of the phrase's rank",
                "log10 of its frequency",
                {"all captions": curve(choice.before), "taken": curve(choice.after)},
            )
        ]
    )
    write_atomic(path, page.html())


def read_captions(path: Path, image_name: str) -> Iterator[Captioned | Rejected]:
    """Captions from TSV (caption, then anything), JSONL (`image`, `caption`), COCO, or LLaVA's conversations.

    What is no caption of one picture comes with the reason.

    In TSV pictures have no names; `image_name` makes one from the row's number, as the downloads of CC3M are called.
    """
    if not path.is_file():
        raise BadInput(f"There is no file of captions {path}.")
    if why := why_not_text(path):
        raise BadInput(f"{path} is not a file of captions: {why}.")
    if path.suffix == ".tsv":
        return _tsv(path, image_name)
    if path.suffix == ".jsonl":
        return _jsonl(path)
    with path.open("rb") as file:
        first = file.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"[":
        return _pairs(path)
    if first == b"{" and "annotations" in (as_object(read_json(path)) or {}):
        scenes = read_coco(path)
        return (
            Captioned(f"{scene.id}-{at}", scene.image.path, caption)
            for scene in scenes
            if scene.image is not None
            for at, caption in enumerate(scene.captions)
        )
    raise BadInput(f"{path} is none of: captions as .tsv or .jsonl, COCO's JSON, LLaVA's JSON list.")


def _tsv(path: Path, image_name: str) -> Iterator[Captioned | Rejected]:
    with path.open("rb") as file:
        for number, line in enumerate(file):
            try:
                caption = line.decode().rstrip("\n").split("\t", 1)[0].strip()
            except UnicodeDecodeError as error:
                yield Rejected(f"{number:09d}", "not UTF-8", why_not_utf8(error))
                continue
            if caption:
                yield Captioned(f"{number:09d}", image_name.format(number), caption)
            else:
                yield Rejected(f"{number:09d}", "empty caption")


def _jsonl(path: Path) -> Iterator[Captioned]:
    for number, row in enumerate(read_jsonl(path, ours=False)):
        image, caption = row.get("image"), row.get("caption")
        if not isinstance(image, str) or not isinstance(caption, str):
            raise BadInput(f"{path}, row {number + 1}, needs texts under 'image' and 'caption'.")
        yield Captioned(str(row.get("id", number)), image, caption)


def _pairs(path: Path) -> Iterator[Captioned | Rejected]:
    for row in read_conversations(path):
        if isinstance(row, Conversation) and len(row.images) == 1 and len(row.turns) == 2:
            yield Captioned(row.id, row.images[0].path, row.turns[1].text)
        else:
            yield row if isinstance(row, Rejected) else Rejected(row.id, "not one picture and one caption")


def usable(
    rows: Iterable[Captioned | Rejected], places: frozenset[str] | None, skipped: Counter[str]
) -> Iterator[Captioned]:
    """The captions that can be taken; the others are counted by reason."""
    for row in rows:
        if isinstance(row, Rejected):
            skipped[row.reason] += 1
        elif reason := _fault(row, places):
            skipped[reason] += 1
        else:
            yield row


def _fault(row: Captioned, places: frozenset[str] | None) -> str:
    """Why a caption is not used; empty when it is."""
    if places is not None and row.image not in places:
        return "its picture is missing"
    if TAG in row.caption:
        return "image tag in the words"
    return "" if row.caption.strip() else "empty caption"


def _skipped_in_words(skipped: Counter[str]) -> str:
    reasons = ", ".join(f"{count} × {reason}" for reason, count in skipped.most_common())
    return f" Skipped: {reasons}." if reasons else ""


def _names_in(folder: Path) -> frozenset[str]:
    """Every file's name from the folder, with what folders it lies in."""
    if not folder.is_dir():
        raise BadInput(f"There is no folder of pictures {folder}.")
    root = str(folder)
    return frozenset(
        os.path.relpath(os.path.join(place, name), root)  # noqa: PTH118
        for place, _, names in os.walk(folder)
        for name in names
    )
