"""A concept-balanced subset of captions: rare things stay, common ones are thinned out.

For every noun phrase that occurs at least `least` times: all captions that have it, or `most` of them drawn at random
where there are more. A caption is taken when one of its phrases takes it. Phrases do not see each other's choices, so
the order from the rarest up, in which the paper goes through them, changes nothing; captions that another phrase has
taken count towards a phrase's hundred.

Captions are read once. What stands on the disk is eight bytes a phrase and one a caption, which is also what makes a
killed run go on; what stands in memory at the end is a few dozen bytes for each phrase of a caption.

Source: Liu et al. 2023 (arXiv:2304.08485), appendix on CC3M's filter; what it leaves open is decided as said here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.files import as_object, read_json, write_json
from seetell.generate.phrases import Chunker

BLOCK = 4096  # captions between two writes
PHRASES, LENGTHS, STATE = ".phrases.bin", ".lengths.bin", ".reading.json"

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which captions are taken, and how often each phrase occurred before and after, most frequent first."""

    taken: NDArray[np.bool_]
    before: NDArray[np.int64]
    after: NDArray[np.int64]

    @property
    def lost(self) -> int:
        """Phrases that occurred and do not any more."""
        return int(np.count_nonzero(self.after == 0))


def read_phrases(
    captions: Iterable[str], chunker: Chunker, folder: Path, source: dict[str, Any], told: Callable[[int], object]
) -> tuple[Hashes, NDArray[np.uint8]]:
    """Hashes of every caption's phrases, one after the other, and how many each caption has.

    `source` says what is read and how; reading goes on where it stopped when the folder's files are of the same.
    """
    paths = folder / PHRASES, folder / LENGTHS
    known = folder / STATE
    if not known.exists() or as_object(read_json(known)) != source:
        for path in paths:
            path.unlink(missing_ok=True)
        write_json(known, source)
    done = _mend(*paths)
    told(done)
    rest = islice(iter(captions), done, None)
    with paths[0].open("ab") as phrases, paths[1].open("ab") as lengths:
        while block := list(islice(rest, BLOCK)):
            found = [each[:255] for each in chunker(block)]
            hashes = np.fromiter((hash_of(phrase) for each in found for phrase in each), np.uint64)
            phrases.write(hashes.tobytes())
            phrases.flush()  # before the lengths: what is torn is cut off behind whole captions
            lengths.write(bytes(len(each) for each in found))
            lengths.flush()
            told(len(block))
    return np.fromfile(paths[0], np.uint64), np.fromfile(paths[1], np.uint8)


def forget_reading(folder: Path) -> None:
    for name in (PHRASES, LENGTHS, STATE):
        (folder / name).unlink(missing_ok=True)


def choose(phrases: Hashes, lengths: NDArray[np.uint8], least: int = 3, most: int = 100, seed: int = 0) -> Choice:
    """Draws the subset; the same seed draws the same one."""
    caption_of = np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths)
    keys = _mixed(phrases ^ _mixed(caption_of.astype(np.uint64) + np.uint64(seed * 1_000_003 % 2**63)))
    order = np.lexsort((keys, phrases))  # by phrase, and at random within it
    del keys
    ordered = phrases[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.int64)
    counts = np.diff(np.r_[starts, len(ordered)])
    rank = np.arange(len(ordered)) - np.repeat(starts, counts)
    chosen = (np.repeat(counts, counts) >= least) & (rank < most)
    taken = np.zeros(len(lengths), np.bool_)
    taken[caption_of[order[chosen]]] = True
    after = np.add.reduceat(taken[caption_of[order]].astype(np.int64), starts) if len(starts) else counts
    by_frequency = np.argsort(-counts, kind="stable")
    return Choice(taken, counts[by_frequency], after[by_frequency])


def hash_of(phrase: str) -> int:
    return int.from_bytes(hashlib.blake2b(phrase.encode(), digest_size=8).digest(), "little")


def taken_of(rows: Iterable[Any], taken: NDArray[np.bool_]) -> Iterator[Any]:
    """The rows that were taken, in their order."""
    return (row for row, wanted in zip(rows, taken, strict=True) if wanted)


def curve(counts: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Logarithms of rank and frequency, for a plot: of a few hundred ranks, evenly apart on the logarithm."""
    sizes = -np.sort(-counts[counts > 0])
    if not len(sizes):
        return []
    ranks = np.unique(np.geomspace(1, len(sizes), 300).astype(np.int64))
    return [(float(np.log10(rank)), float(np.log10(sizes[rank - 1]))) for rank in ranks]


def _mixed(values: Hashes) -> Hashes:
    """Scrambles 64 bits so that neighbours have nothing in common (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _mend(phrases: Path, lengths: Path) -> int:
    """Cuts both files to whole captions; how many there are."""
    for path in (phrases, lengths):
        path.touch()
    counts = np.fromfile(lengths, np.uint8)
    ends = np.cumsum(counts, dtype=np.int64)
    whole = int(np.searchsorted(ends, phrases.stat().st_size // 8, side="right"))
    with phrases.open("r+b") as file:
        file.truncate(8 * int(ends[whole - 1]) if whole else 0)
    with lengths.open("r+b") as file:
        file.truncate(whole)
    return whole
