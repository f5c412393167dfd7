"""What running one item once shows of a torch module: its layers with their shapes, and what its scores are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from xplain.core.caveat import Caveat
from xplain.core.declaring.wording import Sentence, option
from xplain.core.edits import Array
from xplain.core.errors import ModelError, UsageError
from xplain.core.outline import Kind, LayerSpec, Outline, ScoreSpec, TensorSpec, called_scores, either
from xplain.core.positions.layout import Axes
from xplain.core.target import SCORES
from xplain.core.targets.units import stated_scores
from xplain.models.integers import no_gradient
from xplain.models.torch.attention import AttentionsSeen
from xplain.models.torch.axes import AxesSeen
from xplain.models.torch.follow import AxesFollowed
from xplain.models.torch.guard import Pass, eval_mode, in_training
from xplain.models.torch.kernels import kernels_of
from xplain.models.torch.layers import LayersSeen
from xplain.models.torch.modes import ActivationsSeen, digest_of, kind_of, to_numpy, visible
from xplain.models.torch.scores import LogitsSeen, chosen, named_outputs, ranked, score_rows_of
from xplain.models.torch.together import alone_as_among_others

__all__ = [
    "AS_FLOATS",
    "Look",
    "Own",
    "first_outline",
    "home",
    "look_at",
    "look_with",
    "value_of",
]

AS_FLOATS = "The items are whole numbers and the module takes none: they are given to it as floating numbers."


@dataclass(frozen=True)
class Look:
    """What one item showed of a module.

    Args:
        outline: What is known.
        item: The item's shape; None before the first.
        integer: Whether it held integers.
        output: The output that is read as scores, as ``named_outputs`` calls it; empty where none has a row per item.
        through: Whether scores are the logits behind it.
        sides: Whether it is one number for two labels, so that the first class has its negative, or 1 - p.
        paired: Whether a batch of one is asked as two, for the module drops an axis of extent 1.
        flips: Parts that put themselves into training mode when they run.
        axes: Which axis of the item is which, as the operators that took it say; None where they say nothing.
        meant: Which call the plain name of a part that is called several times means.
    """

    outline: Outline
    item: tuple[int, ...] | None = None
    integer: bool = False
    output: str = ""
    through: bool = False
    sides: bool = False
    paired: bool = False
    flips: frozenset[str] = frozenset()
    axes: Axes | None = None
    meant: Mapping[str, int] = field(default_factory=dict)

    def returns(self, name: str) -> bool:
        """Whether a name is that of an output, and of no layer."""
        return name in self.outline.outputs and all(name != one.name for one in self.outline.layers)

    def scores(self, outputs: Mapping[str, torch.Tensor], logits: LogitsSeen, rows: int) -> torch.Tensor:
        """The output that is read as scores, or the logits behind it, ``[R, K]``.

        Raises:
            ModelError: there is none.
        """
        if self.output not in outputs:
            raise ModelError(
                f"{self.outline.source} {self.outline.scores.found}; accepted: one row of scores per item, a tensor "
                "[R, K], a tuple or dictionary with one, or an object with .logits. A layer can be the target all the "
                "same: ",
                option("target", "LAYER[0]"),
                ".",
            )
        scores = outputs[self.output]
        behind = logits.behind(scores) if self.through else None
        found = score_rows_of(scores if behind is None else behind.logits, rows, self.outline.source, self.output)
        if not self.sides:
            return found
        other = 1.0 - found if self.outline.scores.kind == "probabilities" else -found
        return torch.cat([other, found], 1)

    def stated(self, said: str | None) -> Look:
        """The look with what somebody says that the scores are; see ``xplain.core.targets.units.stated_scores``."""
        return replace(self, outline=replace(self.outline, scores=stated_scores(self.outline.scores, said)))

    def two_sided(self) -> Look:
        """One number that tells two labels apart, as the scores of both."""
        card, spec = self.outline.card, self.outline.scores
        if card is None or len(card.labels) != 2 or spec.classes != 1:
            return self
        kind: Kind = "logits" if spec.kind == "scores" else spec.kind
        found = f"{spec.found}; one number for two labels: it is that of the second, and the first has the other side"
        outline = replace(self.outline, scores=replace(spec, classes=2, kind=kind, found=found))
        return replace(self, outline=outline, sides=True)

    def per_item(self, layer: str, values: torch.Tensor, items: int) -> Array:
        """A layer's values, a row per item; what is folded into the batch behind it becomes an axis of its own."""
        follow, array = self.outline.follow, to_numpy(values)
        folded = len(array) != items and follow is not None and follow(self.item or ()).folded(layer)
        return array.reshape(items, -1, *array.shape[1:]) if folded else array

    def blank(self) -> Array:
        """One item of zeros.

        Raises:
            UsageError: no item has been seen, so their size is not known.
        """
        if self.item is None:
            raise UsageError(
                f"{self.outline.source} has seen no item, so the size of its input is not known. Ask it about one "
                "first, for example xplain.predict(model, x)."
            )
        return np.zeros((1, *self.item), np.int64 if self.integer else np.float32)


class Own(threading.local):
    """What each thread knows of a module: its own last look, at first the latest of any thread."""

    def __init__(self, latest: list[Look]) -> None:
        self._latest, self.look = latest, latest[0]

    def keep(self, look: Look) -> None:
        """Note what this thread saw; threads to come begin with it."""
        self.look = self._latest[0] = look


_TRAINING = "The module is in training mode; it is explained in eval mode."
_DRAWN = (
    "Scores depend on numbers that {operator} draws anew at every run: the same item has another score each time, and "
    "a map holds that noise."
)
_SCRIPTED = (
    "TorchScript shows neither its layers nor a softmax at its end, so what it returns is explained, by methods that "
    "need no layer. Load the original module, or export it to ONNX."
)


def first_outline(module: torch.nn.Module, modules: Mapping[str, torch.nn.Module]) -> Outline:
    """What is known of a module before it has run."""
    training = any(in_training(one) for one in module.modules())
    rows = _exported_rows(module)
    alone = ("It was exported for one item, so items are asked 1 at a time.",) if rows else ()
    return Outline(
        source=f"torch {type(module).__name__}",
        kind="torch",
        digest=digest_of(module),
        inputs=(TensorSpec("input", (), "float32"),),
        input="input",
        layout=None,
        scores=ScoreSpec("output", None, "logits", "none", "the module's output; looked at with the first item"),
        layers=tuple(LayerSpec(name, type(one).__name__) for name, one in modules.items()),
        kernels=partial(kernels_of, modules),
        quirks=tuple(q for q, there in ((_TRAINING, training), (_SCRIPTED, not visible(module))) if there) + alone,
        batch="fixed" if rows else "free",
        rows=rows,
    )


def _exported_rows(module: torch.nn.Module) -> int | None:
    """The only number of items that an exported program takes, 1; None for one of any number, and any other module.

    Raises:
        UsageError: it takes another number alone.
    """
    nodes = module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ()
    values = [node.meta.get("val") for node in nodes if node.op == "placeholder"]
    shapes = [one.shape for one in values if isinstance(one, torch.Tensor) and one.ndim > 0]
    if not shapes or not isinstance(shapes[0][0], int):
        return None
    if shapes[0][0] != 1:
        raise UsageError(
            f"This program was exported for {shapes[0][0]} items at a time, and is asked about any number. Export it "
            "for any: torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim('n')},))."
        )
    return 1


def home(module: torch.nn.Module) -> tuple[torch.dtype, torch.device]:
    """The floating type of its parameters, float32 where it has none, and where they are."""
    kind = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return kind, next(iter((*module.parameters(), *module.buffers())), torch.empty(0)).device


def look_with(
    look: Callable[[torch.dtype], Look], module: torch.nn.Module, integer: bool, integer_before: bool, outline: Outline
) -> tuple[Look, torch.dtype]:
    """What a look shows with the first type that the module takes, and that type.

    Args:
        look: Looks at an item of that type.
        module: The module; the floating types that it may take are its parameters' own.
        integer: Whether the item holds whole numbers.
        integer_before: Whether the module took an item of this shape as whole numbers before.
        outline: What is known of it.

    Raises:
        UsageError: points between items of whole numbers, which the module takes alone.
        Exception: it takes no type; what it said of the first, or of the last if the first was of the wrong type.
    """
    own = [p.dtype for p in module.parameters() if p.is_floating_point()]
    errors: list[Exception] = []
    for kind in dict.fromkeys([*([torch.int64] if integer else []), home(module)[0], *own]):
        try:
            return look(kind), kind
        except Exception as error:
            errors.append(error)
    told = errors[-1 if "dtype" in str(errors[0]) else 0]
    if integer_before and not integer:
        raise no_gradient(outline, "int64") from told
    raise told


def value_of(name: str, calls: Sequence[Any], number: int | None) -> torch.Tensor:
    """What a layer returned at one of its calls; None: at the last.

    Raises:
        ModelError: it was not called.
        UsageError: it returned something else than a tensor.
    """
    if not calls or (number is not None and number >= len(calls)):
        raise ModelError(f"Layer {name!r} was not called for this input, so it has no value.")
    value = calls[-1 if number is None else number]
    if not isinstance(value, torch.Tensor):
        raise UsageError(f"Layer {name!r} returns {type(value).__name__}; only tensors can be named.")
    return value


def look_at(
    module: torch.nn.Module,
    modules: Mapping[str, torch.nn.Module],
    call: Callable[[torch.Tensor], Any],
    batch: torch.Tensor,
    outline: Outline,
    output: int | str | None = None,
) -> Look:
    """Run a batch of one item.

    Args:
        module: The module.
        modules: Its layers by name.
        call: Calls it.
        batch: The item.
        outline: What is known so far.
        output: Which output is read as scores; None for the likeliest.

    Raises:
        UnknownName: no such output.
    """
    item, integer = tuple(batch.shape[1:]), not batch.is_floating_point()
    here, logits, flips = Pass(), LogitsSeen(), set[str]()

    follow = AxesFollowed(batch)
    seen = LayersSeen(modules, here, follow)
    attention = AttentionsSeen(1, note=seen.attention)
    watch, axes = ActivationsSeen(seen.calls), AxesSeen(batch)
    whole = torch.inference_mode(False)  # inside it, compound operators would arrive as they are
    with ExitStack() as stack:
        for one in (whole, torch.no_grad(), eval_mode(module, noted=flips), here, seen, logits, axes, follow):
            stack.enter_context(one)
        stack.enter_context(attention.watching())
        stack.enter_context(watch)
        returned = call(batch)
    outputs, rows = named_outputs(returned), 1
    if not all(one.ndim > 0 and one.shape[0] == 1 for one in outputs.values()):
        two = LogitsSeen()  # one of them may have lost its axis of extent 1
        with torch.no_grad(), eval_mode(module, noted=flips), two:
            pair = named_outputs(call(torch.cat([batch, batch])))
        if ranked(pair, two, 2):
            outputs, logits, rows = pair, two, 2
    weighed = _weighed(named_outputs(returned), follow)
    order = ranked(outputs, logits, rows, frozenset(name for name, made in weighed.items() if made))
    told = replace(outline, activations=frozenset(watch.names), attended=watch.attended)
    shapes = {name: (None, *one.shape[1:]) for name, one in outputs.items()}
    told = _one_by_one(replace(told, outputs=tuple(outputs), shapes=shapes), watch.mixer)
    look = Look(told, item, integer, paired=rows == 2, flips=frozenset(flips), axes=axes.found)
    if not order:
        look = _with_layers(look, seen, follow, None, named_outputs(returned))
        kinds = ", ".join(kind_of(one) for one in named_outputs(returned).values())
        found = f"returned {kinds or type(returned).__name__} for a batch of 1"
        return replace(look, outline=replace(look.outline, scores=ScoreSpec("output", None, "scores", "none", found)))
    name, tensor = chosen(outputs, output, order, outline.source)
    if output is None and tuple(tensor.shape[1:]) == item and not called_scores(name) and logits.behind(tensor) is None:
        again = [other for other in order if name in weighed.get(other, ()) and not called_scores(other)]
        if again:
            raise either(name, again[0], outline.source)
    scores, through = _scores(name, tensor, len(outputs), logits)
    alone = named_outputs(returned).get(name)

    def scores_of(items: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), eval_mode(module, noted=flips):
            return named_outputs(call(items))[name]

    operator = follow.putting_together(alone)
    if watch.draws and alone is not None and not torch.equal(scores_of(batch), alone):
        told = _warned(told, Caveat(_DRAWN.format(operator=watch.draws), "model"))
    elif operator and alone is not None and not alone_as_among_others(scores_of, batch, alone):
        told = _one_by_one(told, operator)
    others = [repr(one) for one in order if one != name]
    if others and output is None:
        told = _chose(told, name, others)
    first = named_outputs(returned).get(name)
    behind = logits.behind(tensor) if rows == 1 else None
    look = replace(look, outline=replace(told, scores=scores), output=name, through=through)
    return _with_layers(look, seen, follow, first if behind is None else behind.logits, named_outputs(returned))


def _weighed(outputs: Mapping[str, torch.Tensor], follow: AxesFollowed) -> dict[str, frozenset[str]]:
    """By an output's name the outputs that are made of it, or of what it tells, by way of weights."""
    if len(outputs) < 2:
        return {}
    made = {name: follow.tensor(one) for name, one in outputs.items()}
    found = {name: follow.weighed(one) for name, one in outputs.items()}
    return {name: frozenset(other for other in made if made[other] in found[name]) for name in outputs}


def _with_layers(
    look: Look,
    seen: LayersSeen,
    follow: AxesFollowed,
    scores: torch.Tensor | None,
    outputs: Mapping[str, torch.Tensor],
) -> Look:
    """What was seen of layers, and how they lie between the item and its scores, or another output."""
    made = follow.tensor(scores)
    meant = seen.meant(made)
    layers = seen.layers(meant)
    ends = {name: followed for name, one in outputs.items() if (followed := follow.tensor(one))}
    lineage = follow.lineage(ends | seen.tensors | {SCORES: made})
    return replace(look, outline=replace(look.outline, layers=layers, follow=lambda _item: lineage), meant=meant)


def _scores(name: str, tensor: torch.Tensor, count: int, logits: LogitsSeen) -> tuple[ScoreSpec, bool]:
    """What is known of the output that is read, and whether logits were found behind it."""
    behind = logits.behind(tensor)
    what = "the module's output" if count == 1 else f"output {name!r}"
    wide = [extent for extent in (tensor if behind is None else behind.logits).shape[1:] if extent != 1]
    classes = (wide[0] if wide else 1) if len(wide) < 2 else None
    if behind is not None:
        word = f"what goes into the {behind.op} that the module returns"
        word += "" if count == 1 else f" as {name!r}"
        return ScoreSpec(name, classes, "logits", behind.link, word), True
    kind = logits.kind(tensor)
    why = "no softmax before it" if kind in ("logits", "scores") else f"{kind} in a way that cannot be undone"
    return ScoreSpec(name, classes, kind, "none", f"{what}; {why}"), False


def _one_by_one(outline: Outline, mixer: str) -> Outline:
    """Rows are asked one at a time where an operator looks at the whole batch."""
    why = f"{mixer} looks at the whole batch, so items are asked 1 at a time."
    if not mixer or why in outline.quirks:
        return outline
    return replace(outline, batch="fixed", rows=1, quirks=(*outline.quirks, why))


def _chose(outline: Outline, name: str, others: list[str]) -> Outline:
    listed = ", ".join(others)
    sentence = Sentence(
        f"Of several outputs {name!r} is read as scores; the others: {listed} (", option("output"), ")."
    )
    return _warned(outline, Caveat(sentence, "output"))


def _warned(outline: Outline, caveat: Caveat) -> Outline:
    """What must be known of a module, once."""
    if caveat in outline.warnings:
        return outline
    return replace(outline, quirks=(*outline.quirks, caveat.text), warnings=(*outline.warnings, caveat))
