"""A torch module of several inputs as one that takes them side by side in a row; see ``xplain.models.joint``.

    row [N, P] -> slices -> module(left=..., right=...)

Whole numbers that an ``nn.Embedding`` looks up have no gradient and no half-way: the row holds the vectors they are
looked up as, and these take the place of what the embedding returns. Whether the numbers go anywhere else, nobody need
believe: with other numbers and the same row the module must say the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from xplain.core.declaring.wording import option
from xplain.core.errors import ModelError, UsageError, unknown
from xplain.core.segments import Segment
from xplain.models.options import TorchOptions
from xplain.models.outlines import not_finite
from xplain.models.torch.guard import eval_mode
from xplain.models.torch.look import home
from xplain.models.torch.modes import tree_leaves
from xplain.models.torch.module import TorchModule

__all__ = ["joined_module"]

_CLOSE = 1e-4
"""Share of the largest number by which answers may differ that are meant to be the same."""


def joined_module(
    module: torch.nn.Module,
    names: Sequence[str],
    example: Mapping[str, Any] | None,
    fixed: Mapping[str, Any],
    options: TorchOptions,
) -> tuple[TorchModule, tuple[Segment, ...]]:
    """A model that takes these inputs of a module side by side, and what its row holds.

    Args:
        module: The module.
        names: Arguments of its ``forward``.
        example: Items of each, with the batch axis.
        fixed: Values of its other arguments, with or without a batch axis of 1.
        options: How it is loaded.

    Raises:
        UnknownName: ``forward`` has no such argument.
        UsageError: there is no example, or whole numbers go elsewhere than into one embedding.
        ModelError: the module fails on the example.
    """
    source = f"torch {type(module).__name__}"
    _check_arguments(module, [*names, *fixed], source)
    if example is None:
        raise UsageError(
            f"{source} does not say what its inputs are like. Give items of each, ",
            option("example", python="(left[:1], right[:1])"),
            ".",
        )
    if missing := [name for name in names if name not in example]:
        raise UsageError(
            f"Items lack input {missing[0]!r}; the example has to show all of {', '.join(map(repr, names))}."
        )
    where = home(module)[1]
    one = {name: _tensor(example[name], name).to(where)[:1] for name in names}
    segments, tables = [], {}
    start = 0
    for name in names:
        extents, table = tuple(one[name].shape[1:]), None
        if not extents:
            raise UsageError(f"Input {name!r} of {source} is [N], a number per item; give it an axis: [N, 1].")
        if not one[name].is_floating_point():
            tables[name] = _embedding(module, name, one, _held(fixed, where), source)
            table = tables[name].weight.detach().float().cpu().numpy()
        shape = extents if table is None else (*extents, *table.shape[1:])
        segments.append(Segment(name, shape, start, table, extents))
        start = segments[-1].stop
    row = _Row(module, tuple(segments), tables, _held(fixed, where))
    _check_same(row, module, one, source)
    inner = TorchModule(row, replace(options, layout=options.layout or "NS"))
    inner.outline = replace(inner.outline, source=source, facts={**inner.outline.facts, **not_finite(fixed)})
    return inner, tuple(segments)


class _Row(torch.nn.Module):
    """A module that takes its inputs side by side.

    Args:
        module: The module itself.
        segments: What a row holds.
        tables: What looks whole numbers up, by the input that holds them.
        fixed: Values of the other arguments.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        segments: tuple[Segment, ...],
        tables: Mapping[str, torch.nn.Embedding],
        fixed: Mapping[str, torch.Tensor],
    ) -> None:
        super().__init__()
        self.module = module
        self.segments, self.tables, self.held = segments, dict(tables), list(fixed)
        self.stand_in = 0  # the number that is given where the row holds what numbers are looked up as
        for name, value in fixed.items():
            self.register_buffer(f"fixed_{name}", value)

    def forward(self, row: torch.Tensor) -> Any:
        """What the module says of the parts of a row ``[N, P]``."""
        parts: dict[str, torch.Tensor] = {}
        with ExitStack() as stack:
            for one in self.segments:
                part = row[:, one.start : one.stop].reshape(-1, *one.shape)
                if one.table is not None:
                    ids = torch.full((len(row), *one.extents), self.stand_in, dtype=torch.int64, device=row.device)
                    stack.enter_context(_instead(self.tables[one.name], ids, part))
                    part = ids
                parts[one.name] = part
            for name in self.held:
                value = getattr(self, f"fixed_{name}")
                parts[name] = value.expand(len(row), *value.shape[1:]) if value.ndim else value
            return self.module(**parts)


@contextmanager
def _instead(embedding: torch.nn.Embedding, ids: torch.Tensor, vectors: torch.Tensor) -> Iterator[None]:
    """The embedding returns these vectors for these numbers."""

    def put(_: Any, given: tuple[Any, ...], returned: Any) -> Any:
        return vectors if given and given[0] is ids else returned

    handle = embedding.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


def _check_arguments(module: torch.nn.Module, names: Sequence[str], source: str) -> None:
    known = inspect.signature(module.forward).parameters
    if any(one.kind is one.VAR_KEYWORD for one in known.values()):
        return
    for name in names:
        if name not in known:
            raise unknown(f"input of {source}", name, list(known))


def _tensor(given: Any, name: str) -> torch.Tensor:
    found = given.detach() if isinstance(given, torch.Tensor) else torch.from_numpy(np.array(given))
    if found.ndim < 1 or len(found) < 1:
        raise UsageError(f"The example of input {name!r} is {list(found.shape)}; give at least one item, [1, ...].")
    return found.float() if found.dtype == torch.float64 else found


def _held(fixed: Mapping[str, Any], where: torch.device) -> dict[str, torch.Tensor]:
    """Values of other arguments, with a batch axis of 1; a single number has none."""
    found = {}
    for name, value in fixed.items():
        one = torch.as_tensor(np.asarray(value) if not isinstance(value, torch.Tensor) else value).to(where)
        one = one.float() if one.dtype == torch.float64 else one
        found[name] = one if not one.ndim or len(one) == 1 else one[None]
    return found


def _embedding(
    module: torch.nn.Module,
    name: str,
    example: Mapping[str, torch.Tensor],
    fixed: Mapping[str, torch.Tensor],
    source: str,
) -> torch.nn.Embedding:
    """The one embedding that looks up the numbers of an input."""
    found: list[torch.nn.Embedding] = []

    def seen(embedding: Any, given: tuple[Any, ...], _: Any) -> None:
        if given and given[0] is example[name]:
            found.append(embedding)

    hooks = [one.register_forward_hook(seen) for one in module.modules() if isinstance(one, torch.nn.Embedding)]
    try:
        _called(module, {**example, **fixed}, source)
    finally:
        for hook in hooks:
            hook.remove()
    if len(found) != 1:
        raise _elsewhere(name, source, f"{len(found)} of its nn.Embedding look up")
    return found[0]


def _check_same(row: _Row, module: torch.nn.Module, example: Mapping[str, torch.Tensor], source: str) -> None:
    """The row says what its parts say, and nothing else of whole numbers counts than what they are looked up as."""
    held = {name: getattr(row, f"fixed_{name}") for name in row.held}
    expected = _called(module, {**example, **held}, source)
    parts = []
    for one in row.segments:
        part = example[one.name]
        part = row.tables[one.name].weight.detach()[part] if one.table is not None else part
        parts.append(part.reshape(1, -1).float())
    whole = torch.cat(parts, dim=1)
    for number in (0, 1):
        row.stand_in = number
        for found, other in zip(_called(row, {"row": whole}, source), expected, strict=True):
            apart = float((found - other).abs().max()) if found.numel() else 0.0
            if not apart <= _CLOSE * max(1.0, float(other.abs().max())):
                looked = next((s.name for s in row.segments if s.table is not None), "")
                raise _elsewhere(looked, source, "besides an embedding something else reads")
    row.stand_in = 0


def _called(module: torch.nn.Module, given: Mapping[str, torch.Tensor], source: str) -> list[torch.Tensor]:
    with eval_mode(module), torch.no_grad():
        try:
            returned = module(**given)
        except Exception as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0].removesuffix(".")
            told = ", ".join(f"{name} {list(one.shape)}" for name, one in given.items())
            raise ModelError(f"{source} fails on the example ({told}): {said}.") from error
    return [leaf.float() for leaf in tree_leaves(returned) if isinstance(leaf, torch.Tensor)]


def _elsewhere(name: str, source: str, why: str) -> UsageError:
    return UsageError(
        f"Input {name!r} of {source} holds whole numbers, which are explained by what one nn.Embedding looks them up "
        f"as, but {why} them. Leave it out of the inputs, and hold its value with ",
        option("fixed", python=f"{{{name!r}: value}}", shell=f"{name}=VALUE"),
        ".",
    )
