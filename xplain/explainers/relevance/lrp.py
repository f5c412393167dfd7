"""Layer-wise relevance propagation, with the rules and composites that practitioners use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.arrays import collapse, summed
from xplain.core.caveat import Caveat, each
from xplain.core.declaring.options import AtLeastOne, Bounds, NonNegative, PositiveReal
from xplain.core.declaring.registry import TABLES, Paper, RuleOf, method
from xplain.core.declaring.wording import CONSERVATION, Sentence, named, option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, Score, Sweep, View
from xplain.core.rules import Rules

__all__ = ["lost", "lrp", "table_of"]


_CANCELS = 1e3
"""How many times the score the sizes of all values may be."""
_KEPT = 0.1, 10.0
"""Share of the score that arrives as relevance, below or above which a result says so."""

_DEFAULTS = {"epsilon": 1e-6, "gamma": 0.25, "alpha": 2.0, "low": None, "high": None, "bias": True}
"""Options of tables that the method offers under their own names, for those that have them."""
_ANY = ("epsilon", "bias")
"""Those that every table may be given: one without a stabiliser, or without biases, has nothing to say about it."""


@method(
    "lrp",
    needs=(Score, Sweep),
    paper=Paper("Bach 2015; Montavon 2019", "doi:10.1371/journal.pone.0130140"),
    unit="share of the {score}",
    aliases=("layer-wise-relevance-propagation",),
    traceable=True,
)
def lrp(
    view: View,
    *,
    rule: Annotated[str, RuleOf("lrp")] = "epsilon-plus-flat",
    epsilon: PositiveReal = 1e-6,
    gamma: NonNegative = 0.25,
    alpha: AtLeastOne = 2.0,
    low: Bounds | None = None,
    high: Bounds | None = None,
    bias: bool = True,
    layer: str = "input",
    channels: bool = False,
) -> Flow:
    """The score is shared out among the inputs, operator by operator, each sharing what it got among what it read.

    For a linear operator ``z = x w + b``: ``R_in = x' * w'^T (R_out / z')``, where the rule says how x and w
    are changed to x', w'; activations pass relevance on, sums share it in proportion, gates give it to what they let
    through.

    Args:
        rule: One rule for all layers (``epsilon``, ``gamma``, ``z-plus``, ``alpha-beta``, ``flat``, ``w-square``;
            ``z-box``: the first layer's, with z-plus behind it, which is deep Taylor decomposition), or a composite:
            epsilon for dense layers, the second named for convolutions, the third for the first layer. A table's own
            options may follow its name: ``gamma:gamma=0.5``.
        epsilon: Stabiliser of the epsilon rule; larger values absorb what is weak and contradictory.
        gamma: Weight of positive weights in the gamma rule.
        alpha: Weight of what argues for, in ``alpha-beta``; beta is alpha - 1.
        low: Least value an input can have, for the box rule, or one per channel; the preprocessing card says it for
            pictures.
        high: Largest value an input can have, for the box rule, or one per channel.
        bias: Whether biases absorb their share, as in the paper. Folded batch norms leave large ones; without them the
            relevance of the input adds up to the score, but for neurons that nothing argues for: behind a rectifier a
            depthwise filter of negative weights has no positive part, and z-plus drops what such neurons receive. A
            MobileNetV2 loses nearly all in its depthwise layers so: read ``notes["relevance"]``. With ``epsilon`` a
            neuron whose sum without the bias is nearly zero shares out values of any size that cancel; a warning says
            so.
        layer: Tensor to attribute to; ``input`` is the item itself.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed; sums to f(x) less what biases and the stabiliser absorbed: ``notes["relevance"]``;
        node by node it is ``xplain.measure.conservation``, on a command line ``--conservation``.

    Cost:
        1 sweep per item. Where what arrives is more than ten times the score, or as much of the other sign, and no
        budget is set, one sweep of the worst item more, to name the nodes in the warning.

    Differs from the paper:
        Batch normalisation is folded into the weights first; works on every operator, not only dense and convolution.

    Raises:
        UsageError: a box rule without both bounds, ``alpha`` below 1, or an option that the rule does not use.

    Source:
        Bach et al., PLoS ONE 2015; Montavon et al., Layer-Wise Relevance Propagation: An Overview, 2019; for the
        box Montavon et al., Explaining NonLinear Classification Decisions with Deep Taylor Decomposition, 2017.
    """
    given = {"epsilon": epsilon, "gamma": gamma, "alpha": alpha, "low": low, "high": high, "bias": bias}
    table = table_of(view, rule, given)
    answer = yield Sweep(view.x[:, None], view.target, table, (layer,))
    relevance = answer[layer][1]
    reached = summed(relevance, tuple(range(1, len(relevance.shape))))
    values = relevance if channels else collapse(relevance, view.layout_of(layer, relevance))
    if view.traced:
        return Reading(values, notes={"rule": rule}, each={"relevance": reached})
    score = yield Score(view.x, Untouched(), view.target)
    arrived = np.asarray(reached)
    caveats = lost(arrived, score[:, 0], layer) + _cancelled(relevance, score[:, 0], bias)
    worst = _broken(arrived, score[:, 0])
    return Reading(values, notes={"rule": rule}, each={"relevance": arrived}, warnings=caveats, broken=worst)


def _broken(arrived: Array, score: Array) -> int | None:
    """The item with most relevance that was made on the way, if that is several times its score, or of the other sign.

    What is lost is no fault to look for: biases and the stabiliser take it everywhere.
    """
    share = arrived / np.where(score == 0, np.finfo(np.float32).tiny, score)
    made = np.where((share > _KEPT[1]) | (share <= -1), np.abs(arrived), 0)
    return int(made.argmax()) if made.any() else None


def _cancelled(relevance: Array, score: Array, bias: bool) -> tuple[Caveat, ...]:
    """Says so, item by item, where the values are so much larger than the score that they are each other's rounding.

    One item after the other: magnitudes of all of them at once, in float64, took a tenth of the method's time.
    """
    size = np.array([np.abs(one).sum(dtype=np.float64) for one in relevance])
    times = size / np.maximum(np.abs(score), np.finfo(np.float32).tiny)
    larger = ("a larger ", named("epsilon"), ", or ", option("rule", "z-plus"), ".")
    without = "Without its bias a neuron's sum may be nearly zero, and its shares are divided by that: try "
    advice = ("Try ", *larger) if bias else (without, option("bias", True), ", ", *larger)

    def told(part: float) -> str:
        return Sentence(f"The values are {part:.1e} times the score and cancel, so the map says little. ", *advice)

    return each((told(part) if part > _CANCELS else "" for part in times), "incomplete")


def lost(arrived: Array, score: Array, layer: str, what: str = "score") -> tuple[Caveat, ...]:
    """Says so, item by item, where most of what began, the score, does not arrive, or several times as much."""
    where = "at the input" if layer == "input" else f"at layer {layer!r}"
    share = arrived / np.where(score == 0, np.finfo(np.float32).tiny, score)

    named_nodes = (named("rule"), "; ", CONSERVATION, " names the nodes.")

    def said(part: float, got: float, of: float) -> str:
        if part <= -_KEPT[0]:
            return Sentence(
                f"The relevance {where} adds up to {got:.4g}, with the other sign than the {what} {of:.4g}, so the map "
                "does not share the score out: try another ",
                *named_nodes,
            )
        if part < _KEPT[0]:
            return Sentence(
                f"Of the {what} {of:.4g} only {got:.4g} arrives {where} as relevance, so the map says little. Biases "
                "and the rules took the rest: try another ",
                *named_nodes,
            )
        if part > _KEPT[1]:
            return Sentence(
                f"The relevance {where} adds up to {got:.4g}, {part:.3g} times the {what} {of:.4g}. It was made on the "
                "way: try another ",
                *named_nodes,
            )
        return ""

    return each((said(*one) for one in zip(share, arrived, score, strict=True)), "incomplete")


def table_of(view: View, rule: str, given: Mapping[str, Any]) -> Rules:
    """The table that ``rule`` names, with its own options and those that the method was given."""
    entry, options = TABLES.read(rule)
    for name, value in given.items():
        if value == _DEFAULTS[name]:
            continue
        if name in entry.options:
            options[name] = value
        elif name not in _ANY:
            fits = [one.name for one in TABLES if one.method == "lrp" and name in one.options]
            raise UsageError(
                f"method 'lrp': {name} is {value}, but rule {entry.name!r} does not use it. Rules that do: "
                f"{', '.join(fits)}."
            )
    if {"low", "high"} <= set(options):
        options["low"], options["high"] = _box(view, entry.name, options["low"], options["high"])
    return entry.rules(**options)


_Bound: TypeAlias = float | tuple[float, ...]


def _box(view: View, rule: str, low: _Bound | None, high: _Bound | None) -> tuple[_Bound, _Bound]:
    """The least and largest value of an input: as given, or as the card says for pictures."""
    if low is not None and high is not None:
        if not np.all(np.less(low, high)):
            raise UsageError(option="low", got=low, accepted=f"a number below high, which is {high}")
        return low, high
    card = view.outline.card
    if card is None or not card.of_pictures or low is not None or high is not None:
        got = "" if low is None and high is None else f" Only {'low' if high is None else 'high'} was given."
        raise UsageError(
            f"method 'lrp': rule {rule!r} needs the least and largest value that an input can have.{got} Give low and "
            "high, or a preprocessing card, which says them for pictures."
        )
    mean, std = (tuple(v) * (card.channels // len(v)) for v in (card.mean, card.std))
    edges = [[(value * card.scale - m) / s for m, s in zip(mean, std, strict=True)] for value in (0.0, 255.0)]
    return tuple(map(min, *edges)), tuple(map(max, *edges))
