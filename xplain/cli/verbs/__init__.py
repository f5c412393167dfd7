"""The verbs, one file each: a function that returns an ``Outcome``, named first in the file's ``__all__``.

What the function takes becomes flags, what its docstring says becomes its help, and a ``**options`` takes the options
of methods. A new file is found by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from xplain.cli.telling.console import Outcome

__all__ = ["VERBS"]

_FIRST = (
    *("explain", "see", "make", "attack", "methods", "inspect", "check"),
    *("compile", "localise", "measure", "compare", "why_not", "serve", "page", "demo", "doctor"),
)
"""The order in which help lists them; others follow by name."""


def _verb(name: str) -> Callable[..., Outcome]:
    module = import_module(f"{__name__}.{name}")
    verb: Callable[..., Outcome] = getattr(module, module.__all__[0])
    return verb


def _rank(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


VERBS = tuple(_verb(name) for name in sorted((one.name for one in iter_modules(__path__)), key=_rank))
