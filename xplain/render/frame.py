"""An attribution as a pandas frame: one line per value, or per row of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency
from xplain.render.shown import Shown, axes_of, kind_of

__all__ = ["to_frame"]


@renderer("frame")
def to_frame(attribution: Shown) -> Any:
    """The values as a ``pandas.DataFrame``, for whoever goes on with tables.

    | items | a line per | columns |
    |---|---|---|
    | rows | item, named | the table's own |
    | texts | word | ``item``, ``word``, ``start``, ``stop``, ``value``, and ``error`` where there is one |
    | series, pictures, volumes | position | ``item``, one per axis (``t``, ``y``, ``x`` ...), ``value``, ``error`` |

    Where a card says what axes measure, columns say it too: ``channel name``, ``seconds``, ``hertz``, and ``z mm``, ``y
    mm``, ``x mm`` in the card's unit of length.

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
    letters = axes_of(attribution)[1:]
    if kind_of(attribution) == "series" and values.ndim == 3:
        axes = ("t", "channel") if letters == "TC" else ("channel", "t")
    if kind_of(attribution) == "spectrogram" or values.ndim == 5:
        letters = letters if values.ndim - 1 == len(letters) else letters.replace("C", "")
        axes = tuple(_COLUMNS[letter] for letter in letters) if values.ndim - 1 == len(letters) else ()
    axes = axes or tuple(f"axis {k}" for k in range(values.ndim - 1))
    places = np.indices(values.shape).reshape(values.ndim, -1)
    found: dict[str, Any] = {"item": np.array(names, dtype=object)[places[0]]}
    found |= dict(zip(axes, places[1:], strict=True))
    found |= _measured(attribution, axes, places[1:])
    found["value"] = values.ravel()
    return found if attribution.error is None else {**found, "error": np.asarray(attribution.error).ravel()}


_COLUMNS = {"H": "y", "W": "x", "D": "z", "T": "t", "C": "channel", "S": "column", "X": "element"}
"""What a layout's axis is called as a column."""


def _measured(attribution: Shown, axes: tuple[str, ...], places: Array) -> dict[str, Any]:
    """The same positions in seconds, hertz, units of length and by name, as far as the card says what they measure."""
    told, letters = attribution.coordinates, axes_of(attribution)
    at = dict(zip(axes, places, strict=True))
    found: dict[str, Any] = {}
    if "channel" in at and len(told.channels) > at["channel"].max():
        found["channel name"] = np.array(told.channels, dtype=object)[at["channel"]]
    time = told.time(letters)
    columns = _COLUMNS if "t" in at else {**_COLUMNS, "T": "z"}  # frames of a video
    if time and told.step is not None and columns[time] in at:
        found["seconds"] = at[columns[time]] * told.step
    if told.frequency and columns[told.frequency] in at:
        rows = at[columns[told.frequency]]
        found["hertz"] = told.frequencies(int(rows.max()) + 1)[rows]
    space = [letter for letter in letters[1:] if letter in "DHW"]
    for letter, spacing in zip(space, told.spacing, strict=False):
        if columns[letter] in at:
            found[f"{columns[letter]} {told.length}"] = at[columns[letter]] * spacing
    return found
