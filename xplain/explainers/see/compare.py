"""Compare: two models layer by layer, on the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.analyses.alignment import LEAST, alignment
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Positive, Side
from xplain.core.declaring.registry import Paper, lens
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.lenses.embedding import Compared
from xplain.core.lenses.kept_vectors import aligned, holds_vectors, kept_in
from xplain.core.lenses.scene import Again, Beside, More, Scene, Seeing, Some
from xplain.core.outline import Outline
from xplain.core.query import Peek, View
from xplain.explainers.see.kept import asked_for, left_aside, pictures_of, read_of
from xplain.explainers.see.positions import Positions, Read, vector_reader
from xplain.explainers.see.tiles import tiles_of
from xplain.explainers.see.vectors import asked, beside, called, finite, item_name

__all__ = ["compare"]

_MOST_LAYERS = 12
_FEW = 50
_CHANCE = 4  # times the neighbours that there must be other items: of fewer, chance shares most
_APART = 3  # one of so many items can be among those that are seen most differently


@dataclass(frozen=True)
class _ModelKind:
    """Another model: a file's path, or one that is loaded; or vectors of it that were kept."""

    accepts: str = "a model file, or in Python whatever xplain.load takes; or a folder of vectors that 'see embed' kept"
    invalid: tuple[Any, ...] = (3, "")

    def read(self, value: Any) -> Any:
        if value is None or value == "" or isinstance(value, (bool, int, float)):
            raise ValueError
        return value


Other: TypeAlias = Annotated[Any, _ModelKind()]


@lens("compare", needs=Peek, kept="several", paper=Paper("Kornblith 2019", "arXiv:1905.00414"))
def compare(
    scene: Scene,
    *,
    other: Other = "self",
    layer: str = "auto",
    other_layer: str | None = None,
    positions: Positions = None,
    k: Positive = 10,
    draws: Positive = 100,
    different: Positive = 12,
    thumbnail: Side = 96,
) -> Seeing[Compared]:
    """How alike two models see the same items, layer by layer, and the items that they see most differently.

    Two numbers for each pair of layers, each with its interval: debiased linear centred kernel alignment (1: alike up
    to rotation and scale; 0: nothing in common), and the share of nearest neighbours that both agree on.

    Args:
        other: The other model; its own card is used if it has one, else this model's. ``self`` compares the layers of
            this model with one another. Beside vectors that were kept: the folder of the other's, or several with
            commas between (in Python also a list); their items are matched by content.
        layer: Layers of this model, with commas between; ``auto`` is the penultimate one, ``all`` takes up to 12 evenly
            spread ones.
        other_layer: Layers of the other one; None: those of the same names, or what ``auto`` means there.
        positions: What becomes of layers with positions, as in ``embed``.
        k: Neighbours; at most a quarter of the other items.
        draws: Draws of an interval.
        different: Items that are named as seen most differently at the last pair of layers, at most a third.
        thumbnail: Side of the pictures that are drawn.

    Returns:
        A ``Comparison``: ``[P, Q, 3]`` alignments and shares of neighbours with the ends of their intervals.

    Cost:
        1 evaluation per item of each model; then N^2 products per layer, of up to 2,000 items.

    Raises:
        UsageError: fewer than 8 items.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414; without bias: Nguyen et al. 2021, arXiv:2010.15327.
    """
    if scene.kept:
        return (
            yield from _of_kept(scene, other, (layer, other_layer), positions, _Wanted(k, draws, different, thumbnail))
        )
    reads: tuple[list[Read], list[Read]] = ([], [])
    parts: tuple[dict[str, list[Array]], dict[str, list[Array]]] = ({}, {})
    names: list[str] = []
    thumbnails: list[Array] = []
    while (some := (yield More())) is not None:
        alone = isinstance(other, str) and other == "self"
        twin: Some = some if alone else (yield Beside(other, Again(some.given, some.view.x)))
        if not names and not reads[0]:
            reads[0][:] = _reads(some.view, layer, positions)
            reads[1][:] = _reads(twin.view, other_layer or layer, positions, [] if other_layer else reads[0])
            parts[0].update({read.layer: [] for read in reads[0]})
            parts[1].update({read.layer: [] for read in reads[1]})
        own = yield from asked(some, [*reads[0], *reads[1]] if alone else reads[0])
        theirs = own if alone else (yield from beside(other, asked(twin, reads[1])))
        rows = [read.vectors(own[read.layer]) for read in reads[0]]
        twins = [read.vectors(theirs[read.layer]) for read in reads[1]]
        kept = finite([*rows, *twins])
        for read, one in zip(reads[0], rows, strict=True):
            parts[0][read.layer].append(one[kept])
        for read, one in zip(reads[1], twins, strict=True):
            parts[1][read.layer].append(one[kept])
        names += [name for name, fine in zip(called(some), kept, strict=True) if fine]
        drawn = tiles_of(some, thumbnail)
        if drawn is not None:
            thumbnails.append(drawn[kept])
    first, second = ({name: np.concatenate(rows) for name, rows in part.items()} for part in parts)
    how = {read.layer: read.how for some_reads in reads for read in some_reads if read.how}
    wanted = _Wanted(k, draws, different, thumbnail)
    found, chosen = _compared(scene, names, (first, second), how, wanted)
    small_ones = np.concatenate(thumbnails) if thumbnails and sum(map(len, thumbnails)) == len(names) else None
    return found if small_ones is None else replace(found, thumbnails=small_ones[chosen])


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of two sets of vectors; see ``compare``."""

    k: int
    draws: int
    different: int
    thumbnail: int


def _of_kept(
    scene: Scene, other: Any, layers: tuple[str, str | None], positions: str | None, wanted: _Wanted
) -> Seeing[Compared]:
    """The same of vectors that were kept of both: no model is asked."""
    names = [[one.strip() for one in (layer or "auto").split(",") if one.strip()] for layer in layers]
    own = asked_for(scene, names[0], positions)
    if isinstance(other, str) and other == "self":
        theirs = asked_for(scene, names[1], positions)
    else:
        given = other if isinstance(other, (list, tuple)) else str(other).split(",")
        strange = next((one for one in given if not holds_vectors(str(one).strip())), None)
        if strange is not None:
            raise UsageError(
                f"{str(strange)!r:.200} is no folder of vectors, and the other side of kept vectors must be one, or a "
                "Parquet file: keep them with 'xplain see embed' of the other model, on the same items.",
                option="other",
            )
        theirs = asked_for(replace(scene, kept=tuple(kept_in(str(one).strip()) for one in given)), names[1], positions)
    both = aligned([*own, *theirs])
    own, theirs = both[: len(own)], both[len(own) :]
    first, second = ({one.layer: one.vectors for one in side} for side in (own, theirs))
    how = {one.layer: read_of(one).how for one in both if read_of(one).how}
    found, chosen = _compared(scene, [item_name(name, name) for name in both[0].names], (first, second), how, wanted)
    pictures = yield from pictures_of(both[0], [int(row) for row in chosen], wanted.thumbnail)
    told = {
        "kept in": [one.source for one in both],
        "models": [str(side[0].about.get("model")) for side in (own, theirs)],
    }
    aside = left_aside(scene.kept, both[0])
    return replace(
        found,
        thumbnails=pictures.thumbnails,
        facts={**found.facts, **told, "items": len(both[0])},
        warnings=(*found.warnings, *aside, *pictures.warnings),
    )


def _compared(
    scene: Scene,
    names: Sequence[str],
    vectors: tuple[Mapping[str, Array], Mapping[str, Array]],
    how: Mapping[str, str],
    wanted: _Wanted,
) -> tuple[Compared, Array]:
    """What two sets of vectors of the same items have in common, and the rows on which they differ most."""
    if len(names) < LEAST:
        raise UsageError(f"{counted(len(names), 'item')} cannot tell two spaces apart; give at least {LEAST}.")
    near = min(wanted.k, max(1, (len(names) - 1) // _CHANCE))
    found = alignment(*vectors, k=near, draws=wanted.draws, seed=scene.seed)
    chosen = found.most_different(count=min(wanted.different, len(names) // _APART))
    at = {int(row): n for n, row in enumerate(found.items)}
    facts: dict[str, Any] = {
        "neighbours": found.k,
        "neighbours shared by chance": found.chance,
        "items compared": len(found.items),
        "positions": dict(how),
        "differ at": [found.first[-1], found.second[-1]],
    }
    warnings: tuple[Caveat, ...] = ()
    if len(names) < _FEW:
        warnings = (Caveat(f"{len(names)} items say little of two spaces: look at the intervals, or give more."),)
    if near < wanted.k:
        text = (
            f"{near} of {len(names) - 1} other items are neighbours instead of {wanted.k}: chance would share the rest."
        )
        warnings += (Caveat(text, "input"),)
    if len(found.items) < len(names):
        warnings += (Caveat(f"{len(found.items)} of {len(names)} items were drawn to be compared."),)
    told = Compared(
        found.first,
        found.second,
        found.cka,
        found.shared,
        tuple(names[int(row)] for row in chosen),
        np.array([found.agreement[-1][at[int(row)]] for row in chosen]),
        None,
        facts,
        warnings,
    )
    return told, chosen


def _reads(view: View, layer: str, positions: str | None, first: Sequence[Read] = ()) -> list[Read]:
    """How each of the layers becomes vectors; ``all`` are those of the ``first`` model where this one has them too."""
    if layer == "all":
        known = {one.name for one in view.outline.layers}
        names = [read.layer for read in first if read.layer in known] or _spread(view.outline, view)
    else:
        names = [one.strip() for one in layer.split(",") if one.strip()]
        names = [one if one == "auto" else view.outline.layer_meant(one) for one in names]
    return [vector_reader(view, name, positions) for name in names]


def _spread(outline: Outline, view: View) -> list[str]:
    """Up to 12 layers, evenly spread among those between the input and the scores."""
    lineage = view.lineage
    names = [one.name for one in outline.layers if lineage is None or lineage.descends(one.name)]
    if len(names) <= _MOST_LAYERS:
        return names
    places = np.unique(np.linspace(0, len(names) - 1, _MOST_LAYERS).round().astype(int))
    return [names[k] for k in places]
