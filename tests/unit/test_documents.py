"""The reader of the documents' commands, and the reader of a page: what they take for a command, and for a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents import Step, steps_of
from tests.flow.test_documents import Reader

PAGE = """# A page

<!-- slow -->
```
make demo   # minutes
source .venv/bin/activate
```

Words, and `seetell inline` is none.

<!-- a word to whoever edits this -->
<!-- stand-in: a tiny model
under the hub name -->
```bash
# only a comment
seetell plan a \\
    --gpus 8
cat > mine.json <<'END'
[]
END
```

```console
$ seetell env
python: 3.11
```

```text
mine/  my.json
```

<!-- output -->
```
rows: 12
```

<!-- not run: needs 8 GPUs -->
```
torchrun train
```

```python
import seetell
```
"""


def test_a_page_is_read_as_it_would_be_typed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    read = [(step.line, step.text, step.is_python, step.marks) for step in steps_of(page)]
    stand_in = {"stand-in": "a tiny model\nunder the hub name"}
    assert read == [
        (5, "make demo   # minutes", False, {"slow": ""}),
        (6, "source .venv/bin/activate", False, {"slow": ""}),
        (16, "seetell plan a \\\n    --gpus 8", False, stand_in),
        (18, "cat > mine.json <<'END'\n[]\nEND", False, stand_in),
        (24, "seetell env", False, {}),
        (39, "torchrun train", False, {"not run": "needs 8 GPUs"}),
        (43, "import seetell\n", True, {}),
    ]


@pytest.mark.parametrize("mark", ["not run", "stand-in", "slow: very"])
def test_a_mark_has_its_reason_or_none(tmp_path: Path, mark: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- {mark} -->\n```\nseetell env\n```\n")
    with pytest.raises(ValueError, match="reason"):
        steps_of(page)


@pytest.mark.parametrize(
    ("text", "is_python", "reason"),
    [
        ("seetell env", False, None),
        ("seetell recipes no_such_recipe", False, "exit code 2"),
        ("seetell show missing.json --images 'a b'", False, "exit code 3"),
        ("seetell recipes drawn > drawn.py && test -s drawn.py", False, None),
        ("no_such_program", False, "exit code 127"),
        ("cd nowhere", False, "no folder nowhere"),
        ("raise KeyError(1)", True, "KeyError"),
        ("assert __name__ == '__main__'", True, None),
    ],
)
def test_what_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, is_python: bool, reason: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    told = Reader(tmp_path, tmp_path).follow(Step("page.md", 1, text, is_python))
    assert told is None if reason is None else reason in (told or "")
