"""Data files for `fuzz_data.py`: rows of all dialects, some of them spoiled, in files of which some are damaged."""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

KINDS = ("json", "json", "jsonl", "jsonl", "parquet", "tar")
Row = dict[str, Any]


def make_pictures(folder: Path) -> None:
    """One of each kind that people have: sound, broken, and what is none to us."""
    folder.mkdir(parents=True, exist_ok=True)
    photo = PIL.Image.linear_gradient("L").resize((24, 18)).convert("RGB")
    for kind, name in (
        ("PNG", "good.png"), ("JPEG", "good.jpg"), ("WEBP", "good.webp"), ("GIF", "good.gif"), ("BMP", "good.bmp"),
        ("ICO", "icon.png"), ("TGA", "tga.jpg"), ("EPS", "script.jpg"), ("PCX", "pcx.png"),
    ):  # fmt: skip
        photo.save(folder / name, kind)
    PIL.Image.fromarray(np.ones((8, 8), np.float32)).save(folder / "float.tif")
    PIL.Image.new("L", (2001, 2)).save(folder / "line.png")
    (folder / "torn.jpg").write_bytes((folder / "good.jpg").read_bytes()[:-80])
    (folder / "empty.png").write_bytes(b"")
    (folder / "page.png").write_bytes(b"<html>404</html>")


GOOD = ("good.png", "good.jpg", "good.webp", "good.gif", "good.bmp")
BAD = ("none.png", "icon.png", "tga.jpg", "script.jpg", "pcx.png", "float.tif", "line.png", "torn.jpg", "empty.png",
       "page.png", ".", "")  # fmt: skip
HOSTILE = ("a\0.png", "\ud83d.png", "https://x/a.png", "x" * 300, "/".join(["deep"] * 2000), 5, [], {}, [None], True)

WORDS = ("", "  ", None, 5, ["Yes"], [], {}, "\ud83d", "an <image> tag", "</s>")
SPEAKERS = ("cat", None, 3, ["human"], "system", "gpt")
IDS = (None, 7, 1.5, True, [1], {"a": 1}, "\ud83d", "i" * 5000, "a\0b")
NAMES = (None, [], "", 5, ["good.png"] * 2)
LINES = (b'{"id": ' + b"[" * 100_000 + b"\n", b'{"broken\n', b'{"id": "\xe9"}\n', b"7\n", b"{}\n\n")


class Maker:
    """Rows and files of one seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.lot, self.folder = seed, random.Random(f"fuzz:{seed}"), folder

    def picture(self) -> Any:
        """How a row may name a picture."""
        lot = self.lot
        if lot.random() < 0.06:
            return lot.choice(HOSTILE)
        name = lot.choice(GOOD if lot.random() < 0.75 else BAD)
        path = self.folder / name
        data = path.read_bytes() if path.is_file() else b"nothing"
        form = lot.random()
        if form < 0.75:
            return name
        if form < 0.8:
            return f"file://{path}"
        if form < 0.9:
            return "data:image/png;base64," + base64.b64encode(data).decode()[: lot.choice((None, None, None, 41))]
        return {"path": name}

    def words(self, tags: int) -> str:
        said = self.lot.choice(("What is it?", "Wie viele Äpfel?", "And now?", "<|im_end|> hm", "x " * 30))
        tag = "".join(self.lot.choice(("<image>\n", "<image>")) for _ in range(tags))
        return self.lot.choice((tag + said, said + "\n" + tag.rstrip("\n"))) if tags else said

    def row(self, number: int) -> Row:
        """A sound row of one of the dialects."""
        lot, shown = self.lot, self.lot.choice((0, 1, 1, 1, 2))
        pictures = [self.picture() for _ in range(shown)]
        rounds = lot.choice((1, 1, 2, 3))
        asked = [self.words(shown if at == 0 else 0) for at in range(rounds)]
        answers = [lot.choice(("A cat.", "Two", "Ja, natürlich.")) for _ in range(rounds)]
        dialect = lot.choice(("llava", "llava", "sharegpt", "openai", "trl", "tags"))
        row: Row = {"id": f"r{number}"}
        if dialect in ("llava", "sharegpt"):
            who = lot.choice((("human", "gpt"), ("user", "assistant"), ("human", "chatgpt")))
            pairs = zip(asked, answers, strict=True)
            row["conversations"] = [
                {"from": who[at], "value": text} for pair in pairs for at, text in enumerate(pair)
            ]  # fmt: skip
            keys = ("image", "image_path", "image_file", "img") if len(pictures) == 1 else ("image", "images")
            key = "images" if dialect == "sharegpt" else lot.choice(keys)
            if pictures:
                row[key] = pictures[0] if len(pictures) == 1 and dialect == "llava" else pictures
            return row
        messages: list[Row] = [
            {"role": ("user", "assistant")[at], "content": text}
            for pair in zip(asked, answers, strict=True)
            for at, text in enumerate(pair)
        ]
        row["messages"] = messages
        if dialect == "tags":
            return row | ({"images": pictures} if pictures else {})
        text = {"type": "text", "text": asked[0].replace("<image>", "").strip("\n")}
        if dialect == "trl":
            messages[0]["content"] = [*({"type": "image"} for _ in pictures), text]
            return row | ({"images": pictures} if pictures else {})
        parts = [{"type": "image_url", "image_url": {"url": each}} for each in pictures]
        messages[0]["content"] = [*parts, text]
        return row

    def spoiled(self, row: Row) -> Any:
        """The row with something missing, doubled or of the wrong type."""
        lot = self.lot
        turns = row.get("conversations", row.get("messages"))
        turn = lot.choice(turns) if turns else {}
        words = "value" if "value" in turn else "content"
        picture_keys = [key for key in row if key.startswith(("image", "img"))]
        changes: list[Callable[[], Any]] = [
            lambda: row.pop(lot.choice(list(row)), None),
            lambda: turns and turns.pop(lot.randrange(len(turns))),
            lambda: turns and turns.insert(0, {"from": "system", words: lot.choice(("Be kind.", ""))}),
            lambda: turns and turns.append(dict(turn)),
            lambda: turn.update({words: lot.choice(WORDS)}),
            lambda: turn.update({lot.choice(("from", "role")): lot.choice(SPEAKERS)}),
            lambda: turn.pop(lot.choice(list(turn)), None) if turn else None,
            lambda: row.update({"id": lot.choice(IDS)}),
            lambda: row.update({lot.choice(("image", "images", "image_path", "img", "image_url")): self.picture()}),
            lambda: row.update({lot.choice(picture_keys or ["image"]): lot.choice(NAMES)}),
            lambda: row.update({lot.choice(("conversations", "messages")): lot.choice((None, [], "x", [{}], [[]], 3))}),
            lambda: row.update({"system": lot.choice(("Be brief.", "", None, 4, "<image>"))}),
            lambda: row.update({lot.choice(("extra", "loss", "model")): lot.choice((None, math.nan, [1], {"a": {}}))}),
            lambda: turn.update({"weight": 0}),
        ]  # fmt: skip
        for _ in range(lot.choice((1, 1, 2))):
            lot.choice(changes)()
        return lot.choice((5, "text", None, [row], [])) if lot.random() < 0.05 else row

    def rows(self) -> list[Any]:
        rows = [self.row(number) for number in range(self.lot.randrange(2, 7))]
        return [self.spoiled(row) if self.lot.random() < 0.45 else row for row in rows]

    def write(self) -> Path:
        """The file, beside its pictures."""
        kind = self.lot.choice(KINDS)
        rows, path = self.rows(), self.folder / f"data-{self.seed}.{kind}"
        if kind == "tar":
            self._tar(path, rows)
        elif kind == "parquet":
            path = self._parquet(path, rows)
        else:
            lines = [json.dumps(row) for row in rows]
            text = "[" + ",\n".join(lines) + "]" if kind == "json" else "\n".join(lines) + "\n"
            path.write_bytes(self._damaged(text, kind))
        return path

    def _damaged(self, text: str, kind: str) -> bytes:
        """Now and then what other tools make of a file."""
        lot, data = self.lot, text.encode()
        if lot.random() > 0.25:
            return data
        if kind == "jsonl" and lot.random() < 0.6:
            bad = lot.choice(LINES)
            return lot.choice((data + bad, bad + data, data[: -lot.randrange(2, 30)]))
        return lot.choice(
            (
                data[: len(data) // 2],
                text.encode("utf-16"),
                gzip.compress(data),
                json.dumps({"data": json.loads(text)} if kind == "json" else {"rows": []}).encode(),
                b"\xef\xbb\xbf" + data,
                "Wie spät ist es? é".encode("cp1252") + data,
                b"",
            )
        )

    def _parquet(self, path: Path, rows: list[Any]) -> Path:
        """As the hub has it, pictures inside; rows that no table can hold together are written as JSON."""
        import pyarrow
        from pyarrow import parquet

        for row in rows:
            name = row.get("image") if isinstance(row, dict) else None
            if isinstance(name, str) and name in (*GOOD, *BAD) and (self.folder / name).is_file():
                row["image"] = {"bytes": (self.folder / name).read_bytes() if len(name) % 2 else None, "path": name}
        try:
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        except (pyarrow.ArrowException, TypeError, AttributeError, UnicodeError, OverflowError, ValueError):
            path = path.with_suffix(".json")
            path.write_text(json.dumps(rows, default=lambda held: held.decode("latin-1")))
        return path

    def _tar(self, path: Path, rows: list[Any]) -> None:
        with tarfile.open(path, "w") as tar:
            for number, row in enumerate(rows):
                name = row.get("image") if isinstance(row, dict) else None
                members = {f"{number:03}.json": json.dumps(row).encode()}
                if isinstance(name, str) and name in (*GOOD, *BAD) and (self.folder / name).is_file():
                    members = {f"{number:03}.{name.rpartition('.')[2]}": (self.folder / name).read_bytes(), **members}
                if self.lot.random() < 0.1:
                    members.popitem()
                for member, data in members.items():
                    entry = tarfile.TarInfo(member)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
