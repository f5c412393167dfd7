"""An ONNX model with weights drawn anew, for the test whether an explanation depends on what was learnt."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from xplain.core.errors import unknown
from xplain.core.outline import Outline
from xplain.graph.build.redrawn import Draw, redrawn, weighted
from xplain.graph.intake.bounds import measure
from xplain.graph.intake.load import Loaded
from xplain.graph.safety import Limits
from xplain.models.buffers import Buffers
from xplain.models.onnx.incremental import Incremental
from xplain.models.onnx.session_cache import Shelf

__all__ = ["OnnxRedraws"]


class OnnxRedraws:
    """What ``xplain.core.abilities.Redraws`` asks for."""

    _loaded: Loaded
    _model: Any
    outline: Outline
    incremental: Incremental | None

    def weighted(self) -> tuple[str, ...]:
        """The layers that hold weights, in order of evaluation, by the tensors that they make."""
        return tuple(weighted(self._loaded.model))

    def redrawn(self, layers: Sequence[str], seed: int, draw: Draw = "shuffle") -> Self:
        """This model with the weights of these layers drawn anew; the scores are read where they were."""
        known = weighted(self._loaded.model)
        for name in layers:
            if name not in known:
                raise unknown("layer with weights", name, known)
        tensors = [tensor for name in layers for tensor in known[name]]
        made = copy.copy(self)
        made.exchange(tensors, seed, draw)
        return made

    def exchange(self, tensors: Sequence[str], seed: int, draw: Draw) -> None:
        """Take other numbers for these constants, in place: for a copy that nobody has asked yet."""
        loaded, told = self._loaded, f"{self._loaded.digest}/{draw}/{seed}/{sorted(tensors)}"
        model, outside = redrawn(loaded.model, loaded.outside, tensors, seed, draw)
        edited = self._model is not loaded.model  # whose batch was freed, or whose size was fixed
        digest = hashlib.sha256(told.encode()).hexdigest()
        self._model = redrawn(self._model, loaded.outside, tensors, seed, draw)[0] if edited else model
        self._loaded = replace(
            loaded, model=model, outside=outside, digest=digest, known=measure(model, Limits()), _analysed=None
        )
        self.outline = replace(self.outline, digest=digest, kernels=None)
        self._shelf, self._buffers = Shelf(loaded.size), Buffers(self.outline.source)
        self.incremental = None  # its tables are of the weights that were
