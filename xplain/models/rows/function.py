"""A Python function ``f(batch) -> scores`` as a model: it answers scores and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.abilities import Abilities
from xplain.core.card import load_card
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError, ModelError, UsageError
from xplain.core.outline import Kind, Outline, ScoreSpec, TensorSpec
from xplain.core.price import Price
from xplain.core.query import Answer, Query, Score
from xplain.core.target import SCORES
from xplain.models.outlines import attach_card, settled
from xplain.models.reading import as_float32, both_sides, read_target, score_rows, write_rows

__all__ = ["Function", "said_by"]


_RETURNED = "scores"
"""What a target calls the array that a function returns."""

_UNKNOWN = "It is not known whether the function returns logits or probabilities; logits explain better."

_NAMED: dict[str, Kind] = {
    "predict_proba": "probabilities",
    "predict_log_proba": "log-probabilities",
}


class Function:
    """A function from a batch of items to their scores.

    The function receives a fresh float32 array ``[R, *item]`` and returns ``[R, K]`` (or ``[R]``) of real numbers, as
    anything that numpy can read, torch tensors included. It may be called with any R and must give every row the same
    scores whatever the other rows are.

    Args:
        function: The function.
        card: How pictures become its items; None where items are arrays.
        version: Names what the function does, so that its answers can be remembered; change it with the function.
        price: What an evaluation costs: a number, or the parts of an ``xplain.core.price.Price``.
        layout: How the axes of its items are named, such as ``"NHWC"``; None leaves it to the items' sizes.

    Raises:
        CardError: the card cannot be used.
    """

    answers: frozenset[type] = frozenset({Score})

    def __init__(
        self,
        function: Callable[[Array], Any],
        card: Any = None,
        *,
        version: str = "",
        price: Any = None,
        layout: str | None = None,
    ) -> None:
        self._function = function
        self._classes: int | None = None
        self.price = Price.read(price)
        name = getattr(function, "__qualname__", type(function).__qualname__)
        outline = Outline(
            source=f"function {name}",
            kind="function",
            digest=hashlib.sha256(f"function {name} {version}".encode()).hexdigest() if version else "",
            inputs=(TensorSpec("batch", (), "float32"),),
            input="batch",
            layout=None,
            scores=ScoreSpec(_RETURNED, None, said_by(name), "none", "what the function returns, used as it is"),
            outputs=(_RETURNED,),
            quirks=() if said_by(name) != "scores" else (_UNKNOWN,),
        )
        self.outline = settled(outline, None if card is None else load_card(card), layout)

    @property
    def abilities(self) -> Abilities:
        """It is asked as many rows at once as one likes, and may have a price."""
        return Abilities(batches=self, price=self.price)

    fills_up = False  # each row may be billed

    def least_rows(self, item: tuple[int, ...]) -> int:
        """One: numpy rounds a row by its place in a batch."""
        return 1

    def most_rows(self, item_bytes: int) -> int | None:
        """As many as fit into a processor's caches."""
        return None

    def answer(self, query: Query) -> Answer:
        """The answer to a score question.

        Raises:
            CapabilityError: another question.
            ModelError: the function returns something that is no ``[R, K]`` of numbers, or changes K.
            Exception: whatever the function raises, with a note on what it was called with.
        """
        if not isinstance(query, Score) or query.at != "input":
            raise CapabilityError(f"{self.outline.source} answers scores of its input only; it has no inner tensors.")
        inner = [name for name in query.target.tensors if name not in (SCORES, _RETURNED)]
        if inner:
            raise UsageError(
                f"{self.outline.source} has no tensor {inner[0]!r}; a target is a class, or a place in what it gives: "
                f'target="{_RETURNED}[0]".'
            )
        query = replace(query, x=as_float32(query.x, self.outline.source))
        start, stop = query.rows
        batch = np.empty((stop - start, *query.x.shape[1:]), np.float32)
        write_rows(query, start, stop, batch, query.layout_in(self.outline))
        returned = self._call(batch)
        values = {_RETURNED: returned}
        if SCORES in query.target.tensors:
            values[SCORES] = self._scores(returned)
        return read_target(query, (start, stop), values)

    def _call(self, batch: Array) -> Array:
        shape = list(batch.shape)
        try:
            returned = self._function(batch)
        except Exception as error:
            error.add_note(f"raised by {self.outline.source} when xplain called it with float32 {shape}")
            raise
        if hasattr(returned, "detach"):  # a torch tensor, without importing torch
            returned = returned.detach().cpu().numpy()
        try:
            scores = np.asarray(returned)
        except ValueError:
            raise self._wrong(f"rows of different lengths ({type(returned).__name__})", shape) from None
        if scores.dtype.kind not in "fiub":
            raise self._wrong(f"{type(returned).__name__} of {scores.dtype}", shape)
        if scores.ndim == 0 or len(scores) != len(batch):
            raise self._wrong(f"an array of shape {list(scores.shape)}", shape)
        return scores

    def _scores(self, returned: Array) -> Array:
        """What was returned as ``[R, K]``."""
        scores = score_rows(returned, self.outline.source, _RETURNED)
        if scores.shape[1] == 1 and len(self.outline.labels) == 2:
            scores, spec = both_sides(scores, self.outline.scores, self.outline.labels, self.outline.source)
            self.outline = replace(self.outline, scores=spec)
        if self._classes is None:
            self._classes = scores.shape[1]
            spec = replace(self.outline.scores, classes=self._classes)
            self.outline = attach_card(replace(self.outline, scores=spec), self.outline.card)
        if scores.shape[1] != self._classes:
            raise ModelError(
                f"{self.outline.source} returned {scores.shape[1]} scores per item, but {self._classes} before. The "
                "number of classes must not change."
            )
        return scores

    def _wrong(self, got: str, shape: list[int]) -> ModelError:
        return ModelError(
            f"{self.outline.source} returned {got} for a batch of shape {shape}; accepted: one row of real numbers per "
            f"item, [{shape[0]}, K] or [{shape[0]}]."
        )


def said_by(name: str) -> Kind:
    """What a function returns by its own name, as scikit-learn's are called; else nothing is known of its numbers."""
    return _NAMED.get(name.rpartition(".")[2], "scores")
