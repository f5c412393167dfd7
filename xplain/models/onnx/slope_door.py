"""Synthesis asked of an ONNX model; what builds and runs the graphs is loaded with the first question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from xplain.core.edits import Array
from xplain.core.outline import Outline
from xplain.core.rules import Rules
from xplain.core.synthesis.slope import PICTURE, Slope, Sloped
from xplain.graph.intake.load import Loaded
from xplain.graph.understood import understood
from xplain.models.onnx.optimiser import opened
from xplain.models.onnx.session import Session
from xplain.models.onnx.session_cache import Shelf

if TYPE_CHECKING:
    from xplain.models.onnx.slopes import SlopeWay

__all__ = ["OnnxSlopes"]

_NOT_MADE = "cannot be made part of a picture's graph"


class OnnxSlopes:
    """Values and gradients by the states of canvases; see ``xplain.core.synthesis.slope``."""

    _loaded: Loaded
    _model: Any
    _scores: str
    _shelf: Shelf
    _way_back: str
    outline: Outline
    _tensor: Callable[[str], str]
    _others: Callable[[int], Mapping[str, Array]]
    _open: Callable[..., Session]
    _tell: Callable[[str], None]

    def _slope(self, query: Slope) -> Sloped:
        from xplain.graph.reverse.slope import Place, slope
        from xplain.models.onnx.slopes import SlopeWay

        self._loaded.before_sweep(Rules())
        names = {tensor: self._tensor(tensor) for tensor in query.objective.tensors if tensor}
        taps = {tap: tap if tap == PICTURE else self._tensor(tap) for tap in query.taps}
        asked = replace(query, objective=query.objective.renamed(names), taps=tuple(dict.fromkeys(taps.values())))
        batch = max(query.batch or 0, len(query.state))
        place = Place(self._scores, self.outline.rows, self.outline.source)

        def make(level: str) -> SlopeWay:
            with understood(self.outline.source, _NOT_MADE):
                built = slope(self._loaded.analysed(self._model), asked, place, batch)
            return SlopeWay.opened(
                built, partial(self._open, lent=True, level=level), self._others(place.rows or batch * query.rows)
            )

        def ask(level: str) -> Sloped:
            way = cast("SlopeWay", self._shelf.get(("slope", asked.key, batch, level), partial(make, level)))
            return way.answer(asked, batch)

        found, told = opened(ask, self._way_back)
        self._tell(told)
        return replace(found, taps={tap: found.taps[name] for tap, name in taps.items()})
