"""What is written per picture, a PNG and an .npz, and the page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xplain.cli.keeping.output import Folder, file_stem
from xplain.cli.telling.notes import about
from xplain.core.edits import Array
from xplain.core.outline import Outline
from xplain.results.attribution import Attribution
from xplain.results.join import joined
from xplain.session import Explained
from xplain.session.predictions import best, in_words

__all__ = ["PAGE", "Drawing", "Sheets", "ranks_of"]

PAGE = "index.html"
_MOST_ON_PAGE = 100
"""Pictures on the page; a page with more is too large to be opened."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How maps are drawn: true cells or the enlarged map; one colour scale per method or one per picture."""

    native_resolution: bool = False
    shared_scale: bool = False


class Sheets:
    """Writes explanations into a folder as they come.

    Args:
        folder: Where.
        drawing: How.
        what: What an item is called.
    """

    def __init__(self, folder: Folder, drawing: Drawing, what: str = "picture") -> None:
        self.folder, self._drawing, self._what = folder, drawing, what
        self._stems: set[str] = set()
        self._known: dict[str, tuple[str, int]] = {}  # what files of a picture are called, and its place
        self._limits: dict[str, float] = {}
        self._waiting: list[tuple[str, str]] = []  # names without a suffix, and methods, of maps not yet drawn
        self._shown: dict[Any, list[Attribution]] = {}
        self._scores: dict[str, Array] = {}  # of the untouched item, by its name on the page

    def keep(self, item: str, explained: Explained) -> list[dict[str, Any]]:
        """Write the explanations of one picture by one method; what is told of each."""
        found = explained.results
        if explained.scores is not None:
            self._scores.update((one.name_of(0), explained.scores) for one in found[:1])
        if item not in self._known:
            self._known[item] = file_stem(item, self._stems), len(self._known)
        stem, number = self._known[item]
        ranks = ranks_of([one.method for one in found])
        several = {one.method for one, rank in zip(found, ranks, strict=True) if rank > 1}
        names = [
            f"{stem}.{one.method}" + (f".top{rank}" if one.method in several else "")
            for one, rank in zip(found, ranks, strict=True)
        ]
        self.folder.announce(f"{name}.{suffix}" for name in names for suffix in ("png", "npz"))
        for one, name, rank in zip(found, names, ranks, strict=True):
            one.save(self.folder.path / f"{name}.npz")
            if self._drawing.shared_scale:
                self._limits[one.method] = max(self._limit(one), self._limits.get(one.method, 0.0))
                self._waiting.append((name, one.method))
            else:
                self._draw(one, name, None)
            if number < _MOST_ON_PAGE:
                self._shown.setdefault((one.method, rank, one.values.shape), []).append(one)
        return [
            {**about(one), **_seen(one), "files": {"png": f"{name}.png", "npz": f"{name}.npz"}}
            for one, name in zip(found, names, strict=True)
        ]

    def finish(self, outline: Outline, command: str) -> None:
        """Draw what had to wait for the shared scale, and write the page."""
        for name, method in self._waiting:
            self._draw(Attribution.load(self.folder.path / f"{name}.npz"), name, self._limits[method])
        self._waiting.clear()
        self.page(outline, command)

    def page(self, outline: Outline, command: str) -> None:
        """Write the page of what is there."""
        from xplain import report

        if not self._shown:
            return
        count = len(self._known)
        shown = min(count, _MOST_ON_PAGE)
        of = f" of {count}" if shown < count else ""
        title = f"{outline.called}: {shown}{of} {self._what}{'' if count == 1 else 's'}"
        # the page has one scale for all it shows, so it can be shared only where there is one method
        limit = next(iter(self._limits.values())) if len(self._limits) == 1 else None
        drawing = {"native_resolution": self._drawing.native_resolution, "limit": limit or None}
        predicted = {name: in_words(best(scores[None], outline)[0]) for name, scores in self._scores.items()}
        self.folder.announce([PAGE])
        groups = [joined(group) for group in self._shown.values()]
        report.write(groups, self.folder.path / PAGE, title=title, command=command, predicted=predicted, **drawing)

    def _limit(self, one: Attribution) -> float:
        from xplain.render.bodies import scale_of

        return scale_of(one, self._drawing.native_resolution) or 0.0

    def _draw(self, one: Attribution, name: str, limit: float | None) -> None:
        picture = one.overlay(0, native_resolution=self._drawing.native_resolution, limit=limit or None)
        self.folder.write_picture(f"{name}.png", picture)


def _seen(one: Attribution) -> dict[str, Any]:
    """What is told of a map besides what is told of every explanation."""
    return {"shape": list(one.values.shape[1:]), "resolution": one.resolution, "layout": one.layout}


def ranks_of(methods: Sequence[str]) -> list[int]:
    """1 for the first explanation by a method, 2 for its second, and so on: one per target."""
    return [methods[: k + 1].count(method) for k, method in enumerate(methods)]
