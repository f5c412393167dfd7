"""The verbs, one file each: a function that returns an ``Outcome``, named first in the file's ``__all__``.

What the function takes becomes flags, what its docstring says becomes its help, and a ``**options`` takes the options
of methods. A new file is found by itself. A folder is a verb with verbs of its own, ``xplain audit plan``: its
docstring is its help, and ``FIRST`` the order in which help lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeAlias

from xplain.cli.telling.console import Outcome

__all__ = ["GROUPS", "VERBS"]

Verb: TypeAlias = Callable[..., Outcome]

FIRST = (
    *("explain", "see", "make", "attack", "audit", "methods", "inspect", "check"),
    *("compile", "localise", "measure", "compare", "why_not", "serve", "page", "demo", "doctor"),
)
"""The order in which help lists them; others follow by name."""


def _verbs(home: str, first: tuple[str, ...]) -> tuple[Verb, ...]:
    """The verbs of a folder."""
    found = [one.name for one in iter_modules(import_module(home).__path__) if not one.ispkg]
    return tuple(_verb(f"{home}.{name}") for name in sorted(found, key=lambda name: _rank(name, first)))


def _verb(home: str) -> Verb:
    module = import_module(home)
    verb: Verb = getattr(module, module.__all__[0])
    return verb


def _rank(name: str, first: tuple[str, ...]) -> tuple[int, str]:
    return (first.index(name) if name in first else len(first), name)


def _groups() -> dict[str, tuple[Verb, ...]]:
    folders = [one.name for one in iter_modules(__path__) if one.ispkg]
    homes = {name: import_module(f"{__name__}.{name}") for name in folders}
    return {name: _verbs(home.__name__, home.FIRST) for name, home in homes.items()}


VERBS = _verbs(__name__, FIRST)
GROUPS: Mapping[str, tuple[Verb, ...]] = _groups()
"""Verbs with verbs of their own."""
