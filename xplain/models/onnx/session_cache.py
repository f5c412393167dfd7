"""The sessions of one ONNX model: how each is opened, and which are kept."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from copy import deepcopy
from typing import Any, Literal

from xplain.core.edits import Array
from xplain.graph.build.shared_weights import lend
from xplain.graph.intake.load import Loaded, to_bytes
from xplain.models.onnx.providers import CPU
from xplain.models.onnx.session import Session

__all__ = ["HEAVY", "LARGE", "Shelf", "leave", "open_session"]

_SESSIONS = 4  # kept at once; each has its own copy of the weights
LARGE = 64 * 2**20
"""Bytes of a model from which on the session of the scores is opened when first asked for."""
HEAVY = 256 * 2**20  # bytes of a model from which on only two are kept
# Bytes of a model from which on every session reads the weights of products with few rows where they lie. The runtime's
# own copy of 2.4 GiB takes 5 s to make and as much memory, and saves 0.1 s a run (2 to 64 rows, onnxruntime 1.31). All
# sessions do it or none, so that a score does not depend on which question came before.
_HUGE = 2**30


class _Place:
    """What was made under one key, and who may make it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: Any = None
        self.ready = False


class Shelf:
    """A cache of the sessions that were used last; of a large model it holds fewer.

    Threads may share it: what one makes, the others wait for, and what is dropped lives on with those who hold it. A
    forked process makes its own, because the runtime's threads stay behind in its parent.

    Args:
        size: Bytes of the model.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._begin()

    def _begin(self) -> None:
        self._process, self._lock = os.getpid(), threading.Lock()
        self._kept: OrderedDict[Hashable, _Place] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` makes, or the same from last time."""
        if self._process != os.getpid():
            leave(self._kept)
            self._begin()
        with self._lock:
            place = self._kept.setdefault(key, _Place())
            self._kept.move_to_end(key)
            while len(self._kept) > (_SESSIONS if self._size < HEAVY else 2):
                self._kept.popitem(last=False)
        if not place.ready:
            with place.lock:
                if not place.ready:
                    try:
                        place.made = make()
                    except BaseException:
                        self._drop(key, place)
                        raise
                    place.ready = True
        return place.made

    def _drop(self, key: Hashable, place: _Place) -> None:
        """Forget what could not be made."""
        with self._lock:
            if self._kept.get(key) is place:
                del self._kept[key]

    def make_room(self) -> None:
        """Close the sessions of a large model, which the next plain question opens again.

        Not those of a heavy one: that takes seconds, and what windows need is little beside its weights.
        """
        if LARGE <= self._size < HEAVY:
            with self._lock:
                self._kept.clear()


def leave(sessions: Any) -> None:
    """Never free what a forked process has from its parent: it would wait for threads that stayed behind."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(sessions))


def open_session(
    part: Any,
    whole: Any,
    loaded: Loaded,
    how: Mapping[str, Any],
    lean: bool = False,
    lent: bool = False,
) -> Session:
    """A session of a graph.

    Args:
        part: The graph; it is not changed.
        whole: The model that it was made from.
        loaded: Holds the weights.
        how: Options of ``Session``: providers, threads, seconds.
        lean: Read weights as they are, see ``Session``.
        lent: It answers sweeps: it reads the weights of products with few rows from the model's own memory, as does
            every session of a huge model on the CPU, and puts chains of element-wise nodes together when it has run for
            a while.
    """
    weights: dict[str, Array] = {}
    if how["wanted"][0][0] == CPU and (lent or loaded.size >= _HUGE):
        part = deepcopy(part)
        weights = lend(part, whole, loaded.outside, loaded.known.shapes)
    used = {tensor.name for tensor in part.graph.initializer}
    outside = {name: array for name, array in loaded.outside.items() if name in used}
    use: Literal["", "lean", "often"] = "lean" if lean else "often" if lent else ""
    session = Session(to_bytes(part, loaded.source), loaded.source, outside=outside, use=use, **how)
    session.lend(weights)
    return session
