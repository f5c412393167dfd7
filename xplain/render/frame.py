"""An attribution as a pandas frame: one line per value, or per row of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.errors import MissingDependency
from xplain.render.shown import Shown, kind_of

__all__ = ["to_frame"]


@renderer("frame")
def to_frame(attribution: Shown) -> Any:
    """The values as a ``pandas.DataFrame``, for whoever goes on with tables.

    | items | a line per | columns |
    |---|---|---|
    | rows | item, named | the table's own |
    | texts | word | ``item``, ``word``, ``start``, ``stop``, ``value``, and ``error`` where there is one |
    | series, pictures, volumes | position | ``item``, one per axis (``t``, ``y``, ``x`` ...), ``value``, ``error`` |

    ``attrs`` holds ``unit``, ``target``, ``score`` and ``base``: what values add up to, and from.

    Raises:
        MissingDependency: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependency("to_frame() needs the package pandas: pip install 'xplain[plot]'.") from None
    names = [attribution.name_of(item) for item in range(len(attribution))]
    kind = kind_of(attribution)
    if kind == "row":
        held = attribution.columns
        heads = [f"column {k}" for k in range(attribution.values.shape[1])] if held is None else list(held.names)
        frame = pd.DataFrame(np.asarray(attribution.values), index=pd.Index(names, name="item"), columns=heads)
    elif kind == "text":
        frame = pd.DataFrame(_words(attribution, names))
    else:
        frame = pd.DataFrame(_positions(attribution, names))
    frame.attrs |= {"unit": attribution.unit, "target": attribution.target, "score": attribution.scores.tolist()}
    frame.attrs["base"] = None if attribution.base is None else np.asarray(attribution.base).tolist()
    return frame


def _words(attribution: Shown, names: list[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"item": [], "word": [], "start": [], "stop": [], "value": []}
    errors: list[float] = []
    for item, (name, passage) in enumerate(zip(names, attribution.texts, strict=True)):
        for k, (start, stop) in enumerate(passage.spans):
            told = (name, passage.text[start:stop], start, stop, float(attribution.values[item, k]))
            for column, value in zip(found.values(), told, strict=True):
                column.append(value)
            if attribution.error is not None:
                errors.append(float(attribution.error[item, k]))
    return found if attribution.error is None else {**found, "error": errors}


def _positions(attribution: Shown, names: list[str]) -> dict[str, Any]:
    values = np.asarray(attribution.values)
    axes = {2: ("t",), 3: ("y", "x"), 4: ("z", "y", "x")}.get(values.ndim, ())
    if kind_of(attribution) == "picture" and values.ndim == 4:
        axes = ("channel", "y", "x")
    if kind_of(attribution) == "series" and values.ndim == 3:
        axes = ("t", "channel") if attribution.layout.startswith("NTC") else ("channel", "t")
    axes = axes or tuple(f"axis {k}" for k in range(values.ndim - 1))
    places = np.indices(values.shape).reshape(values.ndim, -1)
    found: dict[str, Any] = {"item": np.array(names, dtype=object)[places[0]]}
    found |= dict(zip(axes, places[1:], strict=True))
    found["value"] = values.ravel()
    return found if attribution.error is None else {**found, "error": np.asarray(attribution.error).ravel()}
