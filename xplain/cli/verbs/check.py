"""``xplain check``: are pictures prepared as in training? Wrong preprocessing is silent, so it is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xplain import api
from xplain.cli.asking.labelled import Labelled, read_labelled
from xplain.cli.asking.loading import Asking, Loading, ModelFile
from xplain.cli.likelihood import RULE, Comparison, compared, label_log_probabilities, numbers, other_cards, statement
from xplain.cli.telling.console import FINDING, OK, PARTIAL, Outcome, Progress, table
from xplain.core.card import PRESETS, Card
from xplain.core.declaring.wording import Words
from xplain.core.edits import Array
from xplain.core.errors import BudgetError, CardError, NonFinite, PictureError, UsageError
from xplain.core.keeping.plain import counted
from xplain.core.outline import Outline
from xplain.core.query import Model
from xplain.session.predictions import best, in_words

__all__ = ["check"]

_AT_ONCE = 8
"""Pictures that are held decoded."""


def check(
    shell: typer.Context,
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
    another usual preprocessing, or order of channels, makes the labels clearly more probable than the model's card
    does. Where some other is not clearly worse either, it says that the pictures are too few to tell.

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
    named = [one for one in given if not loaded.outline.labels and not one.label.lstrip("-").isdecimal()]
    if named:
        raise UsageError(
            f"{named[0].picture} is labelled {named[0].label!r}, but no labels are known for {model}. Give class "
            "numbers in their place, or --card a file that says labels."
        )
    if loaded.outline.scores.classes:  # an unknown label stops all, before anything is asked
        for label in dict.fromkeys(one.label for one in given):
            loaded.outline.label_index(label, loaded.outline.scores.classes)
    others = other_cards(used)
    planned = len(given) * (1 + len(others))
    if asking.max_queries is not None and asking.max_queries < planned:
        raise BudgetError(
            f"{len(given)} pictures with this card and {len(others)} others take {planned} evaluations, above "
            f"--max-queries {asking.max_queries}. Raise it, or label fewer pictures."
        )
    seen, readable, failures = _scores(loaded, given, {"given": used, **others}, asking, shell.obj.words)
    if not readable:
        raise PictureError(f"None of the {len(given)} pictures can be used: {failures[0]['error']['message']}")
    scores = seen.pop("given")
    truth = np.array([loaded.outline.label_index(one.label, scores.shape[1]) for one in readable])
    ranks = _ranks(scores, truth)
    own = label_log_probabilities(scores, truth, loaded.outline)
    judged = _others(seen, truth, own, top, loaded.outline)
    summary = _summary("given", ranks, top) | {"log_probability": float(own.mean())}
    findings = _findings(summary, judged, others, at_least, len(readable))
    apart = {one["card_name"]: Comparison(one["difference"], one["error"], len(readable)) for one in judged}
    pictures = [
        {"picture": one.picture, "label": one.label, "rank": int(rank) + 1, "predictions": found}
        for one, rank, found in zip(readable, ranks, best(scores, loaded.outline), strict=True)
    ]
    document = {
        "model": loaded.outline.source,
        "card": used.to_toml(labels=False),
        **summary,
        "at_least": at_least,
        "others": judged,
        "findings": findings,
        "verdict": "" if findings else statement(apart, others, len(readable)),
        "rule": RULE,
        "pictures": pictures,
        "failures": failures,
    }
    code = FINDING if findings else PARTIAL if failures else OK
    return Outcome(document, _text(document, top), code)


def _scores(
    model: Model, given: Sequence[Labelled], cards: Mapping[str, Card], asking: Asking, words: Words
) -> tuple[dict[str, Array], list[Labelled], list[dict[str, Any]]]:
    """Scores of the pictures that can be used, by card, these pictures, and the others with what is wrong.

    Every file is decoded once, a few at a time, and seen through all cards. The first card is the one in use.
    """
    predict = partial(api.predict, model, batch_size=asking.batch_size, cache=asking.cache)
    found: dict[str, list[Array]] = {name: [] for name in cards}
    own, *others = cards
    readable, failures = [], []
    with Progress(len(given) * len(cards)) as progress:
        for start in range(0, len(given), _AT_ONCE):
            group = given[start : start + _AT_ONCE]
            seen = []
            for one in group:
                try:
                    picture = _decoded(one.picture, cards[own])
                    row = predict(picture)
                    model.outline.label_index(one.label, row.shape[1])  # an unknown label stops all, at once
                    if not np.isfinite(row).all():
                        raise NonFinite(f"The scores of {one.picture} hold NaN or infinity.")
                except (PictureError, NonFinite) as error:
                    failures.append({"picture": one.picture, "error": error.fields(words)})
                    continue
                seen.append(picture)
                readable.append(one)
                found[own].append(row)
            for name in others if seen else ():
                found[name].append(predict(seen, card=cards[name]))
            progress.to((start + len(group)) * len(cards))
    return {name: np.concatenate(rows) for name, rows in found.items() if rows}, readable, failures


def _decoded(picture: str, card: Card) -> Any:
    """The pixels of a file; more than three bands are read by the card alone."""
    from xplain.render import pictures

    return picture if card.mode == "BANDS" else pictures.read(picture, card.range)


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


def _others(scores: Mapping[str, Array], truth: Array, own: Array, top: int, outline: Outline) -> list[dict[str, Any]]:
    """How right the model is with each of the other cards, and how sure of the labels, best first."""
    found = []
    for name, seen in scores.items():
        logs = label_log_probabilities(seen, truth, outline)
        apart = compared(own, logs)
        found.append(
            _summary(name, _ranks(seen, truth), top)
            | {
                "log_probability": float(logs.mean()),
                "difference": apart.difference,
                "error": apart.error if np.isfinite(apart.error) else 0.0,
                "verdict": apart.verdict,
            }
        )
    return sorted(found, key=lambda one: -one["difference"])


def _findings(
    summary: dict[str, Any], others: Sequence[dict[str, Any]], cards: Mapping[str, Card], at_least: float, count: int
) -> list[str]:
    findings = []
    if summary["top1"] < at_least:
        findings.append(
            f"The best class is the label on {summary['right']} of {counted(count, 'picture')}, below "
            f"--at-least {at_least:g}."
        )
    better = [one for one in others if one["verdict"] == "better"]
    if better:
        one = better[0]
        findings.append(
            f"Preprocessing {one['card_name']!r} is right on {one['right']} of {counted(count, 'picture')}, "
            "this one on "
            f"{summary['right']}, and gives the labels {one['difference']:+.3g} +- {one['error']:.2g} in "
            f"log-probability: the card is probably wrong. Put into it: {numbers(cards[one['card_name']])}."
        )
    return findings


def _text(document: dict[str, Any], top: int) -> str:
    rows = [
        (Path(one["picture"]).name, one["label"], str(one["rank"]), in_words(one["predictions"]))
        for one in document["pictures"]
    ]
    cards = [("this card", f"{document['top1']:.0%}", f"{document[f'top{top}']:.0%}", "", "")]
    cards += [
        (
            one["card_name"],
            f"{one['top1']:.0%}",
            f"{one[f'top{top}']:.0%}",
            f"{one['difference']:+.3f} +- {one['error']:.3f}",
            one["verdict"],
        )
        for one in document["others"]
    ]
    lines = [
        table(rows, ("picture", "label", "rank", "model says")),
        "",
        table(cards, ("preprocessing", "top-1", f"top-{top}", "log p(label) against this card", "")),
        "",
        *[f"Left out: {one['picture']}: {one['error']['message']}" for one in document["failures"]],
        *[f"Finding: {one}" for one in document["findings"]],
    ]
    if not document["findings"]:
        lines.append(document["verdict"])
    return "\n".join(lines)
