"""Pictures as a model's tensors, by its preprocessing card: several in one go, those that fit together as one batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.card import PRESETS, Card, load_card
from xplain.core.caveat import Caveat
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import CardError, UsageError, XplainError
from xplain.core.items import Items
from xplain.core.likely_card import likely_card
from xplain.core.outline import Outline
from xplain.core.positions.layout import Axes, Layout
from xplain.core.query import Model
from xplain.models.outlines import attach_card
from xplain.session.checked import against, check_tensor, named_axes, resolved

__all__ = ["Lost", "as_used", "is_picture", "pictures_apart", "pictures_together"]

Lost = Callable[[int, XplainError], None]
"""Called with the place of a picture that cannot be read, and why; it raises what is not of that one alone."""


@dataclass(slots=True)
class _Run:
    """Pictures that follow each other and fit in one batch.

    Args:
        start: The place of the first.
        x: Their tensors, with room for those to come.
        seen: The same for a person, uint8.
        sizes: Height and width that each came in.
        warnings: What was said of them.
    """

    start: int
    x: Array
    seen: Array
    sizes: list[tuple[int, int]] = field(default_factory=list)
    warnings: list[Caveat] = field(default_factory=list)


def is_picture(one: Any) -> bool:
    """Whether something is a picture: a path, the bytes of a file, a PIL picture, or an array of uint8."""
    if isinstance(one, (str, Path, bytes)):
        return True
    if isinstance(one, np.ndarray):
        return bool(one.dtype == np.uint8)
    pil = sys.modules.get("PIL.Image")
    return bool(pil is not None and isinstance(one, pil.Image))


def pictures_together(
    model: Model, given: Sequence[Any], card: Any, named: Axes | None, out: Array | None = None
) -> Items:
    """Pictures as one batch.

    Args:
        model: The model.
        given: What ``is_picture`` accepts.
        card: How they become tensors; None for the model's own card.
        named: Their axes, where a person states them.
        out: Where the tensor of a picture that comes alone is written, if it has that shape.

    Raises:
        CardError: there is no card, or it makes them of different sizes.
        PictureError: one cannot be read.
        ItemError: the model does not take what they become.
    """
    used, named = _way(model, card, named)
    runs = list(_runs(model, used, given, out, None))
    if len(runs) > 1:
        shapes = sorted({one.x.shape[1:] for one in runs})
        raise CardError(f"The card gives pictures of different sizes {shapes}; state resize or crop in it.")
    return _items(model, used, named, given, runs[0])


def pictures_apart(
    model: Model, given: Sequence[Any], card: Any, layout: str | None, lost: Lost
) -> list[tuple[int, Items]]:
    """Pictures that need not fit together: the place of the first of each batch, and the batch.

    Args:
        model: The model.
        given: What ``is_picture`` accepts.
        card: How they become tensors; None for the model's own card.
        layout: How the axes are named, where a person says so.
        lost: Called for those that cannot be read.
    """
    carded = model.outline.card if card is None else load_card(card)
    used, named = _way(model, card, named_axes(model.outline, carded, layout))
    runs = list(_runs(model, used, given, None, lost))
    return [(run.start, _items(model, used, named, given, run)) for run in runs]


def _way(model: Model, card: Any, named: Axes | None) -> tuple[Card, Axes | None]:
    """The card with all that is known of the model in it, and the axes that are stated of a batch of its tensors."""
    outline = model.outline
    known = named or outline.named
    if known is not None and known.letters not in ("NCHW", "NHWC"):
        item = [] if outline.explained is None else ["?" if n is None else n for n in outline.explained.shape[1:]]
        raise UsageError(
            f"{outline.source} takes items of {item} ({known.letters}), no pictures. "
            "For rows of a table use xplain.table; else give an array in the model's own layout."
        )
    used = outline.card if card is None else attach_card(outline, load_card(card)).card
    if used is None:
        raise CardError(
            f"{outline.source} has no preprocessing card, so it is not known how a picture becomes its input. ",
            "Write <model>.card.toml beside it, or give " if outline.kind == "onnx" else "Give ",
            option("card"),
            f" a file or a preset: {', '.join(PRESETS)}.{_proposed(outline)}",
        )
    if known is None:
        known = Axes(used.layout or "NCHW", "stated by the card" if used.layout else "what a card makes by default")
    if not used.of_pictures or known.letters not in ("NCHW", "NHWC"):
        what = used.coordinates.kind or f"items of layout {known.letters}"
        raise CardError(
            f"The card of {outline.source} is for {what}, not for pictures. Give arrays in the model's own layout."
        )
    used = as_used(used, known.letters, outline)
    return used, known if outline.named is None else named


def _runs(model: Model, card: Card, given: Sequence[Any], out: Array | None, lost: Lost | None) -> Iterator[_Run]:
    """Read one after another: of pictures as they were given, of any size, one at a time is held.

    Each is written to its row of a batch, so that nothing is copied to put them together.
    """
    finite = card.mode != "BANDS" and card.keeps_finite
    run: _Run | None = None
    for n, one in enumerate(given):
        said: list[str] = []
        free = out if run is None or len(run.sizes) == len(run.x) else run.x[len(run.sizes)]
        try:
            size, tensor, pixels = _prepared(card, one, free, said)
            check_tensor(tensor[None], model, tensor.ndim + 1, finite)
        except XplainError as error:
            if lost is None:
                raise
            lost(n, error)
            if run is not None:
                yield run
            run = None
            continue
        if run is None or tensor.shape != run.x.shape[1:]:
            if run is not None:
                yield run
            room = len(given) - n
            run = _Run(n, _room(tensor, room), _room(pixels, room))
            free = tensor if room == 1 else None
        if tensor is not free:
            run.x[len(run.sizes)] = tensor
        if len(run.x) > 1:
            run.seen[len(run.sizes)] = pixels
        run.warnings += [Caveat(text, "input", len(run.sizes)) for text in said]
        run.sizes.append(size)
    if run is not None:
        yield run


def _prepared(card: Card, one: Any, out: Array | None, said: list[str]) -> tuple[tuple[int, int], Array, Array]:
    """Height and width as it was given, the tensor, and the same pixels for a person."""
    from xplain.render import bands, pictures

    if card.mode == "BANDS":
        height, width = one.shape[:2]
        return (height, width), *bands.prepare_bands(card, one)
    read = pictures.read(one, card.range, said)
    height, width = read.shape[:2]
    return (height, width), *pictures.prepare(card, read, out)


def _room(first: Array, count: int) -> Array:
    """Room for so many arrays like one; one alone is its own."""
    return first[None] if count == 1 else np.empty((count, *first.shape), first.dtype)


def _items(model: Model, card: Card, named: Axes | None, given: Sequence[Any], run: _Run) -> Items:
    """A run with its layout, which is resolved here."""
    count = len(run.sizes)
    x = run.x[:count]
    numbered = enumerate(given[run.start : run.start + count])
    names = tuple(Path(one).name if isinstance(one, (str, Path)) else str(n) for n, one in numbered)
    layout = resolved(model, x, named)
    told = card.coordinates
    if isinstance(layout, Layout):
        told.check(layout)
    return Items(
        x,
        names,
        run.seen[:count],
        card,
        layout=layout,
        warnings=(*run.warnings, *against(layout)),
        sizes=tuple(run.sizes),
        coordinates=told,
    )


def as_used(card: Card, layout: str, outline: Outline) -> Card:
    """A card with all that is known of the model in it: the order of axes, and a size where it states none."""
    card = replace(card, layout=layout)
    return card.sized(*outline.layout.plane) if outline.layout is not None and outline.layout.is_picture else card


def _proposed(outline: Outline) -> str:
    found = likely_card(outline)
    return "" if found is None else f" Likely here is {found[0]!r}: {found[1]}."
