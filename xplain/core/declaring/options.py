"""Typed options: one annotation validates, documents, reads text from a command line, and makes invalid test values.

    def rise(view: View, *, samples: Positive = 4000, keep: Fraction = 0.5) -> Flow: ...

``Positive`` is ``Annotated[int, Whole(1)]``. The object behind ``Annotated`` is the option's *kind*.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypeAlias, Union, get_args, get_origin, get_type_hints

import numpy as np

from xplain.core.declaring.with_options import parsed
from xplain.core.errors import UsageError

__all__ = [
    "AtLeastOne",
    "Baseline",
    "Bounds",
    "Cells",
    "Extent",
    "Fraction",
    "Kind",
    "MaybeSide",
    "Natural",
    "NonNegative",
    "Option",
    "Positive",
    "PositiveReal",
    "Samples",
    "Side",
    "Size",
    "Together",
    "Whole",
]
__all__ += ["MOST", "Share", "options_of"]

_LONGEST = 80
"""Characters of a refused text that a message repeats."""


class Kind(Protocol):
    """What an option accepts."""

    @property
    def accepts(self) -> str:
        """Words for a message: "a whole number of at least 1"."""

    @property
    def invalid(self) -> tuple[Any, ...]:
        """Values that must be refused; contract tests try each."""

    def read(self, value: Any) -> Any:
        """The value in its proper type. Text is read as a command line gives it. Raises ValueError when refused."""


MOST = 1_000_000
"""The largest count that is not taken for a slip of the hand. As many evaluations of one item by a net of 10 ms take
three hours; three zeros more would be asked for months, or of the memory at once. More is asked in several calls."""


@dataclass(frozen=True)
class Whole:
    """A whole number from ``least`` to ``most``.

    Args:
        least: The smallest.
        most: The largest.
        beyond: What reaches further where more is meant, as a sentence.
    """

    least: int
    most: int = MOST
    beyond: str = ""

    @property
    def accepts(self) -> str:
        """Words for a message."""
        return f"a whole number of at least {self.least}, at most {self.most:,}"

    @property
    def invalid(self) -> tuple[Any, ...]:
        """Values that must be refused."""
        return (self.least - 1, self.most + 1, 10**30, -7, 1.5, "many", True)

    def read(self, value: Any) -> int:
        """The number. Raises ValueError when refused."""
        if isinstance(value, (bool, np.bool_)):
            raise ValueError
        number = int(value) if isinstance(value, str) else value
        if not isinstance(number, (int, np.integer)) or number < self.least:
            raise ValueError
        if number > self.most:
            raise UsageError(self.beyond) if self.beyond else ValueError()
        return int(number)


@dataclass(frozen=True)
class Real:
    """A finite number between two bounds, either bound open or closed."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    @property
    def accepts(self) -> str:
        if self.high == math.inf:
            if self.low == -math.inf:
                return "a finite number"
            return f"a number {'above' if self.open_low else 'of at least'} {self.low:g}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"a number in {left}{self.low:g}, {self.high:g}{right}"

    @property
    def invalid(self) -> tuple[Any, ...]:
        outside = [self.low - 1, self.high + 1]
        outside += [self.low] if self.open_low else []
        outside += [self.high] if self.open_high else []
        return (math.nan, math.inf, "much", *[v for v in outside if math.isfinite(v)])

    def read(self, value: Any) -> float:
        if isinstance(value, (bool, np.bool_)):
            raise ValueError
        number = float(value)
        low = number > self.low if self.open_low else number >= self.low
        high = number < self.high if self.open_high else number <= self.high
        if not (low and high and math.isfinite(number)):
            raise ValueError
        return number


@dataclass(frozen=True)
class EachChannel:
    """One finite number for all channels, or one for each; text: ``0.5`` or ``-2.1/-2.0/-1.8``."""

    accepts: str = "a finite number, or one per channel; on a command line 0.5 or -2.1/-2.0/-1.8"
    invalid: tuple[Any, ...] = (math.nan, math.inf, "much", (), (0.0, math.nan))

    def read(self, value: Any) -> float | tuple[float, ...]:
        if isinstance(value, str) and "/" in value:
            value = value.split("/")
        if isinstance(value, (tuple, list)) and value:
            return tuple(Real().read(one) for one in value)
        return Real().read(value)


@dataclass(frozen=True)
class Extent:
    """One whole number for all axes, (height, width) or (depth, height, width); text: ``16``, ``16x8``, ``4x16x8``."""

    accepts: str = (
        f"{Whole(1).accepts}, or (height, width) of such, for volumes (depth, height, width); on a command line 16, "
        "16x8 or 4x16x8"
    )
    invalid: tuple[Any, ...] = (0, -3, (4, 0), (1, 2, 3, 4), "wide", 2.5)

    def read(self, value: Any) -> int | tuple[int, ...]:
        """One number, or one for each axis. Raises ValueError when refused."""
        whole = Whole(1)
        if isinstance(value, str) and "x" in value:
            value = tuple(value.split("x"))
        if isinstance(value, (tuple, list)):
            if len(value) not in (2, 3):
                raise ValueError
            return tuple(whole.read(one) for one in value)
        return whole.read(value)


@dataclass(frozen=True)
class Numbers:
    """Cells along each axis of positions: ``8x18`` of a picture, ``4x8x8`` of a volume, ``100`` of a series."""

    accepts: str = "rows and columns such as 8x18 or (8, 18), one number for a series, three for a volume"
    invalid: tuple[Any, ...] = ("0x3", (4, 0), "wide", 2.5, True, ())

    def read(self, value: Any) -> tuple[int, ...]:
        if isinstance(value, str):
            value = tuple(value.lower().split("x"))
        given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        if not given:
            raise ValueError
        return tuple(Whole(1).read(one) for one in given)


@dataclass(frozen=True)
class Reference:
    """What a hidden position becomes; resolved by ``xplain.explainers.design.baseline``."""

    accepts: str = (
        "a number in the model's own units, 'mean', 'blur:SIGMA' (up to 4096 pixels), 'noise' or 'noise:SIGMA', or an "
        "array that broadcasts to [N, *item]; on a command line also an .npy file, pictures or a folder of them"
    )
    invalid: tuple[Any, ...] = ("soup", "blur:-1", "blur:5000", "blur:x", math.nan, "noise:0", math.inf)

    def read(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
                raise ValueError
            return value
        if isinstance(value, str):
            word, words = parsed(value)
            number = words.get("", "")
            if set(words) - {""}:
                raise ValueError
            if word in ("mean", "noise") and not number:
                return word
            if word in ("blur", "noise"):
                return f"{word}:{Real(0, 4096, open_low=True).read(number):g}"
        return Real().read(value)


@dataclass(frozen=True)
class Flag:
    """A switch."""

    accepts: str = "true or false"
    invalid: tuple[Any, ...] = ("perhaps", 2)

    def read(self, value: Any) -> bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        raise ValueError


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def accepts(self) -> str:
        return "one of " + ", ".join(self.words)

    @property
    def invalid(self) -> tuple[Any, ...]:
        return ("none-of-these", 3)

    def read(self, value: Any) -> str:
        if isinstance(value, str) and value.replace("_", "-") in self.words:
            return value.replace("_", "-")
        raise ValueError


@dataclass(frozen=True)
class Text:
    """Any text that is not empty."""

    accepts: str = "text"
    invalid: tuple[Any, ...] = (3, "")

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError
        return value


@dataclass(frozen=True)
class Maybe:
    """Another kind, or None (``none`` or ``auto`` on a command line where the inner kind refuses the word)."""

    inner: Kind

    @property
    def accepts(self) -> str:
        return f"{self.inner.accepts}, or none"

    @property
    def invalid(self) -> tuple[Any, ...]:
        return self.inner.invalid

    def read(self, value: Any) -> Any:
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return self.inner.read(value)


Positive: TypeAlias = Annotated[int, Whole(1)]
Samples: TypeAlias = Annotated[int, Whole(1, beyond="For a smaller error take the mean of results with other seeds.")]
Together: TypeAlias = Annotated[int, Whole(1, 1024)]
"""Of what is held in memory at once, such as pictures of a batch."""
Side: TypeAlias = Annotated[int, Whole(1, 4096)]
"""Pixels along one side of a picture that is made."""
MaybeSide: TypeAlias = Annotated[int, Whole(0, 4096)]
"""The same; 0 for none."""
Natural: TypeAlias = Annotated[int, Whole(0)]
PositiveReal: TypeAlias = Annotated[float, Real(0, open_low=True)]
NonNegative: TypeAlias = Annotated[float, Real(0)]
Fraction: TypeAlias = Annotated[float, Real(0, 1, open_low=True, open_high=True)]
Share: TypeAlias = Annotated[float, Real(0, 1)]
AtLeastOne: TypeAlias = Annotated[float, Real(1)]
Bounds: TypeAlias = Annotated[float | tuple[float, ...], EachChannel()]
Size: TypeAlias = Annotated[int | tuple[int, ...], Extent()]
Cells: TypeAlias = Annotated[tuple[int, ...], Numbers()]
Baseline: TypeAlias = Annotated[Any, Reference()]


@dataclass(frozen=True)
class Option:
    """One keyword option of a method: what ``explain``, the command line, the docs and the tests know of it."""

    name: str
    kind: Kind
    default: Any
    doc: str = ""

    @property
    def names_files(self) -> bool:
        """Whether a text given for it is opened as a file's name: who asks from outside may not give one."""
        return bool(getattr(getattr(self.kind, "inner", self.kind), "names_files", False))

    def read(self, value: Any, owner: str) -> Any:
        """The validated value.

        Raises:
            UsageError: says the owner, the option, what was got and what is accepted.
        """
        try:
            return self.kind.read(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise UsageError(
                f"{owner}: option {self.name!r} is {_short(value)}",
                option=self.name,
                got=value,
                accepted=f"{self.kind.accepts} (default {self.default!r})",
                advice=error if isinstance(error, UsageError) else (),  # a kind with parts says which part
            ) from None


def options_of(function: Callable[..., Any], docs: dict[str, str], *, any_type: bool = False) -> dict[str, Option]:
    """The keyword-only parameters of a function as options, in order.

    Args:
        function: The function.
        docs: What its docstring says of each parameter.
        any_type: Leave out parameters of a type that no command line could give, instead of refusing them.

    Raises:
        TypeError: a parameter has no usable annotation or no default: an error of the method's author.
    """
    own = {name: one for name, one in inspect.signature(function).parameters.items() if one.kind is one.KEYWORD_ONLY}
    source = inspect.unwrap(function)
    stated = {
        name: note for name, note in source.__annotations__.items() if name in own
    }  # others may be for mypy alone
    hints = get_type_hints(types.SimpleNamespace(__annotations__=stated), source.__globals__, include_extras=True)
    options: dict[str, Option] = {}
    for name, parameter in own.items():
        if parameter.default is parameter.empty or name not in hints:
            raise TypeError(f"{function.__name__}: option {name!r} needs an annotation and a default.")
        try:
            kind = _kind(hints[name], name)
        except TypeError:
            if any_type:
                continue
            raise
        options[name] = Option(name, kind, parameter.default, docs.get(name, ""))
    return options


def _kind(annotation: Any, name: str) -> Kind:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind: Kind = arguments[1]
        return kind
    if origin is Literal:
        return Choice(tuple(str(word) for word in arguments))
    if origin in (Union, types.UnionType) and type(None) in arguments:
        rest = [a for a in arguments if a is not type(None)]
        if len(rest) == 1:
            return Maybe(_kind(rest[0], name))
    plain: dict[Any, Kind] = {bool: Flag(), str: Text(), float: Real()}
    if annotation in plain:
        return plain[annotation]
    raise TypeError(f"Option {name!r}: annotation {annotation!r} is not a kind that xplain knows.")


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {list(value.shape)}"
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST else value[:_LONGEST] + "...")
    if isinstance(value, Sequence) and len(value) > 8:
        return f"{type(value).__name__} of {len(value)}"
    told = repr(value)
    if "\n" not in told and len(told) <= 4 * _LONGEST:
        return told
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + (f" {list(shape)}" if isinstance(shape, tuple) else "")
