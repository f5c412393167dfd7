"""``xplain check``: are pictures prepared as in training? Wrong preprocessing is silent, so it is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xplain import api
from xplain.cli.asking.labelled import Labelled, read_labelled
from xplain.cli.asking.loading import Asking, Loading, ModelFile
from xplain.cli.likelihood import RULE, Comparison, compared, label_log_probabilities, numbers, other_cards, statement
from xplain.cli.telling.console import FINDING, OK, PARTIAL, Outcome, Progress, table
from xplain.cli.telling.predictions import best, in_words
from xplain.core.card import PRESETS, Card
from xplain.core.edits import Array
from xplain.core.errors import BudgetError, CardError, NonFinite, PictureError, UsageError
from xplain.core.query import Model
from xplain.core.wording import Words

__all__ = ["check"]


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
    others = other_cards(used)
    planned = len(given) * (1 + len(others))
    if asking.max_queries is not None and asking.max_queries < planned:
        raise BudgetError(
            f"{len(given)} pictures with this card and {len(others)} others take {planned} evaluations, above "
            f"--max-queries {asking.max_queries}. Raise it, or label fewer pictures."
        )
    with Progress(planned) as progress:
        scores, readable, failures = _scores(loaded, given, asking, progress, shell.obj.words)
        if not readable:
            raise PictureError(f"None of the {len(given)} pictures can be used: {failures[0]['error']['message']}")
        truth = np.array([loaded.outline.label_index(one.label, scores.shape[1]) for one in readable])
        ranks = _ranks(scores, truth)
        own = label_log_probabilities(scores, truth, loaded.outline)
        judged = _others(loaded, others, readable, truth, own, top, asking, progress)
    summary = _summary("given", ranks, top) | {"log_probability": float(own.mean())}
    findings = _findings(summary, judged, others, at_least, len(readable))
    apart = {one["card_name"]: Comparison(one["difference"], one["error"], len(readable)) for one in judged}
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
        "verdict": "" if findings else statement(apart, others, len(readable)),
        "rule": RULE,
        "pictures": pictures,
        "failures": failures,
    }
    code = FINDING if findings else PARTIAL if failures else OK
    return Outcome(document, _text(document, top), code)


def _scores(
    model: Model, given: Sequence[Labelled], asking: Asking, progress: Progress, words: Words
) -> tuple[Array, list[Labelled], list[dict[str, Any]]]:
    """Scores of the pictures that can be used, these pictures, and the others with what is wrong."""
    rows, readable, failures = [], [], []
    for number, one in enumerate(given, 1):
        try:
            row = api.predict(model, one.picture, batch_size=asking.batch_size, cache=asking.cache)
            if not np.isfinite(row).all():
                raise NonFinite(f"The scores of {one.picture} hold NaN or infinity.")
        except (PictureError, NonFinite) as error:
            failures.append({"picture": one.picture, "error": error.fields(words)})
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


def _others(
    model: Model,
    cards: Mapping[str, Card],
    readable: Sequence[Labelled],
    truth: Array,
    own: Array,
    top: int,
    asking: Asking,
    progress: Progress,
) -> list[dict[str, Any]]:
    """How right the model is with each of the other cards, and how sure of the labels, best first."""
    found, pictures = [], [one.picture for one in readable]
    for number, (name, card) in enumerate(cards.items(), 2):
        scores = api.predict(model, pictures, card=card, batch_size=asking.batch_size, cache=asking.cache)
        logs = label_log_probabilities(scores, truth, model.outline)
        apart = compared(own, logs)
        found.append(
            _summary(name, _ranks(scores, truth), top)
            | {
                "log_probability": float(logs.mean()),
                "difference": apart.difference,
                "error": apart.error if np.isfinite(apart.error) else 0.0,
                "verdict": apart.verdict,
            }
        )
        progress.to(number * len(pictures))
    return sorted(found, key=lambda one: -one["difference"])


def _findings(
    summary: dict[str, Any], others: Sequence[dict[str, Any]], cards: Mapping[str, Card], at_least: float, count: int
) -> list[str]:
    findings = []
    if summary["top1"] < at_least:
        findings.append(
            f"The best class is the label on {summary['right']} of {count} pictures, below --at-least {at_least:g}."
        )
    better = [one for one in others if one["verdict"] == "better"]
    if better:
        one = better[0]
        findings.append(
            f"Preprocessing {one['card_name']!r} is right on {one['right']} of {count} pictures, this one on "
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
