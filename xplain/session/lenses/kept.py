"""Vectors that were kept, given in place of items: recognised, and held against lens, model and card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from xplain.core.card import Card, load_card
from xplain.core.declaring.registry import LENSES, Lens
from xplain.core.errors import UsageError
from xplain.core.lenses.kept_vectors import KeptVectors, holds_vectors, kept_in
from xplain.core.query import Model
from xplain.models.outlines import attach_card
from xplain.results.embedding import Embedding
from xplain.session.pictured import as_used

__all__ = ["check_kept", "kept_vectors"]


def kept_vectors(items: Any) -> tuple[KeptVectors, ...]:
    """The vectors that stand in for items: folders and Parquet files of ``see embed``, or ``Embedding``s; else none.

    Raises:
        UsageError: a folder or a file is damaged, or stands beside items that are none.
        MissingDependency: a Parquet file, and pyarrow is not installed.
    """
    given = list(items) if isinstance(items, (list, tuple)) else [items]
    found = [isinstance(one, Embedding) or holds_vectors(one) for one in given]
    if not any(found):
        return ()
    if not all(found):
        strange = given[found.index(False)]
        raise UsageError(
            f"Vectors that were kept stand beside {str(strange)!r:.200}, which holds none. Give vectors alone, or the "
            "items that they are of."
        )
    return tuple(one.kept_vectors() if isinstance(one, Embedding) else kept_in(one) for one in given)


def check_kept(entry: Lens, kept: Sequence[KeptVectors], model: Model, card: Any) -> Card | None:
    """Hold vectors against the lens, the model and the card that are asked for.

    Returns:
        The card that their items were read by; None where they were no pictures.

    Raises:
        UsageError: the lens takes none, or fewer folders of them; or they are of another model or card, and the message
            says what differs.
    """
    if entry.kept == "no":
        takers = ", ".join(one.name for one in LENSES if one.kept != "no")
        raise UsageError(
            f"{kept[0].source} holds vectors, and lens {entry.name!r} looks at the items themselves: give these. "
            f"Lenses that take vectors: {takers}."
        )
    if entry.kept == "one" and len(kept) > 1:
        raise UsageError(
            f"Lens {entry.name!r} looks at the vectors of one layer; {len(kept)} folders of them are given."
        )
    outline = model.outline
    for one in kept:
        one.require(model=outline.digest)
    text, layout = str(kept[0].about.get("card", "")), str(kept[0].about.get("layout", ""))
    if not text:
        return None
    used = Card.from_toml(text, f"the card of {kept[0].source}")
    given = outline.card if card is None else attach_card(outline, load_card(card)).card
    if given is None:
        return used
    plain = given.to_toml(labels=False)  # of sound and arrays, which no card resizes, it is kept as it was given
    wanted = as_used(given, layout, outline).to_toml(labels=False)
    for one in kept:
        if one.about.get("card") != plain:
            one.require(card=wanted)
    return replace(used, labels=given.labels)
