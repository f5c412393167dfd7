"""Secrets come from the environment or a callback, travel in headers, and appear nowhere else.

Servers repeat what they were given: in errors, names, labels, headers. So every text that comes from outside is read by
``heard``, which takes out whatever was ever sent as a secret, in the forms in which it may come back: as it is, in
base64, percent-encoded, in hexadecimal, escaped for JSON, and, of ``Basic`` proofs, the password by itself. Vendors
like to repeat the beginning of a key that they refuse, so messages are read by ``hide_parts``, which takes out pieces
too; data are not, for a word of a label may be a piece of a secret by chance.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, TypeAlias
from urllib.parse import quote, quote_plus

from xplain.core.errors import UsageError

__all__ = ["Auth", "Headers", "heard", "hide", "hide_parts", "hush"]

Headers: TypeAlias = Mapping[str, str]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HIDDEN = "[secret]"
_SHORTEST = 4  # shorter texts occur by chance in any message
_WORDS = frozenset({"bearer", "basic", "token", "digest", "apikey", "api-key", "key"})  # of schemes, no secrets
_KEPT = 256
_PIECE = 8  # letters in a row that a message must not share with a secret; 6 with a secret of less than 16
_LATEST = 32  # secrets whose pieces are known: those that a server can have in mind


class _Known:
    """The secrets that this process has sent, of all its endpoints, and the pattern that finds them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, tuple[str, ...]] = {}
        self._pattern: re.Pattern[str] | None = None
        self._pieces: frozenset[str] = frozenset()

    def add(self, value: str) -> None:
        """Remember a header's value; of many (tokens that are renewed) the last 256."""
        with self._lock:
            if value in self._sent:
                return
            self._sent[value] = tuple(_forms(value))
            while len(self._sent) > _KEPT:
                self._sent.pop(next(iter(self._sent)))
            forms = sorted({form for all_of in self._sent.values() for form in all_of}, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, forms)), re.IGNORECASE) if forms else None
            self._pieces = frozenset(piece for one in list(self._sent)[-_LATEST:] for piece in _pieces(one))

    def hide(self, text: str) -> str:
        """``text`` without them."""
        pattern = self._pattern
        return text if pattern is None else pattern.sub(_HIDDEN, text)

    def hide_parts(self, text: str) -> str:
        """``text`` without them, and without pieces of them."""
        text, pieces = self.hide(text), self._pieces
        folded = text.lower()
        if not pieces or len(folded) != len(text):  # letters that change their number when folded are in no header
            return text
        secret = bytearray(len(text))
        for start in range(len(text)):
            for size in (_PIECE, _PIECE - 2):
                if (piece := folded[start : start + size]) in pieces:
                    secret[start : start + size] = b"\1" * len(piece)
        runs = groupby(range(len(text)), key=secret.__getitem__)
        return "".join(_HIDDEN if hidden else "".join(text[k] for k in run) for hidden, run in runs)


_KNOWN = _Known()


def hide(text: str) -> str:
    """``text`` without any secret that was ever sent."""
    return _KNOWN.hide(text)


def hide_parts(text: str) -> str:
    """A message without any secret that was ever sent, and without six or eight letters in a row of the latest."""
    return _KNOWN.hide_parts(text)


def heard(raw: bytes | str) -> str:
    """A text from outside, fit to be kept and shown: without secrets; bytes are read as UTF-8."""
    return hide(raw if isinstance(raw, str) else raw.decode("utf-8", "replace"))


class _Hush(logging.Filter):
    """Takes secrets out of what a library logs: at level DEBUG httpcore writes down the headers of every answer."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:  # a record that cannot be written is the business of whoever logs it
            return True
        if (clean := hide_parts(text)) != text:
            record.msg, record.args = clean, ()
        return True


def hush(*loggers: str) -> None:
    """Take secrets out of what these loggers write, once and for good."""
    for name in loggers:
        logger = logging.getLogger(name)
        if not any(isinstance(one, _Hush) for one in logger.filters):
            logger.addFilter(_Hush())


def _forms(value: str) -> Iterator[str]:
    """The texts in which a header's value may come back."""
    words = re.split(r"[\s,;]+", value)
    pieces = [value, *words, *(word.partition("=")[2] for word in words)]
    parts = [part for part in dict.fromkeys(pieces) if part.lower() not in _WORDS]
    for part in list(parts):
        parts += _of_basic(part)
    for part in parts:
        if len(part) < _SHORTEST:
            continue
        yield part
        yield (escaped := json.dumps(part)[1:-1])
        yield escaped.replace("/", "\\/")
        yield from (quote(part, safe=""), quote(part), quote_plus(part))
        if len(part) >= 2 * _SHORTEST:
            yield part.encode().hex()
            yield part[::-1]
            yield from _in_base64(part.encode())


def _pieces(value: str) -> Iterator[str]:
    """Letters in a row of the secret words of a header's value, in lower case."""
    words = [word for word in re.split(r"[\s,;]+", value) if word.lower() not in _WORDS]
    for word in [part.lower() for one in words for part in (one, *_of_basic(one))]:
        if len(word) >= 2 * _SHORTEST:
            size = _PIECE if len(word) >= 2 * _PIECE else _PIECE - 2
            yield from (word[at : at + size] for at in range(len(word) - size + 1))


def _of_basic(part: str) -> list[str]:
    """User and password together, and the password, where ``part`` is the base64 of a ``Basic`` proof."""
    try:
        pair = base64.b64decode(part, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return []
    _, colon, password = pair.partition(":")
    return [pair, password] if colon and pair.isprintable() else []


def _in_base64(raw: bytes) -> Iterator[str]:
    """The letters that ``raw`` has in base64, wherever it stands in what was encoded: three ways to begin."""
    for before in range(3):
        padded = bytes(before) + raw
        text = base64.b64encode(padded).decode().rstrip("=")
        inner = text[-(-before * 8 // 6) : len(padded) * 8 // 6]  # letters that are made of ``raw`` alone
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


class Auth:
    """Makes the headers that prove who asks; what they hold is known to ``hide`` from then on.

    Args:
        given: None; ``"${TOKEN}"``, sent as ``Authorization: Bearer ...``; a mapping of headers whose values name
            environment variables, such as ``{"X-Api-Key": "${VENDOR_KEY}"}``; or a function without arguments that
            returns headers, asked before every call, so that it may renew a token.

    Raises:
        UsageError: a secret is written out instead of named.
    """

    def __init__(self, given: Any = None) -> None:
        self._callback: Callable[[], Headers] | None = given if callable(given) else None
        self._templates: dict[str, str] = {}
        if given is None or callable(given):
            return
        templates = given if isinstance(given, Mapping) else {"Authorization": f"Bearer {given}"}
        for name, template in templates.items():
            if not isinstance(template, str) or not _VARIABLE.search(template):
                raise UsageError(
                    f"auth: header {name!r} does not name an environment variable. Secrets are not written down: put "
                    "the value into a variable and give its name, such as 'Bearer ${VENDOR_TOKEN}', or give a function."
                )
            self._templates[str(name)] = template

    def __bool__(self) -> bool:
        return self._callback is not None or bool(self._templates)

    def headers(self) -> dict[str, str]:
        """The headers for the next call.

        Raises:
            UsageError: a variable is not set, or the function returns no headers.
        """
        if self._callback is not None:
            made = self._callback()
            if not isinstance(made, Mapping) or not all(isinstance(v, str) for v in made.values()):
                raise UsageError("auth: the function must return a mapping of header names to texts.")
            headers = dict(made)
        else:
            headers = {name: _VARIABLE.sub(self._variable, text) for name, text in self._templates.items()}
        for value in headers.values():
            if any(ord(letter) < 32 or ord(letter) > 126 for letter in value):
                raise UsageError("auth: a header's value holds a line break or a letter that headers cannot carry.")
            _KNOWN.add(value)
        return headers

    def __repr__(self) -> str:
        names = "a function" if self._callback is not None else ", ".join(self._templates) or "none"
        return f"<Auth: {names}>"

    @staticmethod
    def _variable(found: re.Match[str]) -> str:
        value = os.environ.get(found[1])
        if not value:
            raise UsageError(f"auth: the environment variable {found[1]} is not set.")
        _KNOWN.add(value)
        return value
