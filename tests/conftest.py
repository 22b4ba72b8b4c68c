"""What every test may count on: no network, no hub, nothing drawn by lot, and outside data only where it lies."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from seetell.console import console

os.environ["HF_HUB_OFFLINE"] = "1"  # before anyone imports transformers, which reads it once
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# The last bits of sums depend on it, and runs are compared: not for each run to choose by how busy the machine is.
os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))

settings.register_profile("seetell", deadline=None, derandomize=True)
settings.load_profile("seetell")

ROOT = Path(__file__).parents[1]
OUTSIDE_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def outside() -> Callable[[str], Path]:
    """`outside("coco")` is that data beside the checkout, which is no part of it; the test is skipped without."""

    def find(name: str) -> Path:
        path = OUTSIDE_DATA / name
        if not path.exists():
            pytest.skip(f"{name} does not lie in ../shared/data")
        return path

    return find


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is remembered from run to run (`model/self_check.py`) is remembered for these tests alone."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def not_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that was told --quiet stays so in this process: the next test hears sentences again."""
    monkeypatch.setattr(console, "quiet", False)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that would leave this machine fails the test that makes it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test reached for the network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
