"""The public functions: each writes down what is asked as a ``Request`` and sends the items through a ``Session``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from xplain.core.declaring.declared import AttackKind
from xplain.core.declaring.registry import ATTACKS, Method
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError, XplainError
from xplain.core.query import Model
from xplain.engine import Plan, Progress, Sentinel
from xplain.engine.sentinel import Spread
from xplain.results.attack import Attack
from xplain.results.attribution import Attribution
from xplain.session import fitting, run
from xplain.session.attacks.attacked import Allowed
from xplain.session.attacks.attacking import Attacker
from xplain.session.attacks.defending import defences_named
from xplain.session.attacks.readable import readable
from xplain.session.choosing import AUTO
from xplain.session.request import Cache, Request
from xplain.session.run import Session
from xplain.session.stream import Failed, Stream

__all__ = [
    "attack",
    "attacks",
    "explain",
    "explain_many",
    "explain_stream",
    "load",
    "methods",
    "plan",
    "plan_look",
    "predict",
    "probe",
]


def load(source: Any, **options: Any) -> Model:
    """A model that answers questions.

    Args:
        source: A path to an ONNX file, its bytes, a ``ModelProto``, a ``torch.nn.Module``, or a Python function
            ``f(batch) -> scores``. A model that was loaded already is returned as it is, and takes no options.
        options: ``card`` (how pictures become tensors), ``providers``, ``input`` (which input to explain), ``fixed``
            (values of the other inputs), ``threads``; see ``xplain.models.load``.

    Raises:
        Unsafe: refused by default; the message says why, and how to allow it.
        ModelError: the model cannot be loaded.
    """
    return run.load(source, **options)


def methods() -> list[Method]:
    """All methods, by family and name: our own, and those of installed plugins."""
    return fitting.methods()


def predict(
    model: Any,
    x: Any,
    *,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    cache: Cache | None = None,
) -> Array:
    """The scores of the untouched items, float64 ``[N, K]``: logits where the loader found them.

    A Python function is asked about many items at once, so its last bits may depend on the items beside one.
    """
    with Session(model, Request(card=card, layout=layout, batch_size=batch_size, cache=cache)) as session:
        return session.look(session.read(x), together=True)


def probe(model: Any, x: Any, *, card: Any = None, layout: str | None = None, times: int = 3) -> Spread:
    """Ask the same items several times, past any cache, and report how much the answers differ.

    A vendor's model may answer with noise; the sentinel's tolerance must be above it. Costs ``times`` evaluations per
    item. ``str`` of the result is a sentence.

    Raises:
        UsageError: fewer than 2 times.
    """
    session = Session(model, Request(card=card, layout=layout))
    return session.probe(session.read(x), times)


def plan(
    model: Any,
    x: Any,
    method: str = AUTO,
    *,
    target: Any = None,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    cache: Cache | None = None,
    **options: Any,
) -> Plan:
    """What ``explain`` would cost, in evaluations, sweeps, calls and money, without asking the model anything.

    Answers that lie in ``cache`` cost nothing. ``str(plan)`` is the bill.
    """
    asked = Request({method: options}, target=target, card=card, layout=layout, batch_size=batch_size, cache=cache)
    with Session(model, asked) as session:
        part = session.read(x)
        (found,) = (session.plan(part, name) for name in session.methods)
    return found


def plan_look(model: Model, x: Any, batch_size: int | None = None) -> Plan:
    """What ``predict`` would cost."""
    session = Session(model, Request(batch_size=batch_size))
    return session.plan_look(session.read(x))


def explain(
    model: Any,
    x: Any,
    method: str = AUTO,
    *,
    target: Any = None,
    seed: int = 0,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    max_queries: int | None = None,
    max_cost: Any = None,
    cache: Cache | None = None,
    sentinel: int | Sentinel | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Attribution:
    """Explain why the model scores each item as it does.

    Args:
        model: What ``load`` takes, or a loaded model.
        x: Pictures (paths, PIL, uint8 arrays) or tensors; see ``items_of``.
        method: Name of a method; ``xplain methods`` lists them. ``auto`` chooses one by what the model answers and what
            it costs, among those that take ``options``; the result's ``facts["method chosen"]`` says which and why.
        target: None for each item's predicted class, a class number, a label's name, ``"a - b"``, a list with one per
            item, a place in a map or a layer such as ``"mask[2, 16, 16]"``, or a ``Target`` such as
            ``label(3) - label(7)``. ``"top3"`` needs ``explain_many``.
        seed: Root of all randomness. Each item draws from a seed of its own, made of this one and of its content, so
            it has the same draws alone, among others, and in any order.
        card: How pictures become tensors, if the model has no card of its own.
        layout: How the axes of the items are named, such as ``"NHWC"`` or ``"NTC"``, where the model, its card and
            the items' sizes do not say, or say it wrongly; see ``xplain.load``.
        batch_size: Rows per model call, at most; None chooses. Rows are cut into calls by one item alone, so neither
            the other items, their order nor a cache can change a bit of an item's result. Another ``batch_size`` may
            change last bits, since runtimes round by the shape of a batch; ``notes["rows per call"]`` records it.
        max_queries: Model evaluations that may be spent; asked for more, a method stops before it starts.
        max_cost: Money that may be spent on a model that has a price.
        cache: A folder where answers are kept, row by row; what lies there is not asked, nor paid, again, also after a
            crash. Needs a model with a digest or a version.
        sentinel: Ask the first item again every so many evaluations, and stop if the model's answer has changed.
        progress: Called with (evaluations done, evaluations asked so far).
        options: The method's own options; an unknown one is an error that names the nearest.

    Returns:
        Raw signed values with unit, target, scores, cost and everything needed to repeat them.

    Raises:
        XplainError: every error on purpose is one of its kinds; see ``xplain.core.errors``.
    """
    asked = Request(
        {method: options},
        target=target,
        seed=seed,
        card=card,
        layout=layout,
        batch_size=batch_size,
        max_queries=max_queries,
        max_cost=max_cost,
        cache=cache,
        sentinel=sentinel,
        progress=progress,
    )
    found = _explained(model, x, asked)
    if len(found) != 1:
        raise UsageError(f"Target {target!r} stands for {len(found)} targets; use explain_many, which returns a list.")
    return found[0]


def explain_many(
    model: Any,
    x: Any,
    method: str = AUTO,
    *,
    target: Any = "top3",
    seed: int = 0,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    max_queries: int | None = None,
    max_cost: Any = None,
    cache: Cache | None = None,
    sentinel: int | Sentinel | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Attribution]:
    """``explain`` for a target that stands for several, such as ``"top3"``; all are read from the same evaluations."""
    asked = Request(
        {method: options},
        target=target,
        seed=seed,
        card=card,
        layout=layout,
        batch_size=batch_size,
        max_queries=max_queries,
        max_cost=max_cost,
        cache=cache,
        sentinel=sentinel,
        progress=progress,
    )
    return _explained(model, x, asked)


def _explained(model: Any, x: Any, asked: Request) -> list[Attribution]:
    with Session(model, asked) as session:
        part = session.read(x)
        return [one for name in session.methods for one in session.explain(part, name)]


def explain_stream(
    model: Any,
    items: Any,
    methods: str | Sequence[str] | Mapping[str, Mapping[str, Any]] = "occlusion",
    *,
    at_once: int = 8,
    failed: Callable[[int, Any, XplainError], None] | None = None,
    **asked: Any,
) -> Iterator[Attribution]:
    """``explain`` for more items than fit in memory, and for several methods: one result per item as it is made.

        for one in xplain.explain_stream(model, Path("pictures").glob("*.jpg"), ["grad-cam", "lrp"]):
            one.save(f"{one.names[0]}.{one.method}.npz")

    Every item is read once and its scores are asked once, whatever the number of methods; what was read is let go
    before more is read. Values are those of ``explain``.

    Args:
        model: What ``load`` takes, or a loaded model.
        items: Items as ``explain`` takes them, or an iterator that makes them one by one, or in chunks: a list, a
            frame, or an array with the batch axis in front (of a model that does not say how many axes a batch has,
            an array is one item). The rows of one table are read together.
        methods: A method's name, several, or each with its options: ``{"lime": {"samples": 500}, "grad-cam": {}}``.
        at_once: Items that are held at a time, where they are not given in chunks.
        failed: Called with an item's place, the item and the error where it cannot be read, is of a size or type that
            the model does not take, or gives scores that are no numbers; the others go on. None raises the error.
        asked: ``target``, ``seed``, ``card``, ``layout``, ``batch_size``, ``max_queries`` and ``max_cost`` (of all
            items together), ``cache``, ``sentinel`` and ``progress`` as in ``explain``, and options of the method where
            one is named.

    Returns:
        Results of one item each: item by item, where a method asks so little that several are asked about together
        chunk by chunk, the methods in their order, each target of an item (``"top3"``) by itself.

    Raises:
        XplainError: what concerns all items is raised at once, what concerns one when it is its turn.
        Exception: what the iterator itself raises, once what it made before is explained.
    """
    shared = {name: asked.pop(name) for name in _SHARED if name in asked}
    if asked and not isinstance(methods, str):
        raise UsageError(
            f"{', '.join(asked)}: options of one method, but several may be meant. Give each its own: ",
            option("methods", {"lime": {"samples": 500}}),
            ".",
        )
    named = {methods: asked} if isinstance(methods, str) else methods
    if not isinstance(named, Mapping):
        named = {name: {} for name in _names(named)}
    session = Session(model, Request(named, **shared))
    return _streamed(session, Stream(session, items, at_once=at_once, failed=failed))


def _names(methods: Any) -> list[str]:
    """Several methods' names, or an error where they are none."""
    names = list(methods) if isinstance(methods, Iterable) and getattr(methods, "ndim", None) != 0 else [methods]
    if not all(isinstance(name, str) for name in names):
        raise UsageError(
            option="methods",
            got=methods,
            accepted="a method's name, several in a list, or a mapping of names to options",
        )
    return names


_SHARED = tuple(field.name for field in fields(Request) if field.name != "methods")


def _streamed(session: Session, stream: Stream) -> Iterator[Attribution]:
    with session:
        for one in stream:
            yield from one.results


def attack(
    model: Any,
    x: Any = None,
    kind: str = "pgd",
    *,
    epsilon: Any = None,
    norm: str | None = None,
    target: Any = None,
    low: float | None = None,
    high: float | None = None,
    explain: str | None = "auto",
    defend: Any = None,
    seed: int = 0,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    max_queries: int | None = None,
    max_cost: Any = None,
    cache: Cache | None = None,
    sentinel: int | Sentinel | None = None,
    progress: Progress | None = None,
    failed: Failed | None = None,
    **options: Any,
) -> Attack:
    """Try how little it takes to make one's own model err, and what its explanation does then.

        found = xplain.attack("model.onnx", ["cat.jpg"], "pgd", epsilon=["1/255", "2/255"], card="imagenet")
        print(found); found.render("attack").save("attacked.png")

    Pictures are attacked on whole numbers of 0..255: every candidate is rounded before it is judged, and what is
    reported is what a plain run of the model says of the rounded picture, as it sees it (after resize and crop). Other
    items are attacked in their own units. An interruption returns what was found until then.

    Args:
        model: What ``load`` takes, or a loaded model.
        x: Items as ``explain`` takes them; ``fooling``, which makes its own of noise, needs none.
        kind: Name of an attack, such as ``fgsm``, ``pgd``, ``minimal``, ``square`` (scores alone) or ``decision`` (the
            predicted class alone).
        epsilon: How large a change may be, one or several: of pictures on a scale from black (0) to white (1), also as
            text, ``"2/255"``; of ``l0`` a number of positions; of other items in their own units.
        norm: ``linf``, ``l2``, ``l1`` or ``l0``; None for the attack's usual one.
        target: The class to reach, or a list of one per item; None: any other class than the one that is said.
        low: Smallest value of items that are no pictures; None for no limit.
        high: Largest.
        explain: Method whose map is held before against after, with a layer or options by ``explain`` itself; ``auto``
            is Grad-CAM where the model can be swept; None for none.
        defend: Simple defences that the attack is held against, ``jpeg``, ``depth``, ``median``, ``resize`` or ``all``:
            what each undoes, and what the same attack reaches through it.
        seed: Root of all randomness.
        card: How pictures become tensors, if the model has no card of its own.
        layout: How the axes of the items are named, as in ``explain``.
        batch_size: Rows per model call, at most.
        max_queries: Evaluations and sweeps that may be spent by all items together.
        max_cost: Money that may be spent.
        cache: A folder of answers, so that an attack on an endpoint goes on where it stopped.
        sentinel: Ask the first item again every so many evaluations, and stop if the answer has changed.
        progress: Called with (evaluations done, evaluations asked so far).
        failed: Called with the place of a file that cannot be read, its name and the error; the others are attacked.
            None raises the error.
        options: Options of the attack.

    Raises:
        XplainError: every error on purpose is one of its kinds.
    """
    methods: dict[str, Any] = {} if explain is None else {explain: {}}
    request = Request(
        methods,
        seed=seed,
        card=card,
        layout=layout,
        batch_size=batch_size,
        max_queries=max_queries,
        max_cost=max_cost,
        cache=cache,
        sentinel=sentinel,
        progress=progress,
    )
    allowed = Allowed.of(norm, epsilon, target, low, high)
    defences = defences_named(defend)
    attacker = replace(Attacker.named(model, request, kind, options, allowed), defend=defences)
    with attacker.session as session:
        part, wanted = readable(session, attacker.invented() if x is None else x, target, failed)
        return replace(attacker, allowed=replace(attacker.allowed, target=wanted)).attack(part)


def attacks() -> list[AttackKind]:
    """All attacks, by name: our own, and those of installed plugins."""
    return list(ATTACKS)
