"""What all pages share: their templates, which escape everything, and facts as text."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["plain_fact", "template", "text_of"]

_LONGEST = 4000  # characters of any one text from outside
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def plain_fact(value: Any) -> str:
    """A fact as a page prints it."""
    if isinstance(value, np.ndarray) and value.size > 32:
        return f"array {value.dtype} {list(value.shape)}"
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _printable(value: Any) -> Any:
    """Everything the template prints passes here: no control characters, no direction marks, no endless text."""
    from markupsafe import Markup

    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    shown = "".join(c if c.isprintable() or c == "\n" else _REPLACEMENT for c in value[:_LONGEST])
    return shown + "…" if len(value) > _LONGEST else shown


@cache
def template(name: str) -> Template:
    """A template of this room, ready to render."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_printable, trim_blocks=True, lstrip_blocks=True
    )
    environment.loader = FunctionLoader(text_of)  # so that a template may include another
    return environment.get_template(name)


def text_of(name: str) -> str:
    """A file of this room's templates."""
    return (files("xplain.report") / "templates" / name).read_text(encoding="utf-8")
