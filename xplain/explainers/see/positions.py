"""Which layer is read, and what becomes of its positions: stated by who asks, never chosen where several fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Outline
from xplain.core.positions.axes import shape_of
from xplain.core.positions.grid import Grid, describe, tokens_of
from xplain.core.query import View
from xplain.core.target import SCORES
from xplain.explainers.cam.layers import MapLayer

__all__ = ["Positions", "Read", "layer_of", "penultimate", "vector_reader"]


@dataclass(frozen=True)
class _PositionsKind:
    """``mean``, ``max``, ``all``, ``token:K``, or None."""

    accepts: str = "mean or max (over positions), all (each by itself), token:K (one token, such as token:0), or none"
    invalid: tuple[Any, ...] = ("median", "token", "token:-1", "token:x", 3, "")

    def read(self, value: Any) -> str | None:
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        if not isinstance(value, str):
            raise ValueError
        word, colon, number = value.partition(":")
        if word in ("mean", "max", "all") and not colon:
            return word
        if word == "token" and number.isdecimal():
            return f"token:{int(number)}"
        raise ValueError


Positions: TypeAlias = Annotated[str | None, _PositionsKind()]
"""What a layer with positions becomes."""


def layer_of(scene_view: View, layer: str) -> str:
    """The layer that is meant, also by a short name: ``auto`` is the penultimate one."""
    if layer != "auto":
        name = scene_view.outline.layer_meant(layer)
        scene_view.outline.layer(name)
        return name
    return penultimate(scene_view)


def penultimate(view: View) -> str:
    """The layer that the scores are a linear function of: what enters the last layer of weights.

    Raises:
        UsageError: no one layer is; the message says why, and which there are.
    """
    lineage, outline = view.lineage, view.outline
    if lineage is None:
        raise _no_penultimate(outline, "it shows nothing of its inside")
    called = {lineage.tensor(layer.name): layer for layer in outline.layers}
    scores = SCORES if SCORES in lineage.names else outline.scores.tensor
    at, found = lineage.tensor(scores), False
    for _ in range(len(lineage.parents) + 1):
        layer = called.get(at)
        if found and layer is not None:
            return layer.name
        parents = lineage.parents.get(at, ())
        if len(parents) != 1:
            break
        found = found or (layer is not None and layer.weighted)
        (at,) = parents
        if at == lineage.entry:
            break
    why = "no layer of weights stands between the input and the scores" if not found else "that layer reads the input"
    raise _no_penultimate(outline, why)


def _no_penultimate(outline: Outline, why: str) -> UsageError:
    last = [layer.name for layer in outline.layers[-3:]]
    such = f", such as {', '.join(last)}" if last else ""
    return UsageError(
        f"{outline.source} has no one penultimate layer: {why}. Name the layer to read{such}: ",
        option("layer"),
        ".",
        option="layer",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """How one layer becomes vectors.

    Args:
        layer: Its name.
        how: In words, for the result: ``mean over 13 x 13 positions``; empty where it has none.
        positions: What was asked, or found to be all that there is.
        grid: Where its positions lie; None where it has none, or they are not needed.
        token: (axis, index) of one token; None for none.
    """

    layer: str
    how: str
    positions: str
    grid: Grid | None = None
    token: tuple[int, int] | None = None

    @property
    def folds(self) -> bool:
        """Whether the model may take the mean itself, before anything is copied out."""
        return self.positions == "mean" and self.grid is not None and _plain(self.grid)

    def vectors(self, values: Array) -> Array:
        """float32 ``[N, D]`` of a layer's values ``[N, ...]``."""
        values = np.asarray(values)
        if self.token is not None:
            values = np.take(values, self.token[1], axis=self.token[0])
        elif self.grid is not None and self.positions in ("mean", "max"):
            maps = MapLayer(self.layer, self.grid).maps(values)
            flat = maps.reshape(*maps.shape[:2], -1)
            values = flat.mean(axis=2, dtype=np.float32) if self.positions == "mean" else flat.max(axis=2)
        return np.ascontiguousarray(values.reshape(len(values), -1), np.float32)


def _plain(grid: Grid) -> bool:
    """Whether all elements but channels are positions, and the channels stand first."""
    return grid.channel == 0 and not any(map(sum, grid.cuts)) and len(grid.shape) == len(grid.cells) + 1


def vector_reader(view: View, layer: str, positions: str | None) -> Read:
    """How a layer becomes vectors, as it was asked; nothing is chosen where several readings fit.

    Args:
        view: Items, and what is known of the model.
        layer: A whole name, or ``auto``.
        positions: ``mean``, ``max``, ``all``, ``token:K``; None for a layer that has no positions.

    Raises:
        UsageError: the layer has positions and it was not said what becomes of them, or it has no such token; the
            message says what there is.
    """
    name = layer_of(view, layer)
    lineage = view.lineage
    axes = None if lineage is None else lineage.axes_of(name)
    shape = shape_of(axes)[1:] if axes is not None else view.outline.extents(name, tuple(view.x.shape[1:]))
    wide = [extent for extent in shape if extent != 1]
    if len(wide) < 2:
        return Read(name, "", "none")
    if positions == "all":
        return Read(name, f"all of its {' x '.join(map(str, shape))} numbers", "all")
    found = "its axes are not known" if lineage is None else lineage.grid(name, view.layout)
    told = f"Layer {name!r} is [{describe(axes, view.layout)}]"
    if positions is not None and positions.startswith("token:"):
        return _token(view, name, int(positions[6:]), told, shape)
    if isinstance(found, str):
        raise UsageError(
            f"{told}: an item has several numbers of each channel there, and {found}. Say what becomes of them: ",
            option("positions", "all"),
            " keeps every number, or name another layer with ",
            option("layer"),
            ".",
            option="positions",
            got=positions,
        )
    cells = " x ".join(str(extent) for extent in found.cells)
    if positions is None:
        raise UsageError(
            f"{told}: every item has {cells} positions there. Say what becomes of them: ",
            *_ways(view, name),
            ".",
            option="positions",
            got=None,
        )
    cut = " (tokens that are no positions left out)" if any(map(sum, found.cuts)) else ""
    word = "mean" if positions == "mean" else "largest value"
    return Read(name, f"{word} over its {cells} positions{cut}", positions, found)


def _ways(view: View, name: str) -> list[Any]:
    ways: list[Any] = [option("positions", "mean"), ", ", option("positions", "max"), ", "]
    if _token_axis(view, name) is not None:
        ways += [option("positions", "token:0"), " for the first token, "]
    return [*ways, "or ", option("positions", "all")]


def _token_axis(view: View, name: str) -> tuple[int, int] | None:
    """The axis of tokens, counted with the batch, and how many there are."""
    lineage = view.lineage
    for k, axis in enumerate((lineage.axes_of(name) if lineage is not None else None) or ()):
        found = tokens_of(axis, view.layout) if k else None
        several = found is not None and sum(cells > 1 for cells in found.cells) == len(found.cells)
        if found is not None and (found.lead or found.trail or several):
            return k, found.count  # a row of a picture is no token
    return None


def _token(view: View, name: str, index: int, told: str, shape: tuple[int, ...]) -> Read:
    found = _token_axis(view, name)
    if found is None or index >= found[1]:
        have = "it has no axis of tokens" if found is None else f"it has {found[1]} tokens, 0 to {found[1] - 1}"
        raise UsageError(
            f"{told}: {have}, so there is no token {index}. Say what becomes of its positions: ",
            *_ways(view, name),
            ".",
            option="positions",
            got=f"token:{index}",
        )
    if len([extent for extent in shape if extent != 1]) > 2:
        raise UsageError(f"{told}: a token is several axes of numbers there. Give ", option("positions", "all"), ".")
    return Read(name, f"token {index} of {found[1]}", f"token:{index}", token=(found[0], index))
