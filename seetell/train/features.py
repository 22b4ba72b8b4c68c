"""What the frozen tower saw, kept on the disk: a picture is seen once in a run, however many epochs and stages show it.

    features/<tower>/<shard>.safetensors      "features" [N, P, V], and in its header which picture each row is

A picture is known by its content and the tower by its weights and by how pictures are made ready for it, so a feature
is never a stale one. A shard is a function of the pictures in it alone, and is named by them: a killed run sees only
what was not written yet, bit for bit as it would have, and ranks share the work. Read back by mapping the file, so
memory does not grow with the data. A shard that is torn or changed is seen again.

Shapes  N images of a shard, P slots of an image, V tower width.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from seetell.console import progress
from seetell.encode.image import ImageProcessor
from seetell.errors import Failed
from seetell.files import writing
from seetell.model.vlm import VLM
from seetell.pictures import content_key, picture_bytes
from seetell.train.computing import autocast
from seetell.train.ranks import Ranks
from seetell.train.threads import threads_beside
from seetell.types import Image, Rejected

SHARD = 256  # pictures of a file: 300 MB for ViT-L/14 at 336 pixels in bfloat16
CHUNK = 64  # pictures that the tower sees at once


@dataclass(frozen=True, slots=True)
class Eye:
    """All that a feature depends on besides its picture."""

    model: VLM
    image_processor: ImageProcessor
    precision: torch.dtype

    @property
    def key(self) -> str:
        """A name for it, by content."""
        model, digest = self.model, hashlib.sha256()
        for name, weight in sorted(model.vision.state_dict().items()):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
            digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        ways = model.layers_used, model.drops_cls, astuple(self.image_processor), self.precision, model.device.type
        digest.update(repr(ways).encode())
        return digest.hexdigest()[:24]

    def see(self, pixels: Sequence[Tensor]) -> Tensor:
        """N times uint8 [3, H, W] -> [N, P, V], in chunks, so that what is seen depends on the pictures alone."""
        side_px = self.image_processor.side_px
        stacked = torch.stack(list(pixels)) if pixels else torch.empty(0, 3, side_px, side_px, dtype=torch.uint8)
        with autocast(self.model.device, self.precision):
            chunks = [self.model.tower_features(one.to(self.model.device)).cpu() for one in stacked.split(CHUNK)]
        return torch.cat(chunks).contiguous()


class Features:
    """The features of pictures, in shards under a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys: dict[str, str] = {}  # by path
        self._rows: dict[str, tuple[Tensor, int]] = {}
        self._refused: dict[str, Rejected] = {}
        self._opened: set[Path] = set()

    def look(self, eye: Eye, images: Iterable[Image], ranks: Ranks) -> None:
        """Sees every picture that no shard holds; afterwards `get` knows all of them.

        The order and the chunks must be a function of the data alone: what the tower computes for a picture
        may differ in the last bit with the company it is computed in, and a resumed run must see the same.
        """
        folder = self.folder / eye.key
        with threads_beside("pictures") as pool:
            known = self._hashed(pool, images)
            keys = list(known)
            parts = (keys[at : at + SHARD] for at in range(0, len(keys), SHARD))
            shards = {
                folder / f"{hashlib.sha256(''.join(part).encode()).hexdigest()[:24]}.safetensors": part
                for part in parts
            }

            def unseen() -> dict[Path, list[str]]:
                whole = dict(zip(shards, pool.map(self._open, shards), strict=True))
                return {path: part for path, part in shards.items() if not whole[path]}

            def see(mine: dict[Path, list[str]]) -> None:
                if not mine:
                    return
                images = [known[key] for part in mine.values() for key in part]
                decoded = decode_ahead(pool, eye.image_processor, images)
                with progress("seeing pictures", total=len(images)) as bar:
                    for path, part in mine.items():
                        _write(path, eye, dict(zip(part, decoded, strict=False)))
                        bar.advance(len(part))

            missing = ranks.together(unseen)  # nobody writes before all have looked
            ranks.together(lambda: see(dict(islice(missing.items(), ranks.rank, None, ranks.count))))
            # A machine that does not share its disk with the others sees their pictures once more.
            ranks.together(lambda: see(unseen()))
            if lost := unseen():
                raise Failed(f"{next(iter(lost))} does not hold what was just written there: look at that disk.")

    def get(self, image: Image) -> Tensor | Rejected:
        """[P, V]"""
        key = self._keys[image.path] if image.data is None else content_key(image.data)
        if key in self._refused:
            return self._refused[key]
        features, row = self._rows[key]
        return features[row]

    def _hashed(self, pool: ThreadPoolExecutor, images: Iterable[Image]) -> dict[str, Image]:
        """A picture of each content, in order; what cannot be read is refused."""
        distinct = {image.path if image.data is None else image.data: image for image in images}
        known: dict[str, Image] = {}
        for image, key in zip(distinct.values(), pool.map(_key_of, distinct.values()), strict=True):
            if isinstance(key, Rejected):
                self._keys[image.path] = image.path
                self._refused[image.path] = key
                continue
            known.setdefault(key, image)
            if image.data is None:
                self._keys[image.path] = key
        return known

    def _open(self, path: Path) -> bool:
        """Maps a shard and remembers its rows; false when it is not there, or not what was written."""
        if path in self._opened:
            return True
        try:
            with safe_open(path, framework="pt") as file:
                facts = {name: json.loads(fact) for name, fact in file.metadata().items()}
                features = file.get_tensor("features")
        except (OSError, SafetensorError):
            return False
        if _checksum(features) != facts["crc32"]:
            return False
        self._opened.add(path)
        self._rows |= {key: (features, row) for row, key in enumerate(facts["keys"])}
        self._refused |= {key: Rejected(key, *why) for key, why in facts["refused"].items()}
        return True


def _write(path: Path, eye: Eye, decoded: dict[str, Tensor | Rejected]) -> None:
    """One shard: what the tower sees in the sound pictures, and why the others are none."""
    pixels = {key: one for key, one in decoded.items() if isinstance(one, Tensor)}
    refused = {key: (one.reason, one.detail) for key, one in decoded.items() if isinstance(one, Rejected)}
    features = eye.see(list(pixels.values()))
    facts = {"keys": list(pixels), "refused": refused, "crc32": _checksum(features)}
    data = save({"features": features}, metadata={name: json.dumps(fact) for name, fact in facts.items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as file:
            file.write(data)
    except OSError as error:
        raise Failed(
            f"The features of {len(decoded)} pictures ({len(data) / 1e6:.1f} MB) could not be written to {path}: "
            f"{error.strerror}. Make room there, or turn cache_features off; the same command resumes from here."
        ) from error


def decode_ahead(
    pool: ThreadPoolExecutor, image_processor: ImageProcessor, images: Iterable[Image]
) -> Iterator[Tensor | Rejected]:
    """Decodes in order, a bounded number ahead."""
    waiting: deque[Future[Tensor | Rejected]] = deque()
    for image in images:
        waiting.append(pool.submit(image_processor.pixels, image))
        if len(waiting) > 2 * CHUNK:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _key_of(image: Image) -> str | Rejected:
    data = picture_bytes(image) if image.data is None else image.data
    return data if isinstance(data, Rejected) else content_key(data)


def _checksum(features: Tensor) -> int:
    return zlib.crc32(memoryview(cast(Any, features.reshape(-1).view(torch.uint8).numpy())))
