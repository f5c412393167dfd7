"""Where a torch module's chunks are filled and run: tensors of its own device, in torch's current stream.

On a CUDA device our kernels write the edited rows straight into the tensor that the module reads, as contiguous or as
channels-last memory, through DLPack and in the stream that torch works in, so nothing needs an event but the scores'
copy to the CPU: that goes to pinned memory, and the host waits for it alone while the next chunk is queued. Where the
kernels cannot write (CPU, or a build without CUDA) rows are filled on the CPU and copied.

With ``graphs`` the forward pass of a full chunk is captured once per question and slot, and replayed. Two chunks run
eagerly before, which is the warm-up that a capture needs and no work wasted. A graph does not outlive its question, so
it never meets changed weights. Off by default: its gain was not measured.

What ran: all of this on CPU tensors, with our device kernels on the simulator and a stand-in for the capture. No GPU
was at hand; streams, pinned copies and the capture itself are for the tests marked ``gpu``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from xplain import native
from xplain.core.declaring.wording import Sentence, option
from xplain.core.edits import Array, Coalitions
from xplain.core.positions.layout import Layout
from xplain.core.query import Score
from xplain.models.options import TorchOptions
from xplain.models.reading import write_rows
from xplain.models.torch.guard import in_export
from xplain.models.torch.modes import to_numpy
from xplain.native import device as kernels
from xplain.native.volumes import is_volumetric

__all__ = ["Batch", "Means", "TorchPlace", "approximate", "autocast", "capture", "memory_of", "without_autocast"]

Forward: TypeAlias = Callable[[torch.Tensor], Mapping[str, torch.Tensor]]
"""A forward pass: a batch to its named outputs, a row each."""
Capture: TypeAlias = Callable[[Callable[[], Mapping[str, torch.Tensor]]], tuple[Callable[[], None], Any]]
"""Captures work; gives what replays it, and the tensors that every replay writes."""

_FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
_PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
_KERNELS_WRITE = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_cuda: Any = torch.cuda  # its events and graphs are not typed
_WARM = 2  # eager runs before a capture


def approximate(options: TorchOptions) -> str:
    """What to tell of a precision below the module's own; empty where there is none."""
    if options.precision == "float32":
        return ""
    return Sentence(
        "Passes run under torch.autocast (",
        option("precision", options.precision),
        "), so values differ from those in the module's own precision.",
    )


def autocast(options: TorchOptions, device: torch.device) -> AbstractContextManager[Any]:
    """The precision asked for, whatever the caller's own autocast says; none while a module is exported."""
    dtype = _PRECISIONS[options.precision]
    if in_export():
        return nullcontext()
    if dtype is None and not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None, cache_enabled=not options.graphs)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Without the caller's autocast, which would also reach into a backward pass."""
    ambient = torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if ambient else nullcontext()


def memory_of(options: TorchOptions, axes: int) -> torch.memory_format:
    """Torch's word for how batches lie in memory; only pictures, of four axes, lie otherwise than contiguous."""
    return _FORMATS[options.memory_format] if axes == 4 else torch.contiguous_format


@dataclass(frozen=True, slots=True)
class Batch:
    """What a module is given at once.

    Args:
        rows: Rows of the largest chunk.
        dtype: The module's floating type.
        device: The module's device.
        fills_up: Whether a shorter chunk is filled up with copies, so that the module sees ``rows`` rows.
    """

    rows: int
    dtype: torch.dtype
    device: torch.device
    fills_up: bool = False


@dataclass(frozen=True, slots=True)
class Means:
    """How chunks are filled and run; None for what the device has.

    Args:
        capture: Captures a pass; None for CUDA graphs where the options ask for them and the device has them.
        by_kernels: Whether device kernels write the rows; None: on CUDA devices, if they are built in.
        depth: Chunks under way; None: two on a CUDA device, one elsewhere.
    """

    capture: Capture | None = None
    by_kernels: bool | None = None
    depth: int | None = None


class TorchPlace:
    """Tensors that are filled with edited rows and go through a forward pass; see ``xplain.models.pipeline.Place``.

    Args:
        query: Items (float32) and edits.
        layout: The items' layout.
        batch: What the module is given.
        forward: The pass.
        options: How batches lie in memory, and whether passes are captured.
        means: How chunks are filled and run; None for what the device has.

    Raises:
        UsageError: an array does not fit the items.
    """

    def __init__(
        self,
        query: Score,
        layout: Layout,
        batch: Batch,
        forward: Forward,
        options: TorchOptions,
        means: Means | None = None,
    ) -> None:
        rows, dtype, device, means = batch.rows, batch.dtype, batch.device, means or Means()
        self._cuda = device.type == "cuda"
        self._fills_up = batch.fills_up and not self._cuda
        self.depth = means.depth or (2 if self._cuda else 1)
        self.captured, self.not_captured = 0, ""
        self._query, self._layout, self._rows, self._forward = query, layout, rows, forward
        self._stream: Any = torch.cuda.current_stream(device) if self._cuda else None
        shape = (rows, *query.x.shape[1:])
        memory = memory_of(options, len(shape) if layout.axes == "NCHW" else 0)
        self._slots = [torch.empty(shape, dtype=dtype, device=device, memory_format=memory) for _ in range(self.depth)]
        self._whole = isinstance(query.edits, Coalitions) and query.edits.whole
        given = means.capture is not None or not (options.graphs and self._cuda)
        self._capture = means.capture if given else _cuda_capture()
        self._graphs: dict[int, tuple[Callable[[], None], Any]] = {}
        self._eager = 0
        self._found: list[Any] = [None] * self.depth
        self._edits: Any = None
        self._x: Any = None
        able = self._cuda and native.status()["cuda"] if means.by_kernels is None else means.by_kernels
        if able and dtype in _KERNELS_WRITE and not is_volumetric(query.edits, layout):
            number, handle = device.index or 0, self._handle()
            self._x = torch.from_numpy(np.ascontiguousarray(query.x)).to(device)
            self._edits = kernels.DeviceEdits(query.edits, query.x.shape, layout, device=number, stream=handle)

    def fill(self, slot: int, start: int, stop: int) -> None:
        """See ``Place``."""
        out = self._slots[slot][: stop - start]
        straight = out.is_contiguous() or not self._whole
        with self._here():
            if self._edits is not None:
                written = out if straight else torch.empty(out.shape, dtype=out.dtype, device=out.device)
                seen = written if written.is_contiguous() else _ChannelsLast(written)
                self._edits.fill(self._x, start, stop, seen, stream=self._handle())
            elif out.device.type == "cpu" and out.dtype == torch.float32 and straight:
                write_rows(self._query, start, stop, out.numpy(), self._layout)
                return
            else:
                written = torch.empty(out.shape, device="cpu", pin_memory=self._cuda)
                write_rows(self._query, start, stop, written.numpy(), self._layout)
            if written is not out:
                out.copy_(written, non_blocking=self._cuda)

    def run(self, slot: int, count: int) -> None:
        """See ``Place``."""
        with self._here():
            found = self._pass(slot, count)
            if not self._cuda:
                self._found[slot] = {name: np.array(to_numpy(value)) for name, value in found.items()}
                return
            hosts = {}
            for name, value in found.items():
                hosts[name] = torch.empty(value.shape, dtype=value.dtype, device="cpu", pin_memory=True)
                hosts[name].copy_(value.detach(), non_blocking=True)
            event = _cuda.Event()
            event.record(self._stream)
            self._found[slot] = hosts, event

    def fetch(self, slot: int, count: int) -> dict[str, Array]:
        """See ``Place``."""
        found, self._found[slot] = self._found[slot], None
        if not self._cuda:
            return dict(found)
        hosts, event = found
        event.synchronize()
        return {name: np.array(to_numpy(value)) for name, value in hosts.items()}

    def settle(self) -> None:
        """See ``Place``."""
        if self._cuda:
            try:
                self._stream.synchronize()
            except RuntimeError:  # an error of an earlier launch; it was raised where it belongs
                return

    def _pass(self, slot: int, count: int) -> Mapping[str, torch.Tensor]:
        """The forward pass, replayed where it is captured."""
        if self._fills_up and count < self._rows:
            self._slots[slot][count:] = self._slots[slot][:1]
            return {name: value[:count] for name, value in self._forward(self._slots[slot]).items()}
        if self._capture is None or count < self._rows:
            return self._forward(self._slots[slot][:count])
        if slot not in self._graphs and self._eager >= _WARM:
            try:
                self._graphs[slot] = self._capture(lambda: self._forward(self._slots[slot]))
                self.captured += 1
            except Exception as error:  # a module may do anything that cannot be captured; eagerly it may well work
                why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
                self.not_captured = f"The forward pass could not be captured as a CUDA graph ({why}); it runs eagerly."
                self._capture = None
        if slot not in self._graphs:
            self._eager += 1
            return self._forward(self._slots[slot])
        replay, found = self._graphs[slot]
        replay()
        return dict(found)

    def _here(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self._stream) if self._cuda else nullcontext()

    def _handle(self) -> int:
        return int(self._stream.cuda_stream) if self._cuda else 0


class _ChannelsLast:
    """A batch whose channels lie innermost, for a fill that asks for contiguous memory seen as [N, C, H, W]."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def as_strided(self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> torch.Tensor:
        assert tuple(shape[1:]) == tuple(self._tensor.shape[1:]), "only whole pictures lie channels-last"
        first = offset // math.prod(shape[1:])
        return self._tensor[first : first + shape[0]]


def _cuda_capture() -> Capture:
    """Captures CUDA graphs that share one pool of memory: they are replayed one after another."""
    pool = _cuda.graph_pool_handle()
    return lambda work: capture(work, pool)


def capture(
    work: Callable[[], Mapping[str, torch.Tensor]], pool: Any
) -> tuple[Callable[[], None], Mapping[str, torch.Tensor]]:
    """Captures ``work`` as a CUDA graph.

    Returns:
        What replays it in the current stream, and the tensors that every replay writes.

    Raises:
        Exception: the work does what cannot be captured, such as waiting for the device.
    """
    graph = _cuda.CUDAGraph()
    with _cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        found = work()
    return graph.replay, found
