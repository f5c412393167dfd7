"""What a protocol must know: how rows become a request, and how an answer becomes scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from xplain.core.edits import Array
from xplain.core.outline import TensorSpec
from xplain.models.endpoint.transport import Request, Response

__all__ = ["Codec", "Facts", "Kind"]

Kind: TypeAlias = Literal["logits", "probabilities", "log-probabilities", "decisions"]


@dataclass(frozen=True)
class Facts:
    """What a protocol found out about a model without asking it to classify anything.

    Args:
        inputs: All inputs.
        input: The one that is explained.
        axes: Names of its axes, such as ``NCHW``; empty where they are not known.
        tensor: The output that is read.
        classes: K, or None.
        kind: What the numbers are.
        found: How the output was chosen.
        partial: Why a class's score may be unknown.
        rows: Items per request if the model fixes them, else None.
        most: Items per request at most, else None.
        identity: Whatever tells this model from another; goes into the digest, so no secrets.
        facts: Further facts for a person.
    """

    inputs: tuple[TensorSpec, ...]
    input: str
    tensor: str
    classes: int | None
    kind: Kind
    found: str
    axes: str = ""
    partial: str = ""
    rows: int | None = None
    most: int | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Codec(Protocol):
    """One way of speaking to a server."""

    @property
    def facts(self) -> Facts:
        """What is known of the model."""

    def request(self, rows: Array) -> Request:
        """The request that asks for the scores of ``rows`` ``[R, *item]``, or texts ``[R]``."""

    def scores(self, response: Response, count: int) -> Array:
        """The scores of the ``count`` rows asked, float64 ``[count, K]``; NaN for a class that was left out."""
