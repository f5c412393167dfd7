"""Vectors of items from a layer: which layer, what becomes of its positions, and the items one part after another."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.arrays import enlarge
from xplain.core.axes import shape_of
from xplain.core.caveat import Caveat
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.fold import Mean
from xplain.core.grid import Grid, describe, tokens_of
from xplain.core.outline import Outline
from xplain.core.query import Answer, Peek, View
from xplain.core.scene import More, Scene, Some
from xplain.core.target import SCORES
from xplain.core.wording import option
from xplain.explainers.cam.layers import MapLayer

__all__ = ["Gathered", "Positions", "Read", "gathered", "layer_of", "penultimate", "small", "vector_reader"]


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
    """The layer that is meant: ``auto`` is the penultimate one."""
    if layer != "auto":
        scene_view.outline.layer(layer)
        return layer
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


# ---------------------------------------------------------------------- the items, part by part


@dataclass(slots=True)
class Gathered:
    """What was read of all items.

    Args:
        reads: How each layer is read.
        names: What the items are called.
        vectors: Layer to vectors ``[N, D]``.
        predicted: The class of each that the model predicts; empty where its scores are no vector of classes.
        confidence: The largest score of each, float64 ``[N]``; NaN where there is none.
        truth: The folder that each lies in, where folders are labels.
        thumbnails: Small pictures, ``[N, s, s, 3]``, or None.
        pixels: Pixels ``[N, P]`` that neighbours are found among; None where they were not asked for.
        left_out: Items for which a layer holds NaN or infinity.
    """

    reads: dict[str, Read] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    vectors: dict[str, Array] = field(default_factory=dict)
    predicted: list[str] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    truth: list[str] = field(default_factory=list)
    thumbnails: Array | None = None
    pixels: Array | None = None
    left_out: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> tuple[Caveat, ...]:
        """What must be known of the vectors."""
        if not self.left_out:
            return ()
        more = f" and {len(self.left_out) - 1} more" if len(self.left_out) > 1 else ""
        said = f"The layer holds NaN or infinity for {self.left_out[0]}{more}, left out here."
        return (Caveat(said, "input"),)

    @property
    def facts(self) -> dict[str, Any]:
        """What a result says of how the vectors were read."""
        told = {name: read.how for name, read in self.reads.items()}
        if len(told) == 1:
            ((name, how),) = told.items()
            width = self.vectors[name].shape[1] if name in self.vectors else 0
            return {"layer": name, "width": width, **({"positions": how} if how else {})}
        return {"layers": list(told), "positions": {name: how for name, how in told.items() if how}}


Layers: TypeAlias = "str | Sequence[str]"


def gathered(
    scene: Scene,
    layers: Sequence[str],
    positions: str | None,
    *,
    labelled: bool = False,
    thumbnail: int = 0,
    pixels: int = 0,
) -> Generator[Any, Answer, Gathered]:
    """Vectors of every item at some layers, from one pass of the model over them.

    Args:
        scene: The items.
        layers: Whole names, or ``auto``.
        positions: As for ``vector_reader``, of all layers.
        labelled: Whether an item's folder is its true class.
        thumbnail: Pixels of a small picture's side; 0 for none.
        pixels: Pixels of the side at which pictures are compared; 0 for none. What is no picture is compared whole.

    Raises:
        UsageError: as ``vector_reader``.
    """
    found = Gathered()
    parts: dict[str, list[Array]] = {}
    small_ones: list[Array] = []
    flat: list[Array] = []
    while (some := (yield More())) is not None:
        if not found.reads:
            found.reads = {read.layer: read for read in (vector_reader(some.view, one, positions) for one in layers)}
            parts = {name: [] for name in found.reads}
        answer = yield from asked(some, list(found.reads.values()))
        rows = {name: read.vectors(answer[name]) for name, read in found.reads.items()}
        kept = finite(rows.values())
        found.left_out += [name for name, fine in zip(some.names, kept, strict=True) if not fine]
        for name in rows:
            parts[name].append(rows[name][kept])
        predicted, confidence = best(answer.get(SCORES), some.view.outline)
        found.predicted += [one for one, fine in zip(predicted, kept, strict=False) if fine]
        found.confidence += [one for one, fine in zip(confidence, kept, strict=False) if fine]
        found.names += [one for one, fine in zip(called(some), kept, strict=True) if fine]
        found.truth += [folder_of(one) for one, fine in zip(some.given, kept, strict=True) if fine and labelled]
        if thumbnail and some.pictures is not None:
            small_ones.append(small(some.pictures[kept], thumbnail))
        if pixels:
            flat.append(_pixels(some, pixels)[kept])
    found.vectors = {name: np.concatenate(rows) for name, rows in parts.items()}
    whole = len(small_ones) and sum(map(len, small_ones)) == len(found.names)
    found.thumbnails = np.concatenate(small_ones) if whole else None
    found.pixels = np.concatenate(flat) if flat else None
    return found


def asked(some: Some, reads: Iterable[Read]) -> Generator[Any, Answer, Mapping[str, Array]]:
    """The values of some layers, and the scores, of one pass; a mean is taken by the model where it can be."""
    listed = list(reads)
    taps = tuple(dict.fromkeys(read.layer for read in listed))
    scored = _scored(some.view.outline)
    with_scores = (*taps, SCORES) if scored and SCORES not in taps else taps
    if all(read.folds for read in listed):
        found: Mapping[str, Array] = yield Peek(some.view.x, with_scores, Mean())
        shapes = {read.layer: read.grid.shape for read in listed if read.grid is not None}
        return {
            tap: values.reshape(*values.shape, *(1,) * (len(shapes[tap]) - 1)) if tap in shapes else values
            for tap, values in found.items()
        }
    answer: Mapping[str, Array] = yield Peek(some.view.x, with_scores)
    return answer


def _scored(outline: Outline) -> bool:
    return outline.scores.classes is not None


def best(scores: Array | None, outline: Outline) -> tuple[list[str], list[float]]:
    """The predicted class of each row of scores and its score; nothing where they are no vector of classes."""
    if scores is None:
        return [], []
    rows = np.asarray(scores).reshape(len(scores), -1).astype(np.float64)
    if rows.shape[1] != outline.scores.classes:
        return [], []
    top = rows.argmax(axis=1)
    return [outline.label_name(int(k)) for k in top], [float(v) for v in rows[np.arange(len(rows)), top]]


def finite(rows: Iterable[Array]) -> Array:
    """Which items have finite vectors at all layers, bool ``[N]``."""
    fine: Array = np.logical_and.reduce([np.isfinite(one).all(axis=1) for one in rows])
    return fine


def called(some: Some) -> list[str]:
    """What items are called: a file by its folder and name, for a folder per class has the same names in each."""
    return [
        "/".join(PurePath(one).parts[-2:]) if folder_of(one) else name
        for one, name in zip(some.given, some.names, strict=True)
    ]


def folder_of(given: Any) -> str:
    """The folder that a file lies in, which is its class where there is a folder per label; empty for none."""
    return PurePath(given).parent.name if isinstance(given, str) or hasattr(given, "__fspath__") else ""


def small(pictures: Array, side: int) -> Array:
    """Pictures uint8 ``[N, H, W, 3]`` as squares ``[N, side, side, 3]``: means of what falls on each pixel."""
    down = pictures
    for axis in (1, 2):
        extent = down.shape[axis]
        if extent <= side:
            continue
        edges = np.linspace(0, extent, side + 1).round().astype(int)[:-1]
        counts = np.diff([*edges, extent])
        shape = [1, 1, 1, 1]
        shape[axis] = side
        down = np.add.reduceat(down.astype(np.float32), edges, axis=axis) / counts.reshape(shape)
    if down.shape[1:3] != (side, side):
        down = np.moveaxis(enlarge(np.moveaxis(down.astype(np.float32), 3, 1), (side, side)), 1, 3)
    return np.clip(np.rint(down), 0, 255).astype(np.uint8)


def _pixels(some: Some, side: int) -> Array:
    if some.pictures is None:
        return np.asarray(some.view.x.reshape(len(some), -1), np.float32)
    return small(some.pictures, side).reshape(len(some), -1).astype(np.float32)
