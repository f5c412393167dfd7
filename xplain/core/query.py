"""The questions that a method asks and the answers it gets.

A method is a generator: it yields a question, receives the answer, and returns a ``Reading``. It asks for everything
at once; the engine cuts the question into chunks, packs, caches, counts and retries.

| question | who answers | answer that the method receives |
|---|---|---|
| ``Score`` | any model | float64 ``[N, M]``: the target's value under each edit |
| ``Peek``  | models with a graph | ``{tap: values [N, *shape]}``, or what its ``fold`` keeps of them |
| ``Ensemble`` | sums of decision trees | ``Trees``: their splits and leaves |
| ``Sweep`` | models with a graph | ``{tap: (value, cotangent)}``, each ``[N, *shape]`` |
| ``Slope`` | models with a graph | what an objective comes to, and its gradient: ``xplain.core.synthesis.slope`` |
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

import numpy as np

from xplain.core.batches import Cut
from xplain.core.caveat import Caveat
from xplain.core.edits import Array, Edits, Untouched
from xplain.core.errors import UsageError
from xplain.core.keeping.content import keys_of
from xplain.core.keeping.plain import counted
from xplain.core.lenses.fold import Fold
from xplain.core.outline import Outline
from xplain.core.positions.grid import layer_layout
from xplain.core.positions.layout import Doubt, Layout
from xplain.core.positions.lineage import Lineage
from xplain.core.price import Account
from xplain.core.synthesis.slope import Slope
from xplain.core.target import SCORES, EveryScore, Stack, Target
from xplain.core.trees import Ensemble

if TYPE_CHECKING:
    from xplain.core.rules import Rules

__all__ = ["Answer", "Flow", "Model", "OfItems", "Peek", "Query", "Reading", "Returned", "Score", "Slope", "Sweep"]
__all__ += ["Ensemble", "TargetInput", "View"]


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The target's value for every edit of every item.

    Args:
        x: Items ``[N, *item]`` in the model's own layout and units.
        edits: M edits per item, described.
        target: What is read; the engine may stack several flows' targets into one question.
        at: Tensor whose values ``x`` are; the model is run from there on. ``"input"`` is the ordinary case.
        items: The items ``[N, *item]`` that whatever does not pass ``at`` is computed of; None where everything does,
            and then it is an error if the model has another way.
        trials: Whether ``x`` are trials about one item, which go into full calls as its edits do; items never are.
        part: Rows ``(start, stop)`` of ``r = n * M + m`` that are asked now; set by the engine alone. A model that is
            asked answers float64 ``[stop - start, T]``, one column per target (``[.., K]`` for every score).
        layout: How the axes of ``x`` are named, which says what a position is that an edit hides. A method need not
            give it for its items: ``laid_out`` of ``xplain.core.flows`` does.
        cut: How the rows are cut into model calls; set by the engine alone, for models that run here.
        account: Where a model that is asked by requests writes down each that it makes for this question; set by the
            engine alone.
    """

    x: Array
    edits: Edits
    target: Target | Stack | EveryScore
    at: str = "input"
    part: tuple[int, int] | None = None
    layout: Layout | None = None
    cut: Cut | None = None
    account: Account | None = None
    items: Array | None = None
    trials: bool = False

    @property
    def per_item(self) -> int:
        """Rows that are asked about one item, and may share calls."""
        return len(self.x) * self.edits.count if self.trials else self.edits.count

    @property
    def fed(self) -> Array | None:
        """What the model's own input is given; None where a question about a layer does not say."""
        return self.x if self.at == "input" else self.items

    @property
    def rows(self) -> tuple[int, int]:
        """The rows asked for, ``(0, N * M)`` when no part is set."""
        return self.part if self.part is not None else (0, len(self.x) * self.edits.count)

    def layout_in(self, outline: Outline) -> Layout:
        """The layout that the edits are made by: the question's own, else what is known of the model; never a guess.

        Edits that go by element, or change nothing, need none.

        Raises:
            UsageError: neither says.
        """
        item = tuple(self.x.shape[1:])
        if self.layout is not None:
            return self.layout
        named = outline.named if self.at == "input" else None
        if named is not None and len(named.letters) == self.x.ndim:
            return named.of(item)
        if isinstance(self.edits, Untouched) or getattr(self.edits, "whole", False):
            return Layout.flat(item)
        raise UsageError(
            f"A question hides positions of items {list(item)} without saying how their axes are named: give "
            "a Score its layout, view.layout."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Peek:
    """The values of named tensors, ``{tap: [N, *shape]}``, for items ``x`` ``[N, *item]``; ``"input"`` is the item.

    ``fold`` says what is kept of each tensor's positions, None for all: see ``xplain.core.lenses.fold``. ``batch`` is
    the number of rows evaluated at once, filled up with copies, set by the engine alone; with ``many`` more items come
    by than these, and all are asked in full batches of one size.
    """

    x: Any  # an array; a graph value while the flow is compiled
    taps: tuple[str, ...]
    fold: Fold | None = None
    batch: int | None = None
    many: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Forward and reverse: values of taps and the cotangent of the target at each, summed over S points per item.

    The engine flattens the points, so a model is only ever asked ``[R, 1, *item]`` without weights.

    Args:
        x: ``[N, S, *item]``: S points per item. The answer sums ``weights[s] * cotangent(x[n, s])`` over s; values are
            those of the last point.
        target: The scalar that is pulled back.
        rules: How each operator passes it back; the empty table is the plain gradient.
        taps: Tensors wanted; ``"input"`` is the item itself.
        weights: ``[S]`` or ``[N, S]``; None means ``1 / S``.
        baseline: Reference items ``[N, *item]`` or ``[N, S, *item]``, for rules that compare two forward passes.
        batch: Rows that the model evaluates at once, filled up with copies; set by the engine alone.
        at: Tensor whose values ``x`` are, in place of the items; taps are it, or lie behind it.
        items: With ``at``: the items ``[N, *item]`` that whatever does not pass that tensor is computed of.
        gates: Factors ``[N, *shape]`` on what rectifiers make, by their names in the last ``Swept.gates``; others 1.
    """

    x: Any  # an array; a graph value while the flow is compiled
    target: Target
    rules: Rules
    taps: tuple[str, ...] = ("input",)
    weights: Array | None = None
    baseline: Array | None = None
    batch: int | None = None
    at: str = "input"
    items: Any = None
    gates: Mapping[str, Any] | None = None  # None: none stand there, and none are answered

    @property
    def fed(self) -> Any:
        """What the model's own input is given, one row per row of a question of one point."""
        return self.x[:, 0] if self.at == "input" else self.items

    def check_start(self) -> None:
        """From a layer on: the items must be there too, one each, and nothing in front of it is asked for.

        Raises:
            UsageError: they are not, or it is.
        """
        if self.at == "input":
            return
        if self.items is None or len(self.items) != len(self.x):
            beside = 0 if self.items is None else len(self.items)
            raise UsageError(
                f"A sweep from layer {self.at!r} has values for {counted(len(self.x), 'item')}, and "
                f"{counted(beside, 'item')}."
            )
        if "input" in self.taps:
            raise UsageError(f"A sweep from layer {self.at!r} does not reach the input. Name that layer as its tap.")

    def rows(self, index: Array) -> Sweep:
        """The question of one point for some of its rows."""
        baseline = None if self.baseline is None else self.baseline[index]
        return replace(self, x=self.x[index], target=self.target.take(index), baseline=baseline, **self.beside(index))

    def beside(self, items: Array) -> dict[str, Any]:
        """What is given beside the points, for some of the items."""
        gates = None if self.gates is None else {name: one[items] for name, one in self.gates.items()}
        return {"items": None if self.items is None else self.items[items], "gates": gates}

    @property
    def shares(self) -> Array:
        """What each point counts, float64 ``[1, S]`` or ``[N, S]``."""
        if self.weights is None:
            return np.full((1, self.x.shape[1]), 1.0 / self.x.shape[1])
        return np.atleast_2d(np.asarray(self.weights, dtype=np.float64))


OfItems: TypeAlias = Score | Peek | Sweep
"""Questions about items; a ``Slope`` is about pictures that do not exist yet."""

Query: TypeAlias = OfItems | Slope | Ensemble
Answer: TypeAlias = Any  # per question, see the table at the top


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a method returns.

    Args:
        values: Signed attribution, ``[N, *map]`` (or ``[N, *item]`` where channels are asked for), any real dtype.
        error: Standard error of each value, same shape, or None for a method that does not sample.
        base: What the values are relative to, ``[N]``, such as f(x) or f(baseline); None where there is none.
        resolution: True cells per axis, ``(rows, columns)`` or ``(slices, rows, columns)``, behind a map that was
            enlarged; None: every position.
        notes: Facts of the whole run, such as the layer that was read: name to number, text or small array.
        each: Facts of single items, such as the fit of each: name to a list of N or an array ``[N, ...]``.
        warnings: What a person must know before they believe the values; see ``xplain.core.caveat``.
        unit: Overrides the unit the method declares, where an option changes it.
        signed: Overrides what the method declares, where an option changes it.
        broken: The item whose values miss what they should add up to by more than that itself, the worst one; the
            session then names the nodes in the warning. None: no item's do.
        native: The map before it was enlarged, ``[N, *cells]``; None where nothing was.
        channels: Makes what each channel of the layer adds, gradient x value summed over positions, ``[N, C]``.
    """

    values: Any
    error: Any = None
    base: Any = None
    resolution: tuple[int, ...] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    each: Mapping[str, Any] = field(default_factory=dict)
    unit: str | None = None
    signed: bool | None = None
    warnings: tuple[Caveat, ...] = ()
    broken: int | None = None
    native: Any = None
    channels: Callable[[], Any] | None = None


class Returned(Protocol):
    """What a flow returns: a frozen dataclass of a kind of its own, to whose warnings the engine adds.

    Attributions come of a ``Reading``; the session knows what result each other kind becomes.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def warnings(self) -> tuple[Caveat, ...]:
        """What must be known before it is believed."""


R = TypeVar("R", bound=Returned)

Flow: TypeAlias = Generator[Query, Answer, Reading]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a method sees: items, target, the model's outline, and where randomness comes from; never the model.

    Args:
        x: Items ``[N, *item]``.
        target: The scalar to explain, resolved to indices.
        outline: What is known of the model.
        seed: Root of all randomness. Derive with ``rng``; never seed anything else.
        budget: Evaluations that the flow may ask for, so that a sampled method can share them out between the items
            before it starts; None: no limit.
        traced: Whether the flow is being compiled into a graph, so that nothing can be looked at before it returns.
        read: The items' layout as it was read, or what is in doubt; None: what the outline says.
        keys: What each item draws under, or how to find out, for who draws; None for ``keys_of(x)``.
    """

    x: Any  # an array; a graph value while the flow is compiled
    target: Target
    outline: Outline
    seed: int = 0
    budget: int | None = None
    traced: bool = False
    read: Layout | Doubt | None = None
    keys: tuple[str, ...] | Callable[[], tuple[str, ...]] | None = None

    @property
    def found(self) -> Layout | Doubt:
        """The layout of ``x`` as it was resolved when the items were read, or what is in doubt."""
        return self.read if self.read is not None else self.outline.layout_of(tuple(self.x.shape[1:]))

    @property
    def layout(self) -> Layout:
        """Axes and item shape of ``x``.

        Raises:
            UsageError: several readings fit equally; the message says which, and how to state one.
        """
        found = self.found
        if isinstance(found, Doubt):
            raise found.question()
        return found

    def layout_of(self, tensor: str, values: Any) -> Layout:
        """The layout of a tap's ``values``: the view's own for ``"input"``, followed through the model for a layer."""
        if tensor == "input":
            return self.layout
        lineage = self.lineage
        axes = None if lineage is None else lineage.axes_of(tensor)
        return layer_layout(axes, tuple(values.shape[1:]), self.layout)

    @property
    def lineage(self) -> Lineage | None:
        """What descends from the item, with its axes; None for a model that shows nothing of its inside."""
        follow = self.outline.follow
        return None if follow is None else follow(tuple(self.x.shape[1:]))

    @property
    def between(self) -> frozenset[str]:
        """The tensors between the item and the target, by the lineage's names; none where it is not known."""
        lineage = self.lineage
        return frozenset() if lineage is None else lineage.between(self.aims(lineage))

    def aims(self, lineage: Lineage) -> tuple[str, ...]:
        """The tensors that the target reads, by the lineage's names."""
        scores = SCORES if SCORES in lineage.names else self.outline.scores.tensor
        return tuple(lineage.tensor(scores if name == SCORES else name) for name in self.target.tensors)

    def rng(self, stream: str, item: str = "") -> np.random.Generator:
        """An independent, reproducible generator for the named purpose (Philox keyed by seed and name).

        ``item`` is an item's key. Whatever is drawn to explain an item is drawn under its key: the errors of two items
        are then independent, and an item's draws depend neither on its place nor on the items beside it.
        """
        named = f"{self.seed}/{stream}/{item}" if item else f"{self.seed}/{stream}"
        key = hashlib.sha256(named.encode()).digest()[:16]
        return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))

    def rngs(self, stream: str) -> list[np.random.Generator]:
        """A generator for each item."""
        return [self.rng(stream, key) for key in self.own_keys]

    @property
    def own_keys(self) -> tuple[str, ...]:
        """What each item draws under."""
        if self.keys is None:
            return keys_of(self.x)
        return self.keys() if callable(self.keys) else self.keys

    def of(self, items: Array) -> View:
        """These items alone, with their targets and keys, and no budget."""
        own = self.own_keys
        keys = tuple(own[int(item)] for item in items)
        return replace(self, x=self.x[items], target=self.target.take(items), keys=keys, budget=None)


class Model(Protocol):
    """Anything that answers questions; what more it can do, its ``abilities`` say: ``xplain.core.abilities``."""

    @property
    def outline(self) -> Outline:
        """What is known of the model."""

    @property
    def answers(self) -> frozenset[type[Any]]:
        """The kinds of question this model can answer: its capability."""

    def answer(self, query: Query) -> Answer:
        """The answer to one question, or one part of it."""


TargetInput: TypeAlias = Literal["optional", "required", "none"]
"""Whether a compiled file has an input ``target`` that may be left out, one that must be fed, or none."""
