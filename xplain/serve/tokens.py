"""Who may ask: tokens from the environment, never from a command line, which everybody on a machine can read."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError
from xplain.core.keeping.files import read_text
from xplain.serve.guard import Token

__all__ = ["token_of", "tokens_in"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SHORTEST = 16


def token_of(text: str, name: str = "token", most: int | None = None) -> Token:
    """The token that ``${VARIABLE}`` names.

    Raises:
        UsageError: it is written out, not set, or too short to be one.
    """
    found = _VARIABLE.fullmatch(text)
    if found is None:
        raise UsageError(
            "A token is never written out, for others can read it there. Put it into the environment, and give ",
            option("token", "${XPLAIN_TOKEN}"),
            ".",
        )
    secret = os.environ.get(found[1], "")
    if len(secret) < _SHORTEST or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise UsageError(
            f"The variable {found[1]} holds no token of at least {_SHORTEST} printable letters without a space. "
            f"Make one: export {found[1]}=$(openssl rand -hex 24)."
        )
    return Token(name, secret, most)


def tokens_in(file: Path) -> tuple[Token, ...]:
    """The tokens of a TOML file: a table for each owner, ``token = "${VARIABLE}"`` and, if limited, ``max_queries``.

    Raises:
        UsageError: the file cannot be read, or an entry is no token.
    """
    try:
        told: dict[str, Any] = tomllib.loads(read_text(file, UsageError, f"--tokens {file}"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"--tokens {file} cannot be read: {error}.") from None
    found = []
    for name, one in told.items():
        known = isinstance(one, dict) and set(one) <= {"token", "max_queries"} and isinstance(one.get("token"), str)
        most = one.get("max_queries") if known else None
        whole = most is None or (isinstance(most, int) and not isinstance(most, bool) and most > 0)
        if not known or not whole:
            raise UsageError(
                f'--tokens {file}: [{name}] is not understood; accepted: token = "${{VARIABLE}}" and max_queries = '
                "a whole number above 0."
            )
        found.append(token_of(one["token"], name, most))
    if not found:
        raise UsageError(f'--tokens {file} holds no token; write [NAME] and token = "${{VARIABLE}}".')
    return tuple(found)
