"""Which letter an answer gives; what is text in a file of answers, and what is a label in a file of truth."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from seetell.errors import BadInput, DamagedFile
from seetell.evals import mmbench, pope, seed, textvqa
from seetell.evals.answerers import FileAnswerer
from seetell.evals.choices import choices_of, letter_of
from seetell.evals.mme import TASK as MME
from seetell.evals.scienceqa import texts_of
from seetell.evals.task import Files
from seetell.types import Answer
from tests.tiny_benchmarks import BENCHMARKS, png

CHOICES = ("A woman on a horse", "A man riding a bike", "Two dogs", "A cat")


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("A man riding a bike", "B"),
        ("a man  riding a bike.", "B"),
        ("A cat", "D"),
        ("A woman on a horse", "A"),
        ("A dog sits on a mat", ""),
        ("A man and a woman", ""),
        ("B", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("**B**", "B"),
        ("B)", "B"),
        ("B. A man riding a bike", "B"),
        ("B: it has two wheels", "B"),
        ("(B) A man", "B"),
        ("B A man riding a bike", "B"),
        ("B A cat", ""),
        ("B\nIt has two wheels.", "B"),
        ("Answer: B", "B"),
        ("Answer:B", "B"),
        ("The answer is B", "B"),
        ("The answer is B.", "B"),
        ("The correct answer is (D) A cat.", "D"),
        ("The answer is A man riding a bike.", "B"),
        ("The answer is A cat", "D"),
        ("The answer is A man", ""),
        ("The correct option is: option C", "C"),
        ("E", ""),
        ("E. Nothing", ""),
        ("Apples", ""),
        ("Because B", ""),
        ("", ""),
    ],
)
def test_the_letter_that_an_answer_gives(answer: str, letter: str) -> None:
    assert letter_of(answer, CHOICES) == letter


def test_a_lone_letter_is_the_options_letter_also_where_choices_are_letters() -> None:
    assert letter_of("A", ("B", "A", "D", "C")) == "A"
    assert letter_of("Two", ("Two", "two")) == ""  # the choice is there twice: neither


def write_table(folder: Path, *cells: str, answer: str) -> None:
    picture = base64.b64encode(png(0)).decode()
    quoted = "\t".join(f'"{cell}"' for cell in cells)
    (folder / "mmbench_dev.tsv").write_text(
        f"index\tquestion\tA\tB\tC\tD\tanswer\timage\n0\tWhich?\t{quoted}\t{answer}\t{picture}\n"
    )


def test_a_choice_with_a_newline_keeps_every_letter(tmp_path: Path) -> None:
    write_table(tmp_path, "one\nline", "two", "three", "four", answer="B")
    (item,) = mmbench.items(tmp_path)
    assert choices_of(item.facts) == ["one\nline", "two", "three", "four"]
    assert mmbench.score(item, Answer("0", "two")).value == 1.0
    circular = mmbench.circular_items(tmp_path)
    assert len(circular) == 4
    assert all(mmbench.score(item, Answer(item.id, "two")).value == 1.0 for item in circular)
    write_seed(tmp_path, "B", "one\nline", "two")
    (asked,) = seed.items(tmp_path)
    assert seed.score(asked, Answer("7", "two")).value == 1.0


def write_seed(folder: Path, answer: object, *choices: str) -> None:
    row = {"question_id": "7", "question": "Which?", "answer": answer, "data_id": "p", "data_type": "image"}
    named = dict(zip(seed.CHOICES, choices, strict=False))
    (folder / "SEED-Bench.json").write_text(json.dumps({"questions": [{**row, **named}]}))


def test_choices_end_at_the_first_absent_one_and_the_answer_is_one_of_them(tmp_path: Path) -> None:
    write_table(tmp_path, "red", "green", "nan", "blue", answer="B")
    (item,) = mmbench.items(tmp_path)
    assert choices_of(item.facts) == ["red", "green"]  # blue would take C's letter
    write_table(tmp_path, "red", "green", "nan", "blue", answer="D")
    with pytest.raises(BadInput, match="row 0 is 'D'"):
        mmbench.items(tmp_path)
    write_seed(tmp_path, "D", "one", "two")
    with pytest.raises(BadInput, match="question 7 is 'D'"):
        seed.items(tmp_path)


@pytest.mark.parametrize("text", [["Yes"], {"text": "Yes"}, True])
def test_what_is_no_text_is_refused_with_its_row(tmp_path: Path, text: object) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"question_id": 3, "text": text}) + "\n")
    with pytest.raises(DamagedFile, match=r"`text` should be text: .*question_id"):
        FileAnswerer(path)
    whole = tmp_path / "outputs.json"
    whole.write_text(json.dumps({"outputs": {"12": text}}))
    with pytest.raises(DamagedFile, match="`12` should be text"):
        texts_of(whole)


def test_a_number_is_text(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"question_id": 3, "text": 4}\n')
    assert FileAnswerer(path).texts == {"3": "4"}


def test_a_label_that_is_neither_yes_nor_no_is_refused(tmp_path: Path) -> None:
    BENCHMARKS["pope"](tmp_path)
    path = next(tmp_path.rglob("coco_pope_random.json"))
    path.write_text(path.read_text().replace('"yes"', '"Yes."', 1))
    with pytest.raises(DamagedFile, match=r"'Yes\.'"):
        pope.TASK.items(tmp_path)
    (tmp_path / "mme").mkdir()
    BENCHMARKS["mme"](tmp_path / "mme")
    truth = next((tmp_path / "mme").rglob("*.txt"))
    truth.write_text(truth.read_text().replace("\tYes", "\tMaybe", 1))
    assert MME.contract is not None
    with pytest.raises(DamagedFile, match="'Maybe'"):
        MME.contract(Files((tmp_path,), truth=tmp_path / "mme"))


def test_a_question_of_two_lines_takes_its_ocr_tokens(tmp_path: Path) -> None:
    BENCHMARKS["textvqa"](tmp_path)
    path = next(
        path for path in tmp_path.rglob("*.json") if '"question"' in path.read_text() and "OCR" not in path.name
    )
    path.write_text(path.read_text().replace('"question": "', '"question": "Look.\\n'))
    assert "Look.\n" in textvqa.items_with_ocr(tmp_path)[1].question
