"""Models named as on the hub: the one place that asks it, so that one wait and one set of sentences holds for all.

A name is fetched into the hub's cache and read from there as a folder, by transformers too. `HF_HUB_OFFLINE` is
respected. A hub that does not answer in `ANSWER_S` seconds is asked no more in this process: what its cache holds is
taken, or a sentence says that nothing answers. `HF_HUB_ETAG_TIMEOUT` gives a slow hub more time.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from seetell.errors import ServiceError, UsageError

ANSWER_S = 4.0
WORDS = ("*.json", "*.model", "*.jinja", "*.txt")  # what turns words into ids, and the configs
WEIGHTS = ("*.safetensors", "non_lora_trainables.bin")
OLD_WEIGHTS = ("pytorch_model*.bin", "adapter_model.bin", "mm_projector.bin")
NOT_THE_MODEL = ("checkpoint-*/*", "global_step*/*", "consolidated*")  # what training left beside it, or another copy
OURS = ("runs", "data")  # what begins so is a place of our own, and is not looked for on the hub
_NAME = re.compile(r"([\w-][\w.-]*/)?[\w-][\w.-]*")


def fetched(name: str, what: str = "model", *, weights: bool = True, newest: bool = True) -> Path:
    """The folder of the hub's cache that holds a model; without `weights` its configs and its tokenizer alone.

    `what` is what the name should be, for messages. Unless the `newest` is asked for, what was fetched before is taken.
    """
    import huggingface_hub  # here because its import is slow
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if not is_name(name, what):
        raise _no_name(name, what)
    silent = None if constants.HF_HUB_OFFLINE or not newest else why_no_answer(constants.ENDPOINT)
    download: Any = getattr(huggingface_hub, "snapshot_download")  # noqa: B009  (its own types are half unknown)
    given: dict[str, Any] = {"ignore_patterns": list(NOT_THE_MODEL)}
    if silent or not newest:
        given["local_files_only"] = True
    wanted = [*WORDS, *WEIGHTS] if weights else [*WORDS]
    try:
        folder = Path(download(name, allow_patterns=wanted, **given))
        if weights and not any(folder.glob("*.safetensors")):  # torch's own files where there are no others
            folder = Path(download(name, allow_patterns=[*wanted, *OLD_WEIGHTS], **given))
    except HFValidationError:
        raise _no_name(name, what) from None
    except LocalEntryNotFoundError:
        why = silent or ("HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "no hub answers")
        raise ServiceError(
            f"There is no {what} folder {name}, nor is it in the hub's cache, and {why}: give a folder, or fetch it "
            "once with a network."
        ) from None
    except HfHubHTTPError as error:
        reason = str(error).splitlines()[0]
        raise ServiceError(f"The {what} {name} is no folder here, and the hub did not give it: {reason}") from error
    return folder


def is_name(name: str, what: str = "model") -> bool:
    """Whether the hub may be asked for it. A model of somebody's is OWNER/NAME; some parts have no owner (gpt2)."""
    owner, slash, _ = name.partition("/")
    return bool(_NAME.fullmatch(name)) and owner not in OURS and (bool(slash) or what != "model")


@cache
def why_no_answer(endpoint: str) -> str | None:
    """Why the hub cannot be asked; None if it answers anything at all. Asked once a process.

    In a thread, since a name server that does not answer keeps no timeout.
    """
    from huggingface_hub.utils import get_session

    wait_s = float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or ANSWER_S)
    found: list[str | None] = []

    def ask() -> None:
        try:
            get_session().head(endpoint, timeout=wait_s)
            found.append(None)
        except Exception as error:  # whatever its client raises: each is a hub that does not answer
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            found.append(f"no hub answers at {endpoint} ({first_line})")

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(wait_s)
    return found[0] if found else f"no hub answers at {endpoint} within {wait_s:g} seconds"


def _no_name(name: str, what: str) -> UsageError:
    made = " Give one that `seetell train` or `seetell import` wrote." if what == "model" else ""
    return UsageError(f"There is no {what} folder {name}, and it is no name on the hub.{made}")
