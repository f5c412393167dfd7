"""Every error that xplain raises on purpose.

    XplainError
    ├── UsageError          (ValueError)           an argument, option or target that cannot be used
    │   ├── UnknownName     (LookupError)          a name that is not known; names the nearest
    │   └── ItemError                              an item that the model does not take; others it may
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

A message says what was asked, what was got, what is accepted and what to do next:

    raise UsageError(option="seed", got=seed, accepted="a whole number of at least 0")
    raise CardError(f"{source} has no preprocessing card", advice=("Give ", option("card"), " a file or a preset."))

It is kept in pieces, so that each door mentions options in its own words (``xplain.core.declaring.wording``). Each
class is also a built-in's subclass, so callers that know nothing of xplain still catch what they expect.
"""

from __future__ import annotations

import difflib
import os
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from xplain.core.declaring.wording import UNSET, Mention, Words, in_python, named
from xplain.core.keeping.plain import plain

__all__ = [
    "BudgetError",
    "CapabilityError",
    "CardError",
    "InputsOpen",
    "ItemError",
    "MissingDependency",
    "ModelError",
    "NoPath",
    "NonFinite",
    "NotExported",
    "OutputError",
    "PictureError",
    "Piece",
    "UnknownName",
    "Unsafe",
    "UnsupportedOperator",
    "UsageError",
    "XplainError",
    "nearest",
    "unknown",
]


Piece: TypeAlias = "str | Mention | XplainError"
"""What a message is made of; an error stands for its own pieces."""

_LONGEST = 200
"""Characters of a value that a message repeats."""

_OURS = str(Path(__file__).resolve().parents[1])


class XplainError(Exception):
    """Root of the tree: catch this to catch everything xplain raises on purpose.

    The message is ``pieces``, then "; accepted: ...", "Did you mean ...?" and the advice, as far as there are any.

    Args:
        pieces: What is wrong: texts, and options by ``xplain.core.declaring.wording.option``. Without any, the message
            begins "``option`` is ``got``".
        option: Name of the option that is wrong, as Python calls it.
        got: What was given.
        accepted: What can be given, as the end of a sentence, without a full stop.
        nearest: Known names that are near to what was given.
        advice: What to do next, one piece or several.
    """

    def __init__(
        self,
        *pieces: Piece,
        option: str = "",
        got: Any = UNSET,
        accepted: str = "",
        nearest: Iterable[str] = (),
        advice: Piece | tuple[Piece, ...] = (),
    ) -> None:
        BaseException.__init__(self, *pieces)  # OSError would take the pieces for a number, its text and a file
        self.option: str = option
        self.got: Any = got
        self.accepted: str = accepted
        self.nearest: tuple[str, ...] = tuple(nearest)
        self._advice: tuple[Piece, ...] = advice if isinstance(advice, tuple) else (advice,) if advice else ()

    @property
    def advice(self) -> str:
        """What to do next, in Python's words."""
        return _said(self._advice, in_python)

    def advise(self, *pieces: Piece) -> None:
        """Add to what to do next."""
        self._advice = (*self._advice, *pieces)

    def __str__(self) -> str:  # LookupError and OSError subclasses would quote or reorder the message
        return self.said(in_python)

    def said(self, words: Words) -> str:
        """The message as a door says it."""
        subject: tuple[Piece, ...] = self.args
        if not subject and self.option:
            subject = (named(self.option), f" is {_short(self.got)}")
        text = _said(subject, words)
        if self.accepted:
            text = plain(f"{text.removesuffix('.')}; accepted: {self.accepted}.")
        if self.nearest:
            text = plain(f"{_ended(text)} Did you mean {' or '.join(map(repr, self.nearest))}?")
        return f"{_ended(text)} {_said(self._advice, words)}" if self._advice else text

    @property
    def _render_traceback_(self) -> Callable[[], list[str]]:
        """What a notebook shows of it; with ``XPLAIN_TRACEBACK=full`` in the environment, all that Python shows."""
        if os.environ.get("XPLAIN_TRACEBACK") == "full":
            raise AttributeError("all frames are asked for")
        return self._briefly

    def _briefly(self) -> list[str]:
        """Where the reader's own code asked, and the message: what happened inside is not their concern."""
        frames = traceback.extract_tb(self.__traceback__)
        own = [one for one in frames if not one.filename.startswith((_OURS, "<frozen"))]
        asked = [f"{Path(one.filename).name}, line {one.lineno}: {one.line}" for one in own[-2:] if one.line]
        return [*asked, f"{type(self).__name__}: {self}"]

    def fields(self, words: Words) -> dict[str, Any]:
        """What is known of the error, as plain values, for JSON; what is not known is not in it."""
        got = self.got if isinstance(self.got, (int, float, str, type(None))) else _short(self.got)
        known: dict[str, Any] = {"kind": type(self).__name__, "message": self.said(words)}
        known |= {"option": self.option} if self.option else {}
        known |= {"got": got} if self.got is not UNSET else {}
        known |= {"accepted": plain(self.accepted)} if self.accepted else {}
        known |= {"nearest": [plain(name) for name in self.nearest]} if self.nearest else {}
        return known | ({"advice": _said(self._advice, words)} if self._advice else {})


def _said(pieces: Iterable[Piece], words: Words) -> str:
    told = (
        words(one) if isinstance(one, Mention) else one.said(words) if isinstance(one, XplainError) else str(one)
        for one in pieces
    )
    return plain("".join(told))


def _ended(text: str) -> str:
    """The text as a sentence that another may follow."""
    return text if not text or text.endswith((".", "?", "!", ":")) else f"{text}."


def _short(value: object) -> str:
    """A value as a message repeats it."""
    said = repr(value)
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."


class UsageError(XplainError, ValueError):
    """An argument, option or target that cannot be used."""


class ItemError(UsageError):
    """An item that the model does not take, for its size or type; it says nothing of the other items."""


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

    def __init__(self, *pieces: Piece, left: int = 0, **fields: Any) -> None:
        super().__init__(*pieces, **fields)
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


def unknown(
    kind: str, name: str, known: Iterable[str], advice: Piece | tuple[Piece, ...] = (), option: str = ""
) -> UnknownName:
    """The error for a ``kind`` (such as "method" or "layer") that has no ``name`` among ``known``."""
    names = list(known)
    near = nearest(name, names)
    said, accepted = f"Unknown {kind} {name!r}", ""
    if near:
        said += "."
    elif len(names) <= 40:
        accepted = ", ".join(names) or "none"
    else:
        some = (n if len(n) <= 60 else f"{n[:59]}…" for n in names[:5])  # exporters make names of hundreds of letters
        accepted = f"one of {len(names)}, such as {', '.join(some)}"
    return UnknownName(said, option=option, got=name, accepted=accepted, nearest=near, advice=advice)
