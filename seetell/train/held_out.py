"""Which samples of a stage are kept from training: the loss on them tells learning from learning by heart.

The share is one of pictures: all samples that show a held-out picture are held out. A picture is known by its file's
name and its folder's, and a number drawn from those and the recipe's seed decides. So the choice does not depend on the
order of the rows, on their number, or on where the data lies; more rows move none from one side to the other; and
stages with the same share hold out the same pictures. A sample without a picture is known by its tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from seetell.types import Image

NUMBERS = 2**64


def held_out(keys: Sequence[tuple[str, ...]], share: float, seed: int) -> list[int]:
    """The places of the samples to hold out, by what each of them shows: at least one, where a share is asked for."""
    if not share or not keys:
        return []
    numbers = {key: _number(key, seed) for sample in keys for key in sample}
    chosen = {key for key, number in numbers.items() if number < share * NUMBERS}
    chosen = chosen or {min(numbers, key=numbers.__getitem__)}
    return [place for place, sample in enumerate(keys) if not chosen.isdisjoint(sample)]


def sample_keys(images: Sequence[Image], ids: bytes) -> tuple[str, ...]:
    """The names of a sample's pictures; without any, a hash of its token ids."""
    return tuple(map(picture_name, images)) or (hashlib.sha256(ids).hexdigest(),)


def picture_name(image: Image) -> str:
    """`train2017/000000000009.jpg` of a file; a hash of a picture that lies within its row."""
    if image.data is not None:
        return hashlib.sha256(image.data).hexdigest()
    return "/".join(image.path.replace("\\", "/").rsplit("/", 2)[-2:])


def _number(key: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()[:8])
