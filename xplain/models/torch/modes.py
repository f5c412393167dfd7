"""What the torch door does around a module's passes: watch, change rules, keep flags, read values."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from xplain.core.edits import Array
from xplain.core.outline import LayerSpec
from xplain.core.rules import Rules
from xplain.core.target import Target
from xplain.models.torch.axis_call import tree_leaves
from xplain.models.torch.guard import Pass
from xplain.models.torch.operators import facts_at, facts_of

__all__ = [
    "ActivationsSeen",
    "NonFiniteSeen",
    "backward_rule",
    "digest_of",
    "hooked",
    "kind_of",
]
__all__ += ["followed", "recurrent_backward", "to_numpy", "total", "tree_leaves", "visible"]

_FLAGS = threading.RLock()
"""Held while flags of cuDNN are changed: they are the process's, and each thread puts back what it found."""


class ActivationsSeen(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its hooks
    """Watches a forward pass for activations that clip and for attention, be they modules or functions.

    Args:
        layers: Grows with the layers that ran, in order.
    """

    def __init__(self, layers: Sequence[LayerSpec]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()
        self.attended = ""
        self.draws = ""  # an operator that draws random numbers
        self.mixer = ""  # an operator that looks at all rows of a batch, to fit its whole numbers to them
        self._layers = layers

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = facts_at(func)
        if known.activation and (not known.clamps or _lower_bound(args, kwargs) is not None):
            self.names.add(known.activation)
        if func.namespace in ("quantized", "onednn") and "dynamic" in str(func) and "fp16" not in str(func):
            self.mixer = str(func).rpartition(".")[0]
        if _may_draw(func, args, kwargs or {}):
            self.draws = str(func).rpartition(".")[0]
        if self._layers and _attends(str(func), args):
            self.attended = self._layers[-1].name
        return func(*args, **(kwargs or {}))


def _may_draw(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether an operator may draw random numbers; attention does where it drops some of its weights."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    names = [one.name for one in func._schema.arguments]  # noqa: SLF001 - torch shows an operator's schema nowhere else
    given = dict(zip(names, args, strict=False)) | kwargs
    return "dropout_p" not in names or bool(given.get("dropout_p"))


def _lower_bound(args: Any, kwargs: Any) -> Any:
    return args[1] if len(args) > 1 else (kwargs or {}).get("min")


def _attends(operator: str, args: Any) -> bool:
    """Whether an operator is attention as a whole, or its softmax over a square ``[..., T, T]``."""
    if "softmax" not in operator:
        return "attention" in operator
    shape = args[0].shape
    return len(shape) > 2 and bool(shape[-1] == shape[-2] > 1)


class NonFiniteSeen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the first operator that makes numbers that are not finite from finite ones."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.first = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        odd = not self.first and any(map(_odd, tree_leaves((args, kwargs))))
        result = func(*args, **(kwargs or {}))
        if not self.first and not odd and any(map(_odd, tree_leaves(result))):
            self.first = str(func)
        return result


class IntegersSeen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches a forward pass for operators of quantised layers, which have no derivative."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: dict[str, None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in ("quantized", "onednn") or "quantize_per" in str(func):
            self.names[str(func).rpartition(".")[0]] = None
        return func(*args, **(kwargs or {}))


def _odd(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())


class ClippingRule(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its hooks
    """Passes on only positive cotangents where an activation clips; with ``everywhere`` also where it was clipped.

    Activations of their own kind are known at the dispatcher; ``follow`` marks those that are clamps.
    """

    def __init__(self, everywhere: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._everywhere = everywhere

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if facts_at(func).clips_back:
            positive = args[0].clamp(min=0)
            result = func(positive, *args[1:], **(kwargs or {}))
            if not self._everywhere:
                return result
            return (positive, *result[1:]) if isinstance(result, tuple) else positive
        return func(*args, **(kwargs or {}))

    def follow(self, summed: torch.Tensor) -> None:
        """Mark every clamp with a lower bound that led to ``summed``; the marks go with its graph."""
        waiting, seen = [summed.grad_fn], set()
        while waiting:
            step = waiting.pop()
            if step is None or step in seen:
                continue
            seen.add(step)
            waiting += [before for before, _ in step.next_functions]
            if facts_of(step.name()).clamps and getattr(step, "_saved_min", None) is not None:
                step.register_prehook(_positive)
                if self._everywhere:
                    step.register_hook(lambda _found, given: _positive(given))


def _positive(cotangents: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(one.clamp(min=0) for one in cotangents)


def followed(rule: Any, summed: torch.Tensor) -> Any:
    """A rule of ``backward_rule``, told what led to the tensor whose backward pass it is for."""
    if isinstance(rule, ClippingRule):
        rule.follow(summed)
    return rule


def backward_rule(rules: Rules) -> Any:
    """A context for the backward pass that does what a table says; None for a table that autograd cannot follow."""
    if not rules.entries and not rules.biases:
        return nullcontext()
    return ClippingRule(everywhere=rules.clipping == "deconvnet") if rules.clipping else None


def visible(module: torch.nn.Module) -> bool:
    """Whether what a module returns can be seen; a TorchScript module calls no hooks."""
    return not isinstance(module, torch.jit.ScriptModule)


@contextmanager
def hooked(
    module: torch.nn.Module, number: int | None, calls: list[Any], replacement: torch.Tensor | None, here: Pass
) -> Iterator[None]:
    """Collect what a layer returns at each call of a pass, or replace it (at one call, or at all)."""
    count = 0

    def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal count
        if not here.mine:
            return output
        count += 1
        if replacement is not None:
            return replacement if number is None or number == count - 1 else output
        if not isinstance(output, torch.Tensor):
            calls.append(output)
            return output
        if here.swept and not output.requires_grad and output.is_floating_point():
            output = output.detach().requires_grad_()
        calls.append(output)
        return output.clone()  # an operator in place would change what was collected

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def recurrent_backward(module: torch.nn.Module) -> Iterator[None]:
    """Recurrent kernels of cuDNN have no backward pass in eval mode; the plain ones have."""
    recurrent = [one for one in module.modules() if isinstance(one, torch.nn.RNNBase)]
    if not any(one.is_cuda for part in recurrent for one in part.parameters()):
        yield
        return
    with _FLAGS, torch.backends.cudnn.flags(enabled=False):
        yield


def total(target: Target, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The target summed over the batch; its gradient at one item is that item's own."""
    first = values[target.tensors[0]]

    def like(array: Array) -> torch.Tensor:
        there = torch.from_numpy(np.ascontiguousarray(array)).to(first.device)
        return there.to(first.dtype) if there.is_floating_point() else there

    summed: torch.Tensor = target.total(values, like)
    return summed


def to_numpy(tensor: torch.Tensor) -> Array:
    """A tensor as float32, or float64 where it is that, on the CPU."""
    kind = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    tensor = tensor.dequantize() if tensor.is_quantized else tensor
    return np.asarray(tensor.detach().to(device="cpu", dtype=kind).numpy())


def kind_of(tensor: torch.Tensor) -> str:
    """Type and shape of a tensor for a message."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def digest_of(module: torch.nn.Module) -> str:
    """sha256 over the classes, names and content of everything in the state."""
    sha = hashlib.sha256(repr(module).encode())
    for name, kept in sorted(module.state_dict().items()):
        for tensor in tree_leaves(kept):  # quantised layers keep a pair of weight and bias
            if isinstance(tensor, torch.Tensor):
                sha.update(f"{name} {kind_of(tensor)}".encode())
                whole = tensor.detach().cpu()
                whole = whole.dequantize() if whole.is_quantized else whole.to_dense()
                sha.update(whole.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
