"""Which kinds of result have a page of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xplain.report.attack import attack_page
from xplain.report.concepts import concepts_page
from xplain.report.gallery import gallery_page
from xplain.report.html import page
from xplain.report.influence import influence_page
from xplain.results.result import Result

__all__ = ["page_of"]

_PAGES: Mapping[str, Callable[..., str]] = {
    "gallery": gallery_page,
    "attribution": page,
    "attack": attack_page,
    "concepts": concepts_page,
    "influence": influence_page,
}
"""Kind of result to what writes its page: a function of the result and ``command``."""


def page_of(result: Result, command: str = "") -> str | None:
    """The page of a result as text; None for a kind that has none."""
    write: Callable[..., str] | None = _PAGES.get(result.what)
    given: dict[str, Any] = {"command": command}
    return None if write is None else write(result, **given)
