"""Sums of masks on the device, and what a time cannot show: graphs that replay, streams that wait for one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from gpu_cases import Bench, Case, relative, with_peers

__all__ = ["graphs", "streams", "sums"]


def summed(b: Bench, name: str, *tensors: Any, **options: Any) -> Any:
    """A call of an accumulate kernel with its workspace at hand."""
    kernel = getattr(b.kernels, name)
    words = kernel(*tensors, **options, stream=b.stream)
    workspace = torch.empty(max(1, words), device=b.device, dtype=torch.float64)
    return lambda: kernel(*tensors, workspace, **options, stream=b.stream)


def sums(b: Bench) -> Iterator[Case]:
    """Sums over soft grids, windows and coalitions, against torch's product with masks that are stored."""
    side, samples = (24, 40) if b.tiny else (224, 4000)
    one = torch.ones(1, 1, side, side, device=b.device)
    masks = torch.empty(samples, 1, side, side, device=b.device)
    grid = (7, 0, 7, 7, 0.5)
    b.kernels.occlude_soft_grid(one, one * 0, None, None, masks, grid, samples=samples, start=0, stream=b.stream)
    stored = masks.reshape(samples, -1)
    for kinds in (1, 10):
        weights = torch.randn(1, samples, kinds, device=b.device, dtype=torch.float64)
        narrow = weights[0].T.float().contiguous()
        out = torch.empty(1, kinds, side, side, device=b.device, dtype=torch.float64)
        yield Case(
            f"sum of {samples} soft grids, {kinds} kinds",
            summed(b, "accumulate_soft_grid", weights, out, grid, squared=False),
            [out],
            lambda w=weights, o=out: relative(o.reshape(o.shape[1], -1), w[0].T @ stored.double()),
            1e-5, "copy", out.nbytes + weights.nbytes,
            peers=with_peers(b, lambda n=narrow: n @ stored),
        )  # fmt: skip
    corner = torch.randint(-2, side, (1, samples, 2), device=b.device, dtype=torch.int32)
    boxes = torch.cat([corner, corner + side // 8], dim=2)
    words = torch.randint(-(2**31), 2**31 - 1, (1, -(-samples // 32), 50), device=b.device).to(torch.int32)
    labels = torch.randint(-1, 50, (1, side, side), device=b.device, dtype=torch.int32)
    weights = torch.randn(1, samples, 1, device=b.device, dtype=torch.float64)
    index = torch.arange(samples, device=b.device)
    yy, xx = torch.arange(side, device=b.device)[:, None], torch.arange(side, device=b.device)[None]

    def by_windows() -> torch.Tensor:
        y0, x0, y1, x1 = (v[:, None, None] for v in boxes[0].unbind(-1))
        inside = (yy >= y0) & (yy < y1) & (xx >= x0) & (xx < x1)
        return torch.einsum("m,mhw->hw", weights[0, :, 0].float(), inside.float())

    def by_features() -> torch.Tensor:
        kept = (words[0][index // 32] >> (index % 32)[:, None] & 1).double()
        per_feature = torch.cat([weights[0, :, 0] @ kept, weights.sum().reshape(1)])
        return per_feature[labels[0].long()]  # -1 is the last: never hidden

    for name, arrays, exact in (("windows", (boxes,), by_windows), ("coalitions", (labels, words), by_features)):
        out = torch.empty(1, 1, side, side, device=b.device, dtype=torch.float64)
        yield Case(
            f"sum of {samples} {name}",
            summed(b, f"accumulate_{name}", weights, out, *arrays),
            [out],
            lambda o=out, e=exact: relative(o[0, 0], e().double()),
            1e-5, "copy", out.nbytes + weights.nbytes,
            peers=with_peers(b, exact),
        )  # fmt: skip


def graphs(b: Bench) -> Iterator[Case]:
    """Filling and summing captured once in a CUDA graph, replayed over new inputs in the same memory."""
    side, samples = (24, 40) if b.tiny else (224, 500)
    x, fresh = b.tensor(1, 3, side, side), b.tensor(1, 3, side, side)
    out, total = torch.empty(samples, 3, side, side, device=b.device), b.tensor(1, 1, side, side).double()
    weights, scores = (torch.randn(1, samples, 1, device=b.device, dtype=torch.float64) for _ in "ws")
    grid = (7, 0, 7, 7, 0.5)
    add = summed(b, "accumulate_soft_grid", weights, total, grid, squared=True)

    def once() -> None:
        b.kernels.occlude_soft_grid(x, x * 0, None, None, out, grid, samples=samples, start=0, stream=b.stream)
        add()

    x.copy_(fresh)
    weights.copy_(scores)
    once()
    b.wait()
    exact = [out.clone(), total.clone()]
    x.zero_()
    weights.zero_()
    run = once
    if b.device != "cpu":
        side_stream = torch.cuda.Stream()
        with torch.cuda.stream(side_stream):
            graph = torch.cuda.CUDAGraph()
            captured = summed(b, "accumulate_soft_grid", weights, total, grid, squared=True)
            with torch.cuda.graph(graph, stream=side_stream):
                zero = x * 0
                stream = torch.cuda.current_stream().cuda_stream
                b.kernels.occlude_soft_grid(x, zero, None, None, out, grid, samples=samples, start=0, stream=stream)
                captured()
        torch.cuda.current_stream().wait_stream(side_stream)
        run = graph.replay
    x.copy_(fresh)
    weights.copy_(scores)
    yield Case(
        f"graph of a fill and a sum, {samples} masks",
        run,
        [out, total],
        lambda: 0.0 if torch.equal(out, exact[0]) and torch.equal(total, exact[1]) else float("inf"),
        0.0, "write", out.nbytes,
    )  # fmt: skip


def streams(b: Bench) -> Iterator[Case]:
    """Inputs still being written in one stream when the kernel is asked to run in another: DLPack orders the two."""
    side = 64 if b.tiny else 4096
    x, ready = torch.zeros(1, 1, side, side, device=b.device), b.tensor(1, 1, side, side)
    y, zero, every = torch.empty_like(x), torch.zeros_like(x), (7, 0, 4, 4, 1.0)  # a mask that keeps all

    def fill(stream: int) -> None:
        b.kernels.occlude_soft_grid(x, zero, None, None, y, every, samples=1, start=0, stream=stream)

    def run() -> None:
        if b.device == "cpu":
            x.copy_(ready)
            return fill(0)
        x.zero_()
        torch.cuda.synchronize()
        with torch.cuda.stream(writer):
            for _ in range(20):
                slow @ slow  # some milliseconds before the copy: an early reader finds zeros
            x.copy_(ready)
            fill(reader.cuda_stream)
        return torch.cuda.current_stream().wait_stream(reader)

    if b.device != "cpu":
        writer, reader = torch.cuda.Stream(), torch.cuda.Stream()
        slow = b.tensor(*([64 if b.tiny else 4096] * 2))
    yield Case(
        "input written late in another stream",
        run,
        [y],
        lambda: relative(y, ready),
        1e-6, "copy", 2 * x.nbytes,
    )  # fmt: skip
