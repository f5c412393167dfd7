"""What is given in a formula, leaf by leaf and array by array: inputs of whatever graph computes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array
from xplain.core.targets.formulas import Formula
from xplain.core.targets.leaves import Leaf
from xplain.core.targets.parts import Part

__all__ = ["Given", "given_of", "named"]


@dataclass(frozen=True, slots=True)
class Given:
    """A leaf's place, or an array, in a formula.

    Args:
        path: Where it stands, as ``Formula.compute`` tells its reader.
        leaf: The leaf.
        array: The array.
        per_item: Whether it has a row for each item.
    """

    path: tuple[int, ...]
    leaf: Leaf | None = None
    array: Array | None = None
    per_item: bool = False

    @property
    def name(self) -> str:
        """What stands behind the formula's name in that of the input."""
        return named(self.path)

    def numbers(self, items: Array) -> Array:
        """What the input holds for rows that belong to ``items`` [R]; a class or channel is one number to a row."""
        if self.leaf is not None:
            found = self.leaf.numbers(items)
            return found[:, 0] if self.leaf.way.axes == 1 else found
        assert self.array is not None
        return self.array[items] if self.per_item else np.broadcast_to(self.array, (len(items), *self.array.shape))


def named(path: tuple[int, ...]) -> str:
    """A path as part of a name: ``_0_1``."""
    return "".join(f"_{k}" for k in path)


def given_of(formula: Formula, path: tuple[int, ...] = ()) -> list[Given]:
    """All that is given in a formula."""
    found = []
    for k, arg in enumerate(formula.args):
        for j, (_, term) in enumerate(() if isinstance(arg, Part) else arg):
            here = (*path, k, j)
            found += [Given(here, term)] if isinstance(term, Leaf) else given_of(term, here)
    count = len(formula.args)
    arrays = [((*path, count + k), one) for k, one in enumerate(formula.numbers)]
    return found + [Given(here, array=one, per_item=formula.per_item) for here, one in arrays]
