"""An option as a message mentions it: a piece of its own, which each door writes in its own words.

    raise CardError(f"{source} has no preprocessing card. Give ", option("card"), " a file or a preset.")

Python says "Give card= a file or a preset.", the command line "Give --card a file or a preset." A mention inside an
f-string would be Python's words everywhere, so it refuses to be formatted: it is a piece between texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from shlex import quote
from typing import Any, Final, TypeAlias

__all__ = [
    "CONSERVATION",
    "UNSET",
    "Mention",
    "Sentence",
    "Unset",
    "Words",
    "fixed_input",
    "in_python",
    "in_shell",
    "limit",
    "listed",
    "named",
    "option",
    "said",
    "way",
]


class Unset(Enum):
    """Stands for a value that was not given, where None is one that may be."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Mention:
    """An option in a message; made by ``option``, ``named``, ``limit`` and ``way``.

    Args:
        name: As Python calls it: ``max_cost``.
        python: The words of Python: ``max_cost=0.1``.
        value: What a flag is followed by on a command line: ``0.1``; empty for none.
        shell: The words of a command line that has the flag, where they are no flag; empty for flag and value.
        toml: The words of the file of options that ``--endpoint`` names: ``max_cost = 0.1``.
        advised: Whether the reader is asked to give it, so that a door that does not have it must say who has.
    """

    name: str
    python: str
    value: str = ""
    shell: str = ""
    toml: str = ""
    advised: bool = True

    def __str__(self) -> str:
        return self.python

    def __format__(self, _: str) -> str:
        raise TypeError(
            "An option is a piece of a message, not of an f-string: UsageError('Give ', option('card'), '.')"
        )


Words: TypeAlias = Callable[[Mention], str]
"""How a door writes a mention."""


class Sentence(str):
    """What a result or a model is told with: text in Python's words, which each door can say in its own.

        Caveat(Sentence("Allow more, with ", option("max_steps"), "."), "incomplete")

    Args:
        pieces: Texts, options, and other sentences.
    """

    __slots__ = ("pieces",)

    pieces: tuple[str | Mention, ...]

    def __new__(cls, *pieces: str | Mention) -> Sentence:  # noqa: D102 - what the class is made with
        made = super().__new__(cls, "".join(one.python if isinstance(one, Mention) else one for one in pieces))
        made.pieces = pieces
        return made

    def __reduce__(self) -> tuple[Any, ...]:  # copies keep the pieces
        return Sentence, self.pieces


def said(text: str, words: Words) -> str:
    """A text as a door says it."""
    if not isinstance(text, Sentence):
        return text
    return "".join(words(one) if isinstance(one, Mention) else said(one, words) for one in text.pieces)


def option(name: str, given: object = UNSET, *, of: str = "", python: str = "", shell: str = "") -> Mention:
    """The option ``name``, with the value that it should have if one is given.

    Args:
        name: As Python calls it.
        given: The value: ``option("engine", "plain")`` is ``engine='plain'`` and ``--engine plain``; a true switch is
            its flag alone.
        of: The function that takes it: ``option("output", of="load")`` is ``load(..., output=)`` and ``--output``.
        python: A value that is no literal, as Python writes it: ``python="rows"`` is ``background=rows``.
        shell: The same on a command line: ``shell="rows.csv"`` is ``--background rows.csv``.
    """
    value = python or ("" if given is UNSET else repr(given))
    words = f"{name}={value}"
    bare = given is UNSET or given is True
    said = shell or ("" if bare else quote(str(given)))
    in_file = f"{name} = {json.dumps(given, default=str)}" if given is not UNSET else name
    return Mention(name, f"{of}(..., {words})" if of else words, said, toml=in_file)


def named(name: str) -> Mention:
    """The option ``name`` as the subject of a sentence: ``seed`` in Python, ``--seed`` on a command line."""
    return Mention(name, name, toml=name, advised=False)


def listed(names: Iterable[str]) -> tuple[Mention | str, ...]:
    """Several options as subjects, with commas between."""
    return tuple(piece for name in names for piece in (", ", named(name)))[1:]


def limit(name: str, value: object = "...") -> Mention:
    """A limit on untrusted files: ``limits=Limits(nodes=9)`` in Python, ``--limit nodes=9`` on a command line."""
    return Mention("limit", f"limits=Limits({name}={value})", f"{name}={value}")


def fixed_input(name: str) -> Mention:
    """The value of another input: ``fixed={'n': array}`` in Python, ``--fixed n=FILE.npy`` on a command line."""
    return Mention("fixed", f"fixed={{{name!r}: array}}", quote(f"{name}=FILE.npy"), toml=f"fixed.{name} = FILE.npy")


def way(flag: str, *, python: str, shell: str) -> Mention:
    """A step that is no option in Python, or no flag on a command line.

    Args:
        flag: The option whose flag a verb must have for ``shell`` to be true of it.
        python: What to do in Python: ``use xplain.table``.
        shell: What to do on a command line: ``give a table (.csv)``.
    """
    return Mention(flag, python, shell=shell)


CONSERVATION: Final = way("conservation", python="xplain.measure.conservation", shell="--conservation")
"""The report on which nodes keep relevance, or make some."""


def in_python(mention: Mention) -> str:
    """A mention as Python writes it."""
    return mention.python


def in_shell(flags: Iterable[str], in_file: Iterable[str] = ()) -> Words:
    """How a command line writes a mention.

    Args:
        flags: Options, in Python's names, that the verb at hand has as flags.
        in_file: Options that the file behind ``--endpoint`` may hold.
    """
    has, holds = frozenset(flags), frozenset(in_file)

    def words(mention: Mention) -> str:
        name = mention.name
        if name in has:
            return mention.shell or f"--{name.replace('_', '-')} {mention.value}".rstrip()
        if not mention.advised:
            return mention.python
        if name in holds and mention.toml:
            return f"{mention.toml} (in the file of --endpoint)"
        return f"{mention.python} (in Python)"

    return words
