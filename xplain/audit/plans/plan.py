"""The plan of an audit: every choice that decides its bits, as plain values, called by the hash of their JSON.

Nothing of time, host, worker, order or spelling of a path stands in it: whoever plans the same models, data and
methods with the same versions has the same audit. Where the files lie on this machine stands beside it, in
``xplain.audit.stores.where``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from math import ceil
from typing import Any, Self

import numpy as np

from xplain.audit.canonical import canonical, differing, sha256_of
from xplain.core.card import Card
from xplain.core.errors import UsageError
from xplain.core.keeping.strict import strict
from xplain.core.lane import Lane
from xplain.core.positions.coordinates import Coordinates

__all__ = [
    "ANALYSES",
    "FORMAT",
    "Grading",
    "ItemFacts",
    "Lane",
    "ModelFacts",
    "Plan",
    "Shard",
    "TruthFacts",
    "card_facts",
    "refuse_other",
]

ANALYSES = (
    "shortcuts", "mass", "clusters", "drift", "twins", "triage", "agreement", "randomisation", "duplicates",
    "subgroups", "labels",
)  # fmt: skip
"""The analyses that a plan may name, in the order in which they are told."""

FORMAT = 1
"""Version of the folder; one of a higher version is refused."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Items ``first`` to ``first + rows``, which are made in one piece."""

    number: int
    first: int
    rows: int

    @property
    def items(self) -> range:
        """Numbers of its items."""
        return range(self.first, self.first + self.rows)


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What is audited.

    Args:
        sha256: Of ``items.parquet``, which names every item, its digest, label and metadata.
        count: How many.
        kind: Kind of the source: ``folder``, ``glob``, ``csv``, ``parquet``, ``tar``, ``datasets``, ``arrays``.
        labels: Where labels come from, in words; empty for none.
    """

    sha256: str
    count: int
    kind: str
    labels: str = ""


@dataclass(frozen=True)
class ModelFacts:
    """A model, as far as it decides bits.

    Args:
        name: What it is called in this audit.
        sha256: Of its content; empty for a function or an endpoint, which cannot be held to it.
        kind: ``onnx``, ``torch``, ``function`` or ``endpoint``.
        input: The input that is explained.
        layout: Its axes, such as ``NCHW``.
        item_shape: Shape of one item, without the batch.
        dtype: Its numpy type.
        card: Preprocessing card as plain values, without labels; None for tensors.
        scores: Tensor, kind, link and number of classes of what is read as scores.
        classes: Names of the classes; empty where they have numbers only.
        provider: What runs it, such as ``CPUExecutionProvider``; empty where that is not known.
        known: Labels of the data, and the class that each is.
        unknown: Labels of the data that the model has no class for, with how many items have each.
        door: What items are that the model reads by a door of its own, and how: rows of a table (``columns``,
            ``reference`` rows, ``hidden``), or texts (``split``, ``mask``, ``longest``: features that one may have,
            ``features``: those of the longest that is read); empty for others.
        coordinates: What the axes of tensors measure, as the card states it: rate, channels, frequencies; empty where
            it states nothing, and for pictures, whose card has it.
        engine: How hidden windows are answered, ``plain`` or ``fast``, where that was said; else empty.
    """

    name: str
    sha256: str
    kind: str
    input: str
    layout: str
    item_shape: tuple[int, ...]
    dtype: str
    card: Mapping[str, Any] | None
    scores: Mapping[str, Any]
    classes: tuple[str, ...] = ()
    provider: str = ""
    known: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    door: Mapping[str, Any] = field(default_factory=dict)
    coordinates: Mapping[str, Any] = field(default_factory=dict)
    engine: str = ""

    @property
    def items(self) -> str:
        """What its items are: ``rows``, ``texts``, or ``pictures``, which tensors count as."""
        return str(self.door.get("kind", "pictures"))

    @property
    def axes(self) -> Coordinates:
        """What the axes of its items measure."""
        return Coordinates.from_dict((self.card or {}).get("coordinates") or self.coordinates)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of a row's columns, in the order of its map; empty for other items."""
        return tuple(self.door.get("columns", ()))

    @property
    def preprocessing(self) -> Card | None:
        """Its card, with the names of the classes."""
        return None if self.card is None else Card.from_dict({**self.card, "labels": self.classes})

    def class_of(self, label: str | None) -> int | None:
        """The class that a label of the data is; None where the model does not know it."""
        return None if label is None else self.known.get(label)

    def class_name(self, index: int) -> str:
        """The name of a class, no two alike, or its number as text."""
        return self.names[index] if 0 <= index < len(self.names) else str(index)

    @cached_property
    def twice(self) -> Mapping[str, tuple[int, ...]]:
        """Names that several classes have, and which."""
        places: dict[str, list[int]] = {}
        for index, name in enumerate(self.classes):
            places.setdefault(name, []).append(index)
        return {name: tuple(found) for name, found in places.items() if len(found) > 1}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, with the number behind those that several have: no two are alike."""
        return tuple(f"{name} (class {k})" if name in self.twice else name for k, name in enumerate(self.classes))


@dataclass(frozen=True, slots=True)
class Grading:
    """How explanations are judged.

    Args:
        names: The metrics.
        sample: Numbers of the items that they are asked for, ascending; None for all.
        options: Options of metrics, by their names.
    """

    names: tuple[str, ...] = ()
    sample: tuple[int, ...] | None = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def within(self, shard: Shard) -> tuple[int, ...]:
        """The sampled items of a shard."""
        if not self.names:
            return ()
        if self.sample is None:
            return tuple(shard.items)
        low, high = np.searchsorted(self.sample, (shard.first, shard.first + shard.rows))
        return self.sample[low:high]


@dataclass(frozen=True, slots=True)
class TruthFacts:
    """What is known to be in the items, as a caller stated it: boxes and masks.

    Args:
        sha256: Of ``truth.parquet``, which holds it for every item.
        says: What it is, in words.
        states: How many items are in each of ``xplain.audit.plans.truths.STATES``.
        names: The metrics that compare with it.
        sample: Numbers of the items that these are asked for, ascending: items of which something is known.
        classes: Model to the class that each label of a box is; a model that knows none of them is not there.
    """

    sha256: str
    says: str
    states: Mapping[str, int]
    names: tuple[str, ...] = ()
    sample: tuple[int, ...] = ()
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def within(self, shard: Shard) -> tuple[int, ...]:
        """The sampled items of a shard."""
        low, high = np.searchsorted(self.sample, (shard.first, shard.first + shard.rows))
        return self.sample[low:high] if self.names else ()


@dataclass(frozen=True)
class Plan:
    """A plan.

    Args:
        items: What is audited.
        models: The models.
        lanes: The lanes: every item passes through each.
        grading: The metrics and their sample.
        analyses: The analyses.
        planted: Copies of items that are to carry a control mark while shortcuts are looked for; 0 for none.
        seed: What all draws begin with.
        shard_rows: Items of a shard; the last one has what is left. Stated, or chosen by how long a trial took.
        threads: Threads of one model.
        versions: Of xplain, Python and the packages that decide bits.
        format: Of the folder.
        truth: What is known to be in the items; None where nothing is.
    """

    items: ItemFacts
    models: tuple[ModelFacts, ...]
    lanes: tuple[Lane, ...]
    grading: Grading = field(default_factory=Grading)
    analyses: tuple[str, ...] = ()
    planted: int = 0
    seed: int = 0
    shard_rows: int = 1024
    threads: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT
    truth: TruthFacts | None = None

    def to_json(self) -> bytes:
        """The plan's bytes, canonical; what older plans did not know is left out where it says nothing."""
        told = asdict(self)
        for one in (told, *told["models"], *told["lanes"]):
            for name in (name for name in _LATER if name in one and not one[name]):
                del one[name]
        return canonical(told)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """The plan that bytes hold.

        Raises:
            UsageError: they hold none, or one of a newer version.
        """
        try:
            raw = strict(content)
            version = raw.get("format") if isinstance(raw, dict) else None
            if isinstance(version, int) and version > FORMAT:
                raise UsageError(
                    f"This audit has format {version}, of a newer xplain; format {FORMAT} is read. Use the xplain that "
                    "made it, or a newer one."
                )
            made: Self = _built(cls, raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"plan.json is no plan of an audit: {str(error)[:200]}. Take it from a copy.") from None
        if made.to_json() != content:
            raise UsageError("plan.json was changed by hand: it is not the text of its values. Take it from a copy.")
        return made

    @cached_property
    def identity(self) -> str:
        """sha256 of its bytes."""
        return sha256_of(self.to_json())

    @cached_property
    def shards(self) -> list[Shard]:
        """The shards, in order."""
        step, count = self.shard_rows, self.items.count
        return [Shard(k, k * step, min(step, count - k * step)) for k in range(ceil(count / step))]

    def lane(self, name: str) -> Lane:
        """The lane called so.

        Raises:
            UsageError: there is none.
        """
        for lane in self.lanes:
            if lane.name == name:
                return lane
        raise UsageError(option="lane", got=name, accepted=", ".join(lane.name for lane in self.lanes))

    def model(self, name: str) -> ModelFacts:
        """The model called so.

        Raises:
            UsageError: there is none.
        """
        for model in self.models:
            if model.name == name:
                return model
        raise UsageError(option="model", got=name, accepted=", ".join(model.name for model in self.models))

    def seed_of(self, sha256: str) -> int:
        """What an item's draws begin with, 64 bits: of the plan's seed and the item's content alone."""
        return int.from_bytes(hashlib.sha256(f"{self.seed} {sha256}".encode()).digest()[:8], "big")


def card_facts(card: Card | None) -> dict[str, Any] | None:
    """A card as it stands in a plan: what decides a tensor, not its name or labels."""
    if card is None:
        return None
    return {k: v for k, v in asdict(card).items() if v is not None and k not in ("name", "labels")}


_LATER = frozenset({"door", "coordinates", "engine", "batch", "truth"})
"""Fields of plans, models and lanes that plans of format 1 may lack: their identities stay."""
_NESTED: Mapping[str, type] = {
    "items": ItemFacts, "models": ModelFacts, "lanes": Lane, "grading": Grading, "truth": TruthFacts,
}  # fmt: skip


def _built(kind: Any, raw: Any) -> Any:
    """A dataclass from its plain values: all of its fields, and no others."""
    known = {one.name: one for one in fields(kind)}
    if not isinstance(raw, dict) or (set(raw) ^ set(known)) - (_LATER - set(raw)):
        strange = sorted(set(raw) ^ set(known)) if isinstance(raw, dict) else type(raw).__name__
        raise ValueError(f"{kind.__name__} has other fields: {strange}")
    values = {}
    for name, value in raw.items():
        inner = _NESTED.get(name) if kind is Plan else None
        if inner is not None and value is not None:
            value = tuple(_built(inner, one) for one in value) if isinstance(value, list) else _built(inner, value)
        values[name] = tuple(value) if isinstance(value, list) else value
    return Lane.from_dict(values) if kind is Lane else kind(**values)


def refuse_other(was: Plan, now: Plan, where: str) -> None:
    """Refuse to go on with one plan where another was begun, naming what differs.

    Raises:
        UsageError: they differ.
    """
    if was.to_json() == now.to_json():
        return
    found = differing(strict(was.to_json()), strict(now.to_json()))
    told = "; ".join(f"{at} was {_brief(a)} and is {_brief(b)}" for at, a, b in found[:_MOST_TOLD])
    more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    raise UsageError(
        f"{where} holds another audit: {told}{more}. Explanations of two plans do not mix: choose another "
        "folder, or go on with what was planned."
    )


_MOST_TOLD = 8


def _brief(value: Any) -> str:
    text = "not there" if value is None else canonical(value).decode()
    return text if len(text) <= 80 else f"{text[:60]}... ({sha256_of(text.encode())[:12]})"
