"""A reverse sweep as a graph: what is built for it, what that graph is fed, and what its outputs say.

What depends on the baseline alone is a graph of its own on the CPU, and its answer is kept while the baseline stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np

from xplain.core.edits import Array
from xplain.core.outline import LayerSpec, Outline
from xplain.core.positions.axes import Axes
from xplain.core.query import Sweep
from xplain.core.swept import BIAS, GATE, Swept
from xplain.core.target import SCORES
from xplain.graph.reverse.cut import header
from xplain.graph.reverse.diagnose import probe
from xplain.graph.reverse.seeds import Seed, feeds_of, kinds_of, seeds_of
from xplain.graph.reverse.sweep import BASELINE, GIVEN, KEPT, Returns, build
from xplain.models.onnx.session import Session
from xplain.models.reading import layer_values, padded, real, score_rows

__all__ = ["Asked", "Feeding", "OnBaseline", "SweepKind", "Way"]

SweepKind = Literal["sweep", "report", "flags"]
"""What is wanted of a sweep: values and cotangents, a conservation report, or flags of numbers that are not finite."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A sweep of one point per item.

    Args:
        query: The question.
        name: The model's input.
        dtype: Its type.
        scores: The tensor that labels read.
        at: The tensor that it starts from; None for the input.
    """

    query: Sweep
    name: str
    dtype: str
    scores: str
    at: str | None

    @cached_property
    def seeds(self) -> tuple[Seed, ...]:
        """Where the walk begins."""
        return seeds_of(self.query.target, self.scores)

    @property
    def key(self) -> tuple[Any, ...]:
        """What its graph depends on, besides the taps."""
        return (self.query.rules, self.seeds, self.at, self.query.gates is not None)

    def check(self, layers: Mapping[str, LayerSpec], source: str) -> None:
        """Whether a model can be asked it.

        Raises:
            UsageError: it has several points, or the values given do not fit their layer.
        """
        layer = None if self.at is None else layers.get(self.at)
        layer_values(self.query, () if layer is None else layer.shape, source)

    def built(self, kind: SweepKind, model: Any, taps: Sequence[str], apart: bool) -> Any:
        """The graph, an ``onnx.ModelProto``, and the names of its outputs.

        ``apart``: what depends on the baseline alone is a graph of its own.
        """
        reads = tuple(dict.fromkeys(name for seed in self.seeds for name in seed.tensors))
        # an item of the model's own type is given as it is, so its value is known; the baseline's pass has none of it
        known = {self.name} if self.dtype == "float32" and self.at is None else frozenset()
        builders: dict[str, Any] = {
            "sweep": partial(
                build, returns=Returns(reads=reads, apart=apart, known=known, gates=self.query.gates is not None)
            ),
            "report": partial(build, returns=Returns(report=True)),
            "flags": probe,
        }
        return builders[kind](model, taps, self.seeds, self.query.rules, at=self.at)

    def feeds(self, kinds: Mapping[str, Any], rows: tuple[int, int]) -> dict[str, Array]:
        """What the graph takes besides the items, for some of the question's rows; ``kinds`` are its inputs' types."""
        feeds = feeds_of(self.query.target, np.arange(*rows), kinds)
        if self.at is not None:
            feeds[GIVEN] = np.ascontiguousarray(self.query.x[slice(*rows), 0], np.float32)
        if self.query.baseline is not None:
            shape = (len(self.query.x), *self.query.x.shape[2:])
            given = self.query.baseline.reshape(shape)[slice(*rows)]
            feeds[BASELINE] = given.astype(np.float32 if self.at is not None else self.dtype)
        return feeds

    def gates(self, ranks: Mapping[str, int], rows: tuple[int, int]) -> dict[str, Array]:
        """The gates for some of the question's rows; one that it does not give is 1 throughout."""
        given, count = self.query.gates or {}, rows[1] - rows[0]
        return {
            GATE + name: np.asarray(given[name][slice(*rows)], np.float32)
            if name in given
            else np.ones((count, *(1,) * (rank - 1)), np.float32)
            for name, rank in ranks.items()
        }


@dataclass(frozen=True, eq=False)
class OnBaseline:
    """What follows from a baseline alone.

    Args:
        rows: The baseline, ``[R, *item]``.
        taken: What the sweep takes from its pass, by name, wrapped.
        below: What the target reads on it, by the names of outputs.
    """

    rows: Array
    taken: Mapping[str, Any]
    below: Mapping[str, Array]


@dataclass(eq=False)
class Way:
    """How sweeps of one form are answered.

    Args:
        session: The session.
        built: What its outputs are; without weights, which live in the session alone.
        before: The session of what depends on the baseline alone; None where all is in one.
    """

    session: Session
    built: Any
    before: Session | None = None
    _kept: OnBaseline | None = field(default=None, init=False)

    @classmethod
    def opened(cls, built: Any, open_session: Callable[[Any], Session]) -> Way:
        """What was built, with its sessions.

        Raises:
            ModelError: the runtime refuses a graph.
        """
        session, other = open_session(built.model), getattr(built, "before", None)
        light = replace(built, model=header(built.model))
        if other is None:
            return cls(session, light)
        return cls(session, replace(light, before=None), open_session(other))

    @property
    def layers(self) -> dict[str, str]:
        """Which tap each output is of."""
        return {name: tap for tap, pair in getattr(self.built, "taps", {}).items() for name in pair if name}

    @cached_property
    def kinds(self) -> dict[str, Any]:
        """The types of the graph's inputs."""
        return kinds_of(self.built.model)

    @cached_property
    def gates(self) -> dict[str, int]:
        """The rectifiers whose gates are inputs of the graph, with the number of their axes."""
        inputs = {entry.name: len(entry.type.tensor_type.shape.dim) for entry in self.built.model.graph.input}
        return {name.removeprefix(GATE): rank for name, rank in inputs.items() if name.startswith(GATE)}

    def on_baseline(self, rows: Array, feeds: Mapping[str, Any]) -> OnBaseline:
        """What follows from a baseline alone; asked once as long as the same one comes.

        Args:
            rows: Baselines ``[R, *item]``.
            feeds: The inputs, by name, wrapped.
        """
        if self.before is None:
            return OnBaseline(rows, {}, {})
        kept = self._kept
        if kept is None or kept.rows.shape != rows.shape or not np.array_equal(kept.rows, rows):
            found = self.before.run(feeds)
            taken = {name: self.session.fed(found[KEPT + name]) for name in self.session.inputs if KEPT + name in found}
            below = {name: found[name] for _, name in self.built.reads.values()}
            self._kept = kept = OnBaseline(rows.copy(), taken, below)
        return kept

    def answer(
        self, query: Sweep, tensors: Mapping[str, str], found: Sequence[Mapping[str, Array]], of: tuple[Outline, str]
    ) -> Swept:
        """The answer to a sweep.

        Args:
            query: The question.
            tensors: Tap to the tensor that it names.
            found: Outputs of each run of rows.
            of: What is known of the model, and the tensor of its scores.
        """
        source, scores = of[0].source, of[1]

        def joined(name: str) -> Array:
            return real(found[0][name] if len(found) == 1 else np.concatenate([part[name] for part in found]))

        taps = {}
        for tap, name in tensors.items():
            value, cotangent = self.built.taps[name]
            taps[tap] = (joined(value) if value else np.asarray(query.x[:, 0], np.float32), joined(cotangent))

        def read(side: int) -> dict[str, Array]:
            values = {}
            for name in query.target.tensors:
                values[name] = joined(self.built.reads[scores if name == SCORES else name][side])
                values[name] = score_rows(values[name], source, scores) if name == SCORES else values[name]
            return values

        nothing = np.zeros((len(query.x), 0), np.float32)
        for key, output in self.built.biases.items():
            taps[key] = (nothing, joined(output))
        for key, output in self.built.worth.items():
            taps[key] = (nothing, joined(output))
        rows, here = np.arange(len(query.x)), read(0)
        everything = here[SCORES].astype(np.float64) if SCORES in here else None
        target = query.target if everything is None else query.target.found(everything)
        below = target.read(read(1), rows) if query.rules.reference else None
        return Swept(taps, target.read(here, rows), below, everything).biased(self._axes(query, of[0]))

    def _axes(self, query: Sweep, outline: Outline) -> dict[str, Axes | None]:
        """The axes of what each operator added, as far as they are followed from the item."""
        if not self.built.biases or outline.follow is None:
            return dict.fromkeys(self.built.biases)
        lineage = outline.follow(tuple(query.fed.shape[1:]))
        return {key: lineage.axes_of(key.removeprefix(BIAS)) for key in self.built.biases}


@dataclass(eq=False)
class Feeding:
    """What the runs of a sweep take besides the items, and what is known of the baseline of each.

    Args:
        asked: The question.
        way: How it is answered.
        name: The model's input.
        others: Values of the inputs that are not explained, for a batch of so many rows.
    """

    asked: Asked
    way: Way
    name: str
    others: Callable[[int], Mapping[str, Array]]
    _below: dict[tuple[int, int], Mapping[str, Array]] = field(default_factory=dict)

    def __call__(self, rows: tuple[int, int], batch: int) -> Mapping[str, Any]:
        """The inputs of the run of ``rows``, which are filled up to ``batch``."""
        own = self.asked.feeds(self.way.kinds, rows) | self.asked.gates(self.way.gates, rows)
        feeds: dict[str, Any] = {name: padded(value, batch) for name, value in own.items()}
        if self.way.before is None:
            return feeds
        start = feeds[BASELINE]
        fed = {BASELINE: start, self.name: start, **self.others(batch)}
        known = self.way.on_baseline(start, {name: self.way.session.fed(value) for name, value in fed.items()})
        self._below[rows] = known.below
        return feeds | dict(known.taken)

    def joined(self, rows: tuple[int, int], values: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs of the run of ``rows``, with those that are of the baseline."""
        below = self._below.pop(rows, {})
        return {**values, **{name: value[: rows[1] - rows[0]] for name, value in below.items()}}
