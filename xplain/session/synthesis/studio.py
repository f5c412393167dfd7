"""What recipes have made for them that no question to a model can: nets trained by torch, and films."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import MissingDependency
from xplain.render.making import film

__all__ = ["Studio"]


class Studio:
    """Trains by torch, which is loaded when it is first asked for."""

    def decoder(self, features: Array, pictures: Array, width: int, steps: int, seed: int) -> Any:
        """A net in training that paints pictures from features; see ``xplain.models.torch.painters.Decoder``.

        Raises:
            MissingDependency: torch is not installed.
        """
        return _painters().Decoder(features, pictures, width, steps, seed)

    def stylist(self, channels: int, styles: int, width: int, steps: int, seed: int) -> Any:
        """A net in training that paints in styles; see ``xplain.models.torch.painters.Stylist``.

        Raises:
            MissingDependency: torch is not installed.
        """
        return _painters().Stylist(channels, styles, width, steps, seed)

    def run(self, file: bytes, x: Array) -> Array:
        """What a trained file makes of ``[N, ...]``, by ONNX Runtime as anybody would run it."""
        from xplain.core.query import Peek
        from xplain.models.onnx.open import open_onnx

        model = open_onnx(file, trusted=True)
        (made,) = model.outline.outputs
        found: Array = model.answer(Peek(x, (made,)))[made]
        return found

    def film(self, pictures: Array) -> bytes:
        """Pictures ``[F, C, H, W]`` in 0..1 one after another, as the bytes of a GIF."""
        return film(np.rint(255 * pictures).astype(np.uint8).transpose(0, 2, 3, 1))


def _painters() -> Any:
    try:
        from xplain.models.torch import painters
    except ImportError:
        raise MissingDependency("This recipe trains a small net, which needs torch: pip install torch.") from None
    return painters
