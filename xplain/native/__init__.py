"""The compiled kernels: the only door to ``xplain._native``.

| function | does |
|---|---|
| ``fill`` | writes edited copies of items straight into a model's input buffer |
| ``accumulate``, ``coverage`` | weighted sums of masks that are never stored |
| ``soft_grid_cells`` | the cells and shifts behind RISE's masks |
| ``rank`` | places of values in descending order, ties and NaN defined |
| ``describe`` | maps told by a few numbers, and in half precision |
| ``gram``, ``gram_backward`` | products of feature maps for texture and style |
| ``grow``, ``pyramid``, ``quilt`` | textures by example, from pixels or from blocks of a sample |
| ``library`` | the file that ONNX Runtime reads operators from |
| ``status`` | what is compiled in and what is in use |

All take numpy arrays, or tensors of one CUDA device and a ``stream`` (``xplain.native.place``).
``xplain.native.reference`` defines each in plain numpy; the tests hold every implementation to it.
"""

from __future__ import annotations

from xplain.native.describe import describe
from xplain.native.gram import gram, gram_backward
from xplain.native.order import rank
from xplain.native.perturb import fill
from xplain.native.status import library, status
from xplain.native.sums import accumulate, coverage, soft_grid_cells
from xplain.native.texture import grow, pyramid, quilt

__all__ = [
    "accumulate",
    "coverage",
    "describe",
    "fill",
    "gram",
    "gram_backward",
    "grow",
    "library",
    "pyramid",
    "quilt",
    "rank",
    "soft_grid_cells",
    "status",
]
