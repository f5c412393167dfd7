"""How strong each spatial frequency is in photographs, in colours that vary independently."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from xplain.core.edits import Array
from xplain.core.synthesis.canvas import COLOURS, as_logits

__all__ = ["magnitude_of"]

_SMOOTH = 1.5  # of the logarithm, in frequencies: few photographs give a rough spectrum


def magnitude_of(pictures: Sequence[Array], side: tuple[int, int]) -> Array:
    """Mean magnitude of the Fourier transforms of pictures ``[C, H, W]``, as ``Phases`` takes it, ``[C, *side]``.

    Of the planes behind the colours' logits, less their means, under a Hann window; smoothed.
    """
    found: list[Array] = []
    for picture in pictures:
        edge = min(picture.shape[1:])
        top, left = ((n - edge) // 2 for n in picture.shape[1:])
        planes = as_logits(picture[None, :, top : top + edge, left : left + edge], COLOURS)[0]
        planes = planes - planes.mean(axis=(1, 2), keepdims=True)
        window = np.hanning(edge)[:, None] * np.hanning(edge)
        whole = np.fft.fftshift(np.abs(np.fft.fft2(planes * window)), axes=(1, 2))
        factors = [n / edge for n in side]
        scaled = [zoom(plane, factors, order=1, grid_mode=True, mode="nearest") for plane in whole]
        found.append(np.stack(scaled) / max(float(np.mean(scaled)), 1e-12))
    mean = np.mean(found, axis=0)
    smooth = np.exp(gaussian_filter(np.log(mean + 1e-6), (0, _SMOOTH, _SMOOTH)))
    return np.asarray(np.fft.ifftshift(smooth, axes=(1, 2)), np.float32)
