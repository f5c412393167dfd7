"""Add to what is known of a model: the axes of its input, its card, if it fits, and the providers that run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.card import Card
from xplain.core.caveat import Caveat
from xplain.core.errors import CardError, UsageError
from xplain.core.keeping.plain import counted
from xplain.core.outline import NOT_FINITE, Outline
from xplain.core.positions.layout import Axes, Layout, by_free, stated

__all__ = ["attach_card", "labelled", "not_finite", "settled", "tell_providers", "warned"]


def settled(outline: Outline, card: Card | None, layout: str | None = None, seen: Axes | None = None) -> Outline:
    """The outline with the axes of its input, if anything but an item decides them, and with a card and its labels.

    Args:
        outline: What is known so far.
        card: How pictures become tensors, or None.
        layout: What a person states, or None.
        seen: What the model itself says of its input's axes, or None.

    Raises:
        UsageError: ``layout`` is no layout, or does not fit the input.
        CardError: the card is for another input, or has another number of labels than the model has classes.
    """
    known = seen
    if layout is not None:
        known = stated(layout)
        if seen is not None and seen.letters != known.letters:
            known = Axes(known.letters, f"{known.why}, though {seen.why}, which reads {seen.letters}")
    outline = attach_card(outline.with_axes(known), card)
    spec = outline.explained
    if outline.named is None and spec is not None and (axes := by_free(spec.shape[1:])) is not None:
        outline = attach_card(outline.with_axes(axes), outline.card)
    if outline.named is None and spec is not None and len(spec.shape) > 1 and None not in spec.shape[1:]:
        found = outline.layout_of(tuple(n for n in spec.shape[1:] if n is not None))
        if isinstance(found, Layout):
            outline = attach_card(outline.with_axes(Axes(found.axes, found.why)), outline.card)
    return outline


def not_finite(fixed: Mapping[str, Any]) -> dict[str, str]:
    """The fact that names inputs which are fixed to NaN or infinity; none where all are numbers."""
    arrays = {
        name: np.asarray(value.detach().cpu() if hasattr(value, "detach") else value) for name, value in fixed.items()
    }
    names = [repr(name) for name, one in arrays.items() if one.dtype.kind == "f" and not np.isfinite(one).all()]
    return {NOT_FINITE: " and ".join(names)} if names else {}


def attach_card(outline: Outline, card: Card | None) -> Outline:
    """The outline with a card and its labels, checked against the model's input and classes.

    Raises:
        CardError: the card is for another input, or has another number of labels than the model has classes.
    """
    if card is None:
        return outline
    classes = outline.scores.classes
    if card.labels and classes is not None and len(card.labels) != classes:
        raise CardError(
            f"Preprocessing card {card.name}: it has {counted(len(card.labels), 'label')}, but {outline.source} has "
            f"{counted(classes, 'class', 'classes')}. A shifted list gives wrong names silently: check for a "
            "background class in front."
        )
    named, spec = outline.named, outline.explained
    foreign = card.layout not in ("", "NCHW", "NHWC")  # a picture card says nothing of rows of a table
    if named is not None and card.layout not in ("", named.letters) and (len(named.letters) == 4 or foreign):
        raise CardError(
            f"Preprocessing card {card.name}: it states {card.layout}, but {outline.source} takes {named.letters}: "
            f"{named.why}. Correct the layout in the card, or leave it out."
        )
    if named is None and card.layout and (spec is None or len(spec.shape) in (0, len(card.layout))):
        outline = outline.with_axes(Axes(card.layout, "stated by the preprocessing card"))
        named = outline.named
    if outline.layout is not None:
        card.coordinates.check(outline.layout)
    if spec is not None and len(spec.shape) == 4 and named is not None and card.of_pictures:
        card = _fitting(card, named, spec.shape, outline.source)
    return replace(outline, card=card, labels=card.labels or outline.labels)


def _fitting(card: Card, named: Axes, shape: tuple[int | None, ...], source: str) -> Card:
    """The card in the model's layout, and with its number of channels where the card does not state a mode."""
    channels = shape[named.letters.index("C")] if "C" in named.letters else 1
    if not card.mode:
        mode = {None: "RGB", 3: "RGB", 1: "L"}.get(channels, "BANDS")
        card = replace(card, mode=mode, bands=channels if mode == "BANDS" else None)
    if channels not in (None, card.channels):
        raise CardError(
            f"Preprocessing card {card.name}: it makes {named.letters} with {counted(card.channels, 'channel')}; "
            f"{source} takes {['?' if n is None else n for n in shape]}. Set layout and mode in the card."
        )
    return replace(card, layout=named.letters) if named.letters in ("NCHW", "NHWC") else card


def tell_providers(outline: Outline, providers: Sequence[str], *fallbacks: str) -> Outline:
    """The outline with the providers that run the model and, as quirks, those that were asked for and do not."""
    said = tuple(sentence for sentence in fallbacks if sentence)
    facts = {**outline.facts, "providers": ", ".join(providers)}
    return warned(replace(outline, facts=facts), *said)


def warned(outline: Outline, *sentences: str) -> Outline:
    """The outline with what must be known of how the model is run: a quirk, and a warning of every result."""
    warnings = (*outline.warnings, *(Caveat(sentence, "model") for sentence in sentences))
    return replace(outline, quirks=(*outline.quirks, *sentences), warnings=warnings)


def labelled(outline: Outline, labels: Sequence[str]) -> Outline:
    """The outline with these class names, if there are any.

    Raises:
        UsageError: another number of them than the model has classes.
    """
    classes = outline.scores.classes
    if labels and classes is not None and classes != len(labels):
        raise UsageError(
            f"{counted(len(labels), 'label was', 'labels were')} given, but the model has "
            f"{counted(classes, 'class', 'classes')}. Give one per class."
        )
    return replace(outline, labels=tuple(labels)) if labels else outline
