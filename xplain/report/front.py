"""The front of a page: a card per item with its methods side by side, and rules that filter and sort without a script.

Inputs stand before the cards, so a style sheet alone can follow them: a ticked method shows its column, a chosen order
moves the cards. The page's content policy therefore needs no script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from xplain.render.canvas import row
from xplain.render.figure import target_of
from xplain.render.notebook import data_url
from xplain.render.sentence import sentence
from xplain.render.thumbnails import item_small, map_small
from xplain.report.agreement import agreement
from xplain.results.attribution import Attribution

__all__ = ["Card", "Group", "Tile", "cards", "rules"]

_SMALL = 64  # pixels of a picture's longer side beside its name
_TILE = 160  # pixels of a map's longer side in a card


@dataclass(frozen=True, slots=True)
class Tile:
    """One method on one item and target.

    Args:
        method: Its name.
        column: Number of the method among those of the page, from 1; the boxes that hide methods name it.
        anchor: Where the large figure stands.
        picture: The map as a ``data:`` address; empty for words and rows.
        said: What it shows, in a sentence.
        warned: Whether there are warnings.
    """

    method: str
    column: int
    anchor: str
    picture: str
    said: str
    warned: bool


@dataclass(slots=True)
class Group:
    """One target of an item, and every method that explains it; ``agreement`` is their mean rank correlation."""

    target: str
    score: str
    tiles: list[Tile] = field(default_factory=list)
    agreement: str = ""


@dataclass(slots=True)
class Card:
    """One item: its picture, what the model said, and its targets."""

    number: int
    name: str
    thumbnail: str
    predicted: str
    groups: list[Group] = field(default_factory=list)
    score: float = 0.0
    agrees: float | None = None


def cards(
    attributions: Sequence[Attribution], predicted: Mapping[str, str], anchor_of: Callable[[int, int], str]
) -> list[Card]:
    """A card per item, in the order in which the attributions have them.

    Items are the same where they have the same name; of several with one name, where they come in the same order.

    Args:
        attributions: What the page shows.
        predicted: What the model said of an item, in words, by its name.
        anchor_of: Where the large figure of the k-th attribution's item stands.
    """
    columns = {name: k for k, name in enumerate(dict.fromkeys(a.method for a in attributions), 1)}
    made: dict[tuple[str, int], Card] = {}
    alike: dict[tuple[str, int, str, str], list[Attribution]] = {}
    groups: dict[tuple[str, int, str, str], Group] = {}
    for k, a in enumerate(attributions):
        seen: dict[str, int] = {}
        for item in range(len(a)):
            name = a.name_of(item)
            seen[name] = seen.get(name, 0) + 1
            key = name, seen[name]
            card = made.setdefault(key, Card(len(made) + 1, name, thumbnail(a, item), predicted.get(name, "")))
            target, score = target_of(a, item), f"{float(a.scores[item]):.6g}"
            own = (*key, target, score)
            if own not in groups:
                groups[own] = Group(target, score)
                card.groups.append(groups[own])
            one = a[item]
            alike.setdefault(own, []).append(one)
            tile = Tile(
                a.method,
                columns[a.method],
                anchor_of(k, item),
                _tile(one),
                sentence(one, named=False),
                bool(one.warnings),
            )
            groups[own].tiles.append(tile)
            card.score = card.score if len(card.groups) > 1 or len(groups[own].tiles) > 1 else float(a.scores[item])
    for (name, place, *_), results in alike.items():
        found = agreement(results)
        if found is None:
            continue
        groups[name, place, *_].agreement = f"{found:+.2f}"
        card = made[name, place]
        card.agrees = found if card.agrees is None else min(card.agrees, found)
    return list(made.values())


def rules(listed: Sequence[Card], methods: int) -> str:
    """Style rules of this page: what each box hides, and in which order each choice puts the cards."""
    lines = [f"#show-{k}:not(:checked) ~ .cards .m{k} {{ display: none; }}" for k in range(1, methods + 1)]
    by_score = sorted(listed, key=lambda card: -card.score)
    by_doubt = sorted(listed, key=lambda card: 2.0 if card.agrees is None else card.agrees)
    for name, order in (("score", by_score), ("disagreement", by_doubt)):
        lines += [f"#by-{name}:checked ~ .cards #item-{card.number} {{ order: {k}; }}" for k, card in enumerate(order)]
    return "\n".join(lines)


def thumbnail(a: Attribution, item: int) -> str:
    """The item, small: a picture, a line, a slice; empty for what is none of these."""
    small = item_small(a[item], _SMALL)
    return "" if small is None else data_url(small)


def _tile(one: Attribution) -> str:
    """The map, small and without words; empty for what has none."""
    if parts := one.by_input():
        drawn = [small for part in parts.values() if (small := map_small(part, _TILE)) is not None]
        return data_url(row(drawn, gap=4), "WEBP") if drawn else ""
    small = map_small(one, _TILE)
    return "" if small is None else data_url(small, "WEBP")
