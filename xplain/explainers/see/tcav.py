"""TCAV: whether a class's score rises towards a concept that folders of pictures show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.analyses.concepts import holm, sensitivity
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Positive, Side
from xplain.core.declaring.registry import Paper, lens
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.lenses.cells import Cell, Cells, cells
from xplain.core.lenses.scene import More, Scene, Seeing, Some
from xplain.core.query import Peek, Sweep
from xplain.core.rules import Rules
from xplain.core.target import label as score_of
from xplain.explainers.cam.layers import map_layer
from xplain.explainers.see.layers import short_name
from xplain.explainers.see.tiles import tiles_of
from xplain.explainers.see.vectors import class_asked, folder_of

__all__ = ["GroupsOf", "tcav"]


@dataclass(frozen=True)
class GroupsOf:
    """The group that each item belongs to: names in the order of the items."""

    accepts: str = "a list of names, one per item"
    invalid: tuple[Any, ...] = (3, (3,), "")

    def read(self, value: Any) -> tuple[str, ...]:
        """The names. Raises ValueError when refused."""
        if isinstance(value, str):
            value = [word.strip() for word in value.split(",")]
        if not isinstance(value, Sequence) or not all(isinstance(one, str) and one for one in value) or not value:
            raise ValueError
        return tuple(value)


Groups: TypeAlias = Annotated[Any, GroupsOf()]


@lens(
    "tcav",
    needs=(Peek, Sweep),
    paper=Paper("Kim 2018", "arXiv:1711.11279"),
    aliases=("concept-activation-vectors",),
    trial={"groups": ("stripes", "items", "random") * 3, "label": "1", "sets": 2, "draws": 9},
)
def tcav(
    scene: Scene,
    *,
    label: str = "",
    of: str = "items",
    random: str = "random",
    groups: Groups | None = None,
    layer: str = "auto",
    sets: Positive = 10,
    draws: Positive = 199,
    k: Positive = 6,
    thumbnail: Side = 96,
) -> Seeing[Cells]:
    """Whether the score of a class rises towards a concept: the share of items whose gradient points to it, tested.

    A concept is a folder of pictures. Its direction at a layer is the normal of a linear boundary between them and as
    many random ones; ``S = d score / d layer . v``, and the share of items with S > 0 is the paper's score, near 1
    where the class leans on the concept, near 0 where it leans on its absence. Concepts that lean as random pictures
    would are said to be none. The paper's t-test takes boundaries that share pictures for independent, and so finds
    concepts too often; here labels are exchanged, which is exact, and Holm corrects for the number of concepts.

    Args:
        label: The class, by name or number; empty for the one that is called as ``of`` is. Its score is read as the
            model answers it.
        of: The folder of the items whose score is asked about.
        random: The folder of random pictures, the more the better; each folder besides these two is a concept.
        groups: The folder of each item, for items that are no files.
        layer: The layer; ``auto`` is the last one with positions. All its numbers count.
        sets: Random sets that each concept is held against.
        draws: Exchanges of labels; p is never below ``2 / (draws + 1)``.
        k: Items shown of each concept, those with the largest cosine.
        thumbnail: Side of the pictures that are drawn.

    Returns:
        A gallery with a row per concept, the surest first, with its share and the standard deviation over random sets.
        Values are the cosine of an item's gradient with the concept's direction.
        ``facts["concepts"]`` tell of each the share with its standard deviation over random sets, mean cosine, p,
        corrected p, and how well the boundary tells items that are left out.

    Cost:
        1 evaluation per concept picture and random one, 1 sweep per item.

    Raises:
        UsageError: a folder is missing or holds too little, or the class is none.

    Source:
        Kim et al., Interpretability Beyond Feature Attribution, ICML 2018.
    """
    held: dict[str, list[Array]] = {}
    steep: list[Array] = []
    names: list[str] = []
    pictures: list[Array] = []
    name, called, place = "", "", 0
    while (part := (yield More())) is not None:
        name = name or _layer(part, layer)
        own = _groups(part, groups, place)
        place += len(part)
        number, called = class_asked(part, label or of)
        target = score_of(number)
        asked = np.flatnonzero([one == of for one in own])
        shown = np.flatnonzero([one != of for one in own])
        if len(shown):
            answer = yield Peek(part.view.x[shown], (name,))
            values = np.asarray(answer[name]).reshape(len(shown), -1)
            for n, row in zip(shown, values, strict=True):
                held.setdefault(own[n], []).append(row.astype(np.float32))
        if len(asked):
            swept = yield Sweep(part.view.x[asked][:, None], target, Rules(), (name,))
            steep += list(np.asarray(swept[name][1], np.float32).reshape(len(asked), -1))
            names += [part.names[n] for n in asked]
            tiles = tiles_of(part, thumbnail)
            pictures += [] if tiles is None else list(tiles[asked])
    if groups is not None and len(groups) != place:
        raise UsageError(
            option="groups",
            got=counted(len(groups), "name"),
            accepted=f"one for each of the {counted(place, 'item')}",
        )
    concepts = sorted(set(held) - {random})
    _require(of, random, steep, held, concepts)
    gradients = np.stack(steep)
    found = {
        one: sensitivity(
            np.stack(held[one]),
            np.stack(held[random]),
            gradients,
            sets=sets,
            draws=draws,
            rng=scene.rng(f"tcav {one}"),
        )
        for one in concepts
    }
    corrected = dict(zip(concepts, holm([found[one].p for one in concepts]), strict=True))
    # what is surest first, and of what is equally sure what leans most, to either side
    concepts.sort(key=lambda one: (corrected[one], -abs(float(found[one].shares.mean()) - 0.5), one))
    told: dict[str, Any] = {}
    about: dict[str, str] = {}
    drawn: list[Cell] = []
    warnings: list[Caveat] = []
    for one in concepts:
        result = found[one]
        spread = float(result.shares.std(ddof=1)) if sets > 1 else float("nan")
        told[one] = {
            "share": float(result.shares.mean()),
            "standard deviation over random sets": spread,
            "mean cosine": float(result.cosines.mean()),
            "p": result.p,
            "corrected p": corrected[one],
            "accuracy left out": result.accuracy,
            "pictures": len(held[one]),
        }
        width = f" ± {spread:.2f} sd" if sets > 1 else ""
        about[one] = f"share {result.shares.mean():.2f}{width}\np {corrected[one]:.2g}, corrected"
        if corrected[one] > 0.05:
            warnings.append(Caveat(f"{one!r} moves the score no more than random pictures: p is {corrected[one]:.2g}."))
        for n in np.argsort(-result.cosines, kind="stable")[:k]:
            value = float(result.cosines[n])
            picture = pictures[n] if len(pictures) == len(names) else None
            drawn.append(Cell(one, value, picture, name=names[n], caption=f"{value:+.2g}\n{names[n]}"))
    if 2 * len(concepts) / (draws + 1) > 0.05:
        least = int(np.ceil(40 * len(concepts))) - 1
        warnings.append(
            Caveat(f"With {draws} exchanges of labels no p can be below 0.05 here; {least} would do.", "budget")
        )
    return cells(
        drawn,
        f"Concepts that the score of {called} leans on at {short_name(name)}, over {counted(len(names), 'item')}",
        "cosine of the score's gradient with the concept's direction",
        form="rows",
        about=about,
        facts={"layer": name, "class": label or of, "items": len(names), "random": len(held[random]), "concepts": told},
        warnings=tuple(warnings),
    )


def _layer(part: Some, layer: str) -> str:
    if layer == "auto":
        return map_layer(part.view, "auto").name
    part.view.outline.layer(layer)  # says which there are
    return layer


def _groups(part: Some, groups: Sequence[str] | None, place: int) -> list[str]:
    """The folder of each item."""
    if groups is None:
        return [folder_of(one) for one in part.given]
    if len(groups) < place + len(part):
        raise UsageError(
            option="groups",
            got=counted(len(groups), "name"),
            accepted="one for each item, of which there are more",
        )
    return list(groups[place : place + len(part)])


def _require(of: str, random: str, steep: Sequence[Array], held: dict[str, list[Array]], concepts: list[str]) -> None:
    """Raise unless there are items, random ones and a concept."""
    known = ", ".join(sorted(held)) or "none"
    if not steep:
        raise UsageError(
            f"No item lies in a folder {of!r}; besides it there are: {known}. Name it by ", option("of"), "."
        )
    if random not in held or not concepts:
        raise UsageError(
            f"A folder of random pictures, {random!r}, and one of a concept are needed; there are: {known}. Name the "
            "random one by ",
            option("random"),
            ".",
        )
