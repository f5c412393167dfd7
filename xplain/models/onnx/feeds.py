"""An ONNX model that is asked with whole feeds, one array per input: texts, tokens, the columns of a table."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Outline
from xplain.graph.intake.inputs import inputs_of
from xplain.graph.intake.load import OnnxSource, read, to_bytes
from xplain.graph.outline.layers import quirks_of
from xplain.graph.outline.logits import find_scores
from xplain.graph.reverse.cut import cut
from xplain.graph.safety import Limits
from xplain.graph.understood import understood
from xplain.models.onnx.contact import Contact
from xplain.models.onnx.session import Session, choose_providers
from xplain.models.options import FeedsOptions
from xplain.models.outlines import tell_providers
from xplain.models.reading import score_rows

__all__ = ["OnnxFeeds"]


class OnnxFeeds:
    """Scores of a model whose inputs are several, or hold text.

    Nothing here knows features or edits; ``xplain.models.text`` and ``xplain.models.table`` turn edited items
    into feeds. The scores read are found as ``xplain.load`` finds them: the logits behind a softmax, the raw scores
    of a linear or tree classifier, with or without a ZipMap.

    Args:
        source: Path of an ONNX file, its bytes, or a ``ModelProto``.
        options: Which tensor is read, and how it runs.

    Raises:
        UsageError: no model at all.
        Unsafe: refused by default.
        ModelError: the model cannot be loaded.
    """

    def __init__(self, source: OnnxSource, options: FeedsOptions | None = None) -> None:
        if not isinstance(source, (str, os.PathLike, bytes)) and not hasattr(source, "SerializeToString"):
            raise UsageError(
                f"{type(source).__name__} is no model; accepted: a path of an ONNX file, its bytes, a ModelProto, a "
                "function, or a model that is loaded already."
            )
        options = options or FeedsOptions()
        limits, allowed, output = options.limits or Limits(), options.allow_external_data, options.output
        contact = Contact(allowed, limits, output)
        loaded = read(source, allow_external_data=allowed, limits=limits, meet=contact.load)
        self._opened = loaded.opened
        with understood(loaded.source):
            inputs = inputs_of(loaded)
            found = find_scores(loaded, output)
            found.write_into(loaded.model)
            part = cut(loaded, loaded.model, (found.scores.tensor,))
        choice = choose_providers(options.providers)
        self._session = Session(
            to_bytes(part, loaded.source),
            loaded.source,
            choice.used,
            options.threads,
            loaded.outside,
            limits.seconds if loaded.loops else None,
        )
        outline = Outline(
            source=loaded.source,
            kind="onnx",
            digest=loaded.digest,
            inputs=inputs,
            input=inputs[0].name,
            layout=None,
            scores=found.scores,
            labels=found.labels,
            quirks=(*found.quirks, *quirks_of(loaded, found.scores.tensor)),
            facts=dict(loaded.facts),
        )
        self.outline = tell_providers(outline, self._session.providers, choice.fallback, self._session.fallback)

    def scores(self, feeds: Mapping[str, Array]) -> Array:
        """Scores ``[R, K]``.

        Args:
            feeds: One array of R rows per input, cast to the input's type and given its rank.

        Raises:
            ModelError: the model fails.
        """
        self._opened.unchanged()
        typed: dict[str, Array] = {}
        for spec in self.outline.inputs:
            if spec.name in self._session.inputs:
                array = np.asarray(feeds[spec.name])
                shape = array.shape + (1,) * (len(spec.shape) - array.ndim)
                dtype = object if spec.dtype == "str" else np.dtype(spec.dtype)
                typed[spec.name] = np.ascontiguousarray(array.reshape(shape), dtype=dtype)
        tensor = self.outline.scores.tensor
        return score_rows(self._session.run(typed)[tensor], self.outline.source, tensor)
