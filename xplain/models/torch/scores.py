"""Which of the tensors that a torch module returns is its scores, and the logits behind probabilities.

A forward pass is watched for the few functions that lead from logits to probabilities and around them. From the
tensor that is returned the steps are undone, as ``xplain.graph.outline.links`` does in a file: back through views,
casts, picked classes, joined heads, a factor, a clamp, to a softmax or sigmoid, and what was done behind it is done
to the logits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from xplain.core.errors import ModelError, unknown
from xplain.core.outline import Kind, called_scores
from xplain.models.reading import score_rows
from xplain.models.torch.modes import kind_of
from xplain.models.torch.operators import facts_of

__all__ = ["Behind", "LogitsSeen", "chosen", "named_outputs", "ranked", "score_rows_of"]

_DEEPEST = 64
_SHIFT = 1e-3
_ANYTHING = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Behind:
    """The logits behind a tensor; ``link`` is "none" where classes were left out. ``op`` is what was undone."""

    logits: torch.Tensor
    link: Literal["softmax", "sigmoid", "none"]
    level: Literal["p", "log p"]
    op: str


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    element: int | None = None


class LogitsSeen(TorchFunctionMode):
    """Watches a forward pass for what may lead from logits to what is returned.

    Args:
        most: Results of more elements than this are not kept; None keeps all, for the first look at one item.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most = most
        self._steps: dict[int, _Step] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        full = getattr(func, "__name__", "").split(".")[0]
        name = full.strip("_")
        if not facts_of(name).followed:
            return func(*args, **kwargs)
        in_place = full.endswith("_") and not full.startswith("__") and args and isinstance(args[0], torch.Tensor)
        before = args
        if in_place:  # what goes in is overwritten
            kept = args[0].clone()
            if (made := self._steps.get(id(args[0]))) is not None:
                self._steps[id(kept)] = replace(made, result=kept)
            before = (kept, *args[1:])
        result = func(*args, **kwargs)
        if not in_place and any(result is one for one in args):  # x.float() of float32: x itself, made as it was
            return result
        function = getattr(torch.Tensor, name, func) if in_place else func
        for k, one in enumerate(result) if isinstance(result, (tuple, list)) else [(None, result)]:
            if isinstance(one, torch.Tensor) and (self._most is None or one.numel() <= self._most):
                self._steps[id(one)] = _Step(name, function, before, kwargs, one, k)
        return result

    # ------------------------------------------------------------------ back to the logits

    def behind(self, tensor: torch.Tensor, depth: int = 0) -> Behind | None:
        """The logits behind a tensor; None where it is not made of probabilities in a way that can be undone."""
        step = self._step(tensor)
        if step is None or depth > _DEEPEST:
            return None
        first: Any = step.args[0] if step.args else step.kwargs.get("input", step.kwargs.get("tensors"))
        what = facts_of(step.name)
        if what.link and isinstance(first, torch.Tensor):
            return Behind(-first if what.negates else first, what.link, what.level, step.name)
        if (written := self._written_out(step)) is not None:
            return written
        if step.name in ("topk", "sort", "max") and step.element in (0, None):
            return self.behind(first, depth + 1) if step.name != "max" else None
        if step.name in ("exp", "log"):
            found, wanted = self.behind(first, depth + 1), "log p" if step.name == "exp" else "p"
            return None if found is None or found.level != wanted else replace(found, level=_OTHER[found.level])
        if what.joins:
            return self._joined(step, first, depth)
        if what.repacks or what.selects:
            found = self.behind(first, depth + 1) if isinstance(first, torch.Tensor) else None
            if found is None or found.logits.shape != first.shape:
                return None
            again = step.function(found.logits, *step.args[1:], **step.kwargs)
            again = again if step.element is None else again[step.element]
            whole = found.link == "sigmoid" or again.numel() == first.numel()
            return replace(found, logits=again, link=found.link if whole else "none")
        return self._scaled(step, depth)

    def _step(self, tensor: Any) -> _Step | None:
        step = self._steps.get(id(tensor))
        return step if step is not None and step.result is tensor else None

    def _made(self, tensor: Any, *names: str) -> _Step | None:
        step = self._step(tensor) if isinstance(tensor, torch.Tensor) else None
        while step is not None and step.name not in names and facts_of(step.name).repacks:
            step = self._step(step.args[0])
        return step if step is not None and step.name in names else None

    def _joined(self, step: _Step, parts: Any, depth: int) -> Behind | None:
        found = [self.behind(one, depth + 1) for one in parts]
        inner = [one for one in found if one is not None]
        if len(inner) < len(found) or len({one.level for one in inner}) > 1:
            return None
        if any(one.logits.shape != part.shape for one, part in zip(inner, parts, strict=True)):
            return None
        link: Literal["sigmoid", "none"] = "sigmoid" if {one.link for one in inner} == {"sigmoid"} else "none"
        again = step.function([one.logits for one in inner], *step.args[1:], **step.kwargs)
        return replace(inner[0], logits=again, link=link)

    def _written_out(self, step: _Step) -> Behind | None:
        """Softmax, log-softmax and sigmoid in their parts."""
        args = step.args
        if step.name in ("div", "true_divide") and len(args) > 1:
            raised, total = self._made(args[0], "exp"), self._made(args[1], "sum")
            if raised is not None and total is not None and self._made(total.args[0], "exp") is not None:
                summed = self._made(total.args[0], "exp")
                if summed is not None and self._alike(summed.args[0], raised.args[0]):
                    return Behind(self._unshifted(raised.args[0]), "softmax", "p", "softmax")
        log = self._made(args[1], "logsumexp") if step.name == "sub" and len(args) > 1 else None
        if log is not None and self._alike(log.args[0], args[0]):
            return Behind(self._unshifted(args[0]), "softmax", "log p", "log_softmax")
        below = None
        if (step.name == "rdiv" and args[1] == 1) or step.name == "reciprocal":
            below = self._made(args[0], "add")
        if below is not None:
            one, rest = (below.args[1], below.args[0]) if _number(below.args[1]) is not None else below.args[:2]
            raised = self._made(rest, "exp") if _number(one) == 1.0 else None
            if raised is not None:
                negative = self._made(raised.args[0], "neg")
                logits = negative.args[0] if negative is not None else -raised.args[0]
                return Behind(logits, "sigmoid", "p", "sigmoid")
        tensor, factor, shift = step.result, 1.0, 0.0
        for _ in range(3):
            moved = self._affine(self._step(tensor))
            if moved is None:
                break
            tensor, factor, shift = moved[0], factor * moved[1], shift + factor * moved[2]
        tanh = self._made(tensor, "tanh")
        if tanh is not None and (factor, shift) == (0.5, 0.5):
            return Behind(2.0 * tanh.args[0], "sigmoid", "p", "sigmoid")
        return None

    def _unshifted(self, z: torch.Tensor) -> torch.Tensor:
        step = self._made(z, "sub")
        if step is not None and self._made(step.args[1], "amax", "max") is not None:
            return step.args[0] if isinstance(step.args[0], torch.Tensor) else z
        return z

    def _alike(self, one: Any, other: Any) -> bool:
        """Whether two tensors are one, or were made in the same way of one."""
        a, b = self._step(one), self._step(other)
        if one is other:
            return True
        return a is not None and b is not None and a.name == b.name and a.args[:1] and a.args[0] is b.args[0]  # type: ignore[return-value]

    def _affine(self, step: _Step | None) -> tuple[Any, float, float] | None:
        """The tensor, the factor and the number added, of a step that multiplies by a number or adds one."""
        if step is None:
            return None
        if step.name == "neg":
            return step.args[0], -1.0, 0.0
        if len(step.args) < 2 or step.name not in ("mul", "div", "true_divide", "add", "sub", "rsub") or step.kwargs:
            return None
        a, b = step.args[:2]
        left, right = _number(a), _number(b)
        if (left is None) == (right is None):
            return None
        number, tensor = (left, b) if right is None else (right, a)
        assert number is not None
        if step.name == "mul":
            return tensor, number, 0.0
        if step.name == "add":
            return tensor, 1.0, number
        if right is None:
            return (tensor, -1.0, number) if step.name == "sub" else None
        if step.name == "rsub":
            return tensor, -1.0, number
        return (tensor, 1.0, -number) if step.name == "sub" else (tensor, 1.0 / number, 0.0) if number else None

    def _scaled(self, step: _Step, depth: int) -> Behind | None:
        if step.name.startswith(("clamp", "clip")):
            low, high = _clamped(step)
            return self.behind(step.args[0], depth + 1) if low <= _SHIFT and high >= 1.0 - _SHIFT else None
        moved = self._affine(step)
        found = None if moved is None else self.behind(moved[0], depth + 1)
        if moved is None or found is None or found.level != "p":
            return None
        _, factor, shift = moved
        if factor > 0 and abs(shift) <= _SHIFT:
            return found
        if (factor, shift) == (-1.0, 1.0) and found.link == "sigmoid":
            return replace(found, logits=-found.logits)
        return None

    # ------------------------------------------------------------------ what numbers are that cannot be undone

    def kind(self, tensor: torch.Tensor) -> Kind:
        """What the numbers of a tensor are, as far as the steps that made it tell."""
        low, high = self._bounds(tensor, 0)
        if low >= 0.0 and high <= 1.0 + 1e-6:
            return "probabilities"
        return "scores" if tensor.ndim < 2 or tensor[0].numel() == 1 else "logits"

    def _bounds(self, tensor: Any, depth: int) -> tuple[float, float]:
        if (number := _number(tensor)) is not None:
            return number, number
        step = self._step(tensor)
        if step is None or depth > _DEEPEST:
            return _ANYTHING
        first: Any = step.args[0] if step.args else step.kwargs.get("input", step.kwargs.get("tensors"))
        what = facts_of(step.name)
        if what.link or what.bounded:
            return what.low, what.high
        if step.name.startswith(("clamp", "clip")):
            low, high = _clamped(step)
            inside = self._bounds(first, depth + 1)
            return max(low, inside[0]), min(high, inside[1])
        if what.joins:
            sides = [self._bounds(one, depth + 1) for one in first]
            return min(a for a, _ in sides), max(b for _, b in sides)
        if what.within:
            return self._bounds(first, depth + 1)
        if step.name in ("mul", "add", "sub", "div", "true_divide") and len(step.args) > 1:
            (a, b), (c, d) = (self._bounds(one, depth + 1) for one in step.args[:2])
            if any(math.isinf(v) for v in (a, b, c, d)):
                return _ANYTHING
            if step.name in ("add", "sub"):
                return (a + c, b + d) if step.name == "add" else (a - d, b - c)
            if step.name != "mul" and c <= 0.0 <= d:
                return _ANYTHING
            c, d = (c, d) if step.name == "mul" else (1.0 / d, 1.0 / c)
            return min(a * c, a * d, b * c, b * d), max(a * c, a * d, b * c, b * d)
        return _ANYTHING


_OTHER: Mapping[str, Literal["p", "log p"]] = {"p": "log p", "log p": "p"}


def _number(value: Any) -> float | None:
    """A number, or a tensor that holds one."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    single = isinstance(value, torch.Tensor) and value.ndim == 0 and not value.requires_grad
    return float(value) if single else None


def _clamped(step: _Step) -> tuple[float, float]:
    given = list(step.args[1:])
    if step.name == "clamp_max":
        given = [None, *given]
    low = given[0] if given else step.kwargs.get("min")
    high = given[1] if len(given) > 1 else step.kwargs.get("max")
    return (
        -math.inf if (number := _number(low)) is None else number,
        math.inf if (number := _number(high)) is None else number,
    )


# ---------------------------------------------------------------------- which tensor


def named_outputs(output: Any) -> dict[str, torch.Tensor]:
    """The tensors that a module returns, as a person names them.

    A tensor is ``output``; of a dictionary or an object, each has its key; of a tuple, ``output:0`` and so on.
    """
    if isinstance(output, torch.Tensor):
        return {"output": output}
    if isinstance(output, Mapping):
        named = {str(key): value for key, value in output.items()}
    elif hasattr(output, "_fields"):
        named = dict(zip(output._fields, output, strict=True))
    elif isinstance(output, (tuple, list)):
        named = {f"output:{k}": value for k, value in enumerate(output)}
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        named = {one.name: getattr(output, one.name) for one in dataclasses.fields(output)}
    elif hasattr(output, "__dict__"):
        named = {key: value for key, value in vars(output).items() if not key.startswith("_")}
    else:
        named = {}
    found: dict[str, torch.Tensor] = {}
    for name, value in named.items():
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, (tuple, list, Mapping)):
            found |= {f"{name}.{inner.removeprefix('output:')}": one for inner, one in named_outputs(value).items()}
    return found


def ranked(
    outputs: Mapping[str, torch.Tensor], seen: LogitsSeen, rows: int, features: Collection[str] = ()
) -> list[str]:
    """Names of outputs that have a row per item, likeliest scores first.

    What is called so comes first, then what ends in a softmax or sigmoid, then what is no feature of another output,
    then what has one axis of classes.
    """
    fits = {name: one for name, one in outputs.items() if one.ndim > 0 and one.shape[0] == rows}

    def likely(name: str) -> tuple[int, ...]:
        one = fits[name]
        wide = sum(extent > 1 for extent in one.shape[1:])
        linked, last = seen.behind(one) is not None, name not in features
        flags = (one.is_floating_point(), wide <= 1), (linked, last, wide == 1)
        return (*map(int, flags[0]), called_scores(name), *map(int, flags[1]))

    return sorted(fits, key=likely, reverse=True)


def score_rows_of(scores: torch.Tensor, rows: int, source: str, name: str) -> torch.Tensor:
    """Scores as ``[R, K]``.

    Raises:
        ModelError: they are no row of scores for each of ``rows`` items.
    """
    if scores.ndim == 0 or scores.shape[0] != rows:
        raise ModelError(
            f"{source} returned {kind_of(scores)} for a batch of {rows}; accepted: one row of scores per item, a "
            "tensor [R, K], a tuple or dictionary with one, or an object with .logits."
        )
    wide = [extent for extent in scores.shape[1:] if extent != 1]
    if len(wide) > 1 or 0 in wide:
        score_rows(np.empty((1, *scores.shape[1:]), np.bool_), source, name)
    return scores.reshape(rows, wide[0] if wide else 1)


def chosen(
    outputs: Mapping[str, torch.Tensor], wanted: int | str | None, order: Sequence[str], source: str
) -> tuple[str, torch.Tensor]:
    """The output that is asked for, or the likeliest.

    Raises:
        UnknownName: no such output.
        ModelError: none can be scores.
    """
    names = list(outputs)
    if isinstance(wanted, int) and -len(names) <= wanted < len(names):
        return names[wanted], outputs[names[wanted]]
    if wanted is not None:
        if wanted not in outputs:
            raise unknown(f"output of {source}", str(wanted), names)
        return str(wanted), outputs[str(wanted)]
    if not order:
        raise ModelError(f"{source} returns no tensor with a row per item.")
    return order[0], outputs[order[0]]
