"""A Python function as a model of batches, of texts or of whole columns: it answers scores and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.core.abilities import Abilities
from xplain.core.card import load_card
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import CapabilityError, ModelError, UsageError
from xplain.core.outline import Kind, Outline, ScoreSpec, TensorSpec
from xplain.core.price import Price
from xplain.core.query import Answer, Query, Score
from xplain.core.target import SCORES
from xplain.core.targets.parts import INPUT
from xplain.core.targets.units import stated_scores
from xplain.core.trees import Ensemble, Trees
from xplain.models.options import FunctionOptions
from xplain.models.outlines import attach_card, settled
from xplain.models.reading import as_float32, both_sides, read_target, rows_given, score_rows, write_rows

__all__ = ["Function", "Takes", "of_batches", "outline_of"]

Takes: TypeAlias = Literal["items", "texts", "rows"]
"""What a function is given: float32 ``[R, *item]``, a list of ``str``, or whole columns of R rows."""

_RETURNED = "scores"
"""What a target calls the array that a function returns."""

_UNKNOWN = "It is not known whether the function returns logits or probabilities; logits explain better."

_NAMED: dict[str, Kind] = {
    "predict_proba": "probabilities",
    "predict_log_proba": "log-probabilities",
}


def outline_of(
    function: Callable[..., Any],
    inputs: TensorSpec,
    version: str = "",
    labels: tuple[str, ...] = (),
    scores: ScoreSpec | None = None,
) -> Outline:
    """What is known of a function before it is called.

    Args:
        function: The function.
        inputs: What it takes.
        version: Names what it does, so that its answers can be remembered; empty: they cannot.
        labels: Names of the classes.
        scores: What it returns, where somebody knows; None: what its own name says, as scikit-learn's do.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    kind = _NAMED.get(name.rpartition(".")[2], "scores")
    found = ScoreSpec(_RETURNED, len(labels) or None, kind, "none", "what the function returns, used as it is")
    return Outline(
        source=f"function {name}",
        kind="function",
        digest=hashlib.sha256(f"function {name} {version}".encode()).hexdigest() if version else "",
        inputs=(inputs,),
        input=inputs.name,
        layout=None,
        scores=scores or found,
        outputs=(_RETURNED,),
        labels=labels,
        quirks=() if scores is not None or kind != "scores" else (_UNKNOWN,),
    )


def of_batches(function: Callable[[Array], Any], options: FunctionOptions) -> Function:
    """A model of a function from a batch of items to their scores.

    The function receives a fresh float32 array ``[R, *item]`` and returns ``[R, K]`` (or ``[R]``) of real numbers, as
    anything that numpy can read, torch tensors included. It may be called with any R and must give every row the same
    scores whatever the other rows are.

    Raises:
        CardError: the card cannot be used.
    """
    outline = outline_of(function, TensorSpec("batch", (), "float32"), options.version)
    if options.scores is not None:
        outline = replace(outline, scores=stated_scores(outline.scores, options.scores), quirks=())
    card = None if options.card is None else load_card(options.card)
    return Function(function, settled(outline, card, options.layout), Price.read(options.price))


class Function:
    """A function as a model. How many classes it has shows with the first scores, and must not change.

    Args:
        function: The function.
        outline: What is known of it.
        price: What an evaluation costs.
        takes: What it is given. One of whole columns is asked with ``ask`` alone, by the model of a table's rows.
        limit: Raises for a text that is longer than the function takes, given what it is called and itself.
        trees: How to read the trees whose sum it is, if it is one.
    """

    answers: frozenset[type[Any]] = frozenset({Score})
    fills_up = False  # each row may be billed

    def __init__(
        self,
        function: Callable[[Any], Any],
        outline: Outline,
        price: Price | None = None,
        takes: Takes = "items",
        limit: Callable[[str, str], None] | None = None,
        trees: Callable[[], Trees] | None = None,
    ) -> None:
        self.trees = trees
        self.answers |= {Ensemble} if trees is not None else set()
        self._function, self.outline, self.takes, self.limit = function, outline, takes, limit
        self.abilities: Abilities = Abilities(batches=self if takes == "items" else None, price=price)

    def least_rows(self, item: tuple[int, ...]) -> int:
        """One: numpy rounds a row by its place in a batch."""
        return 1

    def swept_rows(self, item: tuple[int, ...]) -> int:
        """One, as above; a function is never swept."""
        return 1

    def full_rows(self, item: tuple[int, ...], most: int) -> int:
        """One, as above."""
        return 1

    def most_rows(self, item_bytes: int) -> int | None:
        """As many as fit into a processor's caches."""
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.outline.brief}>"

    def answer(self, query: Query) -> Answer:
        """The answer to a score question.

        Raises:
            CapabilityError: another question.
            ModelError: the function returns something that is no ``[R, K]`` of numbers, or changes K.
            Exception: whatever the function raises, with a note on what it was called with.
        """
        if not isinstance(query, Score) or query.at != "input" or self.takes == "rows":
            raise CapabilityError(
                f"{self.outline.source} answers scores of its {self.takes} only; it has no inner tensors."
            )
        own = self.outline.scores.tensor
        inner = [name for name in query.target.tensors if name not in (SCORES, own, INPUT)]
        if inner:
            raise UsageError(
                f"{self.outline.source} has no tensor {inner[0]!r}; a target is a class, or a place in what it gives: ",
                option("target", f"{own}[0]"),
                ".",
            )
        start, stop = query.rows
        returned = self._call(self._texts(query) if self.takes == "texts" else self._items(query), stop - start)
        values = {own: returned}
        if INPUT in query.target.tensors:
            values[INPUT] = self._given(query)
        if SCORES in query.target.tensors:
            values[SCORES] = self._scores(returned)
        return read_target(query, (start, stop), values)

    def _given(self, query: Score) -> Array:
        """The items themselves, which a target may read, where they are numbers."""
        if self.takes == "texts":
            raise UsageError(f"{self.outline.source} takes texts, which are no numbers that a target could read.")
        return rows_given(query, query.rows, query.layout_in(self.outline))

    def ask(self, given: Any, count: int) -> Array:
        """Scores ``[count, K]`` of what a function of columns is given.

        Raises:
            ModelError: the function returns something that is no ``[R, K]`` of numbers, or changes K.
        """
        return self._scores(self._call(given, count))

    def _items(self, query: Score) -> Array:
        start, stop = query.rows
        query = replace(query, x=as_float32(query.x, self.outline.source))
        batch = np.empty((stop - start, *query.x.shape[1:]), np.float32)
        write_rows(query, start, stop, batch, query.layout_in(self.outline))
        return batch

    def _texts(self, query: Score) -> list[str]:
        if not isinstance(query.edits, Untouched):
            raise CapabilityError(f"{self.outline.source} answers scores of whole texts.")
        return [str(one) for one in query.x[slice(*query.rows)]]

    def _call(self, given: Any, count: int) -> Array:
        called = told = f"{count} {self.takes}"
        if self.takes == "items":
            called, told = f"float32 {list(given.shape)}", f"a batch of shape {list(given.shape)}"
        try:
            returned = self._function(given)
        except Exception as error:
            error.add_note(f"raised by {self.outline.source} when xplain called it with {called}")
            raise
        if hasattr(returned, "detach"):  # a torch tensor, without importing torch
            returned = returned.detach().cpu().numpy()
        try:
            scores = np.asarray(returned)
            scores = scores.astype(np.float64) if scores.dtype == object and scores.ndim else scores
        except (TypeError, ValueError):
            raise self._wrong(f"rows of different lengths, or of no numbers ({_name(returned)})", told, count) from None
        if scores.dtype.kind not in "fiub":
            raise self._wrong(f"{_name(returned)} of {scores.dtype}", told, count)
        if scores.ndim == 0 or len(scores) != count:
            raise self._wrong(f"an array of shape {list(scores.shape)}", told, count)
        return scores

    def _scores(self, returned: Array) -> Array:
        """What was returned as ``[R, K]``; the first time, K and what the scores are become known."""
        scores = score_rows(returned, self.outline.source, self.outline.scores.tensor)
        if scores.shape[1] == 1 and len(self.outline.labels) == 2:
            scores, spec = both_sides(scores, self.outline.scores, self.outline.labels, self.outline.source)
            self.outline = replace(self.outline, scores=spec)
        known, got = self.outline.scores.classes, scores.shape[1]
        if known is None:
            outline = replace(self.outline, scores=replace(self.outline.scores, classes=got))
            self.outline = attach_card(outline, outline.card)
        elif got != known:
            raise ModelError(
                f"{self.outline.source} returned {got} scores per {self.takes[:-1]}, but {known} are known. The "
                "number of classes must not change, and labels must be as many."
            )
        return scores

    def _wrong(self, got: str, told: str, count: int) -> ModelError:
        return ModelError(
            f"{self.outline.source} returned {got} for {told}; accepted: one row of real numbers per "
            f"{self.takes[:-1]}, [{count}, K] or [{count}]."
        )


def _name(value: Any) -> str:
    return type(value).__name__
