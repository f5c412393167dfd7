"""What all doors share: edited rows into a buffer, scores out of whatever shape a model gives, targets read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from xplain import native
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import ItemError, ModelError, UsageError
from xplain.core.outline import Kind, ScoreSpec
from xplain.core.positions.layout import Layout
from xplain.core.query import Score, Sweep
from xplain.core.swept import not_a_number
from xplain.core.target import SCORES, Target

__all__ = [
    "KERNEL_TYPES",
    "as_float32",
    "both_sides",
    "check_items",
    "items_beside",
    "layer_values",
    "padded",
    "read_target",
    "real",
    "rows_given",
    "score_rows",
    "write_rows",
]

KERNEL_TYPES = frozenset({"float32", "float16", "float64", "uint8", "bfloat16"})
"""Types that the native fill writes itself."""


def write_rows(query: Score, start: int, stop: int, out: Array, layout: Layout, threads: int = 0) -> None:
    """Write the edited rows ``start..stop`` into a model's input buffer.

    Args:
        query: Items (float32) and edits.
        start: First row.
        stop: End of the rows.
        out: ``[stop - start, *item]``; types that no kernel writes get the rounded values.
        layout: How the items' axes are named: ``query.layout_in(outline)``.
        threads: At most so many; 0 means all.
    """
    if isinstance(query.edits, Untouched) and out.dtype == query.x.dtype:
        out[...] = query.x[start:stop]
        return
    if out.dtype.name in KERNEL_TYPES:
        native.fill(query.x, query.edits, start, stop, out, layout, threads=threads)
        return
    scratch = np.empty(out.shape, np.float32)
    native.fill(query.x, query.edits, start, stop, scratch, layout, threads=threads)
    if out.dtype.kind in "iu":
        info = np.iinfo(out.dtype)
        np.rint(scratch, out=scratch)
        np.clip(scratch, info.min, info.max, out=scratch)
    out[...] = scratch


def as_float32(x: Array, source: str) -> Array:
    """Items as the native fill takes them.

    Raises:
        UsageError: they are no numbers.
    """
    if x.dtype.kind not in "fiub" and x.dtype.name != "bfloat16":
        raise UsageError(f"The items are of type {x.dtype.name}; {source} is explained on numbers.")
    return np.ascontiguousarray(x, dtype=np.float32)


def check_items(shape: tuple[int, ...], expected: tuple[int | None, ...], source: str, name: str) -> None:
    """Items must have the rank and the fixed extents of the model's input; the batch axis is free.

    Raises:
        ItemError: they do not.
    """
    fits = len(shape) == len(expected)
    if not fits or any(want not in (None, got) for want, got in zip(expected[1:], shape[1:], strict=True)):
        wanted = ["N", *("?" if n is None else n for n in expected[1:])]
        raise ItemError(
            f"The input is {list(shape)}; {source} takes [{', '.join(map(str, wanted))}] as {name!r}. "
            + ("Add the batch axis." if len(shape) == len(expected) - 1 else "Check rank, channel order and size.")
        )


def layer_values(query: Sweep, expected: tuple[int | None, ...], source: str) -> Array | None:
    """The values ``[R, *layer]``, float32, that a sweep of one point starts from; None where it starts at the input.

    Raises:
        UsageError: it has several points, its values do not fit the layer, or the items are not there.
    """
    if query.x.shape[1] != 1 or query.weights is not None:
        raise UsageError("A model sweeps one point per item; several points and weights are the engine's work.")
    if query.at == "input":
        return None
    query.check_start()
    values = as_float32(query.x[:, 0], source)
    if expected:
        check_items(values.shape, expected, source, query.at)
    return values


def items_beside(query: Score, rows: tuple[int, int], dtype: str) -> Array:
    """The items that rows of a question about a layer belong to, ``[R, *item]``, as the model takes them."""
    assert query.items is not None
    return np.ascontiguousarray(query.items[np.arange(*rows) // query.edits.count], dtype)


def rows_given(query: Score, part: tuple[int, int], layout: Layout, threads: int = 0) -> Array:
    """The edited items of some rows, ``[R, *item]``, as the model is given them: a target may read them too."""
    if query.at != "input":
        return items_beside(query, part, "float32")
    rows = np.empty((part[1] - part[0], *query.x.shape[1:]), np.float32)
    write_rows(query, *part, rows, layout, threads)
    return rows


def score_rows(values: Array, source: str, tensor: str) -> Array:
    """Scores as ``[R, K]``: extents of 1 behind the batch are dropped, a vector ``[R]`` becomes ``[R, 1]``.

    Raises:
        ModelError: what is left is no vector of scores per row.
    """
    wide = [extent for extent in values.shape[1:] if extent != 1]
    if 0 in wide and len(values):
        raise ModelError(
            f"Scores {tensor!r} of {source} are {list(values.shape)}: no score to a row. Look at what the model gives "
            "to this input; a classifier gives [N, K] with at least one class."
        )
    if len(wide) > 1:
        middle = ", ".join(str(extent // 2) for extent in values.shape[1:])
        raise ModelError(
            f"Scores {tensor!r} of {source} are {list(values.shape)}; a classifier's are [N, K], and these have no "
            f"predicted class. Name what to explain: ",
            option("target", f"{tensor}[{middle}]"),
            " for one number, or ",
            option("target", f"{tensor}[0]"),
            " for the mean of a channel.",
        )
    return values.reshape(len(values), wide[0] if wide else 1)


def both_sides(scores: Array, spec: ScoreSpec, labels: Sequence[str], source: str) -> tuple[Array, ScoreSpec]:
    """One number for two labels as the scores of both: it is the second's, the first has its negative, or 1 - p.

    Where nothing is known of the numbers, the first that are seen say whether they are probabilities: all in [0, 1].

    Args:
        scores: ``[R, 1]``.
        spec: What is known of them.
        labels: The two.
        source: The model for a message.

    Returns:
        ``[R, 2]``, and what is known now.

    Raises:
        ModelError: a number outside [0, 1] after others were read as probabilities.
    """
    inside = bool(np.all((scores >= 0.0) & (scores <= 1.0 + 1e-6)))
    kind: Kind = spec.kind
    if kind == "scores":
        kind = "probabilities" if inside else "logits"
    if kind == "probabilities" and not inside:
        raise ModelError(
            f"{source} returned {float(scores.max() if scores.max() > 1 else scores.min()):g} as the one number "
            f"for labels {labels[0]!r} and {labels[1]!r}, which is read as the probability of {labels[1]!r}. Return "
            "two columns, the scores of both."
        )
    if spec.classes != 2 or kind != spec.kind:
        what = f"as the {'probability' if kind == 'probabilities' else 'logit'} of {labels[1]!r}"
        found = f"{spec.found}; one number for two labels is read {what}, and the first has the other side"
        spec = replace(spec, classes=2, kind=kind, found=found)
    return np.concatenate([1.0 - scores if kind == "probabilities" else -scores, scores], axis=1), spec


def read_target(query: Score, rows: tuple[int, int], values: Mapping[str, Array]) -> Array:
    """The answer to a score question, float64 ``[R, T]``.

    Args:
        query: The question.
        rows: Rows that ``values`` belong to.
        values: Tensor name to its rows; ``SCORES`` to ``[R, K]``.

    Raises:
        NonFinite: a score is NaN.
    """
    scores = values.get(SCORES)
    if scores is not None and scores.dtype.kind == "f" and np.isnan(scores).any():
        row, column = (int(i) for i in np.argwhere(np.isnan(scores))[0])
        item, edit = divmod(rows[0] + row, query.edits.count)
        raise not_a_number(column, item, edit)
    items = np.arange(*rows) // query.edits.count
    answer = query.target.read(values, items)
    return answer[:, None] if isinstance(query.target, Target) else answer


def real(values: Array) -> Array:
    """Values as float32 or float64; half precision is no good to compute with."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def padded(value: Array, batch: int) -> Array:
    """``value`` repeated at its end to ``batch`` rows."""
    missing = batch - len(value)
    return np.ascontiguousarray(np.concatenate([value, np.repeat(value[-1:], missing, axis=0)]) if missing else value)
