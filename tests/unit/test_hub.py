"""Models named on the hub: what is asked, what is said when nothing answers. No network, no model."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from seetell import hub
from seetell.errors import ServiceError, UsageError


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """As on a machine without HF_HUB_OFFLINE, with an empty cache."""
    hub.why_no_answer.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield
    hub.why_no_answer.cache_clear()


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.usefixtures("online")
def test_a_hub_that_says_nothing_is_waited_for_once(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.2")
    monkeypatch.setattr(constants, "ENDPOINT", silent)
    for name in ("nobody/nothing", "nobody/other"):
        with pytest.raises(
            ServiceError, match=rf"There is no model folder {name}, nor .* and no hub answers at {silent}"
        ):
            hub.fetched(name)
    assert hub.why_no_answer.cache_info().misses == 1


@pytest.mark.usefixtures("online")
def test_a_hub_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    with pytest.raises(ServiceError, match="nor is it in the hub's cache, and no hub answers"):
        hub.fetched("nobody/nothing", "vision tower", weights=False)


def test_what_is_fetched_by_what_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def download(_name: str, **given: Any) -> str:
        asked.append(given)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert hub.fetched("somebody/model", weights=False) == tmp_path
    assert not any("safetensors" in pattern for pattern in asked[-1]["allow_patterns"])
    hub.fetched("somebody/model", newest=False)  # torch's own files are asked for where there are no others
    assert [bool({"pytorch_model*.bin"} & {*one["allow_patterns"]}) for one in asked] == [False, False, True]
    assert asked[-1]["local_files_only"] is True


@pytest.mark.parametrize(
    ("name", "what"),
    [("gpt2", "model"), ("runs/mine", "model"), ("data/mine", "language model"), ("a/b/c", "model"), ("", "model")],
)
def test_a_path_is_not_looked_for_on_the_hub(name: str, what: str) -> None:
    with pytest.raises(UsageError, match="no name on the hub"):
        hub.fetched(name, what)


def test_some_parts_have_no_owner() -> None:
    assert hub.is_name("gpt2", "language model")
