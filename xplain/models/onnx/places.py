"""Places for ONNX Runtime sessions: memory of a CUDA device that kernels fill, and the CPU's with a worker thread.

On the device nothing leaves it but the scores. Three kinds of streams keep the order, tied by events:

    fill   uploads of items and edits, then the rows of chunk k + 1 ...      (our kernels)
    run    ... while chunk k is run here; waits for the fill of its rows      (given to the runtime as its own stream)
    read   one per slot: waits for that slot's run alone, then copies scores out

``run`` returns when the work is queued (``disable_synchronize_execution_providers``). The first chunk of a session runs
to its end, to learn the outputs' shapes. So per chunk the host waits once, in ``fetch``, for a chunk that another
follows already.

What ran: everything here but the CUDA provider itself. No GPU was at hand, so ``DevicePlace`` was tested with our
device kernels on the simulator and the runtime's CPU provider; how its CUDA provider keeps its stream's order was read
in its source. Tests marked ``gpu`` compare the answers where there is a device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from xplain import native
from xplain.core.edits import Array
from xplain.core.positions.layout import Layout
from xplain.core.query import Score
from xplain.models.onnx.providers import CUDA, TENSORRT, Provider
from xplain.models.onnx.session import Session
from xplain.models.reading import write_rows
from xplain.native import device as kernels

__all__ = ["DevicePlace", "Fed", "HostPlace", "Lanes", "OutputShapes", "lanes_for"]

OutputShapes: TypeAlias = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Shape of one row and element type of every output, as the first run of a session showed them."""
Repeated: TypeAlias = Callable[[str, Array, int], Array]
"""The value of a fixed input for a batch: name, value, rows."""

_DEPTH = 2
_ON_DEVICE = frozenset(
    {"float32", "float16", "bfloat16", "float64", "uint8", "int32", "int64", "uint32", "uint64"}
)  # types that native.device_array holds
_STREAM = "user_compute_stream"
_BFLOAT16 = 16  # ONNX's number of the type


@dataclass
class Lanes:
    """The streams of one model on a device; they live as long as its sessions.

    Args:
        device: Number of the device.
        word: The runtime's word for the device's memory.
    """

    device: int = 0
    word: str = "cuda"
    fill: Any = field(init=False)
    run: Any = field(init=False)
    read: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.lock = threading.Lock()  # what is put into these streams together stays together
        self.fill, self.run = kernels.stream(self.device), kernels.stream(self.device)
        self.read = [kernels.stream(self.device) for _ in range(_DEPTH)]

    def settle(self) -> None:
        """Wait for all that is in the streams."""
        for one in (self.fill, self.run, *self.read):
            one.synchronize()


def lanes_for(used: Sequence[Provider]) -> tuple[Lanes | None, tuple[Provider, ...], str]:
    """Streams for the providers of a model, the providers told to use them, and why there are none.

    The reason is empty where there are streams, and where the first provider needs none.
    """
    name, options = used[0]
    if name not in (CUDA, TENSORRT):
        return None, tuple(used), ""
    if not native.status()["cuda"]:
        why = "xplain was built without CUDA kernels, so edited rows are written by the CPU and copied to the device."
        return None, tuple(used), why + " Reinstall it with XPLAIN_CUDA=ON where nvcc is found to write them there."
    if _STREAM in options:
        return None, tuple(used), f"Edited rows are written by the CPU, because {_STREAM} was given."
    try:
        lanes = Lanes(int(options.get("device_id", 0)))
    except RuntimeError as error:  # a driver older than the kernels, or a device that is busy
        return None, tuple(used), f"Edited rows are written by the CPU, because the device refused a stream: {error}"
    told = {_STREAM: str(lanes.run.handle)}
    return lanes, tuple((n, {**o, **told} if n in (CUDA, TENSORRT) else o) for n, o in used), ""


@dataclass(frozen=True, slots=True)
class Fed:
    """What a session is fed.

    Args:
        session: Runs the model.
        name: The explained input.
        dtype: Its type.
        rows: Rows of the largest chunk.
        fixed: Values of the other inputs.
        repeated: Makes a value of those as long as a batch.
    """

    session: Session
    name: str
    dtype: str
    rows: int
    fixed: Mapping[str, Array]
    repeated: Repeated


class HostPlace:
    """CPU memory: rows are filled here while a worker thread runs the chunk before.

    Serves a session on a device when our kernels cannot write there, and shows on any machine that the order holds.

    Args:
        fed: The session and its inputs.
        query: Items (float32) and edits.
        layout: The items' layout.
        threads: Threads of a fill; 0 means all.
        least: Rows of the smallest run; shorter chunks are padded.
    """

    depth = _DEPTH

    def __init__(
        self,
        fed: Fed,
        query: Score,
        layout: Layout,
        threads: int = 0,
        least: int = 1,
    ) -> None:
        self._session, self._name, self._query, self._layout = fed.session, fed.name, query, layout
        self._fixed, self._repeated, self._threads, self._least = fed.fixed, fed.repeated, threads, least
        shape = (max(fed.rows, least), *query.x.shape[1:])
        self._inputs = [np.empty(shape, np.dtype(fed.dtype)) for _ in range(self.depth)]
        self._worker = ThreadPoolExecutor(1, "xplain-run")
        self._under_way: list[Future[dict[str, Array]] | None] = [None] * self.depth

    def fill(self, slot: int, start: int, stop: int) -> None:
        """See ``Place``."""
        count = stop - start
        batch = self._inputs[slot][: max(count, self._least)]
        write_rows(self._query, start, stop, batch[:count], self._layout, self._threads)
        batch[count:] = batch[:1]

    def run(self, slot: int, count: int) -> None:
        """See ``Place``."""
        batch = max(count, self._least)
        feeds = {self._name: self._session.wrap(self._inputs[slot][:batch])}
        for other, value in self._fixed.items():
            feeds[other] = self._session.wrap(self._repeated(other, value, batch))
        self._under_way[slot] = self._worker.submit(self._run, feeds, batch)

    def fetch(self, slot: int, count: int) -> dict[str, Array]:
        """See ``Place``."""
        future, self._under_way[slot] = self._under_way[slot], None
        assert future is not None, "the pipeline fetches what it ran"
        return {name: value[:count] for name, value in future.result().items()}

    def _run(self, feeds: Mapping[str, Any], batch: int) -> dict[str, Array]:
        found = self._session.run(feeds)
        for name, value in found.items():
            if value.shape[:1] != (batch,):
                raise RuntimeError(f"output {name!r} is {list(value.shape)} for {batch} rows")
        return found

    def settle(self) -> None:
        """See ``Place``."""
        wait([future for future in self._under_way if future is not None])
        self._worker.shutdown()


class DevicePlace:
    """Memory of a CUDA device: kernels write the rows, the session reads them and leaves its scores there.

    Args:
        fed: The session, which runs in ``lanes.run``, and its inputs, of a type that the kernels write.
        query: Items (float32) and edits; both are uploaded once.
        layout: The items' layout.
        lanes: The model's streams.
        learned: What is known of the session's outputs; filled by the first run.

    Raises:
        UsageError: An array does not fit the items.
        RuntimeError: The device has not enough memory, or an error of CUDA.
    """

    depth = _DEPTH

    def __init__(
        self,
        fed: Fed,
        query: Score,
        layout: Layout,
        lanes: Lanes,
        learned: OutputShapes,
    ) -> None:
        rows, dtype = fed.rows, fed.dtype
        self._session, self._name, self._rows, self._item = fed.session, fed.name, rows, query.x.shape[1:]
        self._fixed, self._repeated, self._lanes, self._learned = fed.fixed, fed.repeated, lanes, learned
        handle = lanes.fill.handle
        self._x = self._array(query.x.shape, "float32")
        self._x.copy_from(np.ascontiguousarray(query.x), handle)
        self._edits = kernels.DeviceEdits(query.edits, query.x.shape, layout, device=lanes.device, stream=handle)
        self._type = _BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype).type
        self._inputs = [self._array((rows, *self._item), dtype) for _ in range(self.depth)]
        self._outputs: list[dict[str, Any]] = [{} for _ in range(self.depth)]
        self._first: dict[str, Array] | None = None  # of a run that learned the shapes
        self._others: dict[int, dict[str, Any]] = {}

    def fill(self, slot: int, start: int, stop: int) -> None:
        """See ``Place``."""
        self._edits.fill(self._x, start, stop, self._inputs[slot], stream=self._lanes.fill.handle)

    def run(self, slot: int, count: int) -> None:
        """See ``Place``."""
        with self._lanes.lock:
            self._run(slot, count)

    def _run(self, slot: int, count: int) -> None:
        binding, lanes = self._session.binding(), self._lanes
        shape = [count, *self._item]
        binding.bind_input(self._name, lanes.word, lanes.device, self._type, shape, self._inputs[slot].pointer)
        for other, value in self._fixed_for(count).items():
            self._bind_other(binding, other, value)
        lanes.run.wait_for(lanes.fill.handle)
        if not self._learned:
            self._first = self._learn(binding, count)
            return
        for name, (row, dtype) in self._learned.items():
            if name not in self._outputs[slot]:
                self._outputs[slot][name] = self._array((self._rows, *row), dtype.name)
            pointer = self._outputs[slot][name].pointer
            binding.bind_output(name, lanes.word, lanes.device, dtype.type, [count, *row], pointer)
        self._session.launch(binding, wait=False)
        lanes.read[slot].wait_for(lanes.run.handle)

    def fetch(self, slot: int, count: int) -> dict[str, Array]:
        """See ``Place``."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        found = {}
        for name, (row, dtype) in self._learned.items():
            host = np.empty((self._rows, *row), dtype)
            self._outputs[slot][name].copy_to(host, self._lanes.read[slot].handle)
            found[name] = host[:count]
        return found

    def settle(self) -> None:
        """See ``Place``."""
        try:
            self._lanes.settle()
        except RuntimeError:  # an error of an earlier launch shows itself again; it was raised where it belongs
            return

    def _learn(self, binding: Any, count: int) -> dict[str, Array]:
        """Run to the end with outputs wherever the runtime puts them, and remember their shapes."""
        for name in self._session.outputs:
            binding.bind_output(name)
        self._session.launch(binding, wait=True)
        found = {
            name: np.asarray(value.numpy())
            for name, value in zip(self._session.outputs, binding.get_outputs(), strict=True)
        }
        for name, value in found.items():
            if value.shape[:1] != (count,) or value.dtype.name not in _ON_DEVICE:
                raise RuntimeError(f"output {name!r} is {value.dtype.name} {list(value.shape)} for {count} rows")
        self._learned.update({name: (value.shape[1:], value.dtype) for name, value in found.items()})
        return found

    def _fixed_for(self, count: int) -> dict[str, Any]:
        """The other inputs for a batch: on the device, because a copy from the CPU would wait for the run before."""
        if count not in self._others:
            found: dict[str, Any] = {}
            for name, value in self._fixed.items():
                if name not in self._session.inputs:  # what is no row of the batch became a constant of the graph
                    continue
                array = self._repeated(name, value, count)
                found[name] = self._session.wrap(array)
                if array.dtype.name in _ON_DEVICE and array.dtype.name != "bfloat16":
                    there = self._array(array.shape, array.dtype.name)
                    there.copy_from(array, self._lanes.fill.handle)
                    found[name] = (there, array.dtype.type, list(array.shape))
            self._others[count] = found
        return self._others[count]

    def _bind_other(self, binding: Any, name: str, value: Any) -> None:
        if isinstance(value, tuple):
            there, kind, shape = value
            binding.bind_input(name, self._lanes.word, self._lanes.device, kind, shape, there.pointer)
        else:
            binding.bind_ortvalue_input(name, value)

    def _array(self, shape: Sequence[int], dtype: str) -> Any:
        return kernels.device_array(tuple(shape), dtype, self._lanes.device)
