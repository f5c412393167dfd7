"""Messages as a command line says them: an option that Python calls ``card=`` is ``--card`` here.

The rooms behind the command line speak of keyword arguments, because they are used from Python too. What they say is
put into flags here, in one place, and only for names that the verb at hand has as flags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

__all__ = ["in_flags"]

_PHRASES = (
    ("baseline", "baseline=row", "--baseline row.csv"),
    ("background", "background=rows", "--background rows.csv"),
    ("hidden", "hidden={column: value}", "--hidden column=value"),
    ("columns", "use xplain.table", "give a table (.csv)"),
    ("text", "use xplain.text", "give texts (.txt, --text)"),
)
"""Options whose Python is no keyword of their name: each is said otherwise where the verb has the flag."""

_CALL = re.compile(r"(?:xplain\.)?load\(\.\.\., (\w+=[^()]*)\)")  # the call around an option
_LIMITS = re.compile(r"limits=Limits\((\w+)=([^()]*)\)")
_FIXED = re.compile(r"fixed=\{'([^']+)': ([^{}]*)\}")
_KEYWORD = re.compile(r"(?<![\w.=/-])([a-z]\w*)=(True\b)?")
_SUBJECT = re.compile(r"^([a-z]\w*)(?= is )")
_BARE = re.compile(r"(?<![\w.=/-])([a-z]+_\w+)(?![\w=(/-])")  # only a name of ours is written with an underscore
_KEPT = re.compile(r"(?<!\w)'[^'\n]*'|\"[^\"\n]*\"|\w\([^()]*\)")  # what is quoted, and calls in Python


def in_flags(message: str, flags: Mapping[str, str]) -> str:
    """The message with the keyword arguments that it names as flags.

    Args:
        message: What an error says.
        flags: Name of an option in Python, such as ``max_cost``, to its flag, ``--max-cost``.
    """
    for name, phrase, said in _PHRASES:
        if name in flags:
            message = message.replace(phrase, said)
    message = _CALL.sub(lambda m: m[1] if m[1].partition("=")[0] in flags else m[0], message)
    if "limit" in flags:
        message = _LIMITS.sub(rf"{flags['limit']} \1=\2", message)
    if "fixed" in flags:
        message = _FIXED.sub(rf"{flags['fixed']} \1=\2", message)

    def keyword(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        follows = found.string[found.end() : found.end() + 1]
        gap = "" if value == "True" or not follows or follows in " .,;:)" else " "
        return flags[name] + gap

    message = _outside(_KEYWORD, keyword, message, flags)
    for pattern in (_SUBJECT, _BARE):
        message = _outside(pattern, lambda found: flags[found[1]], message, flags)
    return message


def _outside(
    pattern: re.Pattern[str], said: Callable[[re.Match[str]], str], message: str, flags: Mapping[str, str]
) -> str:
    """Replace names of flags, but not in what is kept."""
    kept = [found.span() for found in _KEPT.finditer(message)]

    def replaced(found: re.Match[str]) -> str:
        inside = any(start < found.start() < stop for start, stop in kept)
        return found[0] if inside or found[1] not in flags else said(found)

    return pattern.sub(replaced, message)
