"""Whether the arrays of a saved result are what its kind needs: types, shapes that fit one another, finite numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xplain.core.edits import Array
from xplain.results.archive import Fault

__all__ = ["Need", "fit"]

Need = tuple[str, tuple[str | int, ...]]
"""Kinds of numpy types that are right (``"f"``, ``"iu"``), and the shape: numbers as they are, letters for extents that
are the same wherever they stand."""


def fit(
    arrays: Mapping[str, Array],
    needs: Mapping[str, Need],
    maybe: Mapping[str, Need] | None = None,
    *,
    gaps: tuple[str, ...] = (),
) -> dict[str, int]:
    """Hold arrays against what is needed.

    Args:
        arrays: What a file holds.
        needs: What must be there.
        maybe: What may be.
        gaps: Arrays that may hold NaN.

    Returns:
        Each letter's extent.

    Raises:
        Fault: one is missing, of another type or shape, or not finite; the message names it.
    """
    extents: dict[str, int] = {}
    for name, (kinds, shape) in {**needs, **(maybe or {})}.items():
        array = arrays.get(name)
        if array is None:
            if name in needs:
                raise Fault(f"it holds no {name}")
            continue
        right = array.dtype.kind in kinds and array.ndim == len(shape)
        for letter, extent in zip(shape, array.shape, strict=False):
            wanted = extents.setdefault(letter, extent) if isinstance(letter, str) else letter
            right = right and extent == wanted
        if not right:
            told = [extents.get(one, one) if isinstance(one, str) else one for one in shape]
            raise Fault(f"its {name} are {array.dtype} {list(array.shape)}; [{', '.join(map(str, told))}] is needed")
        if array.dtype.kind == "f" and name not in gaps and not np.isfinite(array).all():
            raise Fault(f"its {name} hold NaN or infinity")
    return extents
