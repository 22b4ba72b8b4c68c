"""`seetell data check | stats | convert | browse`: what is in a conversation file, and is it sound."""

from __future__ import annotations

import hashlib
import random
import re
import reprlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seetell.ask.request import CHARS_PER_TOKEN
from seetell.config import nearest
from seetell.console import progress, say
from seetell.errors import BadInput, DamagedFile, Failed, UsageError
from seetell.files import append_jsonl, as_list, as_object, write_atomic, write_json
from seetell.generate.check import CONTROL, poison
from seetell.generate.report import SIDE_PX
from seetell.page import Card, Line, Page
from seetell.pictures import MISSING, content_key, open_picture, small_jpeg
from seetell.publish import output_file
from seetell.sources.conversations import read_rows, where_looked
from seetell.sources.dialects import Row
from seetell.sources.formats import WRITERS, write_any
from seetell.sources.pairs import pair
from seetell.sources.rows import file_rows
from seetell.text import shortened
from seetell.types import Conversation, Image, Rejected

FORMATS = (*WRITERS, "pairs")
IMAGE_TOKENS = 576
_COCO_NAME = re.compile(r"^COCO_(?:train|val|test)\d{4}_(?=\d+$)")

# What a row can be trained on with; every other reason is a fault, for which training rejects the row too.
REMARKS = (
    "too long",
    "control token",
    "question without an answer",
    "unknown keys",
    "same conversation twice",
    "picture of the evaluation set",
)


def rows_of(data: Path, images: Path | None = None) -> Iterator[Row | Rejected]:
    """The file's rows as training reads them; pictures lie in `images`, else beside the file or in `images/` there."""
    return read_rows(data, images or data.parent)


@dataclass(slots=True)
class Findings:
    """Problems by reason: how many, and where; every one goes to a file if there is one."""

    rows: int = 0
    rejected: int = 0  # rows with a fault, or several
    counts: Counter[str] = field(default_factory=Counter[str])
    first: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, reason: str, id: str, detail: str) -> dict[str, str]:
        self.counts[reason] += 1
        self.first.setdefault(reason, f"{shortened(id)}: {detail}" if detail else shortened(id))
        return {"id": id, "reason": reason, "detail": detail}

    @property
    def faults(self) -> int:
        return sum(count for reason, count in self.counts.items() if reason not in REMARKS)

    def in_words(self, data: Path, listed_in: Path | None) -> str:
        """All that was found in a sentence, which counts what is listed: faults, the rows that have them, remarks."""
        remarks = self.counts.total() - self.faults
        found = (
            [f"{_many(self.faults, 'fault')} in {self.rejected} of {_many(self.rows, 'row')}"] if self.faults else []
        )
        found += [_many(remarks, "remark")] if remarks else []
        where = f"; see {listed_in}, a line each" if listed_in is not None else ""
        return f"{data} has {' and '.join(found)}{where}."


def check(
    data: Path,
    images: Path | None = None,
    *,
    against: Path | None = None,
    max_tokens: int = 2048,
    out: Path | None = None,
) -> Findings:
    """Prints what is wrong by reason; raises when there is a row that training would reject.

    `images` is the folder of the pictures, else they lie beside the file or in `images/` there, here as in training.
    """
    out = None if out is None else output_file(out)
    found, checker = Findings(), Checker(_pictures_of(against), max_tokens)
    listed = None if out is None else append_jsonl(_fresh(out))
    try:
        with progress("rows", None) as bar:
            for row in rows_of(data, images):
                found.rows += 1
                bar.advance()
                faults = found.faults
                for reason, id, detail in checker.problems(row):
                    problem = found.add(reason, id, detail)
                    if listed is not None:
                        listed.write(problem)
                found.rejected += found.faults > faults
    finally:
        if listed is not None:
            listed.close()
    print(f"rows: {found.rows}")
    for reason, count in found.counts.most_common():
        kind = ", remarks only" if reason in REMARKS else ""
        print(f"{reason}: {count}{kind} (first: {found.first[reason]})")
    if images is None and found.counts[MISSING]:
        say(where_looked(data.parent))
    if found.faults:
        raise BadInput(found.in_words(data, out))
    if found.counts:
        say(found.in_words(data, out))
    return found


def stats(data: Path, out: Path | None = None) -> dict[str, Any]:
    """Counts and lengths; `out` gets them as JSON."""
    out = None if out is None else output_file(out)
    counts, words, turns, images = Counter[str](), Counter[int](), Counter[int](), Counter[int]()
    openings = Counter[str]()
    for row in rows_of(data):
        counts["rows"] += 1
        if isinstance(row, Rejected):
            counts["unreadable rows"] += 1
            continue
        conversation = row.conversation
        images[len(conversation.images)] += 1
        turns[sum(turn.role == "user" for turn in conversation.turns)] += 1
        for turn in conversation.turns:
            said = turn.text.split()
            counts[f"words of {turn.role}"] += len(said)
            if turn.role == "assistant":
                counts["answers"] += 1
                words[len(said)] += 1
            elif turn.role == "user":
                openings[" ".join(said[:2]).lower().strip(",.?")] += 1
    figures = {
        **counts,
        "words an answer": round(counts["words of assistant"] / max(1, counts["answers"]), 1),
        "longest answer in words": max(words, default=0),
        "rows by images": dict(sorted(images.items())),
        "rows by questions": dict(sorted(turns.items())),
        "questions begin": dict(openings.most_common(12)),
    }
    for name, value in figures.items():
        shown = ", ".join(f"{key}: {count}" for key, count in value.items()) if isinstance(value, dict) else value
        print(f"{name}: {shown}")
    if out is not None:
        write_json(out, figures)
    return figures


def convert(data: Path, out: Path, to: str, images: Path | None = None, seed: int = 0) -> dict[str, int]:
    """Writes the file in another format; rows that it cannot say are listed beside it, and end in exit code 1."""
    if to not in FORMATS:
        raise UsageError(f"There is no format {to!r}; {nearest(to, FORMATS)}")
    out = output_file(out)
    folder = images or out.parent
    unread: list[Rejected] = []
    counts: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for row in rows_of(data, folder):
            counts["rows"] += 1
            if isinstance(row, Rejected):
                unread.append(row)
            elif to != "pairs":
                yield row
            elif paired := _paired(row, seed):
                yield paired
            else:
                detail = "a pair has one picture, one question and one answer"
                unread.append(Rejected(row.conversation.id, "not a caption", detail))

    refused = [*write_any(out, rows(), "llava" if to == "pairs" else to, folder), *unread]
    listed = out.with_name(f"{out.stem}.refused.jsonl")
    listed.unlink(missing_ok=True)
    counts["written"] = counts["rows"] - len(refused)
    if refused:
        with append_jsonl(listed) as file:
            for row in refused:
                file.write({"id": row.id, "reason": row.reason, "detail": row.detail})
        were = "was" if len(refused) == 1 else "were"
        raise Failed(f"{len(refused)} of {_many(counts['rows'], 'row')} {were} not written to {out}: see {listed}.")
    say(f"{_many(counts['written'], 'row')}: {out}.")
    return dict(counts)


def browse(data: Path, out: Path, images: Path | None = None, count: int = 60, seed: int = 0) -> Path:
    """Writes a page of rows drawn at random, with their pictures."""
    out = output_file(out)
    chosen: list[tuple[int, Row]] = []
    rng = random.Random(f"browse:{seed}")
    number = -1
    for number, row in enumerate(row for row in rows_of(data, images) if isinstance(row, Row)):
        if len(chosen) < count:
            chosen.append((number, row))
        elif (at := rng.randrange(number + 1)) < count:
            chosen[at] = (number, row)
    page = Page(f"{data.name}: {len(chosen)} of {number + 1} conversations")
    page.grid(_card(row.conversation) for _, row in sorted(chosen, key=lambda each: each[0]))
    write_atomic(out, page.html())
    say(f"Open {out}.")
    return out


class Checker:
    """Looks at rows one by one, and remembers what must not come twice."""

    def __init__(self, evaluated: frozenset[str] = frozenset(), max_tokens: int = 2048) -> None:
        self.evaluated, self.max_tokens = evaluated, max_tokens
        self._seen: set[bytes] = set()
        self._pictures: dict[str, Rejected | None] = {}

    def problems(self, row: Row | Rejected) -> Iterator[tuple[str, str, str]]:
        if isinstance(row, Rejected):
            yield row.reason, row.id, row.detail
            return
        conversation = row.conversation
        if row.unsaid:
            yield "unknown keys", conversation.id, row.unsaid
        for reason, detail in (*self._of_words(conversation), *self._of_pictures(conversation)):
            yield reason, conversation.id, detail

    def _of_words(self, conversation: Conversation) -> Iterator[tuple[str, str]]:
        for at, turn in enumerate(conversation.turns):
            if poison(turn.text) == CONTROL:
                yield "control token", f"turn {at}: {turn.text[:60]!r}"
        if conversation.turns[-1].role == "user":
            yield "question without an answer", "the last turn is a question, which is not trained on"
        tokens = sum(len(turn.text) for turn in conversation.turns) // CHARS_PER_TOKEN
        if (tokens := tokens + IMAGE_TOKENS * len(conversation.images)) > self.max_tokens:
            yield "too long", f"about {tokens} tokens"
        shown = (image.path if image.data is None else content_key(image.data) for image in conversation.images)
        words = "\0".join((*shown, *(turn.text for turn in conversation.turns)))
        digest = hashlib.blake2b(words.encode(), digest_size=8).digest()
        if digest in self._seen:
            yield "same conversation twice", ""
        self._seen.add(digest)

    def _of_pictures(self, conversation: Conversation) -> Iterator[tuple[str, str]]:
        for image in conversation.images:
            if image.path and picture_key(image.path) in self.evaluated:
                yield "picture of the evaluation set", image.path
            fault = self._fault_of(image)
            if fault is not None:
                yield fault.reason, f"{fault.id}: {fault.detail}" if fault.detail else fault.id

    def _fault_of(self, image: Image) -> Rejected | None:
        """Why a picture cannot be used; decoding it whole is the only way to know."""
        if image.path not in self._pictures:
            opened = open_picture(image)
            fault = opened if isinstance(opened, Rejected) else None
            if image.data is not None:
                return fault
            self._pictures[image.path] = fault
        return self._pictures[image.path]


def picture_key(path: str) -> str:
    """A picture's name by which two releases of one data set agree: no folder, no ending, no `COCO_val2014_`."""
    return _COCO_NAME.sub("", Path(path).stem)


def _pictures_of(path: Path | None) -> frozenset[str]:
    """The pictures that an evaluation file names, in any row layout with an `image`."""
    if path is None:
        return frozenset()
    names: set[str] = set()
    for number, row in enumerate(file_rows(path), start=1):
        if isinstance(row, Rejected):
            raise DamagedFile(f"{path}: {row.detail}.")
        value = (as_object(row) or {}).get("image")
        for name in as_list(value) or ([] if value in (None, []) else [value]):
            if not isinstance(name, str):
                what = reprlib.repr(value)
                raise BadInput(f"{path}, row {number}: 'image' must be a name or a list of names, not {what}.")
            names.add(picture_key(name))
    if not names:
        raise BadInput(f"{path} names no picture: its rows need an 'image'.")
    return frozenset(names)


def _paired(row: Row, seed: int) -> Row | None:
    conversation = row.conversation
    turns = [turn for turn in conversation.turns if turn.role != "system"]
    if len(conversation.images) != 1 or len(turns) != 2 or not turns[1].text.strip():
        return None
    return replace(row, conversation=pair(conversation.id, conversation.images[0], turns[1].text, seed))


def _card(conversation: Conversation) -> Card:
    picture = small_jpeg(conversation.images[0], SIDE_PX) if conversation.images else None
    lines = [Line({"user": "Q", "assistant": "A"}.get(turn.role, turn.role), turn.text) for turn in conversation.turns]
    return Card(conversation.id, tuple(lines), picture)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _fresh(path: Path) -> Path:
    path.unlink(missing_ok=True)
    return path
