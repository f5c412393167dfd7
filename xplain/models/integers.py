"""Inputs that are whole numbers, such as token ids: they have no gradient, but the tensor that they become has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.errors import ModelError, UnsupportedOperator, UsageError
from xplain.core.outline import Outline
from xplain.core.rules import Rules
from xplain.graph.intake.load import Loaded
from xplain.graph.operators import facts_of

__all__ = ["explain_the_embedding", "finds", "no_gradient"]

_LOOKUPS = ("Gather", "Embedding", "EmbeddingBag")


def no_gradient(outline: Outline, dtype: str, item: tuple[int, ...] | None = None) -> UsageError:
    """The error for a sweep back to such an input; it names the tensor to explain in its place.

    That is one that the numbers choose: positions are looked up too, but say nothing of the input. ``item``: the shape
    of an item, where it is known.
    """
    lineage = None if outline.follow is None or item is None else outline.follow(item)
    chosen = (
        one.name for one in outline.layers if one.op in _LOOKUPS and (lineage is None or lineage.descends(one.name))
    )
    name = next(chosen, "NAME")
    return UsageError(
        f"Input {outline.input!r} ({dtype}) of {outline.source} holds integers, which have no gradient. Explain the "
        "tensor that they become with a method that takes a layer, such as integrated-gradients or saliency with ",
        option("layer", name),
        ", or hide parts of the input with a perturbation method.",
    )


@contextmanager
def explain_the_embedding(outline: Outline, dtype: str, taps: Sequence[str], item: tuple[int, ...]) -> Iterator[None]:
    """A context that turns "no path" from an input of integers into an error that names the tensor to explain."""
    try:
        yield
    except ModelError as error:
        if isinstance(error, UnsupportedOperator) or np.dtype(dtype).kind not in "iub" or "input" not in taps:
            raise
        raise no_gradient(outline, dtype, item) from None


def finds(loaded: Loaded, rules: Rules) -> bool:
    """Whether a sweep's forward pass is the model's own: relevance computes with real numbers in place of integers."""
    if rules.meaning == "gradient":
        return True
    return not loaded.quantised and not any(facts_of(node).integer for node in loaded.model.graph.node)
