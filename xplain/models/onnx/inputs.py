"""Which input of a graph is explained, and what the others are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xplain.core.declaring.wording import fixed_input, option, way
from xplain.core.edits import Array
from xplain.core.errors import InputsOpen, UsageError, unknown
from xplain.core.outline import TensorSpec
from xplain.graph.intake.inputs import inputs_of, put_first, restate, state
from xplain.graph.intake.load import Loaded
from xplain.models.onnx.batch_axis import batch_axis

__all__ = ["arranged"]


def arranged(
    loaded: Loaded, wanted: str | None, fixed: Mapping[str, Any]
) -> tuple[tuple[TensorSpec, ...], TensorSpec, dict[str, Array]]:
    """Put the explained input first in a graph, and write into it what is the same for any batch.

    Args:
        loaded: The graph, which is changed.
        wanted: The input that is to be explained; None for the only one that is not fixed.
        fixed: Values of the others, as a person gives them.

    Returns:
        All inputs, the explained one, and the values of the others as the model takes them.

    Raises:
        UsageError: a value does not fit its input.
        UnknownName: no such input.
        InputsOpen: an input has no value.
    """
    inputs = inputs_of(loaded)
    names = {spec.name for spec in inputs}
    stated = {name: value for name, value in fixed.items() if name not in names and restate(loaded, name, value)}
    fixed = {name: value for name, value in fixed.items() if name not in stated}
    explained = _explained(loaded.source, inputs, wanted, fixed)
    others = _others(loaded.source, inputs, explained, fixed)
    shared = [spec.name for spec in inputs if batch_axis(spec, explained) is None and spec.name in others]
    state(loaded, {name: others[name] for name in shared})
    put_first(loaded, explained.name)
    return inputs, explained, others


def _explained(source: str, inputs: Sequence[TensorSpec], wanted: str | None, fixed: Mapping[str, Any]) -> TensorSpec:
    """The input that is explained: the one asked for, or the only one that is not fixed."""
    names = [spec.name for spec in inputs]
    for name in (*([wanted] if wanted is not None else []), *fixed):
        if name not in names:
            raise unknown(f"input of {source}", name, names)
    free = [spec for spec in inputs if spec.name not in fixed]
    if wanted is not None:
        if wanted in fixed:
            raise UsageError(f"Input {wanted!r} is to be explained and fixed at once; leave it out of one.")
        free = [spec for spec in free if spec.name == wanted]
    if len(free) != 1:
        listed = ", ".join(f"{s.name!r} {['?' if n is None else n for n in s.shape]} {s.dtype}" for s in inputs)
        raise InputsOpen(
            f"{source} has {len(inputs)} inputs: {listed}. Say which is explained and what the others are, such as ",
            option("input", names[0]),
            " and ",
            fixed_input(names[-1]),
            ".",
        )
    if free[0].dtype == "str":
        raise InputsOpen(
            f"Input {free[0].name!r} of {source} holds text: ",
            way("text", python="use xplain.text", shell="give texts (.txt, --text)"),
            ", which explains words.",
        )
    return free[0]


def _others(
    source: str, inputs: Sequence[TensorSpec], explained: TensorSpec, fixed: Mapping[str, Any]
) -> dict[str, Array]:
    """Values of the inputs that are not explained; nothing is taken to be zero."""
    others = [spec for spec in inputs if spec.name != explained.name]
    missing = [spec for spec in others if spec.name not in fixed]
    if missing:
        listed = ", ".join(f"{s.name!r} {['?' if n is None else n for n in s.shape]} {s.dtype}" for s in missing)
        raise InputsOpen(f"{source} also needs {listed}; no value is assumed. Give ", fixed_input(missing[0].name), ".")
    values = {}
    for spec in others:
        try:
            value = np.asarray(fixed[spec.name])
        except ValueError as error:
            raise UsageError(f"fixed[{spec.name!r}] is no array: {error}.") from None
        kind = object if spec.dtype == "str" else np.dtype(spec.dtype)
        axis = batch_axis(spec, explained)
        if value.ndim == len(spec.shape) - 1:
            value = np.expand_dims(value, axis or 0)
        fits = value.ndim == len(spec.shape) and all(
            want in (None, got) or k == axis for k, (want, got) in enumerate(zip(spec.shape, value.shape, strict=True))
        )
        if not fits:
            accepted = ["?" if n is None else n for k, n in enumerate(spec.shape) if k != axis]
            raise UsageError(
                f"fixed[{spec.name!r}] is {list(np.shape(fixed[spec.name]))}; accepted: one value of {accepted} "
                "for all items."
            )
        values[spec.name] = np.ascontiguousarray(value, dtype=kind)
    return values
