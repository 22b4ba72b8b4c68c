"""Yes or no, as the owners of POPE and of MME read it out of an answer. The two rules differ."""

from __future__ import annotations

from pathlib import Path

from seetell.errors import DamagedFile

SHORT_TAIL = "Answer the question using a single word or phrase."


def label(text: str, path: Path) -> str:
    """A truth file's `yes` or `no`; any other word would count as one of the two in silence."""
    said = text.strip().lower()
    if said not in ("yes", "no"):
        raise DamagedFile(f"{path} has the label {text[:40]!r}, where yes or no should stand.")
    return said


def pope_says_yes(text: str) -> bool:
    """POPE: only the first sentence counts; it is `yes` unless one of its words is No, no or not."""
    words = text.split(".")[0].replace(",", "").split(" ")
    return not {"No", "no", "not"} & set(words)


def mme_says(text: str) -> str:
    """MME: `yes` or `no` if that is the answer or stands within its first four characters, else nothing."""
    said = text.strip().lower()
    start = said[:4]
    return "yes" if "yes" in start else "no" if "no" in start else ""
