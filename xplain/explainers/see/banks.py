"""A layer as sums of concepts: its values as rows and back, where it may be read, and what each concept is worth."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from xplain.analyses.factorisation import encoded, left_out
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.positions.grid import Grid
from xplain.core.query import Answer, Peek, Query, Score, View
from xplain.core.target import Target
from xplain.explainers.cam.layers import MapLayer, map_layer
from xplain.explainers.estimation.sampling import Estimate
from xplain.explainers.gradient.starts import passes_through
from xplain.explainers.perturbation.sobol import exchanged, total_indices

__all__ = ["Bottleneck", "Worth", "bottleneck", "worth"]

_BYTES = 64 * 2**20
"""Values of a layer that one question holds."""
_LOOKED_AT = 12
"""Layers whose values are looked at, to name those that are never negative."""


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """A layer with positions that everything passes, so that the score is a function of its values.

    Args:
        layer: The layer, and where its positions lie.
        target: The score.
        where: int64 ``[cells, C]``: the element of the layer, flattened, that each number of each position is.
        shape: The layer's shape without the batch.
    """

    layer: MapLayer
    target: Target
    where: Array
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    def values(self, x: Array) -> Generator[Query, Answer, Array]:
        """The layer's values of items, float32 ``[N, *shape]``."""
        return np.asarray((yield Peek(x, (self.name,)))[self.name], np.float32)

    def rows(self, raw: Array) -> Array:
        """Values ``[N, *shape]`` as ``[N, cells, C]``."""
        return raw.reshape(len(raw), -1)[:, self.where]

    def back(self, raw: Array, rows: Array) -> Array:
        """Rows ``[M, cells, C]`` as values ``[M, *shape]``; what is no position, as a class token, is ``raw``'s."""
        made = np.repeat(raw.reshape(1, -1), len(rows), axis=0)
        made[:, self.where] = rows
        return made.reshape(len(rows), *raw.shape)


def bottleneck(view: View, layer: str, target: Target, concepts: int = 1) -> Generator[Query, Answer, Bottleneck]:
    """The layer that is meant, looked at for the items of a view.

    Args:
        view: Some items.
        layer: Its name; ``auto`` is the last one with positions.
        target: The score.
        concepts: Concepts that it is to be taken apart into.

    Raises:
        UsageError: it has no positions, not everything passes it, or a value is below 0; layers that do are named. Or
            it has fewer channels than there are to be concepts.
    """
    aimed = replace(view, target=target)
    chosen = map_layer(aimed, layer, neck=True)
    passes_through(aimed, chosen.name)
    stated = view.outline.layer(chosen.name).shape[1:]
    if stated and None not in stated:
        _wide(chosen, _places(chosen, tuple(n or 1 for n in stated)), concepts)
    raw = np.asarray((yield Peek(view.x, (chosen.name,)))[chosen.name], np.float32)
    where = _places(chosen, raw.shape[1:])
    _wide(chosen, where, concepts)
    found = Bottleneck(chosen, target, where, raw.shape[1:])
    lowest = float(found.rows(raw).min())
    if lowest < 0:
        fit = yield from _never_negative(aimed)
        near = f"Layers that are not: {', '.join(fit)}." if fit else "No layer with positions is not."
        raise UsageError(
            f"Layer {chosen.name!r} is {lowest:.3g} somewhere, and a sum of concepts is never below 0. {near}",
            option="layer",
            got=layer,
        )
    return found


def _places(chosen: MapLayer, shape: tuple[int, ...]) -> Array:
    """The element of a layer of this shape, flattened, that each number of each position is, int64 ``[cells, C]``."""
    where: Array = np.asarray(chosen.maps(np.arange(prod(shape)).reshape(1, *shape)))[0]
    return np.ascontiguousarray(where.reshape(len(where), -1).T)


def _wide(chosen: MapLayer, where: Array, concepts: int) -> None:
    if concepts > where.shape[1]:
        raise UsageError(
            f"Layer {chosen.name!r} has {counted(where.shape[1], 'channel')}, and concepts are at most as many. Give "
            "fewer with ",
            option("concepts", where.shape[1]),
            ", or name another layer.",
            option="concepts",
            got=concepts,
        )


def _never_negative(view: View) -> Generator[Query, Answer, list[str]]:
    """The last layers that could be read instead, by their values for these items."""
    fit = []
    for spec in view.outline.layers:
        lineage = view.lineage
        if lineage is None or not isinstance(lineage.grid(spec.name, view.layout), Grid):
            continue
        try:
            passes_through(view, spec.name)
        except UsageError:
            continue
        fit.append(spec.name)
    fit = fit[-_LOOKED_AT:]
    if not fit:
        return []
    answer = yield Peek(view.x, tuple(fit))
    return [name for name in fit if float(np.asarray(answer[name]).min()) >= 0][-3:]


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What concepts are worth to the score of one item.

    Args:
        indices: float64 ``[K]``: total Sobol indices.
        error: float64 ``[K]``: their standard errors over designs.
        effect: float64 ``[K]``: how much the score falls when the concept alone is taken away.
        score: The item's score.
        remade: The score of the item as a sum of the concepts.
        lost: The share of the layer's squares that is not in the concepts.
    """

    indices: Array
    error: Array
    effect: Array
    score: float
    remade: float
    lost: float


def worth(
    neck: Bottleneck, raw: Array, bank: Array, pairs: Array, coefficients: Array | None = None
) -> Generator[Query, Answer, Worth]:
    """What each concept is worth: how much of the score's variance goes with the share that is left of it.

    The layer is made anew from its concepts, ``f(U diag(m) W)``, m in [0, 1] one share per concept for all positions.

    Args:
        neck: The layer and the score.
        raw: Its values for one item, ``[*shape]``.
        bank: W ``[K, C]``.
        pairs: Designs ``[n, 2, K]``, of ``shades``.
        coefficients: U ``[cells, K]``; None to find them.

    Cost:
        ``n (K + 1) + K + 2`` evaluations of what lies behind the layer.

    Source:
        Fel et al., CRAFT, CVPR 2023, section 3.2; Jansen 1999.
    """
    own = neck.rows(raw[None])[0]
    held = encoded(own, bank) if coefficients is None else coefficients
    count = len(bank)
    less = np.concatenate([np.ones((1, count)), 1.0 - np.eye(count)])
    shares = np.concatenate([exchanged(pairs).reshape(-1, count), less])
    few, parts = max(1, _BYTES // max(raw.nbytes, 1)), []
    for first in range(0, len(shares), few):
        made = (held[None] * shares[first : first + few, None]) @ bank
        parts.append((yield _asked(neck, neck.back(raw, made))))
    untouched: Any = yield _asked(neck, raw[None])
    scores = np.concatenate([np.asarray(one, np.float64).reshape(-1) for one in parts])
    design = scores[: -count - 1].reshape(len(pairs), count + 1)
    remade, without = scores[-count - 1], scores[-count:]
    indices, moved = total_indices(design[:, 0], design[:, 1:])
    error = Estimate.of(indices, moved, len(pairs) - 1, float(len(pairs))).error
    score = float(np.asarray(untouched).reshape(-1)[0])
    return Worth(indices, error, remade - without, score, float(remade), left_out(own, held, bank))


def _asked(neck: Bottleneck, values: Array) -> Score:
    return Score(np.ascontiguousarray(values, np.float32), Untouched(), neck.target, at=neck.name)
