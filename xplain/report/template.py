"""What all pages share: their templates, which escape everything, and facts as text."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from xplain.results.result import Result

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["facts_of", "framed", "plain_fact", "policy_hash", "template", "text_of"]

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


def policy_hash(text: str) -> str:
    """The sha256 that a page's content security policy knows its style sheet or script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def facts_of(result: Result) -> list[tuple[str, str]]:
    """How a result was made, as rows of a table: model, options, cost, seed, versions."""
    cost = result.cost
    return [
        ("Model", result.provenance.source or "not known"),
        ("Model, sha256", result.model or "not known"),
        ("Options", ", ".join(f"{name}={plain_fact(value)}" for name, value in result.options.items()) or "none"),
        ("Cost", f"{cost.asked}, {cost.seconds:.2f} s"),
        ("Seed", str(result.seed)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))),
    ]


def framed(name: str, result: Result, styles: str, **parts: Any) -> str:
    """A page in the frame that pages share: title, what must be known, the body, and how to make it again.

    Args:
        name: The template, which extends ``frame.html``.
        result: What is shown.
        styles: Style sheets beside the shared one, with blanks between.
        parts: What the template asks for: ``title``, ``lead``, ``command`` and its own; ``facts`` unless those of
            ``facts_of`` will do.
    """
    style = "".join(text_of(f"{one}.css") for one in ("base", *styles.split()))
    given = {"facts": facts_of(result), "warnings": result.said, **parts}
    return template(name).render(style=style, style_hash=policy_hash(style), **given)
