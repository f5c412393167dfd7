"""Attributions as ``shap.Explanation``, for the plots that people already use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency
from xplain.core.items import Passage
from xplain.render.shown import Shown

__all__ = ["to_shap"]


@renderer("shap")
def to_shap(attribution: Shown) -> Any:
    """The same numbers as a ``shap.Explanation``, in the shapes that shap's own explainers give.

    | items | ``values`` | ``data`` | ``output_names`` |
    |---|---|---|---|
    | pictures | ``[N, H, W, C, 1]``, C = 1 for a map | pictures ``[N, H, W, 3]``, or None | one name, or ``[N, 1]`` |
    | rows | ``[N, S]`` | numbers ``[N, S]``, categories by number; as text in ``display_data`` | a text |
    | texts | ``[N, S]``, or N arrays where texts differ in length | words, each with the space behind it | a text |

    Values are not rescaled; ``base_values`` are the attribution's ``base``, or zero where it has none.

    Raises:
        MissingDependency: shap is not installed.
    """
    try:
        import shap
    except ImportError:
        raise MissingDependency("to_shap() needs the package shap: pip install 'xplain[compare]'.") from None
    base = np.zeros(len(attribution)) if attribution.base is None else np.asarray(attribution.base)
    told = {"base_values": base, "output_names": attribution.target}
    if attribution.texts:
        told |= _of_texts(attribution)
    elif attribution.values.ndim == 2:
        told |= _of_rows(attribution)
    else:
        told |= _of_pictures(attribution) | {"base_values": base[:, None]}
    return shap.Explanation(**told)


def _of_pictures(attribution: Shown) -> dict[str, Any]:
    values, pictures = np.asarray(attribution.values), attribution.pictures
    if values.ndim == 3:
        values = values[..., None]
    elif values.ndim == 4 and not (pictures is not None and values.shape[1:3] == pictures.shape[1:3]):
        values = values.transpose(0, 2, 3, 1)
    names = [attribution.target_of(item) for item in range(len(attribution))]
    same = len(set(names)) == 1
    told = names[:1] if same else np.array(names, dtype=object)[:, None]
    return {"values": values[..., None], "data": pictures, "output_names": told}


def _of_rows(attribution: Shown) -> dict[str, Any]:
    values, columns = np.asarray(attribution.values), attribution.columns
    names = [f"column {k}" for k in range(values.shape[1])]
    told: dict[str, Any] = {"values": values, "data": None, "feature_names": names}
    if attribution.rows is not None:
        gap = np.finfo(np.float32).min  # what stands for a cell that holds nothing
        told["data"] = np.where(attribution.rows == gap, np.nan, attribution.rows)
    if columns is None:
        return told
    told["feature_names"] = list(columns.names)
    if columns.values:
        told["display_data"] = np.array(columns.values, dtype=object)
        if attribution.rows is None:  # a file of before rows were kept
            told["data"] = np.stack([_numbers(cells) for cells in zip(*columns.values, strict=True)], axis=1)
    return told


def _numbers(cells: Sequence[str]) -> Array:
    """The numbers that a column's texts write, or, where one is none, the place of each text among the different."""
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        places = {cell: place for place, cell in enumerate(dict.fromkeys(cells))}
        return np.array([float(places[cell]) for cell in cells])


def _of_texts(attribution: Shown) -> dict[str, Any]:
    words = [_spaced(passage) for passage in attribution.texts]
    values = [np.asarray(row)[: len(own)] for row, own in zip(attribution.values, words, strict=True)]
    if len({len(own) for own in words}) == 1:
        return {"values": np.stack(values), "data": np.array(words, dtype=object)}
    ragged, data = np.empty(len(words), dtype=object), np.empty(len(words), dtype=object)
    for item, own in enumerate(words):
        ragged[item], data[item] = values[item], np.array(own, dtype=object)
    return {"values": ragged, "data": data}


def _spaced(passage: Passage) -> list[str]:
    """The words of a text with what stands behind each, so that they make the text when they are put together."""
    starts = [0, *(start for start, _ in passage.spans[1:])] if passage.spans else []
    stops = [*starts[1:], len(passage.text)]
    return [passage.text[start:stop] for start, stop in zip(starts, stops, strict=False)]
