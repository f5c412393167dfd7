"""A torch module that answers questions natively: scores, values of layers, and reverse sweeps by autograd.

The module is borrowed: hooks and training flags that a question needs are taken back after it, also when it fails, and
one thread at a time has it (see ``torch_guard``). Guided and deconvnet rules act at the dispatcher, where every ReLU of
a backward pass arrives. Other rule tables run on the module exported to ONNX, once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xplain.core.abilities import Abilities, Piece
from xplain.core.batches import Cut
from xplain.core.card import card_of_module, load_card
from xplain.core.edits import Array
from xplain.core.errors import ModelError, UsageError
from xplain.core.outline import Outline
from xplain.core.query import Answer, Flow, OfItems, Peek, Query, Score, Slope, Sweep, TargetInput, View
from xplain.core.rules import Rules
from xplain.core.swept import Swept, first_row
from xplain.core.synthesis.slope import Sloped
from xplain.core.target import SCORES, Target
from xplain.models.integers import no_gradient
from xplain.models.options import TorchOptions
from xplain.models.outlines import settled, warned
from xplain.models.pipeline import in_flight, item_ranges, rows_at_once
from xplain.models.reading import as_float32, items_beside, layer_values, padded, read_target, write_rows
from xplain.models.torch.attention import AttentionsSeen, attention_number
from xplain.models.torch.batches import TorchBatches, fed_floats, filled_up
from xplain.models.torch.cuts import gradients, without_items
from xplain.models.torch.device import Batch, TorchPlace, approximate, autocast, memory_of, without_autocast
from xplain.models.torch.folds import kept
from xplain.models.torch.gates import gated, worth
from xplain.models.torch.graph import AsGraph
from xplain.models.torch.guard import Pass, alone, claim, eval_mode
from xplain.models.torch.look import AS_FLOATS, Look, Own, first_outline, home, look_at, look_with, value_of
from xplain.models.torch.modes import (
    NonFiniteSeen,
    backward_rule,
    hooked,
    kind_of,
    recurrent_backward,
    to_numpy,
    visible,
)
from xplain.models.torch.scores import LogitsSeen, named_outputs
from xplain.models.torch.slopes import blank_of, sloped

__all__ = ["TorchModule"]

_INPUT = "input"


class TorchModule(TorchBatches):
    """A ``torch.nn.Module`` from a batch to scores ``[R, K]``: a tensor, a tuple that begins with it, or ``.logits``.

    Layers are the names of ``named_modules()``. A module that is called several times also has ``name:0``, ``name:1``
    ... for its calls; its plain name means the last on the way to the scores. Shapes are known from the first item on.

    Args:
        module: The module; it is asked in eval mode, on the device where its parameters are.
        options: Card, layout, output, and how its passes run; None for all as they are by default.

    Raises:
        CardError: the card cannot be used.
    """

    answers: frozenset[type[Any]] = frozenset({Score, Peek, Sweep, Slope})

    def __init__(self, module: torch.nn.Module, options: TorchOptions | None = None) -> None:
        module = getattr(module, "_orig_mod", module)  # a compiled module calls no hooks; its original does
        self._module = module
        self._modules: dict[str, torch.nn.Module] = {n: m for n, m in module.named_modules() if n and visible(m)}
        claim(module)
        self._options = options = options or TorchOptions()
        self._kind, self._floats = home(module)[0], False  # what it takes; whether in place of whole numbers
        self._together = {}
        outline = first_outline(module, self._modules)
        if less := approximate(options):
            outline = warned(outline, less)
        card = card_of_module(module) if options.card is None else load_card(options.card)
        self._own = Own([Look(settled(outline, card, options.layout))])
        self._graph = AsGraph(module, self._own, self)
        self.outline = replace(self.outline, fields=self._graph.field)

    @property
    def outline(self) -> Outline:
        """What is known of the module, from this thread's last items."""
        return self._own.look.outline

    @outline.setter
    def outline(self, outline: Outline) -> None:
        self._own.keep(replace(self._own.look, outline=outline))

    @property
    def abilities(self) -> Abilities:
        """It works ahead on a device, compiles what can be exported, and has modules for layers."""
        return Abilities(
            batches=self,
            ahead=self.ahead,
            compiles=self,
            balance=self.balance,
            why_not_finite=self.why_not_finite,
            finds=self.finds,
            name_of=self.name_of,
            look=self.look,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.outline.brief}>"

    def answer(self, query: Query) -> Answer:
        """The answer to one question, or to the part of it that ``Score.part`` names.

        Raises:
            UnknownName: a layer that the module does not have.
            ModelError: the module's output is no scores, or nothing leads from a tap to the target.
            Exception: whatever the module raises, with a note on what it was called with.
        """
        if isinstance(query, Slope):
            return self._slope(query)
        asked = self._taken(query)  # type: ignore[arg-type]  # an Ensemble is never asked: see ``answers``
        if isinstance(asked, Score):
            return self._score(asked)
        return self._peek(asked) if isinstance(asked, Peek) else self._sweep(asked)

    def finds(self, rules: Rules) -> bool:
        """Whether a sweep's forward pass is the module's own; tables that autograd does not have sweep an export."""
        return backward_rule(rules) is not None

    def why_not_finite(self, query: Sweep) -> str:
        """The first operator that makes numbers that are not finite in a sweep; a sentence, empty where none does."""
        with NonFiniteSeen() as seen:
            self.answer(query)
        return f"{seen.first} makes such numbers from finite ones." if seen.first else ""

    def ahead(self, query: Score, rows: int | None) -> Iterator[Piece] | None:
        """The answer in pieces, two chunks under way on a CUDA device; None elsewhere."""
        chunked = query.at == _INPUT and query.x.dtype.kind not in "iu"
        return self._scored(query, rows) if chunked and self._on_device else None

    def _score(self, query: Score) -> Array:
        start, stop = query.rows
        if query.at == _INPUT and query.x.dtype.kind not in "iu" and stop > start:
            rows = None if self._on_device else stop - start
            return np.concatenate([piece for _, piece in self._scored(query, rows)])
        inside = None if query.at == _INPUT else query.at
        if inside is None:
            self.look(query.x)
        wanted = query.target.tensors
        integer = query.x.dtype.kind in "iu" and inside is None
        query = replace(query, x=as_float32(query.x, self.outline.source))
        filled = np.empty((stop - start, *query.x.shape[1:]), np.float32)
        write_rows(query, start, stop, filled, query.layout_in(self.outline))
        most = max(len(filled), query.cut.rows if query.cut else 0)
        with torch.no_grad():
            batch = self._tensor(padded(filled, most), integer)
            items = None if query.items is None else padded(items_beside(query, (start, stop), "float32"), most)
            found = self._rows(batch, wanted) if inside is None else self._tail(inside, batch, wanted, items)
        values = {name: to_numpy(found[name])[: stop - start] for name in wanted}
        return read_target(query, (start, stop), values)

    def _scored(self, query: Score, rows: int | None) -> Iterator[Piece]:
        """Scores of edited inputs, chunk by chunk."""
        self.look(query.x)
        wanted = query.target.tensors
        query = replace(query, x=as_float32(query.x, self.outline.source))
        layout, (first, last) = query.layout_in(self.outline), query.rows
        rows = min(rows or rows_at_once(query.x[:1].nbytes), last - first)
        how = query.cut or Cut(rows, by_item=False, of=1)

        def forward(batch: torch.Tensor) -> dict[str, torch.Tensor]:
            with torch.no_grad():
                return self._rows(batch, wanted)

        for offset, part in item_ranges(query, layout):
            batch = Batch(how.rows, self._kind, home(self._module)[1], fills_up=query.cut is not None)
            place = TorchPlace(part, layout, batch, forward, self._options)
            for (left, right), values in in_flight(place, *part.rows, how.rows, how):
                yield (offset + left, offset + right), read_target(query, (offset + left, offset + right), values)
            self.tell(place.not_captured)

    def _peek(self, query: Peek) -> dict[str, Any]:
        self.look(query.x)
        x = as_float32(query.x, self.outline.source)
        batch = self._tensor(padded(x, max(len(x), query.batch or 0)), query.x.dtype.kind in "iu")
        with torch.no_grad():
            found = self._rows(batch, [t for t in query.taps if t != _INPUT])
        own, n = self._own.look.per_item, len(batch)
        return {t: kept(x if t == _INPUT else found[t], partial(own, t), n, query.fold, len(x)) for t in query.taps}

    def _sweep(self, query: Sweep) -> Swept:
        rule = backward_rule(query.rules)
        if rule is None:
            self.look(query.fed)
            return self._graph.sweep(query)
        self.look(query.fed)
        count, query = len(query.x), filled_up(query)
        given = layer_values(query, (), self.outline.source)
        if self._own.look.paired and len(query.x) == 1:
            return first_row(self._sweep(query.rows(np.zeros(2, np.int64))))
        integer = query.fed.dtype.kind in "iu"
        if integer and _INPUT in query.taps:
            raise no_gradient(self.outline, str(query.x.dtype), query.fed.shape[1:])
        layers = [tap for tap in query.taps if tap != _INPUT]
        plain = without_autocast(home(self._module)[1])
        held = eval_mode(self._module, self._own.look.flips)  # the backward pass may run parts again
        with held, plain, torch.inference_mode(False), torch.enable_grad(), recurrent_backward(self._module):
            batch = self._tensor(as_float32(query.fed, self.outline.source), integer)
            start = {query.at: batch if given is None else self._tensor(given)}
            start[query.at].requires_grad_(start[query.at].is_floating_point())
            wanted = [name for name in (*layers, *query.target.tensors) if name != query.at]
            numbers = [n for tap in layers if (n := attention_number(tap)) is not None]
            seen = AttentionsSeen(len(batch), numbers) if numbers else None

            def forward() -> dict[str, torch.Tensor]:
                found = self.forward(batch, wanted, None if given is None else start, seen)
                return {**found, _INPUT: batch, **start}

            found, cotangents = gradients(gated(forward, len(batch), query.gates), query.target, rule, query.taps, seen)
        pairs, own, n = ((tap, cotangents[tap]) for tap in query.taps), self._own.look.per_item, len(batch)
        taken = {t: (own(t, found[t], n)[:count], own(t, one, n)[:count]) for t, one in pairs if one is not None}
        values = {name: to_numpy(found[name])[:count] for name in query.target.tensors}
        everything = values[SCORES].astype(np.float64) if SCORES in values else None
        return Swept(taken | worth(cotangents, count), query.target.read(values, np.arange(count)), None, everything)

    def _slope(self, query: Slope) -> Sloped:
        self.look(blank_of(query))
        held = eval_mode(self._module, self._own.look.flips)
        plain = without_autocast(home(self._module)[1])
        with held, plain, torch.inference_mode(False), torch.enable_grad(), recurrent_backward(self._module):
            return sloped(self._rows, query, self._kind, home(self._module)[1])

    # ------------------------------------------------------------------ forward passes

    def _rows(self, batch: torch.Tensor, wanted: Sequence[str]) -> dict[str, torch.Tensor]:
        """``forward``; one row as two where the module would drop the batch axis of one."""
        if not self._own.look.paired or len(batch) > 1:
            return self.forward(batch, wanted)
        return {name: one[:1] for name, one in self.forward(torch.cat([batch, batch]), wanted).items()}

    def forward(
        self,
        batch: torch.Tensor,
        wanted: Sequence[str],
        replaced: Mapping[str, torch.Tensor] | None = None,
        attention: AttentionsSeen | None = None,
    ) -> dict[str, torch.Tensor]:
        """What is wanted: scores (as ``SCORES``), what layers return, outputs by name; with their autograd history."""
        look = self._own.look
        layers = [name for name in dict.fromkeys(wanted) if name not in (SCORES, _INPUT) and not look.returns(name)]
        taps: dict[str, list[Any]] = {}
        numbers = {name: n for name in layers if (n := attention_number(name)) is not None}
        for name in numbers:
            self.outline.layer(name)  # says which there are, where it is not one of them
        layers = [name for name in layers if name not in numbers]
        attention = attention or (AttentionsSeen(len(batch), numbers.values()) if numbers else None)
        logits = LogitsSeen(None if look.output == "" else batch.shape[0] * 64 * (look.outline.scores.classes or 1024))
        with ExitStack() as stack:
            stack.enter_context(eval_mode(self._module, self._own.look.flips))
            here = stack.enter_context(Pass(torch.is_grad_enabled()))
            for name in dict.fromkeys([*layers, *(replaced or {})]):
                calls = taps.setdefault(name, [])
                stack.enter_context(hooked(*self._locate(name), calls, (replaced or {}).get(name), here))
            if look.through and SCORES in wanted:
                stack.enter_context(logits)
            if attention is not None:
                stack.enter_context(attention.watching())
            output = self._call(batch)
        outputs = named_outputs(output)
        found = {name: outputs[name] for name in wanted if name not in (SCORES, _INPUT) and look.returns(name)}
        found |= {_INPUT: batch} if _INPUT in wanted else {}
        if SCORES in wanted:
            found[SCORES] = look.scores(outputs, logits, batch.shape[0])  # len() would fix an exported batch
        found |= {name: value_of(name, taps[name], self._locate(name)[1]) for name in layers}
        for name, number in numbers.items():
            if attention is None or number not in attention.values:
                raise ModelError(f"Layer {name!r} was not computed for this input, so it has no value.")
            found[name] = attention.values[number]
        return found

    def _tail(
        self, layer: str, values: torch.Tensor, layers: Sequence[str], items: Array | None
    ) -> dict[str, torch.Tensor]:
        """Scores when ``layer`` returns ``values``, whatever went in, or with ``items`` of these."""
        if items is not None:
            return self.forward(self._tensor(items, self._own.look.integer), layers, {layer: values})
        blank = torch.from_numpy(self.blank()).to(values.device, torch.int64 if self._own.look.integer else self._kind)
        return without_items(self.forward, blank, layer, values, layers)

    def _call(self, batch: torch.Tensor) -> Any:
        try:
            with autocast(self._options, batch.device):
                return self._module(batch)
        except Exception as error:
            error.add_note(f"raised by {self.outline.source} when xplain called it with {kind_of(batch)}")
            raise

    def _locate(self, name: str) -> tuple[torch.nn.Module, int | None]:
        """A layer's module, and which of its calls is meant; None where there is one.

        Raises:
            UnknownName: no such layer.
            UsageError: it is attention, which no module returns.
        """
        if attention_number(name) is not None:
            raise UsageError(f"Layer {name!r} is inside an operator: it can be read as a tap, but not be replaced.")
        if name in self._modules:
            return self._modules[name], self._own.look.meant.get(name)
        path, _, number = self.outline.layer(name).name.rpartition(":")
        return self._modules[path], int(number)

    def look(self, x: Array) -> None:
        """Run one item once, to see the axes of its input, layers in order with their shapes, what the scores are."""
        integer = x.dtype.kind in "iu"
        if self._own.look.item == x.shape[1:] and self._own.look.integer == integer:
            return
        rows, known = as_float32(x[:1], self.outline.source), self._own.look

        def look(kind: torch.dtype) -> Look:
            item = self._tensor(rows, kind=kind)
            return look_at(self._module, self._modules, self._call, item, self.outline, self._options.output)

        found, kind = look_with(look, self._module, integer, known.integer and known.item == x.shape[1:], self.outline)
        if kind.is_floating_point:
            self._kind, self._floats = kind, self._floats or integer
            found = replace(found, outline=warned(found.outline, AS_FLOATS)) if integer else found
        found = found.stated(self._options.scores).two_sided()
        self._own.keep(
            replace(found, outline=settled(found.outline, self.outline.card, self._options.layout, found.axes))
        )

    def name_of(self, layer: Any) -> str | None:
        """What a module inside is called; None where it is not inside."""
        return next((name for name, one in self._modules.items() if one is layer), None)

    def _taken(self, query: OfItems) -> OfItems:
        """The question with its items as the module takes them: whole numbers as others, if it takes no whole ones."""
        fed = query.x if isinstance(query, Peek) else query.fed
        if fed is None or fed.dtype.kind not in "iu":
            return query
        if not self._floats:
            self.look(fed)
        return fed_floats(query) if self._floats else query

    def _tensor(self, rows: Array, integer: bool = False, kind: torch.dtype | None = None) -> torch.Tensor:
        there = torch.from_numpy(rows).to(home(self._module)[1], kind or (torch.int64 if integer else self._kind))
        return there if there.ndim != 4 else there.contiguous(memory_format=memory_of(self._options, 4))

    def tell(self, quirk: str) -> None:
        """Add a quirk to what is known of the module."""
        if quirk and quirk not in self.outline.quirks:
            self.outline = replace(self.outline, quirks=(*self.outline.quirks, quirk))

    # ------------------------------------------------------------------ rule tables that autograd does not have

    def balance(self, query: Sweep) -> tuple[tuple[str, ...], Array, Array]:
        """What each node of the exported module received and passed on in a sweep of one item; see ``OnnxFile``."""
        self.look(query.fed)
        model, asked = self._graph.of(query)
        return model.balance(asked)

    def in_float32(self) -> AsGraph:
        """The graph of a copy in float32, of a module that holds another type."""
        with alone(self._module):  # or hooks of a pass would be copied with it
            options = replace(self._options, card=None, layout=None)
            other = TorchModule(copy.deepcopy(self._module).float(), options)
        other._own.keep(self._own.look)
        return other._graph

    # ------------------------------------------------------------------ compiling

    def blank(self) -> Array:
        """One item of zeros.

        Raises:
            UsageError: no item has been seen, so their size is not known.
        """
        return self._own.look.blank()

    def compile(
        self,
        target: Target,
        flow: Callable[[View], Flow],
        about: Mapping[str, Any],
        choose: TargetInput = "optional",
        *,
        out: Path | None = None,
    ) -> Any:
        """The module, exported, with what ``flow`` computes as one more output; see ``AsGraph.compile``."""
        return self._graph.compile(target, flow, about, choose, out=out)
