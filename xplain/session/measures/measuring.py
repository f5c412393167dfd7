"""Ask the model whether an explanation is true.

    curve = xplain.measure.curve(model, "cat.jpg", attribution, "deletion")
    curve.area, curve.shares, curve.scores

    print(xplain.measure.conservation(model, "cat.jpg", "lrp"))    # which node kept the relevance

Curves are flows like methods: they go through the same session as ``explain``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.abilities import Abilities, abilities_of
from xplain.core.declaring.catalogue import plain_name
from xplain.core.declaring.options import Reference
from xplain.core.declaring.registry import METRICS, Metric
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError, UsageError
from xplain.core.keeping.plain import counted, plain
from xplain.core.outline import Outline
from xplain.core.query import Answer, Model, Query, Sweep, View
from xplain.core.target import Target
from xplain.explainers.design.baseline import fill_of
from xplain.results.attribution import Attribution
from xplain.results.curve import Curve
from xplain.session.items import digests_of
from xplain.session.measures.grading import hidden_value, positions, target_of
from xplain.session.request import Cache, Request
from xplain.session.results import provenance, words_of
from xplain.session.run import Session, load

__all__ = ["Conservation", "Curve", "conservation", "curve", "metrics"]


def metrics() -> list[Metric]:
    """What judges an explanation: by asking the model (``curve``), or against the truth."""
    return list(METRICS)


def curve(
    model: Any,
    x: Any,
    attribution: Attribution,
    kind: str = "deletion",
    *,
    target: Any = None,
    baseline: Any = None,
    card: Any = None,
    batch_size: int | None = None,
    max_queries: int | None = None,
    cache: Cache | None = None,
    layout: str | None = None,
    **options: Any,
) -> Curve:
    """The deletion or insertion curve of an explanation.

    Args:
        model: What ``xplain.load`` takes, or a loaded model.
        x: The items that were explained.
        attribution: Their explanation; values with channels are summed over them.
        kind: ``deletion``, ``insertion`` or a plugin's metric that asks the model.
        target: What is scored, as ``explain`` takes it; None takes what the attribution explains.
        baseline: What a hidden position becomes; the same as in the explanation makes the fairest curve. None: 0, or in
            a table the typical row, as in ``explain``.
        card: How pictures become tensors, if the model has no card of its own.
        batch_size: Rows per model call, at most; another number may change last bits.
        max_queries: Model evaluations that may be spent.
        cache: A folder of answers, so that a repeated curve costs nothing.
        layout: How the axes of the items are named, as in ``explain``.
        options: The metric's own, such as ``steps``: intervals between nothing and everything changed (32).

    Raises:
        UsageError: the explanation is of other items, or it does not say its target and none is given.
    """
    curves = {name: one for one in METRICS if one.needs == "curve" for name in (one.name, *one.aliases)}
    if plain_name(kind) not in curves:
        names = ", ".join(one for one in curves if one == curves[one].name)
        raise UsageError(f"A curve is {kind!r}; accepted: {names}.")
    metric = curves[plain_name(kind)]
    options = metric.read_options(options)
    asked = Request(
        target=target, card=card, layout=layout, batch_size=batch_size, max_queries=max_queries, cache=cache
    )
    session = Session(model, asked)
    part = session.read(x)
    if target is not None and not isinstance(target, Target):
        with session:
            aims = session.aim(part)
        if len(aims) != 1:
            raise UsageError(f"Target {target!r} stands for {len(aims)} targets; a curve is of one.")
        target = aims[0].target
    loaded, items = part.model, part.items
    if len(items.x) != len(attribution):
        raise UsageError(f"Given: {counted(len(items.x), 'item')}; the explanation is of {len(attribution)}.")
    wanted = target or target_of(attribution)
    view = View(items.x, wanted, loaded.outline, read=items.layout)
    baseline = hidden_value(part, baseline)
    one = metric.start(view, positions(attribution.values, part), fill_of(view, Reference().read(baseline)), options)
    told = {"baseline": baseline, **options}
    with session:
        settings = session.settings(part)
        (reading,), cost = session.ask([one], loaded, settings)
    return Curve(
        kind=metric.name,
        shares=np.asarray(reading.notes["shares"]),
        scores=np.asarray(reading.each["scores"]),
        area=np.asarray(reading.values),
        names=items.names,
        digests=digests_of(items),
        labels=attribution.labels if target is None else (),
        targets=attribution.targets if target is None else words_of(target, len(items.x)),
        explained=wanted,
        facts={"explanation": attribution.method},
        warnings=(*loaded.outline.warnings, *items.warnings),
        provenance=provenance(part, metric.name, told, cost=cost, rows_per_call=settings.calls),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Conservation:
    """How much each node received during a reverse walk, and how much it passed on.

    Args:
        rules: Name of the table of rules.
        nodes: Nodes in the order of the walk, from the target to the input.
        received: What reached each node's outputs, float64: relevance, ``m (x - x0)`` or ``g x``, by the rules.
        passed: What each gave to its inputs.
    """

    rules: str
    nodes: tuple[str, ...]
    received: Array
    passed: Array

    @property
    def kept(self) -> Array:
        """``received - passed``: what a node kept; what it invented is negative."""
        return np.asarray(self.received - self.passed)

    @property
    def worst(self) -> str:
        """The node that kept, or invented, most: where completeness breaks."""
        return self.nodes[int(np.argmax(np.abs(self.kept)))]

    def __str__(self) -> str:
        order = np.argsort(-np.abs(self.kept), kind="stable")[:20]
        lines = [f"{self.rules}: {self.received[0]:.6g} came in at the target; nodes by what they kept"]
        for k in order:
            lines.append(f"  {self.kept[k]:+.4g} of {self.received[k]:.4g}  {self.nodes[k]}")
        return plain("\n".join(lines))


def conservation(
    model: Any, x: Any, method: str = "lrp", *, target: Any = None, card: Any = None, **options: Any
) -> list[Conservation]:
    """Where relevance is kept or invented on its way from the target to one item: a report per sweep of the method.

    Args:
        model: What ``xplain.load`` takes, or a loaded model with a graph.
        x: One item.
        method: A relevance or gradient method, such as ``lrp`` or ``deeplift``.
        target: As in ``explain``.
        card: How a picture becomes a tensor, if the model has no card of its own.
        options: The method's own options.

    Raises:
        CapabilityError: the model has no graph to walk, or the method asks for no sweep.
        UsageError: more than one item is given.
    """
    loaded = load(model)
    balance = abilities_of(loaded).balance
    if balance is None:
        raise CapabilityError(f"{loaded.outline.source} has no ONNX graph, so there are no nodes to report. Export it.")
    watched = _Watched(loaded, balance)
    session = Session(watched, Request({method: options}, target=target, card=card, batch_size=1))
    part = session.read(x)
    for name in session.methods:
        session.explain(part, name)
    if not watched.reports:
        raise CapabilityError(f"Method {method!r} asks for no sweep, so nothing is conserved. Try lrp or deeplift.")
    return watched.reports


class _Watched:
    """A model that also reports how each sweep conserved what it carried."""

    def __init__(self, model: Model, balance: Callable[[Sweep], tuple[Any, ...]]) -> None:
        self.model, self.answers, self._balance = model, model.answers, balance
        self.abilities = Abilities(look=abilities_of(model).look)
        self.reports: list[Conservation] = []

    @property
    def outline(self) -> Outline:
        """What is known of the model, now."""
        outline: Outline = self.model.outline
        return outline

    def answer(self, query: Query) -> Answer:
        if isinstance(query, Sweep):
            self.reports.append(Conservation(query.rules.name, *self._balance(query)))
        return self.model.answer(query)
