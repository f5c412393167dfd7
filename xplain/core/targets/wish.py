"""What people ask for in words, before it is known at the items: a margin, a region, a box, a likeness.

A wish says which tensors' values it must see; shown them for the untouched items, it makes targets. What it chooses
there (a runner-up, a region, a row, a place) is held fast from then on, stands in the target as data, and is told by
its name. ``xplain.core.targets.class_wishes`` has those about classes, ``output_wishes`` and ``detections`` those about
other outputs, ``words`` reads them from a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Outline
from xplain.core.target import SCORES, Target
from xplain.core.targets.formulas import Formula
from xplain.core.targets.heads import Head, head_of
from xplain.core.targets.leaves import Leaf
from xplain.core.targets.parts import Part
from xplain.core.targets.target_parser import Aim

__all__ = ["At", "Wish", "called", "element", "formula", "need", "proposed"]


@dataclass(frozen=True, eq=False)
class At:
    """What is known where a wish is met.

    Args:
        outline: What is known of the model.
        values: The tensors that the wish asked for, for the untouched items, ``[N, ...]``.
        swept: Whether gradients are asked for, or relevance; else scores of edited items.
        others: What other items that the wish named give: name to the values of its first tensor, ``[...]``.
        masks: Masks that the wish named: name to numbers ``[H, W]``.
    """

    outline: Outline
    values: Mapping[str, Array]
    swept: bool = False
    others: Mapping[str, Array] = field(default_factory=dict)
    masks: Mapping[str, Array] = field(default_factory=dict)

    @cached_property
    def head(self) -> Head:
        """What the model ends in."""
        return head_of(self.outline)

    @property
    def scores(self) -> Array:
        """The scores of the items, ``[N, K]``."""
        return self.values[SCORES]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))


@dataclass(frozen=True)
class Wish:
    """A target in words."""

    @property
    def pictures(self) -> tuple[str, ...]:
        """Other items that it is about, as a person names them."""
        return ()

    @property
    def masks(self) -> tuple[str, ...]:
        """Masks that it is about, as a person names them."""
        return ()

    @property
    def settled(self) -> bool:
        """Whether it means the same for every item, so that it can be built into a file."""
        return False

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """The tensors whose values at the items it must see; ``SCORES`` for the scores."""
        raise NotImplementedError

    def aims(self, at: At) -> list[Aim]:
        """The targets that it stands for.

        Raises:
            UsageError: it cannot be met at the items; the message says why.
        """
        raise NotImplementedError


def need(outline: Outline, kinds: Sequence[str], word: str) -> Head:
    """The head, which must be of one of these kinds.

    Raises:
        UsageError: it is another; the message proposes what fits it.
    """
    head = head_of(outline)
    if head.kind not in kinds:
        raise UsageError(
            f"{word!r} is of a model that ends in {' or '.join(kinds)}; {outline.source} ends in {head.kind}: "
            f"{head.why}. What fits it: ",
            *proposed(head),
            ".",
        )
    return head


def proposed(head: Head) -> list[Any]:
    """Targets for a head, as pieces of a message."""
    found: list[Any] = []
    for one in head.proposals:
        found += [", " if found else "", option("target", one)]
    return found


def formula(function: str, args: Sequence[Part], numbers: Sequence[Array], **how: Any) -> Target:
    """A target of one function, with numbers for each item."""
    return Target(((1.0, Formula(function, tuple(args), tuple(numbers), per_item=True, **how)),))


def element(tensor: str, places: Sequence[tuple[int, ...]]) -> Target:
    """An element of a tensor, one place for all items or one for each."""
    one = len(set(places)) == 1
    index = tuple(places[:1]) if one else tuple(places)
    return Target(((1.0, Leaf("neuron", tensor, index, per_item=not one)),))


def called(target: Target, names: Sequence[str]) -> Target:
    """The same target under a name: the sum of it alone."""
    return Target(
        ((1.0, Formula("total", (target.terms,), names=tuple(names[:1] if len(set(names)) == 1 else names))),)
    )
