"""What is known of a model without running a method: inputs, scores, layers, labels, quirks, digest."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.core.card import Card
from xplain.core.caveat import Caveat
from xplain.core.class_names import folded, ways_of
from xplain.core.declaring.wording import named, option
from xplain.core.errors import UnknownName, UsageError, unknown
from xplain.core.keeping.plain import counted
from xplain.core.lenses.fields import Field
from xplain.core.lenses.kernels import Kernel
from xplain.core.positions.axes import shape_of
from xplain.core.positions.layout import Axes, Doubt, Layout, by_sizes
from xplain.core.positions.lineage import Lineage
from xplain.core.segments import Segment
from xplain.core.target import Target, label
from xplain.core.targets.boxes import Boxes

Kind: TypeAlias = Literal["logits", "probabilities", "log-probabilities", "scores", "decisions"]

__all__ = ["Kind", "LayerSpec", "Outline", "ScoreSpec", "TensorSpec", "called_scores", "class_names", "either"]


_CALLED = (
    {"logits", "logit"},
    {"scores", "score"},
    {"probabilities", "probability", "probs", "prob", "softmax", "sigmoid"},
    {"classes", "class", "cls", "labels", "predictions", "prediction"},
)
"""Words in the names of scores, the likeliest first."""
_BESIDE = {"aux", "auxiliary", "recon", "reconstruction", "reconstructed", "decoded"}
"""Words in the names of heads that help to train others, and of items made anew."""


def called_scores(name: str) -> int:
    """How much the name of a tensor says that it holds scores; 0 where it says nothing, below where it denies it."""
    words = set(re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()))
    if words & _BESIDE:
        return -1
    return next((len(_CALLED) - k for k, some in enumerate(_CALLED) if words & some), 0)


def either(last: str, before: str, source: str) -> UsageError:
    """The question which of two outputs is meant: the last one is as large as the item that it is made from."""
    return UsageError(
        f"Two outputs of {source} may be its scores: {last!r} is of the item's own shape and is made of {before!r} by "
        f"learned weights, so it is the item made anew, or {before!r} is a feature of it. Say which is read with ",
        option("output", of="load"),
        f" {before!r} or {last!r}.",
    )


NOT_FINITE = "fixed to what is not finite"
"""The fact that names inputs whose fixed values hold NaN or infinity."""
_MOST_NAMES = 5
_NUMBER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named tensor: shape with None for a free dimension, and dtype by its numpy name (``"str"`` for strings).

    ``dims`` are the names of its dimensions, empty for one without, where the model names any.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    dims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoreSpec:
    """The tensor that is read as scores ``[N, K]``.

    Args:
        tensor: Its name; extents of 1 behind the class axis are dropped.
        classes: K, or None where the model does not say.
        kind: What the numbers are. ``logits`` is also said of what a net ends in without a softmax; ``scores`` are
            numbers of which no more is known, or that are no classes' (a regression); ``decisions`` are 1 for the class
            that was chosen and 0 for the others.
        link: What turns these scores into probabilities: ``softmax``, ``sigmoid`` or ``none``.
        found: One sentence on how the tensor was found, for a person to check.
        partial: Why a class's score may be unknown (NaN), such as "only the 5 best classes are answered"; else empty.
        unit: The word for one number where somebody stated what they are, and with it ``kind``; else empty.
    """

    tensor: str
    classes: int | None
    kind: Kind
    link: Literal["softmax", "sigmoid", "none"]
    found: str
    partial: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """A tensor inside the model that a person may name as ``layer``, target or tap; its values are real numbers.

    That is so too where the model itself holds integers that stand for them, as quantised files do.

    Args:
        name: The tensor's name (ONNX) or the module's path (torch).
        op: The operator or module class that makes it.
        shape: Shape with the batch axis, None for free dimensions; empty where it is not known.
        affine: Whether it is known to be an affine function of the model's inputs.
        channels_last: Whether an operator on ``[N, H, W, C]`` lies before it and its channels are still last.
        weighted: Whether it is made by a matrix of weights: a dense layer, or a convolution.
    """

    name: str
    op: str
    shape: tuple[int | None, ...] = ()
    affine: bool = False
    channels_last: bool = False
    weighted: bool = False

    @property
    def does(self) -> str:
        """What ``op`` computes, whether it does so on real numbers or on the integers that stand for them."""
        return self.op.removeprefix("QLinear")


@dataclass(frozen=True)
class Outline:
    """What is known of a model.

    Args:
        source: Where it came from, for a person: a path, ``"bytes"``, a class name, a URL.
        kind: ``onnx``, ``torch``, ``function`` or ``endpoint``.
        digest: sha256 of the model's content in hex; empty where content cannot be read (a function).
        inputs: All inputs.
        input: Name of the input that is explained.
        layout: Axes and item shape of that input; None while its sizes are free, or nothing decides its axes.
        scores: Which tensor is read as scores.
        layers: Tensors that a person may name, in the order of evaluation.
        labels: Class names, empty where none are known.
        quirks: One sentence per thing that a careful user should know.
        warnings: What must be known before any result of this model is believed; every result says so.
        outputs: Names of the tensors that the model returns; empty where they are not known yet.
        card: How pictures become tensors, or None.
        batch: ``free``, ``edited`` (a fixed batch was freed and verified) or ``fixed`` (asked ``rows`` at a time).
        rows: The batch extent that must be used when ``batch`` is ``fixed``, else None.
        facts: Further facts that a person may want to see (opset, producer, precision, size ...).
        activations: Clipping activations that run, by their ONNX names; ``Relu`` also for a quantiser whose lower end
            is one; None where nobody has looked, as in a torch module that has not run yet.
        follow: Item shape to what descends from the explained input, and how its axes lie; None for a model that shows
            nothing of its inside.
        attended: The layer that was made last before the last attention, with the number of its call (``norm:0``),
            where attention is no layer, as for functions in a torch module; else empty.
        axes: Names of that input's axes where they are known and its sizes are free.
        shapes: Of outputs that are no layers, where an item has been seen.
        detects: How a detector's rows are read before some of them are picked, where its graph shows that; else None.
        kernels: All kernels of convolutions, in order of evaluation, found when called; None for a model that shows
            nothing of its inside.
        joined: What the rows hold, of a model that takes several inputs side by side; empty for others.
        fields: A layer's name and an item's layout to what the layer's units see of the item; its answer is None where
            that is not known. None for a model that shows nothing of its inside.
    """

    source: str
    kind: str
    digest: str
    inputs: tuple[TensorSpec, ...]
    input: str
    layout: Layout | None
    scores: ScoreSpec
    layers: tuple[LayerSpec, ...] = ()
    labels: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    warnings: tuple[Caveat, ...] = ()
    outputs: tuple[str, ...] = ()
    card: Card | None = None
    batch: Literal["free", "edited", "fixed"] = "free"
    rows: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    activations: frozenset[str] | None = None
    attended: str = ""
    axes: Axes | None = None
    detects: Boxes | None = None
    shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    joined: tuple[Segment, ...] = ()
    follow: Callable[[tuple[int, ...]], Lineage] | None = field(default=None, compare=False, repr=False)
    kernels: Callable[[], tuple[Kernel, ...]] | None = field(default=None, compare=False, repr=False)
    fields: Callable[[str, Layout], Field | None] | None = field(default=None, compare=False, repr=False)

    @property
    def called(self) -> str:
        """The source in a result: a file without its folders, which are its reader's business alone; a URL whole."""
        return self.source if "://" in self.source else PurePath(self.source).name or self.source

    @property
    def brief(self) -> str:
        """One line for a person: ``net.onnx (onnx): x [?, 3, 224, 224], NCHW -> 1000 logits``."""
        spec, scores = self.explained, self.scores
        shape = (
            ""
            if spec is None or not spec.shape
            else f" [{', '.join('?' if n is None else str(n) for n in spec.shape)}]"
        )
        number = "" if scores.classes is None else f"{scores.classes} "
        layout = f", {self.layout.axes}" if self.layout is not None else ""
        return f"{self.called} ({self.kind}): {self.input}{shape}{layout} -> {number}{scores.kind}"

    @property
    def named(self) -> Axes | None:
        """The names of the explained input's axes, and how they are known; None where only an item's sizes can tell."""
        return self.axes if self.layout is None else Axes(self.layout.axes, self.layout.why)

    @property
    def takes_pictures(self) -> bool:
        """Whether a card says how pictures become tensors: cards of series, spectra and volumes do not."""
        named = self.named
        planes = named is None or named.letters in ("NCHW", "NHWC")
        return self.card is not None and self.card.of_pictures and planes

    @property
    def explained(self) -> TensorSpec | None:
        """The input that is explained."""
        return next((spec for spec in self.inputs if spec.name == self.input), None)

    def layout_of(self, item: tuple[int, ...]) -> Layout | Doubt:
        """The layout of items of this shape: asked once, when they are read, and carried from there.

        What is known of the model decides; the sizes of the item only where nothing is.
        """
        named = self.named
        return named.of(item) if named is not None and len(named.letters) == len(item) + 1 else by_sizes(item)

    def with_axes(self, axes: Axes | None) -> Outline:
        """The same with other axes, and the layout that they make of the input's sizes where these are known."""
        if axes is None:
            return self
        spec = self.explained
        item = self.layout.item if self.layout is not None else () if spec is None else spec.shape[1:]
        sizes = tuple(n for n in item if n is not None)
        if item and len(item) != len(axes.letters) - 1:
            raise UsageError(
                named("layout"),
                f" is {axes.letters!r} ({axes.why}), but {self.source} takes items of "
                f"{['?' if n is None else n for n in item]}: {len(item)} axes behind the batch, not "
                f"{len(axes.letters) - 1}.",
            )
        whole = bool(sizes) and len(sizes) == len(item)
        return replace(self, axes=axes, layout=axes.of(sizes) if whole else None)

    @property
    def suspect(self) -> str:
        """What to look at first where a score is no number: an input that is fixed to no number; else empty.

        A model may know what to do with NaN, and a mask may hold infinity, so neither is refused before.
        """
        held = self.facts.get(NOT_FINITE, "")
        return f"Input {held} is fixed to a value that holds NaN or infinity: look at that first." if held else ""

    @property
    def rectifies(self) -> bool | None:
        """Whether the model has activations that clip; None where that is not known."""
        return None if self.activations is None else bool(self.activations)

    def extents(self, layer: str, item: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a layer for an item of this shape, batch left out; 1 for what is not known of it."""
        axes = None if self.follow is None else self.follow(item).axes_of(layer)
        return shape_of(axes)[1:] if axes is not None else tuple(n or 1 for n in self.layer(layer).shape[1:])

    def layer(self, name: str) -> LayerSpec:
        """The layer called ``name``.

        Raises:
            UnknownName: no such layer; the message names the nearest.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = [layer.name.partition(";")[0] for layer in self.layers]  # which stands for what a converter has joined
        raise unknown("layer", name, list(dict.fromkeys(names)), "'xplain inspect MODEL' lists them all.")

    def layer_meant(self, name: str) -> str:
        """The whole name of the one layer that a shorter one stands for; a name that is no layer's stays as it is.

        A short name is some of the parts between ``/`` and ``.``: the last ones of exactly one layer's name, or, where
        no name ends in them, as an exporter puts the operator behind the module, parts inside exactly one. Of names
        that a converter has joined with ``;`` the first one stands for the layer too.

        Raises:
            UnknownName: it is short for several.
        """
        parts = _parts(name)
        known = {layer.name for layer in self.layers} | set(self.outputs) | {spec.name for spec in self.inputs}
        if name in known or name == self.scores.tensor or all(part.isdecimal() for part in parts):
            return name
        first = {layer.name: layer.name.partition(";")[0] for layer in self.layers}
        same = [whole for whole, head in first.items() if head == name]
        split = {whole: (_parts(whole), _parts(head)) for whole, head in first.items()}
        last = [whole for whole, both in split.items() if any(has[-len(parts) :] == parts for has in both)]
        found = same or last or [whole for whole, both in split.items() if any(_inside(parts, has) for has in both)]
        if len(found) > 1:
            more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
            some = ", ".join(repr(first[whole]) for whole in found[-_MOST_NAMES:])
            raise UnknownName(
                f"Unknown layer {name!r}: it is short for {some}{more}. Give the whole name of one, or more of its "
                "parts; 'xplain inspect MODEL' lists them all."
            )
        return found[0] if found else name

    def label_index(self, wanted: int | str, classes: int) -> int:
        """The class index of a number, a decimal string, or a label's name (case does not matter).

        Raises:
            UsageError: the number is out of range.
            UnknownName: no label has this name; the message names the nearest.
        """
        if isinstance(wanted, bool) or not isinstance(wanted, (str, int, np.integer)):
            raise UsageError(f"Class {wanted!r:.80} is not understood; accepted: a class number, or a label's name.")
        if isinstance(wanted, str):
            plain, hits = folded(wanted), self.label_indices(wanted)
            if len(hits) == 1:
                return hits[0]
            if len(hits) > 1:
                raise UsageError(f"Label {wanted!r} stands for classes {hits}; give the number of the one you mean.")
            name = wanted
            if not _NUMBER.fullmatch(plain):
                if not self.labels:
                    raise UsageError(
                        f"Target {name!r} is a name, but no labels are known for {self.source}. Give the class "
                        "number, or labels in the preprocessing card."
                    )
                raise unknown("label", name, self.labels)
            wanted = int(plain)
        if not -classes <= wanted < classes:
            known = counted(classes, "class", "classes")
            raise UsageError(f"Target {wanted} is out of range: the model has {known}, 0 to {classes - 1}.")
        return wanted % classes

    def label_indices(self, name: str) -> list[int]:
        """The classes that a name may stand for: those called so, else those that have it among their synonyms."""
        plain = folded(name)
        hits = [k for k, known in enumerate(self.labels) if folded(known) == plain]
        if not hits:  # ImageNet labels are lists of synonyms: "tabby, tabby cat"
            hits = [k for k, known in enumerate(self.labels) if plain in map(folded, ways_of(known))]
        return hits

    def has_label(self, text: str) -> bool:
        """Whether a class is called so."""
        return folded(text) in map(folded, self.labels)

    def label_name(self, index: int) -> str:
        """The label of a class, or its number as text."""
        return self.labels[index] if 0 <= index < len(self.labels) else str(index)

    def label_target(self, indices: Sequence[int]) -> Target:
        """The target "score of class ``indices[n]``", named as a person would."""
        same = len(set(indices)) == 1
        names = [self.label_name(i) for i in indices]
        return label(int(indices[0]), names[0]) if same else label(indices, names)


def _parts(name: str) -> list[str]:
    """The parts of a layer's name: modules and what is in them."""
    return [part for part in re.split(r"[/.]", name) if part]


def _inside(some: list[str], parts: list[str]) -> bool:
    """Whether all of ``some`` follow one another in ``parts``."""
    return any(parts[k : k + len(some)] == some for k in range(len(parts) - len(some) + 1))


def class_names(given: Any, numbers: bool = False) -> tuple[str, ...]:
    """Labels as a person gives them: a list of names, one per class; a single text is no list of its letters.

    ``numbers``: a class may be called by a number too, as estimators call theirs.

    Raises:
        UsageError: anything else.
    """
    try:
        names = None if isinstance(given, (str, bytes, Mapping)) else tuple(given)
    except TypeError:
        names = None
    if names is None or not all(isinstance(one, (str, int, float, np.number) if numbers else str) for one in names):
        raise UsageError(f"labels are {given!r:.100}; accepted: a list of names, one per class.")
    return tuple(map(str, names))
