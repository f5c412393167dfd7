"""A small classifier that ships with the package, and pictures of which the cause of its answer is known.

The classifier says which of five textures are somewhere in a picture (``benchmarks/demo_model/train.py`` trained it).
A demonstration picture is a background with a patch of a texture on it, put together from photographs that come with
scikit-image, from their right halves, which the classifier has never seen. The label is the patch's texture, so the
patch is the cause, and a map can be held to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown
from xplain.render.pictures import read

__all__ = ["SCENES", "Cut", "Scene", "demo_model_path", "demo_picture", "share_on_cause"]

_SIZE = 160  # the classifier's own, so that a pixel of the picture is a pixel of the map


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a photograph that comes with scikit-image.

    Args:
        picture: Its name there.
        box: Left, top, right, bottom.
        tint: Factors on red, green and blue, as the textures are grey.
    """

    picture: str
    box: tuple[int, int, int, int]
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def pixels(self, height: int, width: int) -> Array:
        """The cut as uint8 ``[height, width, 3]``."""
        from PIL import Image

        whole = Image.fromarray(read(f"skimage:{self.picture}"))
        small = whole.resize((width, height), Image.Resampling.BILINEAR, box=self.box)
        tinted: Array = np.rint(np.asarray(small) * np.array(self.tint)).clip(0, 255).astype(np.uint8)
        return tinted


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture whose cause is known.

    Args:
        label: The texture of the patch: what is to be explained.
        ground: What fills the picture.
        patch: What fills the patch.
        place: Top, left, height and width of the patch in the picture.
    """

    label: str
    ground: Cut
    patch: Cut
    place: tuple[int, int, int, int]


_LAWN = Cut("grass", (256, 96, 512, 352), (0.85, 1.1, 0.6))
_TURF = Cut("grass", (280, 200, 416, 336), (0.85, 1.1, 0.6))
_WALL = Cut("brick", (256, 128, 512, 384), (1.2, 0.9, 0.75))
_BRICKS = Cut("brick", (280, 200, 416, 336), (1.3, 0.85, 0.7))
_COINS = Cut("coins", (200, 30, 310, 140), (1.1, 1.0, 0.8))
_CAT = Cut("chelsea", (75, 0, 375, 300))

SCENES: Mapping[str, Scene] = {
    "brick-on-grass": Scene("brick", _LAWN, _BRICKS, (32, 72, 68, 68)),
    "grass-on-brick": Scene("grass", _WALL, _TURF, (32, 72, 68, 68)),
    "coins-on-cat": Scene("coins", _CAT, _COINS, (76, 24, 68, 68)),
}
"""Demonstration pictures by name; the first is the default."""


def demo_model_path() -> Path:
    """The classifier's ONNX file; its preprocessing card lies beside it."""
    return Path(str(files(__name__) / "textures.onnx"))


def demo_picture(name: str = "brick-on-grass") -> tuple[Array, Array, str]:
    """A demonstration picture and its cause.

    Args:
        name: One of ``SCENES``.

    Returns:
        ``(picture, truth, label)``: uint8 ``[160, 160, 3]``, bool ``[160, 160]`` where the cause lies, and the label to
        explain. The same bits on every call.

    Raises:
        UnknownName: no such picture; the message names the nearest.
    """
    if name not in SCENES:
        raise unknown("demonstration picture", name, SCENES)
    scene = SCENES[name]
    top, left, height, width = scene.place
    picture, truth = scene.ground.pixels(_SIZE, _SIZE), np.zeros((_SIZE, _SIZE), bool)
    picture[top : top + height, left : left + width] = scene.patch.pixels(height, width)
    truth[top : top + height, left : left + width] = True
    return picture, truth, scene.label


def share_on_cause(values: Array, truth: Array) -> float:
    """How much of the positive attribution lies on the true cause.

    ``sum(max(values, 0) * truth) / sum(max(values, 0))``; a map that knows nothing gives the area of the cause,
    ``truth.mean()``, and a map without positive values gives 0.

    Args:
        values: Signed map ``[H, W]``.
        truth: bool ``[H, W]``.

    Raises:
        UsageError: the shapes differ.
    """
    if np.shape(values) != np.shape(truth):
        raise UsageError(f"The map is {list(np.shape(values))} and the cause {list(np.shape(truth))}; they must agree.")
    positive = np.maximum(np.asarray(values, np.float64), 0.0)
    total = float(positive.sum())
    return float(positive[truth].sum()) / total if total > 0 else 0.0
