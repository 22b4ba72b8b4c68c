"""`seetell score` by its contract: small files written here, and published predictions where they lie beside the
checkout."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seetell.cli import main

DATA = Path(__file__).parents[3] / "shared" / "data"
beside = pytest.mark.skipif(not DATA.is_dir(), reason="the published predictions are not beside the checkout")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, the printed object, and what was said on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["score", *map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, json.loads(out) if out else {}, err


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def whole(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


# ------------------------------------------------------------------------------------------ scienceqa

PROBLEMS = {
    "1": {"question": "Q", "choices": ["a", "b"], "answer": 1, "hint": "h", "image": None, "grade": "grade2",
          "subject": "natural science", "split": "test"},
    "2": {"question": "Q", "choices": ["a", "b", "c"], "answer": 2, "hint": "", "image": "image.png", "grade": "grade8",
          "subject": "social science", "split": "test"},
    "3": {"question": "Q", "choices": ["a", "b"], "answer": 0, "hint": "", "image": None, "grade": "grade12",
          "subject": "language science", "split": "test"},
    "4": {"question": "Q", "choices": ["a", "b"], "answer": 0, "hint": "x", "image": "image.png", "grade": "grade6",
          "subject": "natural science", "split": "test"},
    "9": {"question": "Q", "choices": ["a", "b"], "answer": 0, "hint": "", "image": None, "grade": "grade6",
          "subject": "natural science", "split": "train"},
}  # fmt: skip


def test_scienceqa_parses_exactly_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = {"1": "B", "2": "C. because", "3": "So. The answer is A. The answer is A.", "4": "The answer is D."}
    answers, truth = whole(tmp_path / "a.json", {"outputs": outputs}), whole(tmp_path / "t.json", PROBLEMS)
    code, told, _ = run(capsys, "scienceqa", "--answers", answers, "--truth", truth)
    assert code == 0
    assert told["task"], told["n"] == ("scienceqa", 4)
    assert told["unparsed"] == 2  # said twice; a fourth choice of two
    assert told["unscored"] == {}
    assert told["metrics"] == {
        "NAT": 50, "SOC": 100, "LAN": 0, "TXT": 50, "IMG": 50, "NO": 0, "G1-6": 50, "G7-12": 50, "Avg": 50,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["b", " B", "B ", "B.", "B, it is", "(B)", "the answer is B.", "The answer is B", "", "F"]
)
def test_scienceqa_is_no_kinder(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = whole(tmp_path / "t.json", {"1": PROBLEMS["1"]})
    answers = lines(tmp_path / "a.jsonl", [{"question_id": "1", "text": text}])
    _, told, _ = run(capsys, "scienceqa", "--answers", answers, "--truth", truth)
    assert (told["metrics"]["Avg"], told["unparsed"]) == (0, 1)


def test_scienceqa_splits_stored_and_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = whole(tmp_path / "t.json", PROBLEMS)
    splits = whole(tmp_path / "s.json", {"test": ["1", "2"]})
    answers = whole(tmp_path / "a.json", {"outputs": {"1": "A", "2": "C"}, "results": {"1": 1, "2": 2}})
    _, told, _ = run(capsys, "scienceqa", "--answers", answers, "--truth", truth, "--splits", splits)
    assert (told["n"], told["metrics"]["Avg"]) == (2, 50)
    _, told, _ = run(capsys, "scienceqa", "--answers", answers, "--truth", truth, "--splits", splits, "--stored")
    assert told["metrics"]["Avg"] == 100
    code, told, said = run(capsys, "scienceqa", "--answers", answers, "--truth", truth)
    assert (code, told) == (3, {})
    assert "2 problems" in said
    for stored, expected in ((None, 0), ("1", 3)):
        whole(answers, {"results": {"1": stored, "2": 2}})
        files = ("--answers", answers, "--truth", truth, "--splits", splits, "--stored")
        code, told, _ = run(capsys, "scienceqa", *files)
        assert code == expected
        assert told.get("unparsed", 1) == 1


@beside
def test_llava_13b_on_scienceqa(capsys: pytest.CaptureFixture[str]) -> None:
    folder = DATA / "scienceqa"
    files = ("--answers", folder / "predictions_llava_13b_v0.json", "--truth", folder / "problems_test.json")
    _, told, _ = run(capsys, "scienceqa", *files, "--splits", folder / "pid_splits.json")
    assert (told["n"], round(told["metrics"]["Avg"], 3), told["unparsed"]) == (4241, 90.898, 1)
    _, told, _ = run(capsys, "scienceqa", *files, "--stored")
    assert [round(value, 2) for value in told["metrics"].values()] == [
        90.36, 95.95, 88.00, 89.49, 88.00, 90.66, 90.93, 90.90, 90.92,
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------------- pope


def pope_files(folder: Path, texts: dict[str, str]) -> tuple[Path, Path]:
    """Two questions a split about one picture, the numbers of the questions unlike the labels' own."""
    questions: list[dict[str, Any]] = []
    for number, split in enumerate(("random", "popular", "adversarial")):
        labels = [("Is there a cat?", "yes"), ("Is there a dog?", "no")]
        rows = [{"image": "1.jpg", "text": text, "label": label} for text, label in labels]
        lines(folder / f"coco_pope_{split}.json", [{**row, "question_id": at} for at, row in enumerate(rows)])
        questions += [
            {"question_id": number * 100 + at, "image": "1.jpg", "text": f"{text}\nAnswer.", "category": split}
            for at, (text, _) in enumerate(reversed(labels))
        ]
    asked = lines(folder / "questions.jsonl", questions)
    rows = [{"question_id": row["question_id"], "text": texts[row["text"].split("\n")[0]]} for row in questions]
    return asked, lines(folder / "answers.jsonl", rows[::-1])


def test_pope_joins_by_picture_and_question(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions, answers = pope_files(tmp_path, {"Is there a cat?": "Yes", "Is there a dog?": "There is no dog. Yes?"})
    files = ("--questions", questions, "--truth", tmp_path)
    code, told, _ = run(capsys, "pope", "--answers", answers, *files)
    assert (code, told["n"], told["unparsed"]) == (0, 6, 0)
    assert told["metrics"]["f1"] == 100
    assert told["metrics"]["random_yes"] == 50
    kept = answers.read_text().splitlines()
    (tmp_path / "coco_pope_random.json").rename(tmp_path / "elsewhere")  # a split that is not asked for needs no labels
    two = [row for row in questions.read_text().splitlines() if json.loads(row)["category"] != "random"]
    numbers = {json.loads(row)["question_id"] for row in two}
    some = lines(tmp_path / "some.jsonl", [row for row in map(json.loads, kept) if row["question_id"] in numbers])
    asked = lines(tmp_path / "asked.jsonl", [json.loads(row) for row in two])
    code, told, _ = run(capsys, "pope", "--answers", some, "--questions", asked, "--truth", tmp_path)
    assert (code, told["n"], told["metrics"]["f1"]) == (0, 4, 100)
    (tmp_path / "elsewhere").rename(tmp_path / "coco_pope_random.json")
    answers.write_text("\n".join(kept[1:]))
    assert run(capsys, "pope", "--answers", answers, *files)[0] == 3
    answers.write_text("\n".join([*kept, kept[0]]))
    assert run(capsys, "pope", "--answers", answers, *files)[0] == 3


def test_pope_says_yes_unless_it_says_no(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions, answers = pope_files(tmp_path, {"Is there a cat?": "Not sure", "Is there a dog?": "Nothing. No dog."})
    _, told, _ = run(capsys, "pope", "--answers", answers, "--questions", questions, "--truth", tmp_path)
    shown = {name.removeprefix("random_"): value for name, value in told["metrics"].items() if "random" in name}
    assert {name: round(value, 2) for name, value in shown.items()} == {
        "accuracy": 50, "precision": 50, "recall": 100, "f1": 66.67, "yes": 100,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ mme


def mme_files(folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    truth = folder / "truth"
    truth.mkdir()
    for task in ("existence", "code_reasoning"):
        (truth / f"{task}.txt").write_text(
            "1.jpg\tIs it  red? Please answer yes or no.\tYes\n1.jpg\tIs it blue? Please answer yes or no.\tNo\n"
        )
    rows = [
        {"question_id": f"{task}/images/1.jpg", "text": text,
         "prompt": f"{question}\nAnswer the question using a single word or phrase."}
        for task in ("code_reasoning", "existence")
        for question, text in (("Is it blue?", "No"), ("Is it red?", "yes, it is"))
    ]  # fmt: skip
    return truth, rows


def test_mme_pairs_and_joins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, rows = mme_files(tmp_path)
    answers = lines(tmp_path / "a.jsonl", rows)
    _, told, _ = run(capsys, "mme", "--answers", answers, "--truth", truth)
    assert told["metrics"] == {"existence": 200, "code_reasoning": 200, "perception": 200, "cognition": 200}
    folder = tmp_path / "converted"  # as LLaVA's converter names pictures
    folder.mkdir()
    for task in ("existence", "code_reasoning"):
        (folder / f"{task}.txt").write_text("1.txt\tIs it red?\tYes\tyes\n1.txt\tIs it blue?\tNo\tno\n")
    assert run(capsys, "mme", "--answers", folder, "--truth", truth)[1]["metrics"] == told["metrics"]
    rows[0]["text"] = "I see nothing"
    _, told, _ = run(capsys, "mme", "--answers", lines(answers, rows), "--truth", truth)
    assert (told["metrics"]["code_reasoning"], told["unparsed"]) == (50, 1)


@pytest.mark.parametrize("fault", ["unknown", "twice", "missing"])
def test_mme_names_an_answer_that_joins_to_nothing_or_twice(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, rows = mme_files(tmp_path)
    changed = {
        "unknown": [*rows, {**rows[0], "prompt": "Is it green?"}],
        "twice": [*rows, rows[0]],
        "missing": rows[1:],
    }[fault]
    code, told, said = run(capsys, "mme", "--answers", lines(tmp_path / "a.jsonl", changed), "--truth", truth)
    assert (code, told) == (3, {})
    assert ("green" if fault == "unknown" else "Is it blue?") in said


@beside
def test_lavin_on_mme(capsys: pytest.CaptureFixture[str]) -> None:
    _, told, _ = run(capsys, "mme", "--answers", DATA / "mme/lavin_answers", "--truth", DATA / "mme/truth")
    assert told["n"] == 2374
    assert (round(told["metrics"]["perception"], 1), round(told["metrics"]["cognition"], 1)) == (963.6, 249.6)


# -------------------------------------------------------------------------------------------- textvqa


def test_textvqa_soft_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = {1: ["Nokia"] * 3 + ["nokia phone"] * 7, 2: ["two"] * 10, 3: ["don't"] * 2 + ["no"] * 8}
    questions = whole(tmp_path / "q.json", {"questions": [
        {"question_id": number, "image_id": f"i{number % 2}", "question": f"What {number}?"} for number in people
    ]})  # fmt: skip
    truth = whole(tmp_path / "t.json", {"annotations": [
        {"question_id": number, "image_id": "", "answers": [{"answer": answer} for answer in answers]}
        for number, answers in people.items()
    ]})  # fmt: skip
    said = {1: "the NOKIA.", 2: "2", 3: "dont"}
    answers = lines(tmp_path / "a.jsonl", [
        {"question_id": f"i{number % 2}", "prompt": f"WHAT {number}?\nReference OCR token: x\nAnswer.", "text": text}
        for number, text in said.items()
    ])  # fmt: skip
    files = ("--questions", questions, "--truth", truth)
    _, told, _ = run(capsys, "textvqa", "--answers", answers, *files)
    first = (3 * 2 / 3 + 7 * 1) / 10  # leaving one of the three out, two of nine remain
    third = (2 * 1 / 3 + 8 * 2 / 3) / 10
    assert math.isclose(told["metrics"]["accuracy"], 100 * (first + 1 + third) / 3)
    answers.write_text(answers.read_text().replace("WHAT 3?", "Why?"))
    assert run(capsys, "textvqa", "--answers", answers, *files)[0] == 3


# ----------------------------------------------------------------------------------------- judgements


def test_llava_bench_ratio_of_means_over_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def review(category: str, number: int, **rest: object) -> dict[str, Any]:
        return {"question_id": number, "category": category, **rest}

    one = [
        review("conv", 0, tuple=[8.0, 4.0]),
        review("llava_bench_detail", 1, content="10 9\nfine", tuple=[10.0, 9.0]),
    ]
    two = [
        review("llava_bench_detail", 1, content="Assistant 1: 10/10\nAssistant 2: 7/10"),
        review("conv", 0, content="8, 6"),
    ]
    files = lines(tmp_path / "1.jsonl", one), lines(tmp_path / "2.jsonl", two)
    code, told, _ = run(capsys, "llava_bench", "--answers", files[0], "--answers", files[1])
    assert (code, told["n"]) == (0, 2)
    assert {name: round(value, 6) for name, value in told["metrics"].items()} == {
        "conv": 62.5, "detail": 80.0, "all": round((1300 / 18 + 1300 / 18) / 2, 6),
        "conv_std": 12.5, "detail_std": 10.0, "all_std": 0.0,
    }  # fmt: skip


def test_failed_judgements_are_in_no_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"question_id": 0, "category": "conv", "tuple": [8.0, 4.0]},
        {"question_id": 1, "category": "conv", "tuple": [-1, -1], "content": "8 9\nread otherwise then"},
        {"question_id": 2, "category": "conv", "content": ""},
    ]
    code, told, said = run(capsys, "llava_bench", "--answers", lines(tmp_path / "1.jsonl", rows))
    assert (code, told["n"], told["metrics"]["all"]) == (4, 3, 50)
    assert told["unscored"] == {"no two scores": 1, "empty verdict": 1}
    assert "2 judgements failed" in said
    code, told, _ = run(capsys, "llava_bench", "--answers", lines(tmp_path / "2.jsonl", rows[1:]))
    assert (code, told["metrics"]) == (4, {})


@beside
def test_the_13b_review_run_has_its_own_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    _, told, _ = run(capsys, "llava_bench", "--answers", DATA / "llava_bench/wild/review_llava-v1.5-13b-run1.jsonl")
    assert (told["n"], round(told["metrics"]["all"], 1)) == (60, 72.8)


def test_mmvet_means_over_runs_and_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def grades(*score: object) -> dict[str, object]:
        return {"model": ["j"] * len(score), "content": ["c"] * len(score), "score": score}

    rows = {"v1_0": grades(1.0, 0.5), "v1_1": grades(0.0, 0.0)}
    code, told, _ = run(capsys, "mmvet", "--answers", whole(tmp_path / "g.json", rows))
    assert (code, told["n"], told["metrics"]) == (0, 2, {"total": 37.5})
    rows["v1_2"] = grades(None, 7)
    code, told, _ = run(capsys, "mmvet", "--answers", whole(tmp_path / "g.json", rows))
    assert (code, told["n"], told["metrics"], told["unscored"]) == (4, 3, {"total": 37.5}, {"no grade": 2})


# --------------------------------------------------------------------------------------------- captions


def test_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {1: "A red cat on the mat.", 2: "Two dogs run over the grass!"}
    truth = whole(tmp_path / "c.json", {"images": [], "annotations": [
        {"image_id": number, "caption": caption} for number, caption in said.items()
    ]})  # fmt: skip
    answers = whole(tmp_path / "a.json", [{"image_id": number, "caption": caption} for number, caption in said.items()])
    code, told, _ = run(capsys, "caption", "--answers", answers, "--truth", truth)
    assert (code, told["n"]) == (0, 2)
    assert {name: round(value, 6) for name, value in told["metrics"].items()} == {
        "BLEU-1": 100, "BLEU-2": 100, "BLEU-3": 100, "BLEU-4": 100, "ROUGE-L": 100, "CIDEr": 1000,
    }  # fmt: skip
    whole(answers, [{"image_id": 1, "caption": "A red cat"}])
    assert run(capsys, "caption", "--answers", answers, "--truth", truth)[0] == 3


# --------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"question_id": "1"}', "\x00\x01", '{"outputs": 3}'])
def test_bad_files_are_exit_3(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = tmp_path / "a.json"
    answers.write_text(text)
    code, told, said = run(capsys, "scienceqa", "--answers", answers, "--truth", whole(tmp_path / "t.json", PROBLEMS))
    assert (code, told) == (3, {})
    assert said.startswith("seetell: ")


def test_what_is_not_given_is_usage_and_what_is_empty_or_a_folder_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = whole(tmp_path / "a.json", {})
    assert run(capsys, "scienceqa", "--answers", file)[0] == 2
    assert run(capsys, "mmvet", "--answers", file, "--answers", file)[0] == 2
    assert run(capsys, "mmvet", "--answers", file)[0] == 3
    assert run(capsys, "mmvet", "--answers", tmp_path)[0] == 3
    assert run(capsys, "textvqa", "--answers", tmp_path, "--questions", tmp_path, "--truth", tmp_path)[0] == 3


def test_an_unknown_task_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "sciencqa", "--answers", "x")
    assert code == 2
    assert "scienceqa" in said
