"""Simple defences: what is done to a picture before a model sees it, in the hope that a small change is lost.

Each takes uint8 pictures ``[N, H, W, 3]`` and gives as many of the same size. An attacker who knows of it attacks
through it (Athalye 2018, arXiv:1802.00420).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from xplain.core.edits import Array

__all__ = ["DEFENCES", "Defence"]

Defence: TypeAlias = Callable[[Array], Array]

_QUALITY = 75
_LEVELS = 16
_SMALLEST = 0.88


def jpeg(pictures: Array) -> Array:
    """Saved as JPEG of quality 75 and read again. Dziugaite 2016, arXiv:1608.00853."""
    from PIL import Image

    found = []
    for one in pictures:
        held = io.BytesIO()
        Image.fromarray(one).save(held, "JPEG", quality=_QUALITY)
        found.append(np.asarray(Image.open(held).convert("RGB")))
    return np.stack(found)


def depth(pictures: Array) -> Array:
    """Sixteen levels per channel, 4 bits for 8. Xu 2018, arXiv:1704.01155."""
    return np.asarray(np.rint(np.rint(pictures / 255 * (_LEVELS - 1)) / (_LEVELS - 1) * 255), np.uint8)


def median(pictures: Array) -> Array:
    """The median of each 3 x 3 neighbourhood, per channel. Xu 2018, arXiv:1704.01155."""
    high, wide = pictures.shape[1:3]
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    shifted = [padded[:, y : y + high, x : x + wide] for y in range(3) for x in range(3)]
    return np.asarray(np.sort(np.stack(shifted), axis=0)[4])


def resize(pictures: Array) -> Array:
    """Made smaller by up to 12 % on grey, as the picture's content draws it. Xie 2018, arXiv:1711.01991."""
    from PIL import Image

    found = []
    for one in pictures:
        key = hashlib.sha256(np.ascontiguousarray(one).tobytes()).digest()[:16]
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
        high, wide = one.shape[:2]
        share = rng.uniform(_SMALLEST, 1.0)
        small = max(1, round(high * share)), max(1, round(wide * share))
        top, left = (int(rng.integers(0, n - k + 1)) for n, k in zip((high, wide), small, strict=True))
        paper = np.full_like(one, 128)
        drawn = Image.fromarray(one).resize((small[1], small[0]), Image.Resampling.BILINEAR)
        paper[top : top + small[0], left : left + small[1]] = np.asarray(drawn)
        found.append(paper)
    return np.stack(found)


DEFENCES: Mapping[str, Defence] = {"jpeg": jpeg, "depth": depth, "median": median, "resize": resize}
"""By the name that a person gives."""
