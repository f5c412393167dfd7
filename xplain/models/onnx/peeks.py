"""How an ONNX model answers what an inner tensor holds: all of it, or what a fold keeps, folded inside the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np

from xplain.core.edits import Array, Untouched
from xplain.core.lenses.fold import Fold, Top, folded
from xplain.core.outline import LayerSpec, Outline
from xplain.core.query import Peek, Score
from xplain.core.target import SCORES, Target
from xplain.graph.build.folds import fold_outputs, foldable
from xplain.graph.intake.load import Loaded
from xplain.graph.reverse.cut import cut
from xplain.models.onnx.batches import in_one_call
from xplain.models.onnx.session import Session
from xplain.models.onnx.session_cache import Shelf
from xplain.models.reading import as_float32, real, score_rows

__all__ = ["OnnxPeeks"]

_INPUT = "input"


class OnnxPeeks:
    """The answers to ``Peek``; see ``OnnxFile``."""

    outline: Outline
    _loaded: Loaded
    _model: Any
    _shelf: Shelf
    _scores: str
    _layers: dict[str, LayerSpec]
    _level: str
    _tensor: Callable[[str], str]
    _plain: Callable[[tuple[str, ...]], Session]
    _open: Callable[[Any], Session]
    _each: Callable[[Session, Score], Iterator[tuple[tuple[int, int], dict[str, Array]]]]

    def _peek(self, query: Peek) -> dict[str, Any]:
        whole = Score(as_float32(query.x, self.outline.source), Untouched(), Target(()), cut=in_one_call(query))
        tensors = {tap: self._tensor(tap) for tap in query.taps if tap != _INPUT}
        answer: dict[str, Any] = {tap: whole.x for tap in query.taps if tap == _INPUT}
        if tensors:
            wanted = tuple(dict.fromkeys(tensors.values()))
            inside = self._inside(query, wanted)
            session, names = self._folding(wanted, inside, query.fold)
            runs = [values for _, values in self._each(session, whole)]
            found = {}
            for tensor in wanted:
                kept = [np.concatenate([one[name] for one in runs]) for name in names.get(tensor, (tensor,))]
                found[tensor] = Top(*kept) if len(kept) == 2 else kept[0]
            answer |= {tap: self._as_asked(found[name], name, query, inside) for tap, name in tensors.items()}
        if query.fold is not None and _INPUT in answer:
            answer[_INPUT] = folded(whole.x, query.fold)
        return answer

    def _inside(self, query: Peek, wanted: tuple[str, ...]) -> dict[str, tuple[int | None, ...]]:
        """The tensors that the graph folds, with their shapes; not scores, nor what is folded into the batch."""
        follow = self.outline.follow
        lineage = None if follow is None else follow(tuple(query.x.shape[1:]))
        found: dict[str, tuple[int | None, ...]] = {}
        for name in wanted:
            several = lineage is not None and lineage.folded(name)
            shape = self._layers[name].shape if name in self._layers else ()
            if query.fold is None or name == self._scores or several or not shape:
                continue
            if foldable(self._model, query.fold, shape):
                found[name] = tuple(shape)
        return found

    def _folding(
        self, wanted: tuple[str, ...], inside: Mapping[str, tuple[int | None, ...]], fold: Fold | None
    ) -> tuple[Session, Mapping[str, tuple[str, ...]]]:
        """The session that returns these tensors, some of them folded, and what those are called."""
        if fold is None or not inside:
            return self._plain(wanted), {}

        def make() -> tuple[Session, dict[str, tuple[str, ...]]]:
            part = cut(self._loaded, self._model, wanted)
            real_ones = self._loaded.quantised.keys()
            dtypes = {name: 1 if name in real_ones else self._loaded.dtype(name) for name in inside}
            names = fold_outputs(part, fold, inside, dtypes)
            return self._open(part), names

        key = (wanted, fold, tuple(inside), self._level)
        return cast("tuple[Session, dict[str, tuple[str, ...]]]", self._shelf.get(key, make))

    def _as_asked(self, found: Any, tensor: str, query: Peek, inside: Mapping[str, Any]) -> Any:
        """A tensor's values, folded where the graph has not done it."""
        if query.fold is None:
            return real(found)
        if tensor in inside:
            return found
        if tensor == self._scores:
            found = score_rows(found, self.outline.source, SCORES)
        return folded(real(found), query.fold)
