"""Colours and what they mean, in the whole house; and what each item of a map is coloured by.

**Red speaks for, blue speaks against**, wherever something speaks: maps, series, bars, words, training items; in
drawings, on pages, in reports and in a terminal. That is the custom of the field (shap's plots: red raises the score).
Both are of the signed colour map, whose ends stay apart for who sees no red or green; a page adds a second mark where
it can, such as the side of a bar or a dotted line. Right and wrong, better and worse are no such thing: they are blue
and orange.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown
from xplain.core.lenses.embedding import COLOURINGS, Colouring, require_known
from xplain.render.colormap import find

__all__ = ["AGAINST", "DISTINCT", "FOR", "OTHERS", "RIGHT", "WRONG", "Coloured", "Colours", "colours_of"]

FOR, AGAINST = (180, 68, 61), (30, 108, 179)
"""What speaks for a target, and against it: the colours of 0.75 and -0.75 on the signed map ``blue-red``."""
OTHERS = (150, 150, 150)
RIGHT, WRONG = (0, 114, 178), (213, 94, 0)
"""Right and wrong answers, better and worse than something else: Okabe and Ito's blue and orange."""
DISTINCT = (
    *((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0)),
    *((120, 94, 240), (190, 170, 20), (51, 34, 136), (136, 34, 85), (17, 119, 51), (221, 204, 119)),
)
"""Okabe and Ito's colours, then Tol's; the commonest classes get them in this order, all others grey."""


class Coloured(Protocol):
    """What can be coloured; ``xplain.results.Atlas`` is one."""

    predicted: tuple[str, ...]
    truth: tuple[str, ...]
    confidence: Array
    cluster: Array
    cluster_names: tuple[str, ...]
    facts: Mapping[str, Any]

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Colours:
    """A colour per item, and what each stands for.

    Args:
        rgb: uint8 ``[N, 3]``.
        legend: (colour, what it stands for), the commonest first.
    """

    rgb: Array
    legend: tuple[tuple[tuple[int, int, int], str], ...]


def colours_of(shown: Coloured, by: Colouring) -> Colours | None:
    """A colour for every item; None for ``none``.

    Args:
        shown: The items.
        by: ``class`` (predicted), ``true`` (class), ``error`` (whether the two agree), ``score`` (of the predicted
            class), ``group`` (in the layer's space), or ``none``.

    Raises:
        UnknownName: no such colouring.
        UsageError: what it goes by is not known of these items.
    """
    if by not in COLOURINGS:
        raise unknown("colouring", by, COLOURINGS, option="colour")
    if by == "none":
        return None
    require_known(by, bool(shown.truth), bool(shown.predicted))
    strange = shown.facts.get("classes that the model does not have", [])
    if by == "error" and strange:
        some = ", ".join(map(repr, strange[:3])) + (f" and {len(strange) - 3} more" if len(strange) > 3 else "")
        why = f"The model has no class {some}, so nothing is right or wrong of it. Name folders by its labels."
        raise UsageError(why, option="colour", got=by)
    if by == "score":
        return _by_score(shown.confidence)
    if by == "error":
        right = np.array([one == other for one, other in zip(shown.predicted, shown.truth, strict=True)])
        rgb = np.where(right[:, None], RIGHT, WRONG).astype(np.uint8)
        return Colours(rgb, ((RIGHT, f"right ({right.sum()})"), (WRONG, f"wrong ({(~right).sum()})")))
    if by == "group":
        return _by_name([_named(shown, int(k)) for k in shown.cluster])
    return _by_name(shown.predicted if by == "class" else shown.truth)


def _named(shown: Coloured, number: int) -> str:
    name = shown.cluster_names[number] if number < len(shown.cluster_names) else ""
    return f"{number + 1}: {name}" if name else f"group {number + 1}"


def _by_name(names: Sequence[str]) -> Colours:
    counted = Counter(names).most_common()
    of = {name: DISTINCT[k] if k < len(DISTINCT) else OTHERS for k, (name, _) in enumerate(counted)}
    legend = [(of[name], f"{name} ({count})") for name, count in counted[: len(DISTINCT)]]
    rest = counted[len(DISTINCT) :]
    if rest:
        told = rest[0][0] if len(rest) == 1 else f"{len(rest)} others"
        legend.append((OTHERS, f"{told} ({sum(count for _, count in rest)})"))
    return Colours(np.array([of[name] for name in names], np.uint8), tuple(legend))


def _by_score(scores: Array) -> Colours:
    low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
    share = np.nan_to_num((scores - low) / (high - low) if high > low else np.zeros(len(scores)))
    rgb = find("heat", False).paint(share[None], 1.0)[0]
    ends = find("heat", False).paint(np.array([[0.0, 1.0]]), 1.0)[0]
    first, last = (tuple(int(c) for c in one) for one in ends)
    return Colours(rgb, ((first, f"score {low:.3g}"), (last, f"score {high:.3g}")))  # type: ignore[arg-type]
