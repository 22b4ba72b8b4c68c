"""Fifty rows of the built-in teacher about real photographs, for a reader to judge: writes docs/rules-sample.md.

    python -m benchmarks.rules_sample COCO_FOLDER [OUT.md]

The folder holds `annotations/captions.json` and `annotations/instances.json`. The rows are drawn by a fixed seed from
all that the teacher wrote: half of them from conversations, and a quarter each descriptions and reasonings.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

from seetell.generate.prompts import Kind, PromptSet
from seetell.generate.write import write_conversations_of
from seetell.rules.teacher import RulesTeacher
from seetell.sources.coco import read_coco
from seetell.types import Rejected

WANTED: dict[Kind, int] = {"conversation": 26, "detail": 12, "complex": 12}
CHECKED = (
    "How many", "Is there", "Are there", "Do you see", "Can you see a", "Where in the picture", "In which part",
    "Is the", "Which is higher", "Which is lower",
)  # fmt: skip


def main(coco: Path, out: Path = Path("docs/rules-sample.md")) -> None:
    files = (coco / "annotations" / name for name in ("captions.json", "instances.json"))
    scenes = [scene for scene in read_coco(*files) if scene.captions and scene.boxes]
    prompts, rng = PromptSet.load(conversation_boxes=True), random.Random(11)
    rows: list[tuple[str, str, str, str]] = []
    figures: list[str] = []
    for kind, wanted in WANTED.items():
        written: list[tuple[str, str, str, str]] = []
        rejected: Counter[str] = Counter()
        for result in write_conversations_of(scenes, {kind: 1}, RulesTeacher(), 0, prompts):
            if isinstance(result, Rejected):
                rejected[result.reason] += 1
                continue
            texts = [turn.text for turn in result.turns]
            written += [(kind, result.id, *pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
        kept = len(scenes) - rejected.total()
        checked = sum(question.startswith(CHECKED) for _, _, question, _ in written)
        share = f"; {100 * checked // len(written)} % ask for a count, a place, existence or a relation"
        figures.append(
            f"| {kind} | {kept} of {len(scenes)} | {len(written)} questions{share * (kind == 'conversation')} |"
        )
        rows += sorted(rng.sample(written, wanted), key=lambda row: int(row[1]))
    lines = [
        "# Rows of the built-in teacher about photographs",
        "",
        f"What `--teacher rules` wrote about {len(scenes)} COCO photographs from their captions and boxes, by",
        "`benchmarks/rules_sample.py`. It is no equal of an LLM; [generate.md](generate.md) says what it is for.",
        "The photographs that it wrote nothing about were rejected with the reason.",
        "",
        "| kind | photographs | |",
        "| --- | ---: | --- |",
        *figures,
        "",
        "Fifty rows, drawn at random:",
        "",
        "| kind | photo | question | answer |",
        "| --- | ---: | --- | --- |",
        *(f"| {kind} | {id} | {question} | {answer} |" for kind, id, question, answer in rows),
    ]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(Path, sys.argv[2:]))
