"""Files that survive a crash: atomic writes, append-only JSONL, hashes, manifests.

A file written here is either the old one or the new one, whatever kills the process; a JSONL file may end
in a torn line, which readers ignore and the next writer removes; a folder is whole when its manifest,
which is written last, names every file with its size and hash. A full disk is a `DiskFull` that names the place.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypedDict, cast

from seetell.errors import DamagedFile, DiskFull
from seetell.text import why_not_text

MANIFEST = "manifest.json"
FACTS_FILE = "seetell.json"  # in a model's folder: what no other software has a place for
ROWS_PER_SYNC = 64
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # full, above one's quota, longer than a file may be
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # how safetensors, which is Rust, tells of the system's errors
_TAR_PART = re.compile(r"(.+\.tar)#(\d+)\+(\d+)", re.DOTALL)


class Entry(TypedDict):
    """What a manifest says of a file."""

    bytes: int
    sha256: str


@contextmanager
def writing(path: str | Path) -> Generator[BinaryIO]:
    """A file to write piece by piece, which takes its place whole at the end of the block or not at all."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with telling_full_disk(path):
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        sync(path.parent)


@contextmanager
def telling_full_disk(place: str | Path) -> Generator[None]:
    """What fails inside because the disk is full is a `DiskFull` that names `place`."""
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        told = _OS_ERROR.search(str(error))
        number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
        if number not in FULL:
            raise
        raise DiskFull(number, os.strerror(number), str(place)) from error


def write_atomic(path: str | Path, data: bytes | str) -> None:
    """Writes the whole file or leaves what was there before."""
    with writing(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def is_there(path: Path) -> bool:
    """Whether a file or folder can be seen there; not where a name is too long or a folder may not be looked into."""
    try:
        return path.exists()
    except OSError:
        return False


def read_bytes(path: str | Path) -> bytes:
    """A file, or a part of a tar: `000.tar#1536+20480` is 20,480 bytes from 1,536 on (`sources/shards.py`)."""
    part = _TAR_PART.fullmatch(str(path))
    if part is None:
        return Path(path).read_bytes()
    with Path(part[1]).open("rb") as file:
        file.seek(int(part[2]))
        data = file.read(int(part[3]))
    if len(data) < int(part[3]):
        raise OSError(errno.EIO, "the tar ends inside it", str(path))
    return data


def read_json(path: str | Path) -> Any:
    """Whatever the file says; one that is not JSON is a DamagedFile."""
    try:
        return json.loads(Path(path).read_bytes())
    except RecursionError:
        raise DamagedFile(f"{path} is not JSON that can be read: it is nested too deeply.") from None
    except ValueError as error:
        raise DamagedFile(f"{path} is not JSON: {why_not_text(path) or error}.") from None


def as_object(value: Any) -> dict[str, Any] | None:
    """The value if it is a JSON object: JSON from outside is `Any` until someone has looked."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def as_list(value: Any) -> list[Any] | None:
    """The value if it is a JSON list."""
    return cast("list[Any]", value) if isinstance(value, list) else None


def json_text(value: object, indent: int | None = None) -> str:
    """JSON, readable in every script; escaped only where it holds half a surrogate pair, which has no encoding."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=indent, allow_nan=False)
    return text


def write_json(path: str | Path, value: object) -> None:
    """Indented, in the order given; a number that is not finite is a ValueError, for JSON has no word for it."""
    write_atomic(path, json_text(value, indent=2) + "\n")


class JsonlWriter:
    """Appends rows; they reach the disk in groups and at `flush` or the end of the `with` block."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _mend_last_line(self.path)
        self._file = self.path.open("ab")
        self._waiting = 0

    def write(self, row: Mapping[str, object]) -> None:
        with telling_full_disk(self.path):
            self._file.write((json_text(row) + "\n").encode("utf-8"))
        self._waiting += 1
        if self._waiting >= ROWS_PER_SYNC:
            self.flush()

    def flush(self) -> None:
        with telling_full_disk(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._waiting = 0

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            with telling_full_disk(self.path):
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def append_jsonl(path: str | Path) -> JsonlWriter:
    """Opens a JSONL file for appending, without the torn last line that a killed writer may have left."""
    return JsonlWriter(path)


def read_jsonl(path: str | Path, *, ours: bool = True) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file; blank lines are passed over.

    So is a torn last line, which a killed writer of `ours` may have left; in a file of others it is damage.
    """
    if not ours and (why := why_not_text(path)):
        raise DamagedFile(f"{path} is not JSONL: {why}.")
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            row = _row(line)
            if row is not None:
                yield row
            elif line.endswith(b"\n") or not ours:
                shown = line[:60].decode(errors="replace")
                raise DamagedFile(f"{path}, line {number}, is not a JSON object: {shown!r}.")


def sha256_file(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Hashing:
    """A file that is open for writing, whose size and hash are known when the last byte is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash, self._bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._bytes += len(data)
        return self._file.write(data)

    def entry(self) -> Entry:
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def write_manifest(folder: str | Path, known: Mapping[str, Entry] | None = None) -> None:
    """Flushes every file of a finished folder to the disk, then writes their sizes and hashes, last.

    Whoever wrote a large file may have hashed it meanwhile (`Hashing`): what is `known` of it, by its name within the
    folder, is written down as it is, and only its size is looked at.
    """
    folder = Path(folder)
    files = _files(folder)
    for path in (*files, *{path.parent for path in files}):
        sync(path)
    entries: dict[str, Entry] = {}
    for path in files:
        name, size_bytes = path.relative_to(folder).as_posix(), path.stat().st_size
        entry = (known or {}).get(name) or {"bytes": size_bytes, "sha256": sha256_file(path)}
        if entry["bytes"] != size_bytes:
            raise DamagedFile(f"{path} has {size_bytes} bytes, and {entry['bytes']} were written.")
        entries[name] = entry
    write_json(folder / MANIFEST, {"files": entries})


def check_manifest(folder: str | Path) -> None:
    """Raises DamagedFile unless every file that the manifest names is there with its size and hash."""
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise DamagedFile(f"{folder} has no {MANIFEST}: writing it was never finished.")
    entries = as_object((as_object(read_json(folder / MANIFEST)) or {}).get("files"))
    if entries is None:
        raise DamagedFile(f"{folder / MANIFEST} names no files.")
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file():
            raise DamagedFile(f"{path} is missing, though the manifest names it.")
        size_bytes = path.stat().st_size
        if size_bytes != entry["bytes"]:
            raise DamagedFile(f"{path} has {size_bytes} bytes, the manifest says {entry['bytes']}.")
        if sha256_file(path) != entry["sha256"]:
            raise DamagedFile(f"{path} is not the file that the manifest describes: its hash differs.")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        return as_object(json.loads(line))
    except (ValueError, RecursionError):
        return None


def _mend_last_line(path: Path) -> None:
    """A last line without its newline is ended if it is a whole row, else cut off."""
    if not path.exists():
        path.touch()
        sync(path.parent)
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        last = b""
        while len(last) < size and b"\n" not in last:
            block = min(1 << 16, size - len(last))
            file.seek(size - len(last) - block)
            last = file.read(block) + last
        last = last.rpartition(b"\n")[2]
        if last and _row(last) is None:
            file.truncate(size - len(last))
        elif last:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")


def sync(path: Path) -> None:
    """Makes the disk hold what was written to a file, or renamed in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
