"""Who may change and run a torch module now: one thread at a time, for every module that shares a part with another.

Hooks and training flags belong to the module, not to the thread that sets them. So each part (``module.modules()``) has
a lock, the same wherever it is loaded, and whoever runs a module holds the locks of all of its parts, taken in one
order. Modules that share nothing run side by side.

    load(a), load(a)                      one lock
    load(Net(backbone)), load(backbone)   the backbone's lock, and one more for the rest of the net
    load(a), load(copy.deepcopy(a))       a lock each

What the caller's own code does with the module meanwhile is not held back. A call of it in another thread, or from
inside the pass, is never taken for the pass that is watched; it does run in eval mode while that lasts. If it changes
the mode of a part, the pass is refused, since nobody can say in which mode it ran.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager

import torch

from xplain.core.errors import ModelError

__all__ = ["Pass", "alone", "claim", "eval_mode", "exporting", "in_export", "in_training"]


class _Lock:
    """A lock with a place in the order in which several are taken."""

    number = itertools.count()

    def __init__(self) -> None:
        self.place, self.held = next(self.number), threading.RLock()


_locks: weakref.WeakKeyDictionary[torch.nn.Module, _Lock] = weakref.WeakKeyDictionary()
_register = threading.Lock()


def claim(module: torch.nn.Module) -> tuple[_Lock, ...]:
    """The locks of all parts in their order; parts that have none get one together."""
    with _register:
        fresh: _Lock | None = None
        found = {}
        for part in module.modules():
            lock = _locks.get(part)
            if lock is None:
                fresh = fresh or _Lock()
                _locks[part] = lock = fresh
            found[lock.place] = lock
    return tuple(found[place] for place in sorted(found))


@contextmanager
def _holding(locks: Sequence[_Lock]) -> Iterator[None]:
    if not locks:
        yield
        return
    with locks[0].held, _holding(locks[1:]):
        yield


@contextmanager
def alone(module: torch.nn.Module) -> Iterator[None]:
    """While this lasts no other thread runs a module that shares a part with this one. A thread may take it again."""
    if _forked:
        _settle_fork()
    with _gate.shared(), _holding(claim(module)):  # the gate first: an exporter holds no part while it waits
        yield


def in_training(module: torch.nn.Module) -> bool:
    """Whether a module is in training mode; one that TorchScript froze cannot be, and does not say."""
    return bool(getattr(module, "training", False))


@contextmanager
def eval_mode(module: torch.nn.Module, own: Container[str] = (), noted: set[str] | None = None) -> Iterator[None]:
    """Every part in eval mode, held alone; afterwards as it was, part by part.

    Args:
        module: The module.
        own: Names of parts that are known to change their mode by themselves when they run.
        noted: Takes the names of those that did; None: others than ``own`` must not.

    Raises:
        ModelError: a part's mode was changed meanwhile.
    """
    with alone(module):
        training = [one for one in module.modules() if in_training(one)]
        try:
            for one in training:
                one.training = False
            yield
            changed = [name for name, one in module.named_modules() if in_training(one) and name not in own]
        finally:
            try:
                _train(training)
            except BaseException:  # an interrupt in the middle of it: the rest is set as well
                _train(training)
                raise
    if noted is not None:
        noted.update(changed)
    elif changed:
        raise ModelError(
            f"{type(module).__name__} was put into training mode while xplain ran it in eval mode "
            f"({changed[0] or 'the whole module'!r} first), so nobody knows in which mode it ran. Do not train a "
            "module in one thread while another explains it: explain copy.deepcopy(module)."
        )


def _train(parts: Sequence[torch.nn.Module]) -> None:
    for one in parts:
        one.training = True


class Pass:
    """A forward pass that is watched: hooks see calls of it alone, none of another thread or of a pass inside it.

    Args:
        swept: Whether gradients will be asked for, also of what the module computes without.
    """

    _here = threading.local()

    def __init__(self, swept: bool = False) -> None:
        self.swept = swept

    def __enter__(self) -> Pass:
        self._outer = getattr(self._here, "innermost", None)
        self._here.innermost = self
        return self

    def __exit__(self, *_error: object) -> None:
        self._here.innermost = self._outer

    @property
    def mine(self) -> bool:
        """Whether what runs now, in this thread, is this pass."""
        return getattr(self._here, "innermost", None) is self


class _Gate:
    """Many passes, or one export: torch's exporter changes functions that all modules use."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._passes: set[int] = set()  # threads
        self._exporter: int | None = None

    @contextmanager
    def shared(self) -> Iterator[None]:
        me = threading.get_ident()
        outermost = me not in self._passes and self._exporter != me
        try:
            if outermost:
                with self._changed:
                    self._changed.wait_for(lambda: self._exporter is None)
                    self._passes.add(me)
            yield
        finally:
            if outermost:
                with self._changed:
                    self._passes.discard(me)
                    self._changed.notify_all()

    @contextmanager
    def whole(self) -> Iterator[None]:
        me = threading.get_ident()
        nested, inside = self._exporter == me, me in self._passes
        try:
            if not nested:
                with self._changed:  # from inside a pass it does not wait for others, which may wait for that pass
                    self._changed.wait_for(lambda: self._exporter is None and (inside or not self._passes))
                    self._exporter = me
            yield
        finally:
            if not nested:
                with self._changed:
                    self._exporter = None if self._exporter == me else self._exporter
                    self._changed.notify_all()

    @property
    def mine(self) -> bool:
        return self._exporter == threading.get_ident()


_gate = _Gate()


@contextmanager
def exporting(module: torch.nn.Module) -> Iterator[None]:
    """An export; no other thread exports, or runs any module, meanwhile. Not to be begun while a module is held."""
    with _gate.whole(), alone(module):
        yield


def in_export() -> bool:
    """Whether this thread exports a module now; torch itself only knows that some thread does."""
    return _gate.mine


_forked = False


def _settle_fork() -> None:
    """Torch's threads stay behind in the parent, and work that is cut for several would wait for them for ever."""
    global _forked
    _forked = False
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def _after_fork() -> None:
    """A forked process has one thread; what others held in its parent is free."""
    global _gate, _register, _forked
    _gate, _register, _forked = _Gate(), threading.Lock(), True
    for lock in list(_locks.values()):
        lock.held = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
