"""A session that has run for a while is opened again, with its element-wise nodes put together; answers stay the same.

ONNX Runtime's CPU runs a gradient's masks, sums and divisions one by one, each a pass over memory. What its optimiser
leaves is read back, such chains become one node each that the compiled module runs (``xplain.graph.build.chains``), and
operators between convolutions go into the layout of these (``xplain.graph.build.blocked``). Then the graph is opened as
it is, without optimisation.

That costs about two openings, so it is done where a session has run for some multiple of its own: who asks one item
pays nothing. It is a matter of speed alone. Operators take part whose steps gave the bits of the runtime's own on
trial, and that give an element the same bits wherever it lies; the new session answers the same inputs as the old one
did, and is taken if every bit is the same. Whatever else happens, the old one goes on: a runtime of another kind, a
build without the operator, no memory left.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from xplain import native
from xplain.core.edits import Array
from xplain.graph.build.blocked import in_blocks
from xplain.graph.build.chains import in_chains, trial
from xplain.graph.nodes import Model

__all__ = ["Reopening", "usable"]

_PATIENCE = 8  # openings' time that a session runs before it is opened again, which takes two or three
_MOST = 64 * 2**20  # bytes of weights; while it is opened again they are there four times
_SPECIAL = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -2.5, -7.25, 1 / 6, 1e-3, 6.0, 5.9999995, 6.0000005),
    *(1e-45, -1e-45, 1e-38, -1e-38, 1.1754944e-38, 3.4e38, -3.4e38, math.inf, -math.inf, math.nan),
)


@cache
def usable(ort: Any) -> frozenset[str]:
    """Operators whose steps have the bits of the runtime's own, on this processor; none where no chain runs."""
    try:
        options = _as_it_is(ort.SessionOptions(), ort)
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        model = trial(_SPECIAL).SerializeToString()
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_outputs()]
        found = dict(zip(names, session.run(names, {}), strict=True))
    except Exception:  # the runtime's own classes are private; without chains everything goes on as it did
        return frozenset()
    forms: dict[str, bool] = {}
    for name, values in found.items():
        kind, op, form = name.split("/")
        if kind == "plain":
            forms[op] = forms.get(op, True) and same_bits([values], [found[f"chain/{op}/{form}"]])
    return frozenset(op for op, agrees in forms.items() if agrees)


def same_bits(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two answers are the same, bit by bit, where one NaN is as good as another."""
    for one, other in zip(some, others, strict=True):
        if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
            return False
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        if one.dtype.kind == "f":
            same = one.view(f"u{one.itemsize}") == other.view(f"u{other.itemsize}") if one.ndim else one == other
            if not np.all(same | (np.isnan(one) & np.isnan(other))):
                return False
        elif not np.array_equal(one, other):
            return False
    return True


class Reopening:
    """When a session is opened again, and how.

    Args:
        ort: The runtime.
        content: The model, as the session was opened with it.
        options: Makes the session's options, with its weights; those of ``as_it_is`` without them, and not optimised.
        seconds: What opening took.
    """

    def __init__(self, ort: Any, content: bytes, options: Callable[[bool], Any], seconds: float) -> None:
        self._ort, self._content, self._options = ort, content, options
        self._left = _PATIENCE * seconds
        self._alone = threading.Lock()
        self._done = False

    def due(self, seconds: float) -> bool:
        """Whether it is time, after a run that took so long; true once."""
        with self._alone:
            self._left -= seconds
            if self._done or self._left > 0:
                return False
            self._done = True
            return True

    def session(self, feeds: Mapping[str, Array], answer: Sequence[Any]) -> Any:
        """The new session of the runtime; None where there is nothing to gain, or where it does not answer the same.

        Args:
            feeds: What the last run was fed.
            answer: What it gave.
        """
        try:
            ops = usable(self._ort)
            model = self._optimised() if ops else None
            if model is None or not in_blocks(model, ops) + in_chains(model, ops):
                return None
            content = model.SerializeToString()
            del model
            fresh = self._open(content, _as_it_is(self._options(False), self._ort))
            names = [entry.name for entry in fresh.get_outputs()]
            return fresh if same_bits(fresh.run(names, feeds), answer) else None
        except Exception:  # as in ``usable``: the session that is there answers as well
            return None
        finally:
            self._content, self._options = b"", lambda _: None

    def _open(self, content: bytes, options: Any) -> Any:
        return self._ort.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)

    def _optimised(self) -> Model | None:
        """The graph as the optimiser leaves it: written to memory, for the runtime writes to a path alone."""
        file = os.memfd_create("optimised") if hasattr(os, "memfd_create") else -1
        if file < 0:
            return None
        with os.fdopen(file, "rb") as written:
            options = self._options(True)
            options.optimized_model_filepath = f"/proc/self/fd/{file}"
            options.add_session_config_entry("session.disable_prepacking", "1")
            self._open(self._content, options)
            model: Model = Model.FromString(written.read())
            return model


def _as_it_is(options: Any, ort: Any) -> Any:
    """Options that run a graph as it was written, with our operator in it."""
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.register_custom_ops_library(native.library())
    return options


def light(content: bytes, weights: Mapping[str, Array]) -> bool:
    """Whether a model is small enough to be there several times for a moment."""
    return len(content) + sum(array.nbytes for array in weights.values()) <= _MOST
