"""KServe and TensorFlow Serving V1: ``{"instances": [...]}`` in, ``{"predictions": [...]}`` out; JSON all the way."""

from __future__ import annotations

import json
from typing import Any

from xplain.core.edits import Array
from xplain.core.errors import ModelError
from xplain.core.keeping.plain import counted
from xplain.core.outline import TensorSpec
from xplain.models.endpoint.answers import LabelSpace, strict_json
from xplain.models.endpoint.codec import Facts, Kind
from xplain.models.endpoint.fields import FieldPath
from xplain.models.endpoint.transport import Request, Response

__all__ = ["V1"]


class V1:
    """Speaks V1. The protocol describes no shapes, so the first item decides them.

    Args:
        path: ``/v1/models/m``.
        labels: The classes.
        kind: What the predictions are; ``decisions`` where each is a label or a class number.
        field: Where the scores of one prediction lie, such as ``scores``; None for a prediction that is the scores.
        text: Items are texts.
    """

    def __init__(
        self, path: str, labels: LabelSpace, *, kind: Kind | None = None, field: str | None = None, text: bool = False
    ) -> None:
        self._path, self._labels, self._kind = path, labels, kind or "logits"
        self._field = FieldPath(field) if field else None
        self.facts = Facts(
            inputs=(TensorSpec("instances", (None,), "str") if text else TensorSpec("instances", (), "float32"),),
            input="instances",
            tensor=f"predictions[*].{field}" if field else "predictions",
            classes=labels.classes,
            kind=self._kind,
            found="V1 has one list of predictions",
            identity={"field": field},
        )

    def request(self, rows: Array) -> Request:
        """A predict request for ``rows``."""
        instances: list[Any] = [str(text) for text in rows.reshape(-1)] if rows.dtype.kind in "OU" else rows.tolist()
        body = json.dumps({"instances": instances}, allow_nan=False, separators=(",", ":")).encode()
        return Request("POST", f"{self._path}:predict", {"Content-Type": "application/json"}, body)

    def scores(self, response: Response, count: int) -> Array:
        """The scores in a predict response.

        Raises:
            ModelError: not the answer to what was asked.
            NonFinite: a score is NaN or infinite.
        """
        what = "The list of predictions"
        raw = strict_json(response.body, "The answer")
        predictions = raw.get("predictions") if isinstance(raw, dict) else None
        if not isinstance(predictions, list):
            raise ModelError("The answer is not one of the V1 protocol: it holds no list of predictions.")
        if self._field is not None:
            predictions = [self._field.find(one, what) for one in predictions]
        if self._kind == "decisions":
            if len(predictions) != count:
                raise ModelError(
                    f"{what} has {counted(len(predictions), 'entry', 'entries')} for {counted(count, 'item')}."
                )
            named = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in predictions]
            return self._labels.decided(named, what)
        return self._labels.rows(predictions, count, what)
