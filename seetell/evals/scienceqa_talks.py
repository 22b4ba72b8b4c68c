"""ScienceQA problems as conversations to tune on: what is asked, and the answer with or without its reasons.

`form` is the dataset's own way of naming it, such as `QCM-A` (the answer alone), `QCM-LEA` (lecture, explanation,
answer: reasons first), `QCM-ALE` (answer first), `CQM-LEPA` (under headings). The picture stands before or after
the text, or is left out; a problem without one is a conversation in words.

Source: Lu et al. 2022, arXiv:2209.09513; the LLaVA paper's tuning on it (arXiv:2304.08485 §5.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seetell.errors import BadInput, UsageError
from seetell.evals.scienceqa import answer_text, question_text
from seetell.files import as_list, as_object
from seetell.types import Conversation, Image, Turn

PLACES = ("before", "after", "none")


def conversations(
    problems: Mapping[str, Any], images: Path, *, form: str = "QCM-LEA", picture: str = "before", split: str = ""
) -> Iterator[Conversation]:
    """One conversation a problem of the split, or of all, in the file's order."""
    if picture not in PLACES:
        raise UsageError(f"The picture stands before or after the text, or there is none; not {picture!r}.")
    shown, _, said = form.partition("-")
    if not said:
        raise UsageError(f"A form is what is shown and what is answered, such as QCM-LEA; it is {form!r}.")
    for pid, value in problems.items():
        problem = as_object(value) or {}
        if split and problem.get("split") != split:
            continue
        if not as_list(problem.get("choices")) or problem.get("answer") is None:
            raise BadInput(f"ScienceQA problem {pid} has no choices or no answer.")
        question = question_text(problem, shown)
        parts: tuple[str | Image, ...] = (question,)
        if problem.get("image") and picture != "none":
            shown_image = Image(str(images / str(problem.get("split", "train")) / pid / str(problem["image"])))
            parts = (shown_image, question) if picture == "before" else (question, shown_image)
        yield Conversation(pid, (Turn("user", parts), Turn("assistant", (answer_text(problem, said),))), "scienceqa")
