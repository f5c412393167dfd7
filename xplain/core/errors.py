"""Every error that xplain raises on purpose.

    XplainError
    ├── UsageError          (ValueError)           an argument, option or target that cannot be used
    │   └── UnknownName     (LookupError)          a name that is not known; names the nearest
    ├── PictureError        (ValueError)           a picture that cannot be read as asked
    ├── CardError           (ValueError)           a preprocessing card that cannot be used
    ├── CapabilityError     (TypeError)            a model that cannot answer the method's questions
    ├── ModelError          (RuntimeError)         a model that cannot be loaded or fails while it runs
    │   ├── UnsupportedOperator (NotImplementedError)   an operator without a backward rule
    │   ├── NoPath                                 no gradient leads from what was asked about to the target
    │   └── NotExported                            a module that cannot be made a graph
    ├── NonFinite           (ArithmeticError)      NaN or infinity where a number is needed
    ├── Unsafe              (PermissionError)      refused by default because the source is not trusted
    ├── BudgetError         (RuntimeError)         the query budget cannot pay for what was asked
    ├── MissingDependency   (ImportError)          an optional package that is needed now
    └── OutputError         (OSError)              a place that cannot be written

A message says what was asked, what was got, what is accepted and what to do next. Each class is also a
built-in's subclass, so callers that know nothing of xplain still catch what they expect.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from xplain.core.plain import plain

__all__ = [
    "BudgetError",
    "CapabilityError",
    "CardError",
    "InputsOpen",
    "MissingDependency",
    "ModelError",
    "NoPath",
    "NonFinite",
    "NotExported",
    "OutputError",
    "PictureError",
    "UnknownName",
    "Unsafe",
    "UnsupportedOperator",
    "UsageError",
    "XplainError",
    "nearest",
    "unknown",
]


class XplainError(Exception):
    """Root of the tree: catch this to catch everything xplain raises on purpose."""

    def __str__(self) -> str:  # LookupError and OSError subclasses would quote or reorder the message
        return plain(str(self.args[0])) if self.args else ""


class UsageError(XplainError, ValueError):
    """An argument, option or target that cannot be used."""


class InputsOpen(UsageError):
    """A model of several inputs, or of text, where it is not said how it is asked."""


class UnknownName(UsageError, LookupError):
    """A name that is not known; the message names the nearest."""


class PictureError(XplainError, ValueError):
    """A picture that cannot be read as asked."""


class CardError(XplainError, ValueError):
    """A preprocessing card that cannot be used."""


class CapabilityError(XplainError, TypeError):
    """The model cannot answer the questions that the method asks."""


class ModelError(XplainError, RuntimeError):
    """The model cannot be loaded, or fails while it runs."""


class UnsupportedOperator(ModelError, NotImplementedError):
    """An operator that has no backward rule."""


class NoPath(ModelError):
    """No gradient leads from what was asked about to the target."""


class NotExported(ModelError):
    """A module that cannot be made a graph, which some methods need."""


class NonFinite(XplainError, ArithmeticError):
    """NaN or infinity where a number is needed."""


class Unsafe(XplainError, PermissionError):
    """Refused by default, because model files, pictures and endpoints are not trusted."""


class BudgetError(XplainError, RuntimeError):
    """The query budget cannot pay for what was asked; ``left`` evaluations can still be asked, so a method may stop."""

    def __init__(self, message: str, left: int = 0) -> None:
        super().__init__(message)
        self.left = left


class MissingDependency(XplainError, ImportError):
    """An optional package that is needed now; the message says how to install it."""


class OutputError(XplainError, OSError):
    """A place that cannot be written."""


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names closest to ``name``, best first; empty when nothing is close."""
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(candidate.casefold(), candidate)
    wanted = name.casefold()
    hits = difflib.get_close_matches(wanted, list(folded), n=most, cutoff=0.5)
    near = [k for k in hits if difflib.SequenceMatcher(None, wanted, k).ratio() >= 0.8]  # a slip of the finger
    words = [k for k in folded if wanted and wanted in k.replace(",", " ").split()]
    inside = [k for k in folded if len(wanted) > 2 and wanted in k]
    return [folded[k] for k in dict.fromkeys([*near, *words, *inside, *hits])][:most]


def unknown(kind: str, name: str, known: Iterable[str], next_step: str = "") -> UnknownName:
    """The error for a ``kind`` (such as "method" or "layer") that has no ``name`` among ``known``."""
    names = list(known)
    near = nearest(name, names)
    if near:
        hint = f"Did you mean {' or '.join(repr(n) for n in near)}?"
    elif len(names) <= 40:
        hint = f"Known: {', '.join(names) or 'none'}."
    else:
        some = (n if len(n) <= 60 else f"{n[:59]}…" for n in names[:5])  # exporters make names of hundreds of letters
        hint = f"{len(names)} are known, such as {', '.join(some)}."
    return UnknownName(f"Unknown {kind} {name!r}. {hint}" + (f" {next_step}" if next_step else ""))
