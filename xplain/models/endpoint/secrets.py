"""Secrets come from the environment or a callback, travel in headers, and appear nowhere else."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from xplain.core.errors import UsageError

__all__ = ["Auth", "Headers"]

Headers: TypeAlias = Mapping[str, str]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HIDDEN = "[secret]"
_SHORTEST = 4  # shorter texts occur by chance in any message


class Auth:
    """Makes the headers that prove who asks, and takes secrets out of texts.

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
        self._seen: set[str] = set()
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
            self._seen.update(part for part in (value, *value.split()) if len(part) >= _SHORTEST)
        return headers

    def hide(self, text: str) -> str:
        """``text`` without any secret that was ever sent: servers like to repeat what they were given."""
        for secret in sorted(self._seen, key=len, reverse=True):
            if secret.lower() not in ("bearer", "basic", "token"):
                text = text.replace(secret, _HIDDEN)
        return text

    def __repr__(self) -> str:
        names = "a function" if self._callback is not None else ", ".join(self._templates) or "none"
        return f"<Auth: {names}>"

    @staticmethod
    def _variable(found: re.Match[str]) -> str:
        value = os.environ.get(found[1])
        if not value:
            raise UsageError(f"auth: the environment variable {found[1]} is not set.")
        return value
