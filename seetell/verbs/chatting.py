"""`seetell chat`: talk about pictures, or ask once and read the answer, as text or as one JSON object."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seetell.errors import UsageError
from seetell.infer import LONGEST_ANSWER_TOKENS
from seetell.model.folders import model_folder
from seetell.types import Image
from seetell.verbs.given import check_picture, importing_torch

if TYPE_CHECKING:
    from seetell.infer.session import ChatSession


def chat(
    model: str | Path,
    images: Sequence[str | Path] = (),
    *,
    prompt: str | None = None,
    as_json: bool = False,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    max_new_tokens: int = LONGEST_ANSWER_TOKENS,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
) -> None:
    """Asks once when there is a prompt, else opens a conversation in the terminal; pictures stand before the words."""
    if as_json and prompt is None:
        raise UsageError("--json is for one answer: say --prompt too.")
    for image in images:
        check_picture(image)
    shown = [Image(path=str(image)) for image in images]
    folder = model_folder(model)
    with importing_torch():
        from seetell.infer.loading import load
        from seetell.infer.sampling import Sampling
        from seetell.infer.session import ChatSession
        from seetell.model.threads import use_threads
        from seetell.serve.terminal import converse, write
    use_threads(threads)
    settings = Sampling(max_new_tokens, temperature, top_p, seed)
    session = ChatSession(load(folder, device, dtype).engine, settings)
    if prompt is None:
        converse(session, shown)
    elif as_json:
        sys.stdout.write(json.dumps(answer(session, shown, prompt)) + "\n")
    else:
        for piece in session.stream(prompt, shown):
            write(piece)
        write("\n")


def answer(session: ChatSession, images: Sequence[Image], prompt: str) -> dict[str, object]:
    """One answer with its facts: a prompt's tokens include its pictures', `seconds` leave out the loading."""
    began_s = time.perf_counter()
    text = session.say(prompt, images)
    seconds = time.perf_counter() - began_s
    last = session.last
    assert last is not None
    tokens = {"prompt": last.prompt_tokens, "image": last.image_tokens, "completion": last.tokens}
    return {"text": text, "finish_reason": last.finish_reason, "tokens": tokens, "seconds": round(seconds, 3)}
