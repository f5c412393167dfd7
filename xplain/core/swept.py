"""The answer to a ``Sweep``: what each tap holds and received, and what the target read on the way there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xplain.core.edits import Array
from xplain.core.errors import NonFinite
from xplain.core.positions.axes import Axes

__all__ = ["BIAS", "GATE", "Swept", "first_row", "not_a_number"]


BIAS = "bias of "
"""Before a tensor's name: the key of what the operator that makes it added itself."""

GATE = "gate of "
"""Before a rectifier's name: the key of what the target rises when the gates behind it open."""


class Swept(dict[str, tuple[Any, Any]]):
    """``{tap: (value, cotangent)}``, each ``[N, *shape]``, with what the forward pass of the same sweep read.

    Nobody has to ask a model about the items once more for their scores.

    Args:
        target: The target's value for each item, float64 ``[N]``; None where the model does not tell.
        below: The same for each baseline, where the rules compare with one.
        scores: All scores of each item, float64 ``[N, K]``, where the target reads them.

    ``biases`` are what operators added of themselves, where the rules ask for it: each one's key among the taps, with
    the axes of what it made, None where they could not be followed. Its pair holds no value, and ``g b``.

    ``gates`` are, of a sweep with gates, the derivatives of the target by each, by the name of the rectifier.
    """

    def __init__(
        self,
        found: dict[str, tuple[Any, Any]],
        target: Array | None = None,
        below: Array | None = None,
        scores: Array | None = None,
    ) -> None:
        super().__init__(found)
        self.target: Array | None = target
        self.below: Array | None = below
        self.scores: Array | None = scores
        self.biases: Mapping[str, Axes | None] = {}

    @property
    def gates(self) -> dict[str, Any]:
        """What the target rises by each gate, ``[N, *shape]``: the activation times its cotangent behind the gate."""
        return {name.removeprefix(GATE): pair[1] for name, pair in self.items() if name.startswith(GATE)}

    def biased(self, biases: Mapping[str, Axes | None]) -> Swept:
        """Itself, with these biases."""
        self.biases = biases
        return self


def first_row(swept: Swept) -> Swept:
    """The same of the first item alone."""
    told = (None if one is None else one[:1] for one in (swept.target, swept.below, swept.scores))
    return Swept({tap: (value[:1], cotangent[:1]) for tap, (value, cotangent) in swept.items()}, *told).biased(
        swept.biases
    )


def not_a_number(label: int, item: int, edit: int = 0) -> NonFinite:
    """The error for a score that is NaN, in a sweep or under an edit."""
    return NonFinite(
        f"The score of class {label} for item {item} under edit {edit} is NaN. Explanations need finite scores: "
        "look at this input and its preprocessing, or at the model (an fp16 model may overflow)."
    )
