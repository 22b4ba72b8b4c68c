"""Five-item benchmarks in the layouts that their owners publish, written here from nothing.

Every question about a picture numbered n has the answer of index n, so that a test knows what is right and wrong.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image as Pillow

COUNT = 5
WORDS = ("red", "green", "blue", "white", "black")
COLOURS = ((200, 30, 30), (30, 160, 60), (40, 60, 200), (240, 240, 240), (20, 20, 20))


def png(number: int) -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (24, 16), COLOURS[number]).save(file, "PNG")
    return file.getvalue()


def pictures(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(png(number % COUNT))


def numbered(pattern: str) -> list[str]:
    return [pattern.format(number) for number in range(COUNT)]


def whole(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def llava_bench(folder: Path) -> None:
    pictures(folder / "images", *numbered("00{}.jpg"))
    kinds = ("conv", "detail", "complex", "conv", "detail")
    ids = range(COUNT)
    lines(folder / "questions.jsonl", [
        {"question_id": n, "image": f"00{n}.jpg", "text": "What is it?", "category": kinds[n]} for n in ids
    ])  # fmt: skip
    lines(folder / "answers_gpt4.jsonl", [{"question_id": n, "text": f"It is {WORDS[n]}."} for n in ids])
    lines(folder / "context.jsonl", [{"id": f"00{n}", "image": f"00{n}.jpg", "caption": WORDS[n]} for n in ids])


def llava_bench_coco(folder: Path) -> None:
    pictures(folder / "images", *numbered("COCO_val2014_00000000000{}.jpg"))
    rows: list[dict[str, object]] = [
        {"question_id": n, "image": f"00000000000{n}.jpg", "text": "What is it?", "category": "conv"}
        for n in range(COUNT)
    ]
    lines(folder / "qa90_questions.jsonl", rows)
    lines(folder / "qa90_gpt4_answer.jsonl", [{"question_id": n, "text": f"It is {WORDS[n]}."} for n in range(COUNT)])
    lines(folder / "caps_boxes_coco2014_val_80.jsonl", [
        {"id": f"00000000000{n}", "image": f"00000000000{n}.jpg", "captions": [f"A {WORDS[n]} cat."],
         "instances": [{"category": "cat", "bbox": [0.1, 0.1, 0.5, 0.5]}]}
        for n in range(COUNT)
    ])  # fmt: skip
    whole(folder / "rule.json", {"conv": {"role": "Assistant", "prompt": "Two scores, please."}})


def scienceqa(folder: Path) -> None:
    subjects = ("natural science", "social science", "language science", "natural science", "social science")
    problems = {
        str(n): {
            "question": "Which?", "choices": ["a", "b", "c"], "answer": n % 3, "hint": "Look." if n % 2 else "",
            "image": "image.png" if n < 2 else None, "grade": f"grade{n + 4}", "subject": subjects[n], "split": "test",
            "lecture": "L.", "solution": "S.",
        }
        for n in range(COUNT)
    }  # fmt: skip
    whole(folder / "problems.json", problems)
    whole(folder / "pid_splits.json", {"test": list(problems)})
    for n in range(2):
        pictures(folder / "images" / "test" / str(n), "image.png")


def pope(folder: Path) -> None:
    pictures(folder / "val2014", *numbered("COCO_val2014_{}.jpg"))
    for split in ("adversarial", "popular", "random"):
        lines(folder / f"coco_pope_{split}.json", [
            {"question_id": n, "image": f"COCO_val2014_{n}.jpg", "text": "Is there a cat in the image?",
             "label": "no" if n % 2 else "yes"}
            for n in range(COUNT)
        ])  # fmt: skip


def mme(folder: Path) -> None:
    (folder / "truth").mkdir(parents=True)
    for task in ("existence", "code_reasoning"):
        pictures(folder / task, *numbered("{}.jpg"))
        (folder / "truth" / f"{task}.txt").write_text("".join(
            f"{n}.jpg\tIs it {word}? Please answer yes or no.\t{answer}\n"
            for n in range(COUNT) for word, answer in ((WORDS[n], "Yes"), ("grey", "No"))
        ))  # fmt: skip


def textvqa(folder: Path) -> None:
    pictures(folder / "train_images", *numbered("i{}.jpg"))
    rows = [
        {"question_id": n, "image_id": f"i{n}", "question": "What does it say?", "answers": [WORDS[n]] * 10}
        for n in range(COUNT)
    ]
    whole(folder / "TextVQA_0.5.1_val.json", {"data": rows})
    tokens = [{"image_id": f"i{n}", "ocr_tokens": [WORDS[n], "x"]} for n in range(COUNT)]
    whole(folder / "TextVQA_Rosetta_OCR_v0.2_val.json", {"data": tokens})


def vqav2(folder: Path) -> None:
    pictures(folder / "val2014", *numbered("COCO_val2014_00000000000{}.jpg"))
    ids = range(COUNT)
    asked = [{"question_id": n + 10, "image_id": n, "question": "What colour is it?"} for n in ids]
    whole(folder / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": asked})
    whole(folder / "v2_mscoco_val2014_annotations.json", {"annotations": [
        {"question_id": n + 10, "answer_type": "other", "answers": [{"answer": WORDS[n]}] * 10} for n in ids
    ]})  # fmt: skip


def vizwiz(folder: Path) -> None:
    pictures(folder / "val", *numbered("{}.jpg"))
    whole(folder / "val.json", [
        {"image": f"{n}.jpg", "question": "What is it?", "answers": [{"answer": WORDS[n]}] * 10, "answer_type": "other"}
        for n in range(COUNT)
    ])  # fmt: skip


def gqa(folder: Path) -> None:
    pictures(folder / "images", *numbered("{}.jpg"))
    rows = {str(n): {"imageId": str(n), "question": "Which colour?", "answer": WORDS[n]} for n in range(COUNT)}
    whole(folder / "testdev_balanced_questions.json", rows)


def mmbench(folder: Path) -> None:
    names = ("mmbench_dev_20230712.tsv", "mmbench_dev_cn_20231003.tsv")
    header = "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage"
    rows = [
        f"{n}\tWhich colour?\tnan\tred\tgreen\tblue\tnan\t{'ABC'[n % 3]}\tcolour\t{base64.b64encode(png(n)).decode()}"
        for n in range(COUNT)
    ]
    for name in names:
        (folder / name).write_text("\n".join([header, *rows]) + "\n")


def seed(folder: Path) -> None:
    pictures(folder / "SEED-Bench-image", *numbered("p{}"))
    pictures(folder / "SEED-Bench-video-image", "4.png")
    questions = [
        {"question_id": str(n), "question": "Which?", **{f"choice_{letter}": letter for letter in "abcd"},
         "answer": "ABCD"[n % 4], "data_id": f"p{n}", "data_type": "video" if n == 4 else "image",
         "question_type_id": 1}
        for n in range(COUNT)
    ]  # fmt: skip
    whole(folder / "SEED-Bench.json", {"questions": questions, "question_type": {"Scene Understanding": 1}})


def mmvet(folder: Path) -> None:
    pictures(folder / "images", *numbered("v1_{}.png"))
    whole(folder / "mm-vet.json", {
        f"v1_{n}": {"imagename": f"v1_{n}.png", "question": "What is it?", "answer": WORDS[n], "capability": ["rec"]}
        for n in range(COUNT)
    })  # fmt: skip


def caption(folder: Path) -> None:
    pictures(folder / "images", *numbered("{}.jpg"))
    sentences = ("a dog runs", "two cats sleep on a mat", "rain falls over the old town", "a man eats", "boats at sea")
    whole(folder / "captions.json", {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(COUNT)],
        "annotations": [{"image_id": n, "caption": f"{sentences[n]} near the {WORDS[n]} house."} for n in range(COUNT)],
    })  # fmt: skip


BENCHMARKS: dict[str, Callable[[Path], None]] = {
    "llava_bench": llava_bench,
    "llava_bench_coco": llava_bench_coco,
    "llava_bench_wild": llava_bench,
    "scienceqa": scienceqa,
    "scienceqa_qcm": scienceqa,
    "pope": pope,
    "mme": mme,
    "textvqa": textvqa,
    "textvqa_ocr": textvqa,
    "vqav2": vqav2,
    "vizwiz": vizwiz,
    "gqa": gqa,
    "mmbench": mmbench,
    "mmbench_circular": mmbench,
    "mmbench_cn": mmbench,
    "seed": seed,
    "mmvet": mmvet,
    "caption": caption,
}
