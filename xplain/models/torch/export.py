"""A torch module as an ONNX model: exported once, with layers that a person may name as tensors of the graph."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from xplain.core.errors import NoPath, NotExported, UsageError
from xplain.core.query import Sweep
from xplain.core.target import SCORES
from xplain.models.options import OnnxOptions
from xplain.models.torch.attention import attention_number
from xplain.models.torch.cuts import refuse_quantised
from xplain.models.torch.guard import eval_mode, exporting
from xplain.models.torch.modes import tree_leaves

if TYPE_CHECKING:
    from xplain.models.onnx.file import OnnxFile

__all__ = ["export", "exportable", "renamed"]

_ONE_FILE = 2**31 - 2**24
"""Bytes of weights that one protobuf is taken to hold beside the graph; a larger module passes through a file."""

_LONGEST = 240
"""Characters of an exporter's reason that a message repeats."""

_AS_EXPORTED = OnnxOptions(providers="cpu", output="scores")

Forward = Callable[[torch.Tensor, Sequence[str]], Mapping[str, torch.Tensor]]
"""Batch and layers to the scores (under ``SCORES``) and the layers' values."""


def export(
    module: torch.nn.Module,
    forward: Forward,
    example: torch.Tensor,
    layers: Sequence[str],
    source: str,
    why: str,
    *,
    own_outputs: bool = False,
) -> tuple[OnnxFile, dict[str, str]]:
    """The module as an ONNX model of free batch size, and what its layers are called there.

    Args:
        module: The module; float32.
        forward: How its scores and layers are computed.
        example: A batch of two items.
        layers: Layers that must be tensors of the graph.
        source: The module for a message.
        why: What the graph is needed for, for a message.
        own_outputs: The graph's outputs are the module's own (``output``, ``output_1`` ...), instead of the scores.

    Raises:
        NotExported: the module cannot be exported.
        NoPath: it has quantised layers.
    """
    from xplain.models.onnx.open import open_onnx

    tensors = [*module.parameters(), *module.buffers()]
    names = {layer: f"layer/{layer}" for layer in layers}  # a layer may be called as a tensor inside
    wrapped = _Outputs(module, forward, layers, own_outputs)
    device = example.device.type
    # the caller's autocast would be written into the graph, as casts that no runtime has kernels for
    ambient = torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
    with exporting(module), _quietly(), ambient, eval_mode(module), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own future
        try:
            with refuse_quantised(source):
                returned = wrapped(example)
            own = [f"output_{k}" if k else "output" for k in range(len(returned) - 1 - len(layers))]
            program = torch.onnx.export(
                wrapped,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=["input"],
                output_names=["scores", *names.values(), *own],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        except NoPath:
            raise
        except Exception as error:  # the exporter raises what it likes, of hundreds of lines
            raise NotExported(f"{source} could not be exported to ONNX, which {why}: {_reason(error)}.") from error
    if program is None:
        raise NotExported(f"{source} could not be exported to ONNX, which {why}.")
    if own_outputs:
        outputs = program.model.graph.outputs
        outputs[:] = [one for one in outputs if one.name in own]
    if sum(tensor.nbytes for tensor in tensors) < _ONE_FILE:
        return open_onnx(program.model_proto, _AS_EXPORTED, trusted=True), names
    with TemporaryDirectory(prefix="xplain-") as folder:  # what is mapped outlives its name
        place = Path(folder) / "module.onnx"
        program.save(place, external_data=True)
        return open_onnx(place, replace(_AS_EXPORTED, allow_external_data=True), trusted=True), names


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep from the terminal what torch prints and logs of an export, graphs among it; the error says what failed."""
    handlers = list(logging.getLogger("torch").handlers)

    def severe(record: logging.LogRecord) -> bool:
        return record.levelno > logging.ERROR

    for one in handlers:
        one.addFilter(severe)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        for one in handlers:
            one.removeFilter(severe)


def _reason(error: BaseException) -> str:
    """The innermost cause of an exporter's error in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0].rstrip(".") if lines else type(error).__name__
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def exportable(layers: Sequence[str], why: str) -> None:
    """Check that layers can be tensors of a graph.

    Raises:
        UsageError: one is attention, which no module returns.
    """
    for layer in layers:
        if attention_number(layer) is not None:
            raise UsageError(f"Layer {layer!r} is inside an operator, which is not exported; {why} export.")


def renamed(query: Sweep, names: Mapping[str, str]) -> Sweep:
    """A sweep with the names that layers have in the graph."""
    taps = tuple(names.get(tap, tap) for tap in query.taps)
    return replace(query, target=query.target.renamed(names), taps=taps, at=names.get(query.at, query.at))


class _Outputs(torch.nn.Module):
    """A module that returns scores and layers side by side, and what it returns itself, for the exporter."""

    def __init__(self, module: torch.nn.Module, forward: Forward, layers: Sequence[str], own: bool) -> None:
        super().__init__()
        self.module, self._run, self._layers, self._own = module, forward, list(layers), own

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        returned: list[Any] = []
        handle = self.module.register_forward_hook(lambda _module, _inputs, output: returned.append(output))
        try:
            found = self._run(batch, self._layers)
        finally:
            handle.remove()
        own = [leaf for leaf in tree_leaves(returned) if isinstance(leaf, torch.Tensor)] if self._own else []
        return (*(found[name] for name in (SCORES, *self._layers)), *own)
