"""Where a module's own code lets no gradient through, and what can be done about it.

``torch.no_grad()`` and ``torch.inference_mode()`` inside ``forward`` say that nothing there is trained. They do not
change what the module computes, so where a sweep finds no path without them, it is made with them undone.
``x.detach()`` means a gradient to end there; it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from xplain.core.errors import NoPath, UsageError
from xplain.core.swept import GATE
from xplain.core.target import Target
from xplain.models.torch.attention import AttentionsSeen, pulled
from xplain.models.torch.modes import IntegersSeen, followed, total, tree_leaves
from xplain.models.torch.operators import facts_at

__all__ = ["CutsSeen", "GradKept", "NormGradients", "gradients", "refuse_quantised", "without_items"]

_QUANTISED = "{} of quantised layers, without a derivative; explain the module as it was before it was quantised"

Found: TypeAlias = dict[str, torch.Tensor]


class GradKept(TorchFunctionMode):
    """Every operator is recorded for the backward pass, also where the module's code says not to."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
            return func(*args, **(kwargs or {}))
        with torch.inference_mode(False), torch.enable_grad():
            return func(*args, **(kwargs or {}))


def gradients(
    forward: Callable[[], Found],
    target: Target,
    rule: Any,
    taps: Sequence[str],
    seen: AttentionsSeen | None,
) -> tuple[Found, dict[str, torch.Tensor | None]]:
    """The values of a forward pass and the gradients of a target at taps; made again where one does not arrive.

    Args:
        forward: Runs the module.
        target: What is pulled back.
        rule: How the clipping activations pass it.
        taps: Where gradients are wanted.
        seen: The attention among them.

    Raises:
        NoPath: no gradient arrives at a tap.
    """

    def swept() -> tuple[Found, dict[str, torch.Tensor | None]]:
        found = forward()
        summed = total(target, found)
        if without_formula(summed, [found[tap] for tap in taps if tap in found]):
            return found, dict.fromkeys(taps)
        wanted = [*taps, *(name for name in found if name.startswith(GATE))]
        with followed(rule, summed), NormGradients():
            return found, pulled(summed, found, wanted, seen)

    try:
        found, cotangents = swept()
        arrived = all(cotangents[tap] is not None for tap in taps)
    except RuntimeError as error:
        if "nference tensor" not in str(error):  # of inference_mode, of which nothing can be recorded
            raise
        arrived = False
    if arrived:
        return found, cotangents
    with GradKept():
        found, cotangents = swept()
    if lost := [tap for tap in taps if cotangents[tap] is None]:
        with GradKept(), CutsSeen() as cuts, IntegersSeen() as integers:
            forward()
        passed = _QUANTISED.format(" and ".join(integers.names))
        told = f"it passes {passed}" if integers.names else cuts.told
        raise NoPath(f"There is no path from {lost[0]!r} to target {target.name!r} with a derivative: {told}.")
    return found, cotangents


class NormGradients(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its hooks
    """The gradients that reach batch norms of one row lie as torch's formula takes them to lie.

    Of a batch of one, torch (2.13 and 2.14, on the CPU) takes a gradient with strides ``(C, 1, W * C, C)`` for one with
    channels first, and returns numbers of other places. Tokens that became a picture have such: EfficientFormer's
    gradient had a cosine of -0.05 with the true one.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator of the backward pass."""
        if facts_at(func).misreads and args[0].shape[0] == 1 and not args[0].is_contiguous():
            args = (args[0].clone(memory_format=torch.contiguous_format), *args[1:])
        return func(*args, **(kwargs or {}))


def without_formula(summed: torch.Tensor, taps: Sequence[torch.Tensor]) -> bool:
    """Whether an operator that torch has no derivative of lies between a target and a tap.

    Torch would pass nothing back there and go on, so that what goes past it alone would be taken for the gradient.
    """
    own = {id(tap) for tap in taps}
    ends = {tap.grad_fn for tap in taps if tap.grad_fn is not None}

    def below(starts: Sequence[Any], wanted: Callable[[Any], bool]) -> list[Any]:
        seen, waiting, hits = set(starts), list(starts), []
        while waiting:
            step = waiting.pop()
            if wanted(step):
                hits.append(step)
            if step in ends:
                continue
            fresh = {one for one, _ in step.next_functions if one is not None} - seen
            seen |= fresh
            waiting += fresh
        return hits

    def tapped(step: Any) -> bool:
        return step in ends or id(getattr(step, "variable", None)) in own

    lacking = below([summed.grad_fn], lambda step: "NotImplemented" in step.name()) if summed.grad_fn else []
    return bool(lacking and below(lacking, tapped))


def without_items(
    forward: Callable[..., Found], blank: torch.Tensor, layer: str, values: torch.Tensor, wanted: Sequence[str]
) -> Found:
    """What is wanted when a layer returns ``values``, whatever went in.

    Args:
        forward: Batch, names and layers' values in place of their own, to what is named.
        blank: One item of zeros.
        layer: The layer.
        values: Its values, of any number of items.
        wanted: What is named.

    Raises:
        UsageError: it depends on the item also past the layer.
    """

    def summed(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([one.sum() for one in forward(x, wanted, {layer: values[:1].detach()}).values()]).sum()

    def depends() -> bool:
        x = blank.clone().requires_grad_()
        total = summed(x)
        return total.requires_grad and torch.autograd.grad(total, x, allow_unused=True)[0] is not None

    past = False
    with torch.inference_mode(False), torch.enable_grad():
        try:
            with GradKept():
                past = blank.is_floating_point() and depends()
        except RuntimeError:  # such as parameters changed in place, which only no_grad allows
            past = depends()
    if past:
        raise UsageError(
            f"The scores depend on the input also past layer {layer!r}, so they cannot be computed from it alone. "
            "Name a layer that everything passes through."
        )
    return forward(blank.expand(len(values), *blank.shape[1:]), wanted, {layer: values})


@contextmanager
def refuse_quantised(source: str) -> Iterator[None]:
    """Around a forward pass of a module that is made a graph with rules: its operators must have a derivative.

    Raises:
        NoPath: quantised ones were among them.
    """
    with IntegersSeen() as seen:
        yield
    if seen.names:
        raise NoPath(f"{source} computes {_QUANTISED.format(' and '.join(seen.names))}.")


class CutsSeen(TorchFunctionMode):
    """Watches a forward pass for operators that take what has a gradient and return what has none."""

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[str, None] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given, made = (
            [one for one in tree_leaves(value) if isinstance(one, torch.Tensor)] for value in ((args, kwargs), result)
        )
        if made and any(one.requires_grad for one in given) and not any(one.requires_grad for one in made):
            self._names[str(getattr(func, "__name__", func))] = None
        return result

    @property
    def told(self) -> str:
        """Where a path may be cut, as the end of a sentence."""
        if not self._names:
            return "nothing that is computed from it leads there"
        return f"it ends at {', '.join(self._names)}, without a derivative"
