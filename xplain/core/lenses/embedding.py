"""What lenses on vectors return: vectors, neighbours, places on a map, dimensions, two nets compared.

The session makes a result of each (``xplain.results``), whose fields have the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from xplain.core.caveat import Caveat
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["COLOURINGS", "Colouring", "Compared", "Dimensions", "Near", "Plane", "Vectors", "require_known"]

Colouring: TypeAlias = Literal["none", "class", "true", "error", "score", "group"]
"""What the items of a map are coloured by."""

COLOURINGS: tuple[Colouring, ...] = ("none", "class", "true", "error", "score", "group")


def require_known(colour: Colouring, truth: bool, predicted: bool) -> None:
    """Refuse to colour items by what is not known of them.

    Args:
        colour: What they are to be coloured by.
        truth: Whether their true classes are known.
        predicted: Whether the model predicts classes.

    Raises:
        UsageError: says what is missing, and how to give it.
    """
    if colour in ("true", "error") and not truth:
        raise UsageError(
            "True classes are not known of these items: put each class in a folder, and give ",
            option("labelled", True),
            ".",
            option="colour",
            got=colour,
        )
    if colour in ("class", "error", "score") and not predicted:
        why = "The model predicts no classes, so nothing can be coloured by them."
        raise UsageError(why, option="colour", got=colour)


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Vectors of N items; see ``xplain.results.Embedding`` for the fields."""

    names: tuple[str, ...]
    vectors: Array
    predicted: tuple[str, ...]
    truth: tuple[str, ...]
    confidence: Array
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Caveat, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """Neighbours of N items; see ``xplain.results.Neighbours`` for the fields."""

    names: tuple[str, ...]
    near: Array
    distance: Array
    near_pixels: Array
    pixel_distance: Array
    predicted: tuple[str, ...]
    truth: tuple[str, ...]
    thumbnails: Array | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Caveat, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A map of N items; see ``xplain.results.Atlas`` for the fields."""

    names: tuple[str, ...]
    places: Array
    cells: Array
    cluster: Array
    cluster_names: tuple[str, ...]
    predicted: tuple[str, ...]
    truth: tuple[str, ...]
    confidence: Array
    thumbnails: Array | None
    says: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Caveat, ...] = ()
    colour: Colouring = "none"


@dataclass(frozen=True, slots=True, eq=False)
class Dimensions:
    """Intrinsic dimensions of L layers; see ``xplain.results.Dimensions`` for the fields."""

    names: tuple[str, ...]
    values: Array
    estimators: tuple[str, ...]
    points: Array
    duplicates: Array
    widths: Array
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Caveat, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """P layers of a net beside Q of another; see ``xplain.results.Comparison`` for the fields."""

    names: tuple[str, ...]
    others: tuple[str, ...]
    alignment: Array
    shared: Array
    different: tuple[str, ...]
    agreement: Array
    thumbnails: Array | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Caveat, ...] = ()
