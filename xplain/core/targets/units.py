"""What one unit of an attribution's value means, in words that follow from what was read.

Methods say ``"delta {score} when hidden"``; what stands in the braces depends on the model and on the target: a logit,
a probability, a score of which no more is known (a regression, a function), or an activation inside.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Kind, Outline, ScoreSpec
from xplain.core.target import SCORES, Target
from xplain.core.targets.formulas import Formula
from xplain.core.targets.parts import Part

__all__ = ["confidence", "kind_of", "noun", "probabilities", "spelled", "stated_scores", "unlinked"]

_NOUNS: dict[Kind, str] = {
    "logits": "logit",
    "probabilities": "probability",
    "log-probabilities": "log-probability",
    "scores": "score",
    "decisions": "decision",
}
_FUNCTIONS = {
    "similarity": "similarity",
    "distance": "squared distance",
    "iou": "overlap",
    "detected": "detection score",
    "kept": "detection score",
    "logit": "logit",
}
"""What a target that is one function is a number of; functions that keep the unit of what they read are not here."""
_KEEP = frozenset({"mean", "sum", "max", "peak", "logsumexp"})
_BLANK = "{score}"
_LONGEST_UNIT = 40


def spelled(unit: str, what: str = "score") -> str:
    """A method's unit with the word for what it is a difference, or a share, of."""
    return unit.replace(_BLANK, what)


def noun(outline: Outline, target: Target, scores: Array | None = None) -> str:
    """The word for one number that the target reads.

    Args:
        outline: Says what the model's scores are, and which tensors are its outputs.
        target: What is explained.
        scores: Scores of the items, ``[N, K]``; numbers that can only be probabilities are called so.
    """
    if len(target.terms) == 1 and isinstance(one := target.terms[0][1], Formula) and one.function == "total":
        return _inside(outline, one, scores)
    functions = {term.function for _, term in target.terms if isinstance(term, Formula)} - _KEEP
    if functions:
        return _FUNCTIONS.get(next(iter(functions)), "target value") if len(target.terms) == 1 else "target value"
    spec, tensors = outline.scores, set(target.tensors)
    vector = spec.classes is not None or spec.link != "none"  # what has no classes is a map, or a sequence
    if tensors <= ({SCORES, spec.tensor} if vector else {SCORES}):
        return spec.unit or _NOUNS[kind_of(outline, scores)]
    if tensors & {SCORES, spec.tensor} - set(outline.outputs):
        return "target value"
    return "output" if tensors <= set(outline.outputs) else "activation"


def stated_scores(spec: ScoreSpec, said: str | None) -> ScoreSpec:
    """What is known of the scores, with what a person says they are.

    Args:
        spec: What was found.
        said: ``logits``, ``probabilities``, ``log-probabilities`` or ``scores``, or ``scores in UNIT``; None: nothing.

    Raises:
        UsageError: it is none of these, or the model shows that they are something else.
    """
    if said is None:
        return spec
    text = said.strip() if isinstance(said, str) else ""
    _, _, unit = text.partition(" in ")
    kind = next((one for one, word in _NOUNS.items() if text in (one, word) and one != "decisions"), None)
    if text.startswith("scores in ") and unit.strip() and len(unit) <= _LONGEST_UNIT and unit.isprintable():
        kind, word = "scores", unit.strip()
    elif kind is not None:
        word = _NOUNS[kind]
    else:
        raise UsageError(
            option="scores", got=said, accepted="logits, probabilities, log-probabilities, scores, or 'scores in UNIT'"
        )
    if spec.link != "none" and kind != spec.kind:
        advice = "Leave ", option("scores"), " out, or read another tensor with ", option("output"), "."
        raise UsageError(
            f"Scores {spec.tensor!r} are {spec.kind}, for a {spec.link} stands behind them; they were called {said!r}.",
            advice=advice,
        )
    return replace(spec, kind=kind, unit=word, found=f"{spec.found}; stated as {text}")


def kind_of(outline: Outline, scores: Array | None) -> Kind:
    """What scores are: as stated, or as found in the model, but no logits where they lie in [0, 1] and sum to 1."""
    kind = outline.scores.kind
    if outline.scores.unit:
        return kind
    return "probabilities" if kind in ("logits", "scores") and _shares(scores) else kind


def probabilities(scores: Array, spec: ScoreSpec) -> Array | None:
    """Probabilities of scores ``[N, K]``, or None where the model does not say how its scores become such."""
    if spec.kind == "probabilities":
        return scores
    if spec.kind == "log-probabilities":
        return np.exp(scores)
    if spec.link == "softmax":
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))
    if spec.link == "sigmoid":
        return np.asarray(np.exp(-np.logaddexp(0.0, -scores)))
    return None


def confidence(scores: Array, labels: Array, outline: Outline) -> Array:
    """What the model gives one class of each item, float64 ``[N]``: a probability where it is known how, else a score.

    Logits of a file without a softmax go through one all the same, so that before and after a change can be compared.
    """
    spec = replace(outline.scores, kind=kind_of(outline, scores))
    if spec.kind == "logits" and spec.link == "none":
        spec = replace(spec, link="softmax")
    shares = probabilities(scores, spec)
    found = scores if shares is None else shares
    return np.asarray(found[np.arange(len(labels)), labels], np.float64)


def unlinked(outline: Outline, scores: Array | None) -> tuple[Caveat, ...]:
    """The warning where scores were found to be probabilities by their values alone."""
    if kind_of(outline, scores) == outline.scores.kind:
        return ()
    return (
        Caveat(
            f"The scores {outline.scores.tensor!r} lie between 0 and 1 and sum to 1, so they are taken for "
            "probabilities; no softmax was found behind them, and where the model is sure of itself they hardly move. "
            "Let the model return its logits.",
            "units",
        ),
    )


def _shares(scores: Array | None) -> bool:
    if scores is None or scores.ndim != 2 or scores.shape[1] < 2 or not len(scores) or not np.isfinite(scores).all():
        return False
    return bool((scores >= 0.0).all() and (np.abs(scores.sum(axis=1) - 1.0) < 1e-3).all())


def _inside(outline: Outline, named: Formula, scores: Array | None) -> str:
    """The word for a sum that has a name of its own."""
    terms = next(arg for arg in named.args if not isinstance(arg, Part))
    functions = {term.function for _, term in terms if isinstance(term, Formula)}
    if functions == {"logsumexp"}:
        return "log-probability"
    return "log-probability" if functions == {"log"} else noun(outline, Target(terms), scores)
