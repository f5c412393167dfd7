"""Add to what is known of a model: its preprocessing card, if it fits, and the providers that run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xplain.core.card import Card
from xplain.core.caveat import Caveat
from xplain.core.errors import CardError
from xplain.core.layout import Layout
from xplain.core.outline import Outline

__all__ = ["attach_card", "tell_providers", "warned"]


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
            f"Preprocessing card {card.name}: it has {len(card.labels)} labels, but {outline.source} has {classes} "
            "classes. A shifted list gives wrong names silently: check for a background class in front."
        )
    spec = next((one for one in outline.inputs if one.name == outline.input), None)
    layout = outline.layout
    if spec is not None and len(spec.shape) == 4:
        axis = card.layout.index("C")
        if spec.shape[axis] not in (None, card.channels):
            raise CardError(
                f"Preprocessing card {card.name}: it makes {card.layout} with {card.channels} channels; "
                f"{outline.source} takes {['?' if n is None else n for n in spec.shape]}. Set layout and mode "
                "in the card."
            )
        if layout is not None:
            layout = Layout(card.layout, layout.item)
    return replace(outline, card=card, labels=card.labels or outline.labels, layout=layout)


def tell_providers(outline: Outline, providers: Sequence[str], *fallbacks: str) -> Outline:
    """The outline with the providers that run the model and, as quirks, those that were asked for and do not."""
    said = tuple(sentence for sentence in fallbacks if sentence)
    facts = {**outline.facts, "providers": ", ".join(providers)}
    return warned(replace(outline, facts=facts), *said)


def warned(outline: Outline, *sentences: str) -> Outline:
    """The outline with what must be known of how the model is run: a quirk, and a warning of every result."""
    warnings = (*outline.warnings, *(Caveat(sentence, "model") for sentence in sentences))
    return replace(outline, quirks=(*outline.quirks, *sentences), warnings=warnings)
