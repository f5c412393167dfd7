"""How far the runtime may rewrite a graph: as far as it still computes what the graph says.

ONNX Runtime fuses and folds nodes before it runs them, and some of its rewritings are wrong for some graphs (seen with
1.31: scores 24 % away from the graph's own; a graph that is refused at one level and runs at a lower one). So on first
contact one row is asked with rewriting and without, and the highest level that agrees is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ModelError
from xplain.core.outline import TensorSpec
from xplain.graph.intake.load import Loaded
from xplain.graph.outline.layers import draws
from xplain.models.onnx.session_cache import HEAVY
from xplain.models.onnx.trials import item_of, small

__all__ = ["LEVELS", "highest", "opened", "settle_level"]

LEVELS = ("all", "basic", "off")
"""Levels of rewriting, the most first."""
_CLOSE, _CLOSE_HALF = 3e-4, 1e-2
"""Of the largest score: how far two orders of the same sums may lie apart, in single and in half precision.

In nets of fifty families float32 was 1e-7 to 2e-5 of it away from float64 without rewriting; a wrong folding of BiT's
standardised weights was 2e-3. Too strict a limit costs speed, too lax a one is a wrong answer.
"""
_HALF = frozenset({10, 16})  # ONNX's numbers of float16 and bfloat16

_Opened = TypeVar("_Opened")


def highest(scores: Callable[[str], Array], close: float = _CLOSE) -> tuple[str, str]:
    """The highest level whose scores are those of the graph as it is, and what to tell if it is not the first.

    Args:
        scores: The scores of one row at a level; raises ``ModelError`` where the runtime refuses or fails.
        close: How far scores may lie from the graph's own, of the largest.

    Raises:
        ModelError: the runtime refuses the graph at every level.
    """
    try:
        plain = scores("off")
    except ModelError:  # some operators exist only as what others are rewritten into: there is nothing to compare
        return LEVELS[0], ""
    finite = np.isfinite(plain)  # a class that is masked scores minus infinity, and says nothing of the others
    largest = max(float(np.abs(plain[finite]).max(initial=0.0)), 1e-30)
    told = ""
    for level in LEVELS[:-1]:
        try:
            off = float(np.abs(scores(level)[finite] - plain[finite]).max(initial=0.0)) / largest
        except ModelError:
            told = told or "fails when ONNX Runtime optimises it"
            continue
        if off <= close or not np.isfinite(off):
            return level, _sentence(told, level)
        told = told or f"gives scores that are {off:.1%} away from its own when ONNX Runtime optimises it"
    return "off", _sentence(told, "off")


def settle_level(
    loaded: Loaded, spec: TensorSpec, rows: int, on_cpu: bool, scores: Callable[[str, Array], Array]
) -> tuple[str, str]:
    """The level at which a model runs, found on one row, and what to tell if it is not the first.

    Not on a device, where graphs are rewritten otherwise; not a quantised model, whose integers may be rounded at other
    places; not one that draws numbers, whose scores differ anyway; not a heavy one, which would be opened twice for
    seconds: these run at the first level.

    Args:
        loaded: The model.
        spec: Its input.
        rows: Rows that it takes at least.
        on_cpu: Whether it runs there.
        scores: The scores of items at a level.
    """
    light = loaded.size < HEAVY and bool(spec.shape) and small(rows, spec)
    drawn = any(draws(loaded, node) for node in loaded.model.graph.node)
    if not on_cpu or not light or loaded.quantised or drawn or not spec.dtype.startswith("float"):
        return LEVELS[0], ""
    x = np.random.default_rng(0).standard_normal((rows, *item_of(spec)), np.float32)
    half = bool(_HALF & set(loaded.known.dtypes.values()))
    return highest(lambda level: scores(level, x).astype(np.float64), _CLOSE_HALF if half else _CLOSE)


def opened(open_at: Callable[[str], _Opened], level: str) -> tuple[_Opened, str]:
    """What opens at a level, or at the highest below at which it does; and what to tell then.

    Raises:
        ModelError: it opens at none; the message is that of the level asked for.
    """
    try:
        return open_at(level), ""
    except ModelError as error:
        for lower in LEVELS[LEVELS.index(level) + 1 :]:
            try:
                return open_at(lower), _sentence("is refused by ONNX Runtime's optimiser", lower)
            except ModelError:
                continue
        raise error from None


def _sentence(fault: str, level: str) -> str:
    if not fault:
        return ""
    how = "without optimisation" if level == "off" else f"at its level {level!r}"
    return f"The model, or a part of it, {fault}, so it runs {how}: values are right, only slower."
