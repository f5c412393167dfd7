"""JSON as RFC 8259 has it, from whoever sent it: what a lenient reader would let pass is no JSON here."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["strict"]


def strict(body: bytes) -> Any:
    """The value that a body holds: UTF-8, no NaN or infinity, no name twice in an object, not nested without end.

    Raises:
        ValueError: it holds none; the text says why.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        if "integer string conversion" in str(error):  # with advice for who runs Python, not for who sent this
            raise ValueError("a whole number in it has thousands of digits") from None
        raise


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object holds a name twice")
    return made
