"""What became of every item: kept, rejected, failed or pending; and the files that say so.

Everything is read from the folder: what was asked for (items.jsonl) and what was said (journal.jsonl). So the same call
finishes a run, a killed run, a joined folder and a second parsing, and the same folder always gives the same files.
"""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seetell.ask.journal import Journal, Tally
from seetell.ask.price import Price
from seetell.errors import BadInput
from seetell.files import append_jsonl, as_object, read_json, write_json
from seetell.generate.items import Item, read_items
from seetell.generate.parse import Parsed, parse
from seetell.generate.prompts import Kind
from seetell.sources.conversations import write_conversations
from seetell.types import Conversation, Rejected

ITEMS, JOURNAL, SETTINGS = "items.jsonl", "journal.jsonl", "settings.json"
CONVERSATIONS, REJECTED, REPORT, DETAILS = "conversations.json", "rejected.jsonl", "report.json", "details.json"
SHOWN = 60  # in the gallery
STATES = ("asked", "kept", "rejected", "failed", "pending")


@dataclass(frozen=True, slots=True)
class Unanswered:
    """An item without an answer: given up in the last run, with the reason, or not asked yet."""

    failure: str = ""


@dataclass(slots=True)
class Counts:
    """The report's figures, as they grow."""

    by_kind: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    rejected: Counter[str] = field(default_factory=Counter[str])
    failed: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])
    repairs: Counter[str] = field(default_factory=Counter[str])
    pairs: Counter[int] = field(default_factory=Counter[int])
    answer_words: Counter[int] = field(default_factory=Counter[int])
    first_words: Counter[str] = field(default_factory=Counter[str])

    def add(self, item: Item, result: Parsed | Rejected | Unanswered) -> None:
        states = self.by_kind.setdefault(item.kind, Counter())
        states["asked"] += 1
        if isinstance(result, Parsed):
            states["kept"] += 1
            self._add_kept(result)
        elif isinstance(result, Rejected):
            states["rejected"] += 1
            self.rejected[result.reason] += 1
        else:
            states["failed" if result.failure else "pending"] += 1
            self.failed[result.failure] += bool(result.failure)

    def total(self, state: str) -> int:
        return sum(states[state] for states in self.by_kind.values())

    def report(self, tally: Tally, price: Price | None) -> dict[str, Any]:
        cost = (price or Price()).of(tally.prompt_tokens, tally.completion_tokens)
        return {
            "asked": self.total("asked"),
            "kept": {kind: states["kept"] for kind, states in self.by_kind.items()},
            "rejected": _most_common(self.rejected),
            "failed": _most_common(self.failed),
            "pending": self.total("pending"),
            "skipped": _most_common(self.skipped),
            "by_kind": {kind: {state: states[state] for state in STATES} for kind, states in self.by_kind.items()},
            "calls": {"sent": tally.sent, "answered": tally.answered},
            "tokens": {"prompt": tally.prompt_tokens, "completion": tally.completion_tokens},
            "cost_usd": round(cost, 6),
        }

    def details(self) -> dict[str, Any]:
        """What the contract of `report.json` has no place for."""
        return {
            "repairs": _most_common(self.repairs),
            "questions_per_conversation": dict(sorted(self.pairs.items())),
            "words_per_answer": {f"{low}-{low + 9}": count for low, count in sorted(self.answer_words.items())},
            "first_words_of_questions": dict(self.first_words.most_common(40)),
        }

    def _add_kept(self, result: Parsed) -> None:
        self.repairs.update(result.repairs)
        turns = result.conversation.turns
        self.pairs[len(turns) // 2] += 1
        for turn in turns:
            words = turn.text.split()
            if turn.role == "user":
                self.first_words[" ".join(words[:2]).lower().rstrip(",.?")] += 1
            else:
                self.answer_words[len(words) // 10 * 10] += 1


@dataclass(slots=True)
class Sample:
    """A few outcomes for the gallery, always the same ones of the same folder."""

    seen: int = 0
    shown: list[tuple[int, int, Item, Parsed | Rejected]] = field(
        default_factory=list[tuple[int, int, Item, "Parsed | Rejected"]]
    )

    def add(self, item: Item, result: Parsed | Rejected | Unanswered) -> None:
        if isinstance(result, Unanswered):
            return
        self.seen += 1
        entry = (-zlib.crc32(f"{item.kind}/{item.scene.id}".encode()), self.seen, item, result)
        (heapq.heappushpop if len(self.shown) >= SHOWN else heapq.heappush)(self.shown, entry)

    def __iter__(self) -> Iterator[tuple[Item, Parsed | Rejected]]:
        return ((item, result) for _, _, item, result in sorted(self.shown, key=lambda entry: -entry[0]))


def outcome(item: Item, journal: Journal) -> Parsed | Rejected | Unanswered:
    """Reads the newest reply as parsing now understands it."""
    completion = journal.answer(item.key)
    if completion is None:
        return Unanswered(journal.failure(item.key) or "")
    return parse(item.kind, completion, item.scene, question=item.question, seed=item.seed)


def read_settings(out: Path) -> dict[str, Any]:
    """How the folder was made; it always says where its pictures are, and the price or null."""
    path = out / SETTINGS
    if not path.is_file():
        raise BadInput(f"{out} has no {SETTINGS}, which says where its pictures are: run seetell generate on it again.")
    settings = as_object(read_json(path)) or {}
    if not isinstance(settings.get("images_dir"), str) or "price" not in settings:
        raise BadInput(f"{path} does not say how a folder was made; was it changed by hand?")
    return settings


def write_results(out: Path, journal: Journal) -> tuple[Counts, Sample, dict[str, Any]]:
    """Writes the conversations, the rejected replies and the report of a folder, from scratch."""
    settings = read_settings(out)
    images_dir, price = settings["images_dir"], Price(**settings["price"]) if settings["price"] else None
    counts, sample = Counts(), Sample()
    part = out / f".{REJECTED}.part"
    part.unlink(missing_ok=True)
    with append_jsonl(part) as rejected:

        def kept() -> Iterator[Conversation]:
            for item in read_items(out / ITEMS, images_dir):
                if not isinstance(item, Item):
                    counts.skipped[item[2]] += 1
                    continue
                result = outcome(item, journal)
                counts.add(item, result)
                sample.add(item, result)
                if isinstance(result, Parsed):
                    yield result.conversation
                elif isinstance(result, Rejected):
                    rejected.write(_rejected_row(item.kind, result))

        write_conversations(out / CONVERSATIONS, kept(), images_dir)
    part.replace(out / REJECTED)
    report = counts.report(journal.tally, price)
    write_json(out / DETAILS, counts.details())
    write_json(out / REPORT, report)
    return counts, sample, report


def _rejected_row(kind: Kind, result: Rejected) -> dict[str, str]:
    return {"id": result.id, "kind": kind, "reason": result.reason, "detail": result.detail, "raw": result.raw}


def _most_common(counter: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counter.most_common() if count}
