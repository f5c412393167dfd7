"""Attention matrices of a torch module, be they made by a softmax or inside a fused operator; the module is untouched.

Each call of attention is a layer ``attention#0``, ``attention#1`` ... in the order of calls, ``[N, heads, T, S]``. They
are seen at the dispatcher, where a module's, a function's and a compound operator's all arrive:

    softmax over the last axis of three or more      its result
    scaled_dot_product_attention, however computed   softmax(q k^T scale + mask), in float32 beside the fused one
    its backward pass                                d f / d A = (d f / d output) v^T

Nothing is replaced, so scores are those of the module as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from xplain.core.errors import ModelError
from xplain.core.outline import LayerSpec

__all__ = ["ATTENTION", "AttentionsSeen", "attention_number", "pulled"]

ATTENTION = "attention#"
"""How names of attention layers begin; no module can be called so in ``named_modules()`` but by intent."""

_SOFTMAX = ("_softmax", "_safe_softmax", "softmax")  # the last is whole only where a caller is in inference mode
_FUSED = "scaled_dot_product_"
_BACK = "_backward"


def attention_number(name: str) -> int | None:
    """Which call of attention a layer means; None for any other layer."""
    number = name.removeprefix(ATTENTION)
    return int(number) if number != name and number.isdecimal() else None


class AttentionsSeen(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its hooks
    """Watches passes of a module for attention.

    Args:
        rows: Items in the batch.
        wanted: Numbers of the calls whose matrices are kept.
        note: Called with the layer of each call, as it is made, and what the operator returned.

    ``embedded`` are the vectors that token ids were looked up as: gradients start there, as ids have none.
    ``values`` and ``cotangents`` hold ``[rows, heads, T, S]`` by number, the latter after a backward pass inside
    ``watching``.
    """

    def __init__(
        self, rows: int, wanted: Collection[int] = (), note: Callable[[LayerSpec, torch.Tensor], None] | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values: dict[int, torch.Tensor] = {}
        self.cotangents: dict[int, torch.Tensor] = {}
        self.heads: int | None = None
        self.embedded: list[torch.Tensor] = []
        self._rows, self._wanted, self._note = rows, frozenset(wanted), note
        self._count = 0
        self._made: dict[int, tuple[int, torch.Tensor]] = {}  # by where a result lies, which stays while it is held

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See what runs in the block; twice, for a forward and a backward pass."""
        with _Heads(self), self:
            yield

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name == "_softmax_backward_data":
            self._back(args[1], lambda: args[0])
        elif _FUSED in name:
            given = _named(func, args, kwargs or {})
            if name.endswith(_BACK):
                self._back(given["out"], lambda: _product(given["grad_out"], given))
            else:
                self._see(result[0] if isinstance(result, tuple) else result, lambda: _shares(given), _size(given))
        elif name in _SOFTMAX and args[0].ndim > 2 and args[1] in (-1, args[0].ndim - 1):
            self._see(result, lambda: result, tuple(result.shape))
        return result

    def _see(self, result: torch.Tensor, matrix: Callable[[], torch.Tensor], size: tuple[int, ...]) -> None:
        number, self._count = self._count, self._count + 1
        if self._note is not None:
            self._note(LayerSpec(f"{ATTENTION}{number}", "Softmax", (None, *self._split(size)[1:])), result)
        if number in self._wanted:
            self.values[number] = self._per_item(matrix().detach())
            self._made[result.data_ptr()] = (number, result)

    def _back(self, result: torch.Tensor, matrix: Callable[[], torch.Tensor]) -> None:
        number, _ = self._made.get(result.data_ptr(), (None, None))
        if number is not None:
            self.cotangents[number] = self._per_item(matrix().detach(), like=self.values[number])

    def _split(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """``[N, heads, T, S]`` of what may be ``[N * heads, T, S]``, as ``nn.MultiheadAttention`` has it."""
        if len(size) != 3:
            return size
        heads = self.heads if self.heads and size[0] % self.heads == 0 else 1
        return (size[0] // heads, heads, *size[1:])

    def _per_item(self, matrix: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
        shape = self._split(tuple(matrix.shape)) if like is None else tuple(like.shape)
        if shape[0] != self._rows:
            raise ModelError(
                f"Attention matrices are {list(matrix.shape)} for a batch of {self._rows}: it has no batch axis in "
                "front, as where windows are folded into the batch, so they cannot be told which item they belong to."
            )
        return matrix.reshape(shape)


def pulled(
    summed: torch.Tensor, found: Mapping[str, torch.Tensor], taps: Sequence[str], seen: AttentionsSeen | None
) -> dict[str, torch.Tensor | None]:
    """The gradients of a sum at taps; None where nothing leads there.

    Attention has no tensor to ask autograd for: its cotangent is seen on the way to the input.
    """
    if not summed.requires_grad:
        return dict.fromkeys(taps)
    leaves = list(dict.fromkeys("input" if attention_number(tap) is not None else tap for tap in taps))
    with nullcontext() if seen is None else seen.watching():
        able = [tap for tap in leaves if found[tap].requires_grad]  # or it lies where no gradient is recorded
        ends = [found[tap] for tap in able] + ([] if seen is None or found["input"].requires_grad else seen.embedded)
        gradients = torch.autograd.grad(summed, ends, allow_unused=True) if ends else ()
    cotangents: dict[str, torch.Tensor | None] = dict.fromkeys(leaves)
    cotangents |= zip(able, gradients, strict=False)  # token ids have no gradient: it ends where they are looked up
    for tap in taps:
        number = attention_number(tap)
        if number is not None and seen is not None:
            cotangents[tap] = seen.cotangents.get(number)
    return cotangents


class _Heads(TorchFunctionMode):
    """Tells how many heads a multi-head attention has that folds them into the batch, and where tokens are looked up.

    While a function mode is on, torch takes its modules' own way instead of one kernel for a whole encoder layer,
    inside which nothing could be seen.
    """

    def __init__(self, seen: AttentionsSeen) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.nn.functional.embedding, torch.embedding):
            result = func(*args, **kwargs)
            if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
                result = result.detach().requires_grad_()
                self._seen.embedded.append(result)
            return result
        if func is not torch.nn.functional.multi_head_attention_forward:
            return func(*args, **kwargs)
        self._seen.heads = kwargs["num_heads"] if "num_heads" in kwargs else args[4]
        try:
            return func(*args, **kwargs)
        finally:
            self._seen.heads = None


def _named(func: Any, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the names that the operator's schema gives them; ``grad_out`` has a spare underscore in one."""
    arguments = func._schema.arguments  # noqa: SLF001  (torch shows an operator's schema nowhere else)
    names = [one.name for one in arguments]
    given = {one.name: one.default_value for one in arguments if one.has_default_value()}
    given |= dict(zip(names, args, strict=False)) | dict(kwargs)
    return {name.rstrip("_"): value for name, value in given.items()}


def _size(given: Mapping[str, Any]) -> tuple[int, ...]:
    query, key = given["query"], given["key"]
    return (*query.shape[:-1], key.shape[-2])


def _precise(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _grouped(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Keys or values for every head of the queries, where several queries share one."""
    return x if x.shape[-3] == like.shape[-3] else x.repeat_interleave(like.shape[-3] // x.shape[-3], dim=-3)


def _shares(given: Mapping[str, Any]) -> torch.Tensor:
    """``softmax(q k^T scale + mask)``; a row that sees nothing is zero, as the fused operators have it."""
    query, mask = _precise(given["query"]), given.get("attn_mask", given.get("attn_bias"))
    scale = given.get("scale")
    scores = query @ _precise(_grouped(given["key"], query)).transpose(-1, -2)
    scores = scores * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if given.get("is_causal"):
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + _precise(mask)
    return torch.nan_to_num(torch.softmax(scores, -1), nan=0.0)


def _product(grad: torch.Tensor, given: Mapping[str, Any]) -> torch.Tensor:
    """The cotangent of the shares: ``(d f / d output) v^T``."""
    return _precise(grad) @ _precise(_grouped(given["value"], grad)).transpose(-1, -2)
