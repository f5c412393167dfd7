"""``xplain check``: are pictures prepared as in training? Wrong preprocessing is silent, so it is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xplain import api
from xplain.cli.console import FINDING, OK, PARTIAL, Outcome, Progress, problem, table
from xplain.cli.labelled import Labelled, read_labelled
from xplain.cli.loading import Asking, Loading, ModelFile
from xplain.cli.predictions import best, in_words
from xplain.core.card import PRESETS, Card
from xplain.core.edits import Array
from xplain.core.errors import BudgetError, CardError, NonFinite, PictureError, UsageError
from xplain.core.query import Model

__all__ = ["check"]

_LEAD = 0.1
"""Another card is suspicious when it is right on this share of the pictures more, and on at least two more."""


def check(
    model: ModelFile,
    loading: Loading,
    asking: Asking,
    labelled: Annotated[
        Path, typer.Option(help="Folder with labels.csv (file, label), or with a folder per label.", show_default=False)
    ],
    top: Annotated[int, typer.Option(help="A label among the best TOP classes counts as near.")] = 5,
    at_least: Annotated[float, typer.Option(help="Share of pictures whose best class must be the label.")] = 0.5,
) -> Outcome:
    """Check on a few labelled pictures that MODEL sees them as it was trained to.

    Take 10 to 50 pictures on which the model should be right. It is a finding (exit code 1) when too few are, or when
    another usual preprocessing is right more often than the model's card.

    Raises:
        UsageError: no labelled pictures, or options out of range.
        UnknownName: a label that the model does not have; the message names the nearest.
        CardError: neither the model nor the command line has a card.
    """
    if top < 1 or not 0 <= at_least <= 1:
        raise UsageError(f"--top is {top} and --at-least is {at_least}; accepted: at least 1, and a share from 0 to 1.")
    given = read_labelled(labelled)
    loaded = loading.open(model)
    used = loaded.outline.card
    if used is None:
        raise CardError(f"{model} has no preprocessing card; give --card a file or a preset: {', '.join(PRESETS)}.")
    others = _other_cards(used)
    planned = len(given) * (1 + len(others))
    if asking.max_queries is not None and asking.max_queries < planned:
        raise BudgetError(
            f"{len(given)} pictures with this card and {len(others)} others take {planned} evaluations, above "
            f"--max-queries {asking.max_queries}. Raise it, or label fewer pictures."
        )
    with Progress(planned) as progress:
        scores, readable, failures = _scores(loaded, given, asking, progress)
        if not readable:
            raise PictureError(f"None of the {len(given)} pictures can be used: {failures[0]['error']['message']}")
        truth = np.array([loaded.outline.label_index(one.label, scores.shape[1]) for one in readable])
        ranks = _ranks(scores, truth)
        judged = _others(loaded, others, readable, truth, top, asking, progress)
    summary = _summary("given", ranks, top)
    findings = _findings(summary, judged, at_least, len(readable))
    pictures = [
        {"picture": one.picture, "label": one.label, "rank": int(rank) + 1, "predictions": found}
        for one, rank, found in zip(readable, ranks, best(scores, loaded.outline), strict=True)
    ]
    document = {
        "model": loaded.outline.source,
        "card": replace(used, labels=()).to_toml(),
        **summary,
        "at_least": at_least,
        "others": judged,
        "findings": findings,
        "pictures": pictures,
        "failures": failures,
    }
    code = FINDING if findings else PARTIAL if failures else OK
    return Outcome(document, _text(document, top), code)


def _scores(
    model: Model, given: Sequence[Labelled], asking: Asking, progress: Progress
) -> tuple[Array, list[Labelled], list[dict[str, Any]]]:
    """Scores of the pictures that can be used, these pictures, and the others with what is wrong."""
    rows, readable, failures = [], [], []
    for number, one in enumerate(given, 1):
        try:
            row = api.predict(model, one.picture, batch_size=asking.batch_size, cache=asking.cache)
            if not np.isfinite(row).all():
                raise NonFinite(f"The scores of {one.picture} hold NaN or infinity.")
        except (PictureError, NonFinite) as error:
            failures.append({"picture": one.picture, "error": problem(error)})
            continue
        finally:
            progress.to(number)
        rows.append(row)
        readable.append(one)
    return (np.concatenate(rows) if rows else np.zeros((0, 0))), readable, failures


def _ranks(scores: Array, truth: Array) -> Array:
    """Place of the true class in each row of scores, int ``[N]``, 0 for the best; ties in order of class."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.asarray((order == truth[:, None]).argmax(axis=1))


def _summary(card: str, ranks: Array, top: int) -> dict[str, Any]:
    return {
        "card_name": card,
        "top1": float((ranks == 0).mean()),
        f"top{top}": float((ranks < top).mean()),
        "right": int((ranks == 0).sum()),
    }


def _other_cards(used: Card) -> dict[str, Card]:
    """The usual other ways to turn pixels into numbers, with the model's own geometry, by preset."""
    found = {}
    for name, preset in PRESETS.items():
        if preset.channels == used.channels and not _same(preset, used):
            found[name] = replace(used, mode=preset.mode, scale=preset.scale, mean=preset.mean, std=preset.std)
    return found


def _others(
    model: Model,
    cards: Mapping[str, Card],
    readable: Sequence[Labelled],
    truth: Array,
    top: int,
    asking: Asking,
    progress: Progress,
) -> list[dict[str, Any]]:
    """How often the model is right with each of the other cards, best first."""
    found, pictures = [], [one.picture for one in readable]
    for number, (name, card) in enumerate(cards.items(), 2):
        scores = api.predict(model, pictures, card=card, batch_size=asking.batch_size, cache=asking.cache)
        found.append(_summary(name, _ranks(scores, truth), top))
        progress.to(number * len(pictures))
    return sorted(found, key=lambda one: -one["right"])


def _same(one: Card, other: Card) -> bool:
    """Whether two cards make the same numbers of the same pixels; one number stands for all channels."""
    numbers = [np.broadcast_to(values, 3) for card in (one, other) for values in (card.mean, card.std)]
    same = np.allclose(numbers[0], numbers[2]) and np.allclose(numbers[1], numbers[3])
    return one.mode == other.mode and bool(np.isclose(one.scale, other.scale)) and same


def _findings(summary: dict[str, Any], others: Sequence[dict[str, Any]], at_least: float, count: int) -> list[str]:
    findings = []
    if summary["top1"] < at_least:
        findings.append(
            f"The best class is the label on {summary['right']} of {count} pictures, below --at-least {at_least:g}."
        )
    lead = max(2, int(np.ceil(_LEAD * count)))
    if others and others[0]["right"] >= summary["right"] + lead:
        findings.append(
            f"Preprocessing {others[0]['card_name']!r} is right on {others[0]['right']} of {count} pictures, this one "
            f"on {summary['right']}: the card is probably wrong. Put into it: {_numbers(others[0]['card_name'])}."
        )
    return findings


def _numbers(preset: str) -> str:
    card = PRESETS[preset]
    return f'mode = "{card.mode}", scale = {card.scale:g}, mean = {list(card.mean)}, std = {list(card.std)}'


def _text(document: dict[str, Any], top: int) -> str:
    rows = [
        (Path(one["picture"]).name, one["label"], str(one["rank"]), in_words(one["predictions"]))
        for one in document["pictures"]
    ]
    cards = [("this card", f"{document['top1']:.0%}", f"{document[f'top{top}']:.0%}")]
    cards += [(one["card_name"], f"{one['top1']:.0%}", f"{one[f'top{top}']:.0%}") for one in document["others"]]
    lines = [
        table(rows, ("picture", "label", "rank", "model says")),
        "",
        table(cards, ("preprocessing", "top-1", f"top-{top}")),
        "",
        *[f"Left out: {one['picture']}: {one['error']['message']}" for one in document["failures"]],
        *[f"Finding: {one}" for one in document["findings"]],
    ]
    if not document["findings"]:
        lines.append("No finding: the preprocessing fits these pictures.")
    return "\n".join(lines)
