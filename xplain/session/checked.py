"""What is found out of items before anything is asked: how their axes are named, and that the model takes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.arrays import all_finite
from xplain.core.card import Card
from xplain.core.caveat import Caveat
from xplain.core.declaring.wording import Sentence, option
from xplain.core.edits import Array
from xplain.core.errors import ItemError, ModelError, NonFinite, UsageError, XplainError
from xplain.core.outline import Outline
from xplain.core.positions.layout import Axes, Doubt, Layout, stated
from xplain.core.query import Model

__all__ = ["against", "check_tensor", "named_axes", "rank_of", "resolved"]


def named_axes(outline: Outline, card: Card | None, layout: str | None) -> Axes | None:
    """The axes that a person states of these items, by an option or, where nothing else says them, by the card."""
    if layout is not None:
        return stated(layout)
    if card is None or not card.layout or outline.named is not None or card.layout in ("NCHW", "NHWC"):
        return None
    return Axes(card.layout, "stated by the preprocessing card")


def against(layout: Layout | Doubt) -> tuple[Caveat, ...]:
    """What must be known of a layout that a person stated and the model contradicts."""
    if isinstance(layout, Doubt) or ", though " not in layout.why:
        return ()
    return (
        Caveat(
            Sentence(
                f"The items are read as {layout.axes}: {layout.why}. Leave ",
                option("layout"),
                " out if the model is right.",
            ),
            "layout",
        ),
    )


def _looked(look: Callable[[Array], None], x: Array, model: Model) -> None:
    """Show a module the items; what its own code raises says which items they were.

    Raises:
        ModelError: it fails on them.
    """
    try:
        look(x)
    except XplainError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0].removesuffix(".") or type(error).__name__
        raise ModelError(
            f"{model.outline.source} fails on items of {list(x.shape[1:])}: {said}. Check rank, channels and size."
        ) from error


def rank_of(model: Model, named: Axes | None) -> int | None:
    """How many axes a batch has, where that is known before an item is seen."""
    outline = model.outline
    if outline.named is not None:
        return len(outline.named.letters)
    spec = outline.explained
    if spec is not None and len(spec.shape) > 1:
        return len(spec.shape)
    return None if named is None else len(named.letters)


def resolved(model: Model, x: Array, named: Axes | None) -> Layout | Doubt:
    """The layout of a batch: the only place that asks for it on a run's way."""
    look = abilities_of(model).look
    if look is not None:
        _looked(look, x, model)
    item = tuple(x.shape[1:])
    if named is None:
        return model.outline.layout_of(item)
    if len(named.letters) != x.ndim:
        raise UsageError(
            f"The layout is {named.letters!r}, of {len(named.letters)} axes with the batch, but the items are "
            f"{list(item)}, {x.ndim} with the batch."
        )
    known = model.outline.named
    if known is not None and known.letters != named.letters:
        return Axes(named.letters, f"{named.why}, though {known.why}, which reads {known.letters}").of(item)
    return named.of(item)


def check_tensor(x: Array, model: Model, rank: int | None, finite: bool = False) -> None:
    """Refuse what the model cannot take; ``finite`` where it is known already that no number is NaN or infinite."""
    spec, source = model.outline.explained, model.outline.source
    if rank is not None and x.ndim != rank:
        axes = model.outline.named.letters if model.outline.named is not None else f"{rank} axes"
        item = spec.shape[1:] if spec is not None else ()
        raise ItemError(
            f"The input is {list(x.shape)}, of rank {x.ndim}; {source} takes {axes}"
            + (f", items of {['?' if n is None else n for n in item]}." if item else ".")
        )
    expected = spec.shape[1:] if spec is not None and len(spec.shape) == x.ndim else x.shape[1:]
    if any(want not in (None, got) for want, got in zip(expected, x.shape[1:], strict=True)):
        raise ItemError(
            f"The input is {list(x.shape)}; {source} takes items of {['?' if n is None else n for n in expected]}."
        )
    if 0 in x.shape:
        raise ItemError(f"The input is {list(x.shape)}: there is nothing to explain.")
    if x.dtype.kind in "SUO" and spec is not None and spec.dtype not in ("", "str"):
        raise ItemError(f"The items are of type {x.dtype.name}; {source} is explained on numbers.")
    if not finite and not all_finite(x):
        where = [int(i) for i in np.argwhere(~np.isfinite(x))[0]]
        raise NonFinite(
            f"The input holds {x[tuple(where)]} at {where}. Explanations need finite inputs: mend or drop it."
        )
