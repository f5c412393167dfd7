"""The public way to look inside a model: it writes down what is asked and sends the items through a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xplain.core.declaring.registry import Lens
from xplain.core.errors import XplainError
from xplain.engine import Progress
from xplain.results.result import Result
from xplain.session.lenses import seeing
from xplain.session.request import Cache, Request
from xplain.session.run import Session

__all__ = ["lenses", "see"]


def lenses() -> list[Lens]:
    """All lenses that ``see`` looks through, by name: our own, and those of installed plugins."""
    return seeing.lenses()


def see(
    model: Any,
    what: str,
    items: Any = None,
    *,
    seed: int = 0,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    max_queries: int | None = None,
    cache: Cache | None = None,
    progress: Progress | None = None,
    failed: Callable[[int, Any, XplainError], None] | None = None,
    **options: Any,
) -> Result:
    """Look inside a model: what its units see, hold or prefer.

        xplain.see("net.onnx", "filters").sheet().save("filters.png")
        xplain.see("net.onnx", "patches", "photos/", layer="conv3", card="imagenet").save("patches.npz")

    Args:
        model: What ``load`` takes, or a loaded model.
        what: The lens; ``xplain see --help`` lists them.
        items: Pictures, tensors, rows or texts as ``explain`` takes them, folders and globs, or an iterator of these.
            They are read part by part, and a part is let go before the next is read. None for a lens that looks at
            the model alone.
        seed: Root of all randomness.
        card: How pictures become tensors, if the model has no card of its own.
        layout: How the axes of the items are named, as in ``explain``.
        batch_size: Rows per model call, at most; another number may change last bits.
        max_queries: Model evaluations that may be spent.
        cache: A folder where answers are kept.
        progress: Called with (evaluations done, evaluations asked so far).
        failed: Called with an item's place, the item and the error where it cannot be read; the others go on. The
            result names them in any case, in ``facts["failures"]``.
        options: The lens's own options; an unknown one is an error that names the nearest.

    Returns:
        A result of the lens's kind, such as a ``Gallery``: numbers, pictures, and everything needed to repeat them.

    Raises:
        XplainError: every error on purpose is one of its kinds.
    """
    asked = Request(
        seed=seed,
        card=card,
        layout=layout,
        batch_size=batch_size,
        max_queries=max_queries,
        cache=cache,
        progress=progress,
    )
    with Session(model, asked) as session:
        return seeing.seen(session, what, options, items, failed)
