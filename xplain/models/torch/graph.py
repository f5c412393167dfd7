"""A torch module as an ONNX graph, for rule tables that autograd does not have, and for compiling.

It is exported once for each set of layers that a question names; what the graph answers is asked of it with the names
that the layers have there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from xplain.core.errors import UsageError
from xplain.core.lenses.fields import Field
from xplain.core.positions.layout import Layout
from xplain.core.query import Flow, Sweep, TargetInput, View
from xplain.core.swept import GATE, Swept
from xplain.core.target import SCORES, Target
from xplain.models.integers import no_gradient
from xplain.models.torch.export import export, exportable, renamed
from xplain.models.torch.look import Own, home

if TYPE_CHECKING:
    from xplain.models.onnx.file import OnnxFile

__all__ = ["AsGraph", "Exported"]

_INPUT = "input"
_WHY = "compiling and rule tables other than gradient, guided and deconvnet need"


class Exported(Protocol):
    """What of a module goes into its graph."""

    def forward(self, batch: torch.Tensor, wanted: Sequence[str]) -> dict[str, torch.Tensor]:
        """Scores and layers of a batch."""

    def tell(self, quirk: str) -> None:
        """Add a quirk to what is known of the module."""

    def in_float32(self) -> AsGraph:
        """The graph of a copy in float32."""


class AsGraph:
    """The graphs of a module.

    Args:
        module: The module.
        own: What is known of it, by thread.
        inside: Computes what goes into a graph.
    """

    def __init__(self, module: torch.nn.Module, own: Own, inside: Exported) -> None:
        self._module, self._own, self._inside = module, own, inside
        self.made: dict[Hashable, tuple[OnnxFile, dict[str, str]]] = {}

    def of(self, query: Sweep) -> tuple[OnnxFile, Sweep]:
        """The exported module, and the same sweep with the names that layers have there."""
        layers = tuple(sorted({query.at, *query.taps, *query.target.tensors} - {_INPUT, SCORES}))
        model, names = self.export(layers)
        return model, renamed(query, names)

    def field(self, layer: str, layout: Layout) -> Field | None:
        """What a layer's units see of an item, read from the exported graph."""
        model, names = self.export((layer,))
        known = model.outline.fields
        return None if known is None else known(names[layer], layout)

    def sweep(self, query: Sweep) -> Swept:
        """Sweep the module as a graph."""
        model, asked = self.of(query)
        look = self._own.look
        try:
            found = model.answer(asked)
        except UsageError as error:
            if look.integer and _INPUT in query.taps:  # it names a tensor of the graph, which the module does not know
                raise no_gradient(look.outline, "int64", look.item) from error
            raise
        biases, gates = found.biases, {key: pair for key, pair in found.items() if key.startswith(GATE)}
        named = {tap: found[name] for tap, name in zip(query.taps, asked.taps, strict=True)}
        return Swept(named | {key: found[key] for key in biases} | gates).biased(biases)

    def compile(
        self,
        target: Target,
        flow: Callable[[View], Flow],
        about: Mapping[str, Any],
        choose: TargetInput = "optional",
        *,
        out: Path | None = None,
    ) -> Any:
        """The module, exported, with what ``flow`` computes as one more output; see ``xplain.graph.reverse.compile``.

        Raises:
            UsageError: no item has been seen, the module is not float32, or the flow asks what a graph cannot answer.
            ModelError: the module cannot be exported.
        """
        from xplain.graph.reverse.compile import asked_by, layers_of

        look = self._own.look
        view = View(look.blank(), target, look.outline)
        layers = layers_of(asked_by(flow, view), target)
        exported, names = self.export(tuple(sorted(layers)), own_outputs=True)
        return exported.compile(target, flow, about, choose, names, view, out)

    def export(self, layers: tuple[str, ...], own_outputs: bool = False) -> tuple[OnnxFile, dict[str, str]]:
        """The module as an ONNX model, made once for each set of layers, and what these are called there.

        Args:
            layers: Layers that must be tensors of the graph.
            own_outputs: The graph's outputs are the module's own, instead of the scores.

        Raises:
            UsageError: a layer is attention, or the module is not float32 and keeps its own outputs.
            ModelError: the module cannot be exported.
        """
        exportable(layers, _WHY)
        look = self._own.look
        key = (look.item, look.integer, layers, own_outputs)
        if (known := self.made.get(key)) is None:
            kind, device = home(self._module)
            source = look.outline.source
            if kind != torch.float32 and own_outputs:
                raise UsageError(
                    f"{source} holds {kind}; only float32 modules are exported. Call module.float() first."
                )
            if kind != torch.float32:
                self._inside.tell(f"What needs its ONNX graph is computed on a copy in float32 of this {kind} module.")
                known = self.made[key] = self._inside.in_float32().export(layers)
                return known
            example = torch.from_numpy(np.repeat(look.blank(), 2, axis=0)).to(device)
            known = self.made[key] = export(
                self._module, self._pass, example, layers, source, _WHY, own_outputs=own_outputs
            )
        return known

    def _pass(self, batch: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Scores and layers for the exporter; a module without classes has a column of its input in their place."""
        if self._own.look.outline.scores.classes is not None:
            return self._inside.forward(batch, (SCORES, *layers))
        return self._inside.forward(batch, layers) | {SCORES: batch.flatten(1)[:, :1]}
