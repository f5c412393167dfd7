"""The door to ONNX Runtime: which distribution is there, sessions on the devices asked for, and runs without copies.

A session reads its input from buffers that it keeps bound; the caller writes rows straight into them. Threads do not
spin between runs, because the time between two runs belongs to the caller. Logs are silent: what fails is raised.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np

from xplain.core.aside import aside
from xplain.core.cores import cores
from xplain.core.declaring.wording import limit
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, ModelError
from xplain.graph.runtime import private
from xplain.models.onnx.chained import Reopening, light
from xplain.models.onnx.chained import usable as chained_here
from xplain.models.onnx.providers import CPU, Choice, Provider, choose, open_first, usable
from xplain.models.options import Wanted

__all__ = ["Session", "chained", "choose_providers", "preload", "providers", "trial"]

_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
_CPU_MEMORY = ("cpu", 0)
# y = Identity(x), float32 [1], IR version 7, opset 13: the least model, to see whether a provider starts
_LEAST_MODEL = bytes.fromhex(
    "08073a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a02"
    "080142040a00100d"
)
_BFLOAT16 = 16  # ONNX's number of the type


def _installed() -> list[str]:
    found = []
    for name in _DISTRIBUTIONS:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        found.append(name)
    return found


def _runtime() -> Any:
    """The onnxruntime module.

    Raises:
        MissingDependency: it is not installed, or two distributions of it overwrite each other's files.
    """
    found = _installed()
    if len(found) > 1:
        raise MissingDependency(
            "Both onnxruntime and onnxruntime-gpu are installed; they overwrite each other's files. Keep one: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'xplain[cpu]' or pip install 'xplain[gpu]'."
        )
    private()
    try:
        import onnxruntime as ort

        ort.InferenceSession  # noqa: B018  (after one of two distributions was removed, an empty module is left)
    except (ImportError, AttributeError):
        state = f"{found[0]} is installed but broken" if found else "No ONNX Runtime is installed"
        raise MissingDependency(
            f"{state}; it runs ONNX models. Install one: pip install 'xplain[cpu]', or pip install 'xplain[gpu]' on a "
            "machine with CUDA."
        ) from None
    return ort


def preload() -> None:
    """Load the runtime's library, and nothing of a model."""
    _runtime()


def providers() -> list[str]:
    """Execution providers that can be used here: what the runtime was built with, less CUDA where no device is.

    Raises:
        MissingDependency: no ONNX Runtime, or two.
    """
    return usable(_runtime().get_available_providers())


def choose_providers(wanted: Wanted) -> Choice:
    """The providers to use, in the order asked for; see ``xplain.models.onnx.providers.choose``."""
    runtime = _runtime()
    return choose(wanted, runtime.get_available_providers(), runtime.get_all_providers())


def trial(provider: str) -> str:
    """Why a provider, by its full name, does not start; empty where it does. It runs the least model there is."""
    try:
        session = Session(_LEAST_MODEL, "the least model", [(provider, {})])
        session.run({"x": session.wrap(np.ones(1, np.float32))})
    except (ModelError, MissingDependency) as error:
        return str(error)
    return ""


def chained() -> frozenset[str]:
    """Element-wise operators that sessions put together here; see ``xplain.models.onnx.chained``."""
    return chained_here(_runtime())


class Session:
    """One graph, ready to run.

    Args:
        content: The model, serialised.
        source: The model for messages.
        wanted: Providers, best first, by their full names, each with its options.
        threads: Threads of one run; None for all that the process may use.
        outside: Weights that are not in ``content``, by name.
        seconds: After so long a run is stopped; None for never.
        use: ``lean`` to read weights as they are instead of keeping a rearranged copy: slower, and half the memory;
            ``often`` to be opened again, faster, when it has run for a while, see ``xplain.models.onnx.chained``.
        level: How far the runtime may rewrite the graph; one of ``xplain.models.onnx.optimiser.LEVELS``.

    Raises:
        ModelError: the runtime refuses the model; its message is passed on.
    """

    def __init__(
        self,
        content: bytes,
        source: str,
        wanted: Sequence[Provider],
        threads: int | None = None,
        outside: Mapping[str, Array] | None = None,
        seconds: float | None = None,
        use: Literal["", "lean", "often"] = "",
        level: str = "all",
    ) -> None:
        self._ort, self._source, self._seconds = _runtime(), source, seconds
        self._kept = dict(outside or {})  # the runtime copies what it rearranges when it opens
        optioned = partial(self._options, threads, use == "lean", level)
        options, start = optioned(True), time.perf_counter()

        def make(left: Sequence[Provider]) -> Any:  # its own way of falling back prints, and tells nobody
            named = [(name, dict(values)) for name, values in left]
            return self._ort.InferenceSession(content, options, providers=named, enable_fallback=0)

        try:
            opened = open_first(make, wanted)
        except ModelError:
            raise
        except Exception as error:  # the runtime's own classes are private
            raise _refused(source, error) from None
        self._session, self.used, self.fallback = opened.session, opened.used, opened.fallback
        self.providers: list[str] = self._session.get_providers()
        self.outputs: list[str] = [entry.name for entry in self._session.get_outputs()]
        self.inputs: list[str] = [entry.name for entry in self._session.get_inputs()]
        self._lent: dict[str, Array] = {}
        self._bare = self.providers == [CPU]  # runs need no binding: an eighth of the time around one
        self._again: Reopening | None = None
        if use == "often" and self._bare and seconds is None and light(content, self._kept):
            self._again = Reopening(self._ort, content, optioned, time.perf_counter() - start)
        if self._kept:
            _return_freed()
        self.chained = False  # whether it was opened again
        self.keeps: Any = None  # what must not be freed before the session

    def _options(self, threads: int | None, lean: bool, level: str, weights: bool) -> Any:
        """Options of the runtime, with the weights that are kept outside the graph or without."""
        options = self._ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or cores()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # a second lock behind ``xplain.graph.visit``: a reference to a file that a check has missed leads nowhere
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        options.use_deterministic_compute = True
        levels = self._ort.GraphOptimizationLevel
        if level == "off":
            options.graph_optimization_level = levels.ORT_DISABLE_ALL
        elif lean or level == "basic":
            options.graph_optimization_level = levels.ORT_ENABLE_BASIC
        if lean:
            options.add_session_config_entry("session.disable_prepacking", "1")
        # a planned block beside the arena doubles the memory of a batch (MobileNetV2, 13 rows: 181 against 96 MiB) and
        # gains no time
        options.enable_mem_pattern = False
        # the plan that lets a later tensor take an earlier one's place is quadratic in nodes (DeepLIFT of a Swin v2,
        # 12,600 nodes: 30 s of processor time, or 1), and changes neither time nor memory of a run beside the arena
        options.enable_mem_reuse = False
        if weights and self._kept:
            values = [self.wrap(array) for array in self._kept.values()]
            options.add_external_initializers(list(self._kept), values)
        return options

    def lend(self, weights: Mapping[str, Array]) -> None:
        """Feed these inputs in every run, from the memory where they are; callers no longer see them."""
        self._lent = dict(weights)
        self._bare = self._bare and all(_known(array) for array in weights.values())
        self.inputs = [name for name in self.inputs if name not in self._lent]

    def fed(self, array: Array) -> Any:
        """An array as ``run`` takes it: bare where a run needs no binding, else wrapped."""
        return array if self._bare and _known(array) else self.wrap(array)

    def wrap(self, array: Array) -> Any:
        """A view of an array that a run can read."""
        if array.dtype.name == "bfloat16":  # numpy itself has no such type, so the runtime must be told
            return self._ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _BFLOAT16)
        try:
            return self._ort.OrtValue.ortvalue_from_numpy(array)
        except RuntimeError as error:  # an element type that numpy and the runtime have no common word for
            raise ModelError(
                f"{self._source} takes {array.dtype.name}, which cannot be fed: {_first_line(error)}"
            ) from None

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Run once.

        Args:
            feeds: Arrays from ``fed`` by input name, or plain arrays where text is among them, which cannot be wrapped;
                inputs that this graph does not have are left out.

        Returns:
            Output name to array.

        Raises:
            ModelError: the runtime fails, or the run took longer than allowed.
        """
        here = {name: feeds[name] for name in self.inputs} | self._lent
        if all(isinstance(feed, np.ndarray) and _known(feed) for feed in here.values()):
            start, again = time.perf_counter(), self._again
            values = self.watched(lambda options: self._session.run(self.outputs, here, options))
            if again is not None and again.due(time.perf_counter() - start):
                self._reopen(again, here, values)
        else:
            binding = self._bound(here)
            self.launch(binding)
            try:
                values = [value.numpy() for value in binding.get_outputs()]
            except RuntimeError as error:
                raise ModelError(f"{self._source} gives what cannot be read: {_first_line(error)}") from None
        return {name: np.asarray(value) for name, value in zip(self.outputs, values, strict=True)}

    def _reopen(self, again: Reopening, feeds: Mapping[str, Array], answer: Sequence[Any]) -> None:
        """Exchange the runtime's session for a faster one, if there is one that gives the same answer."""
        fresh, self._again = again.session(feeds, answer), None
        if fresh is not None:
            self._session, self.chained = fresh, True
        _return_freed()

    def binding(self) -> Any:
        """A new binding of inputs and outputs to memory, for ``launch``; weights that are lent are bound already."""
        binding = self._session.io_binding()
        for name, array in self._lent.items():
            binding.bind_ortvalue_input(name, self.wrap(array))
        return binding

    def launch(self, binding: Any, wait: bool = True) -> None:
        """Run on bound memory.

        Args:
            binding: From ``binding()``.
            wait: Whether to return when the results are there, or when a device's work is queued in its stream.

        Raises:
            ModelError: the runtime fails, or the run took longer than allowed.
        """

        def run(options: Any) -> None:
            if not wait:
                options.add_run_config_entry("disable_synchronize_execution_providers", "1")
            self._session.run_with_iobinding(binding, options)

        self.watched(run)

    def watched(self, run: Callable[[Any], Any]) -> Any:
        """What a run of the runtime returns, stopped after the time that is allowed; every run goes through here."""
        options = self._ort.RunOptions()
        options.log_severity_level = 4
        watch = None
        if self._seconds is not None:
            watch = threading.Timer(self._seconds, setattr, (options, "terminate", True))
            watch.daemon = True
            watch.start()
        try:
            beside = aside()
            return run(options) if beside is None else beside(partial(run, options))
        except Exception as error:
            if options.terminate:
                raise ModelError(
                    f"{self._source} ran for more than {self._seconds:g} s and was stopped: it has loops, and they may "
                    "be endless. If you trust it, give ",
                    limit("seconds"),
                    ".",
                ) from None
            raise ModelError(f"{self._source} failed while it ran: {_first_line(error)}") from None
        finally:
            if watch is not None:
                watch.cancel()

    def _bound(self, feeds: Mapping[str, Any]) -> Any:
        """Inputs and outputs tied to their memory."""
        binding = self._session.io_binding()
        for name, feed in feeds.items():
            binding.bind_ortvalue_input(name, self.wrap(feed) if isinstance(feed, np.ndarray) else feed)
        for name in self.outputs:
            binding.bind_output(name, *_CPU_MEMORY)
        return binding


def _known(array: Array) -> bool:
    """Whether the runtime knows the type of an array by itself."""
    return array.dtype.kind in "biufOSU"


def _return_freed() -> None:
    """Give memory that was freed back to the system.

    Opening a session makes and drops several copies of its weights, and glibc keeps what lies between blocks in use
    (ResNet-50, sweep: 381 against 217 MiB more than before). Other C libraries do not have the function.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _refused(source: str, error: Exception) -> ModelError:
    message = _first_line(error)
    advice = "Export it again with a newer exporter, or check it with onnx.checker."
    if "opset" in message.lower() and ("only guarantees" in message or "under development" in message):
        advice = "Export it with an older opset (for example opset_version=21), or install a newer onnxruntime."
    elif "is not a registered function/op" in message or "Could not find an implementation" in message:
        advice = (
            "This runtime does not have an operator in that version. Install a newer onnxruntime, or export with "
            "another opset or without custom operators."
        )
    elif "locale" in message:
        advice = "Its text operators need a locale of the system: install it, for example with locale-gen en_US.UTF-8."
    return ModelError(f"ONNX Runtime refuses {source}: {message} {advice}")


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if line.endswith(".") else line + "."
