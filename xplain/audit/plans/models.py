"""The models of an audit: opened to be planned, and again, held against their digests, to be run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.plans.doors import reading
from xplain.audit.plans.plan import ModelFacts, Plan, card_facts
from xplain.audit.stores.where import Where
from xplain.core.abilities import abilities_of, is_model
from xplain.core.declaring.wording import way
from xplain.core.errors import ModelError, UsageError
from xplain.core.items import Items
from xplain.core.known_classes import known_classes
from xplain.core.lane import Lane
from xplain.core.outline import Outline, class_names
from xplain.core.positions.layout import Axes, Layout
from xplain.core.query import Model
from xplain.session import load

__all__ = ["Given", "billed", "facts_of", "models_of", "opened_models"]

_SECRET = ("auth",)
_PATHS = ("card", "mapping", "ca", "ledger", "tokenizer")


@dataclass(frozen=True, slots=True)
class Given:
    """A model as a person names it.

    Args:
        name: What it is called in this audit.
        source: What ``xplain.load`` takes.
        options: Options of ``xplain.load``.
        classes: Names of its classes, where it has none of its own.
        door: How it reads rows or texts, as a plan has it; empty for pictures and tensors.
    """

    name: str
    source: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    door: Mapping[str, Any] = field(default_factory=dict)

    def open(self, threads: int) -> Model:
        """The model, loaded.

        Raises:
            XplainError: it cannot be loaded, or has another number of classes than names are given.
        """
        own = {"threads": threads} if self._is_file and "threads" not in self.options else {}
        if self.door:
            labels = {"labels": self.classes} if self.classes else {}
            return reading(self.source, self.door, {**own, **labels, **self.options})
        return _called(load(self.source, **own, **self.options), self.classes, self.name)

    def axes(self) -> Axes | None:
        """How the axes of a batch are named, by the model or its card, which is opened for it; None for neither."""
        return _axes(self.open(1).outline)

    def rank(self) -> int | None:
        """How many axes a batch has; None where neither the model nor its card says it."""
        outline = self.open(1).outline
        axes, spec = _axes(outline), outline.explained
        if axes is not None:
            return len(axes.letters)
        return len(spec.shape) if spec is not None and len(spec.shape) > 1 else None

    @property
    def where(self) -> dict[str, Any]:
        """How to load it again, as plain values; empty where that cannot be written down."""
        if not isinstance(self.source, (str, os.PathLike)) or not self._tellable:
            return {}
        source = os.fspath(self.source)
        source = source if "://" in source else os.path.abspath(source)  # noqa: PTH100 - links stay as they are named
        options = {name: _whole(name, value) for name, value in self.options.items()}
        return {"source": source, "options": options}

    @property
    def engine(self) -> str:
        """How it answers hidden windows, which decides bits; empty where it chooses."""
        said = str(self.options.get("engine", "auto"))
        return "" if said == "auto" else said

    @property
    def _is_file(self) -> bool:
        return isinstance(self.source, bytes) or (
            isinstance(self.source, (str, os.PathLike)) and "://" not in os.fspath(self.source)
        )

    @property
    def _tellable(self) -> bool:
        """Whether the options are plain, and hold no secret but by the name of an environment variable."""
        for name in _SECRET:
            value = self.options.get(name)
            texts = value.values() if isinstance(value, Mapping) else [value]
            if value is not None and not all(isinstance(one, str) and "${" in one for one in texts):
                return False
        try:
            json.dumps({name: _whole(name, value) for name, value in self.options.items()})
        except TypeError:
            return False
        return True


def billed(model: Model) -> bool:
    """Whether answers of a model are paid for, or at least not its own machine's: each is kept, and asked once."""
    able = abilities_of(model)
    return able.price is not None or able.rows_per_request is not None


def models_of(models: Any, card: Any = None) -> list[Given]:
    """The models that a person names: one, several in a list, or by name.

    Args:
        models: What ``xplain.load`` takes; a list of that; or name to that, or to ``{"source": ..., "classes": ...}``
            with options of ``xplain.load`` beside. One without a name is called by its file.
        card: How pictures become tensors, for those that state none.

    Raises:
        UsageError: there is none, or two of one name.
    """
    if isinstance(models, Mapping):
        named = [(str(name), one) for name, one in models.items()]
    else:
        several = models if isinstance(models, (list, tuple)) else [models]
        named = [(_usual(one), one) for one in several]
    found = [_given(name, one, card) for name, one in named]
    names = [one.name for one in found]
    if not found or len(set(names)) < len(names) or not all(names):
        raise UsageError(
            f"Models are known by their names, and these are {', '.join(names) or 'none'}. Give each its own: ",
            way("shard_rows", python="models={'fp32': a, 'int8': b}", shell="fp32=a.onnx int8=b.onnx"),
            ".",
        )
    for name in names:
        if "/" in name or not name.isprintable():
            raise UsageError(option="models", got=name, accepted="names without a slash")
    return found


def facts_of(given: Given, model: Model, items: Items, labels: Mapping[str, int], lane: Lane) -> ModelFacts:
    """What a plan says of a model that takes these items.

    Args:
        given: As it was named.
        model: The model.
        items: Trial items, as it takes them.
        labels: Labels of the data, and how many items have each.
        lane: One of its lanes, which says what a trial showed: how large an item is, and how many scores it gives.
    """
    classes = lane.classes
    outline = model.outline
    scores = outline.scores
    known, unknown = known_classes(outline, labels, classes)
    return ModelFacts(
        given.name,
        outline.digest,
        outline.kind,
        outline.input,
        str(items.layout.axes) if isinstance(items.layout, Layout) else "",
        tuple(int(n) for n in lane.item),
        items.x.dtype.name,
        card_facts(items.card),
        {"tensor": scores.tensor, "kind": scores.kind, "link": scores.link, "classes": classes or scores.classes},
        tuple(outline.labels),
        str(outline.facts.get("providers", "")),
        known,
        unknown,
        given.door,
        {} if items.card is not None else items.coordinates.data(),
        engine=given.engine,
    )


def opened_models(
    plan: Plan, where: Where, models: Mapping[str, Any] | None = None, names: Iterable[str] | None = None
) -> dict[str, Model]:
    """The models of a plan, held against their digests.

    Args:
        plan: The plan.
        where: Where they lay when it was planned.
        models: Name to another place of one, or to the object itself.
        names: Those that are needed; None for all.

    Raises:
        ModelError: one is another than planned.
        UsageError: one was given as an object, and is not given again.
    """
    found = {}
    for facts in plan.models:
        if names is not None and facts.name not in names:
            continue
        told = where.models.get(facts.name, {})
        given = (models or {}).get(facts.name)
        if given is None and not told:
            raise UsageError(
                f"Model {facts.name!r} was given as an object, which a later run cannot find. Give it again: ",
                way("model", python=f"models={{{facts.name!r}: model}}", shell=f"--model {facts.name}=FILE"),
                ".",
            )
        one = Given(facts.name, given or told["source"], told.get("options", {}), facts.classes, facts.door)
        if given is not None and not isinstance(given, (str, os.PathLike)):
            one = replace(one, options={})
        elif one.engine != facts.engine:
            raise UsageError(
                f"Model {facts.name!r} was planned with engine {facts.engine or 'auto'!r}, and where.json now says "
                f"{one.engine or 'auto'!r}, which rounds otherwise. Put it back, or plan another audit."
            )
        found[facts.name] = _same(one.open(plan.threads), facts)
    return found


def _same(model: Model, facts: ModelFacts) -> Model:
    digest = model.outline.digest
    if digest != facts.sha256:
        raise ModelError(
            f"Model {facts.name!r} is not the one that was planned: its digest was {facts.sha256[:16] or 'not known'} "
            f"and is {digest[:16] or 'not known'}. Explanations of two models do not mix: plan another audit for it."
        )
    return model


def _given(name: str, one: Any, card: Any) -> Given:
    options: dict[str, Any] = {}
    classes: Sequence[str] = ()
    if isinstance(one, Mapping):
        options = dict(one)
        if "source" not in options:
            raise UsageError(option="models", got=dict(one), accepted="a source, with options of xplain.load beside it")
        one, classes = options.pop("source"), options.pop("classes", ())
    joined = one.outline.joined if is_model(one) else ()
    if joined:
        names = [segment.name for segment in joined]
        first, last = names[0], names[-1]
        alone = f"models={{{name!r}: {{'source': FILE, 'input': {first!r}, 'fixed': {{{last!r}: array}}}}}}"
        raise UsageError(
            f"Model {name!r} is explained on several inputs at once ({', '.join(names)[:200]}), and an item of an "
            "audit is of one input. Audit one of them, and hold the others: ",
            way("model", python=alone, shell=f"--input {first} --fixed {last}=FILE"),
            f". Pairs are explained by 'xplain explain FILE {first}=... {last}=...', as many as you like.",
            option="models",
        )
    if card is not None and isinstance(one, (str, os.PathLike, bytes)):
        options.setdefault("card", card)
    return Given(name, one, options, class_names(classes))


def _axes(outline: Outline) -> Axes | None:
    """The axes that a model shows, or its card states."""
    if outline.named is not None or outline.card is None or not outline.card.layout:
        return outline.named
    return Axes(outline.card.layout, "stated by its card")


def _usual(one: Any) -> str:
    """What a model is called that is given no name: its file's, without folders, which are nobody's business."""
    if isinstance(one, Mapping):
        one = one.get("source")
    if isinstance(one, (str, os.PathLike)):
        path = os.fspath(one).rstrip("/")
        return path.rpartition("/")[2] if "://" in path else Path(path).stem
    return "model"


def _called(model: Model, classes: tuple[str, ...], name: str) -> Model:
    if not classes:
        return model
    count = model.outline.scores.classes
    if count not in (None, len(classes)):
        raise UsageError(
            f"{len(classes)} names of classes were given, but model {name!r} has {count}. Give one per class."
        )
    model.outline = replace(model.outline, labels=classes)  # type: ignore[misc]
    return model


def _whole(name: str, value: Any) -> Any:
    """An option as it is written down: arrays and limits as plain values, paths that are found from anywhere."""
    plain = _plain(value)
    return os.path.abspath(plain) if name in _PATHS and isinstance(plain, str) and Path(plain).exists() else plain  # noqa: PTH100


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
