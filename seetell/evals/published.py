"""The figures that the LLaVA papers print, for the report to stand ours beside. None of them was measured here.

Sources: LLaVA, arXiv:2304.08485 (tables 4, 5, 7, 8); LLaVA-1.5, arXiv:2310.03744, and its model list; the bench's
own leaderboard. Two figures of one cell are a mean and its spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A printed table. `mine` says which of our metrics stands in a column; unnamed columns are metrics by that name.
    `ours` are the rows that a reproduction is compared with, asked in the chat template `template`, and on judged tasks
    judged by `judges`."""

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | tuple[float, float] | None, ...]]
    ours: tuple[str, ...]
    mine: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    note: str = ""
    template: str = "vicuna-v1"
    judges: Mapping[str, str] = field(default_factory=dict[str, str])  # by task

    def metric_of(self, task: str, column: str) -> str | None:
        """Our metric that belongs in a column, if this task measures it."""
        return self.mine.get(column, {}).get(task) if self.mine else column


GPT_4 = "gpt-4-0314"
# How many questions were asked for the printed figures. POPE's random split came with 2,910 questions, then with 3,000.
QUESTIONS: Mapping[str, tuple[int, ...]] = {
    "llava_bench_coco": (90,),
    "llava_bench_wild": (60,),
    "scienceqa": (4241,),
    "textvqa_ocr": (5000,),
    "gqa": (12_578,),
    "mme": (2374,),
    "mmvet": (218,),
    "pope": (8910, 9000),
}
CATEGORIES = ("conv", "detail", "complex", "all")
TABLES: dict[str, PublishedTable] = {
    "llava_table4": PublishedTable(
        "LLaVA, table 4: LLaVA-Bench (COCO), relative score by training data",
        CATEGORIES,
        {
            "Full data": (83.1, 75.3, 96.5, 85.1),
            "Detail + Complex": (81.5, 73.3, 90.8, 81.9),
            "Conv + 5% Detail + 10% Complex": (81.0, 68.4, 91.5, 80.5),
            "Conversation": (76.5, 59.8, 84.9, 73.8),
            "No instruction tuning": (22.0, 24.0, 18.5, 21.5),
        },
        ("Full data",),
        judges={"llava_bench_coco": GPT_4},
        note="The paper's judge was gpt-4-0314, which is retired: judge the baseline again on the same day.",
    ),
    "llava_table5": PublishedTable(
        "LLaVA, table 5: LLaVA-Bench (In-the-Wild), relative score",
        CATEGORIES,
        {
            "OpenFlamingo": ((19.3, 0.5), (19.0, 0.5), (19.1, 0.7), (19.1, 0.4)),
            "BLIP-2": ((54.6, 1.4), (29.1, 1.2), (32.9, 0.7), (38.1, 1.0)),
            "LLaVA": ((57.3, 1.9), (52.5, 6.3), (81.7, 1.8), (67.3, 2.0)),
            "LLaVA, judged three times": ((58.8, 0.6), (49.2, 0.8), (81.4, 0.3), (66.7, 0.3)),
        },
        ("LLaVA",),
        judges={"llava_bench_wild": GPT_4},
        note="The first three rows are three runs of the model, the last three judgements of one run.",
    ),
    "llava_bench_leaderboard": PublishedTable(
        "LLaVA-Bench (In-the-Wild), the bench's leaderboard",
        CATEGORIES,
        {
            "Bard-0718": (83.7, 69.7, 78.7, 77.8),
            "Bing-Chat-0629": (59.6, 52.2, 90.1, 71.5),
            "LLaVA-13B-v1-336px, beam 1": (64.3, 55.9, 81.7, 70.1),
            "LLaVA-13B-v1-336px, beam 5": (68.4, 59.9, 84.3, 73.5),
        },
        (),
    ),
    "llava_table7": PublishedTable(
        "LLaVA, table 7: ScienceQA test, accuracy %",
        ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12", "Avg"),
        {
            "Human": (90.23, 84.97, 87.48, 89.60, 87.50, 88.10, 91.59, 82.42, 88.40),
            "GPT-3.5": (74.64, 69.74, 76.00, 74.44, 67.28, 77.42, 76.80, 68.89, 73.97),
            "GPT-3.5 with reasoning": (75.44, 70.87, 78.09, 74.68, 67.43, 79.93, 78.23, 69.68, 75.17),
            "LLaMA-Adapter": (84.37, 88.30, 84.36, 83.72, 80.32, 86.90, 85.83, 84.05, 85.19),
            "MM-CoT base": (87.52, 77.17, 85.82, 87.88, 82.90, 86.83, 84.65, 85.37, 84.91),
            "MM-CoT large": (95.91, 82.00, 90.82, 95.26, 88.80, 92.89, 92.44, 90.31, 91.68),
            "GPT-4, text only": (84.06, 73.45, 87.36, 81.87, 70.75, 90.73, 84.69, 79.10, 82.69),
            "LLaVA": (90.36, 95.95, 88.00, 89.49, 88.00, 90.66, 90.93, 90.90, 90.92),
            "LLaVA + GPT-4, complement": (90.36, 95.50, 88.55, 89.05, 87.80, 91.08, 92.22, 88.73, 90.97),
            "LLaVA + GPT-4, judge": (91.56, 96.74, 91.09, 90.62, 88.99, 93.52, 92.73, 92.16, 92.53),
        },
        ("LLaVA",),
        template="vicuna-v0",
        note="The 90.92 is one sampled run with a random pick for what could not be read; its texts give 90.90.",
    ),
    "llava_table8": PublishedTable(
        "LLaVA, table 8: design choices on ScienceQA, accuracy %",
        ("before-last layer", "last layer"),
        {
            "best": (90.92, 89.96),
            "answer first": (None, 89.77),
            "no first stage": (85.81, None),
            "7B": (89.84, None),
        },
        (),
        mine={"before-last layer": {"scienceqa": "Avg"}},
    ),
    "llava15": PublishedTable(
        "LLaVA-1.5: twelve benchmarks",
        ("VQAv2", "GQA", "VizWiz", "SQA-I", "TextVQA", "POPE", "MME", "MMB", "MMB-CN", "SEED", "Wild", "MM-Vet"),
        {
            "7B": (78.5, 62.0, 50.0, 66.8, 58.2, 85.9, 1510.7, 64.3, 58.3, 58.6, 65.4, 31.1),
            "13B": (80.0, 63.3, 53.6, 71.6, 61.3, 85.9, 1531.3, 67.7, 63.6, 61.6, 72.5, 36.1),
            "7B LoRA": (79.1, 63.0, 47.8, 68.4, 58.2, 86.4, 1476.9, 66.1, 58.9, 60.1, 67.9, 30.2),
            "13B LoRA": (80.0, 63.3, 58.9, 71.2, 60.2, 86.7, 1541.7, 68.5, 61.5, 61.3, 69.5, 38.3),
        },
        ("7B", "13B"),
        mine={
            "VQAv2": {"vqav2": "accuracy"},
            "GQA": {"gqa": "accuracy"},
            "VizWiz": {"vizwiz": "accuracy"},
            "SQA-I": {"scienceqa": "IMG"},
            "TextVQA": {"textvqa_ocr": "accuracy"},
            "POPE": {"pope": "f1"},
            "MME": {"mme": "perception"},
            "MMB": {"mmbench": "accuracy"},
            "MMB-CN": {"mmbench_cn": "accuracy"},
            "SEED": {"seed": "all"},
            "Wild": {"llava_bench_wild": "all"},
            "MM-Vet": {"mmvet": "total"},
        },
        judges={"llava_bench_wild": GPT_4, "mmvet": "gpt-4-0613"},
        note="TextVQA is with OCR tokens in the prompt. The authors give ±20 on MME between identical runs.",
    ),
    "llava15_splits": PublishedTable(
        "LLaVA-1.5: POPE by split, SEED by kind of picture",
        ("random", "popular", "adversarial", "images", "videos"),
        {"7B": (87.3, 86.1, 84.2, 66.1, 37.3), "13B": (87.1, 86.2, 84.5, 68.2, 42.7)},
        ("7B", "13B"),
        mine={
            "random": {"pope": "random_f1"},
            "popular": {"pope": "popular_f1"},
            "adversarial": {"pope": "adversarial_f1"},
            "images": {"seed": "image"},
            "videos": {"seed": "video"},
        },
    ),
    "llava15_table2": PublishedTable(
        "LLaVA-1.5, table 2: what each step adds",
        ("GQA", "MME", "MM-Vet"),
        {
            "LLaVA 7B, 224 px": (None, 809.6, 25.5),
            "+ VQAv2": (47.0, 1197.0, 27.7),
            "+ format prompt": (46.8, 1323.8, 26.3),
            "+ MLP connector": (47.3, 1355.2, 27.8),
            "+ OKVQA/OCR": (50.0, 1377.6, 29.6),
            "+ region VQA": (50.3, 1426.5, 30.8),
            "+ 336 px": (51.4, 1450.0, 30.3),
            "+ GQA data": (62.0, 1469.2, 30.7),
            "+ ShareGPT": (62.0, 1510.7, 31.1),
            "+ 13B": (63.3, 1531.3, 36.1),
        },
        (),
        mine={"GQA": {"gqa": "accuracy"}, "MME": {"mme": "perception"}, "MM-Vet": {"mmvet": "total"}},
    ),
}


def tables_for(task: str, names: tuple[str, ...]) -> list[PublishedTable]:
    """The printed tables that a task covers: those it names, and those with a column that it fills."""
    filled = [name for name, table in TABLES.items() if any(task in column for column in table.mine.values())]
    return [TABLES[name] for name in dict.fromkeys((*names, *filled))]


def why_not_compared(table: PublishedTable, task: str, facts: Mapping[str, Any], items: int) -> str | None:
    """Why a run cannot stand against the table's figures: other questions, another judge or another template."""
    known = QUESTIONS.get(task, ())
    if facts.get("limit") is not None or (known and items not in known):
        whole = f" of {known[0]:,}" if known else ""
        return f"{items:,} questions were asked{whole}, not all of the benchmark's"
    judge, printed = facts.get("judge"), table.judges.get(task)
    if judge != printed:
        return f"the judge is {judge or 'none'}, and was {printed or 'none'} there"
    template = facts.get("template")
    if template != table.template:
        asked = f"is {template}" if template else "is not known"
        return f"the chat template {asked}, and was {table.template} there"
    return None
