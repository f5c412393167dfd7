"""The device kernels at the sizes that matter, each with its float64 definition and torch's way of doing the same."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["FAMILIES", "Bench", "Case"]


@dataclass
class Case:
    """One kernel at one size."""

    name: str
    run: Callable[[], None]
    outputs: list[torch.Tensor]
    error: Callable[[], float]  # of the outputs, against float64
    tolerance: float
    bound: str  # ceiling: write, copy, bfloat16, tf32
    work: float  # bytes, or floating point operations
    wanted: float | None = None  # share of the ceiling
    peers: dict[str, Callable[[], Any]] = field(default_factory=dict)


@dataclass
class Bench:
    """The kernels under test and where their tensors live."""

    kernels: Any
    device: str
    tiny: bool

    @property
    def stream(self) -> int:
        return 0 if self.device == "cpu" else torch.cuda.current_stream().cuda_stream

    def wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], Any], rounds: int = 30) -> float:
        """Median of one call; short ones by replaying a graph of twenty, so that launches do not count."""
        if self.device == "cpu":
            start = time.perf_counter()
            run()
            return time.perf_counter() - start
        for _ in range(3):
            run()
        once = self._events(run, 5)
        if once > 1e-4:
            return self._events(run, rounds)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(20):
                run()
        return self._events(graph.replay, rounds) / 20

    def _events(self, run: Callable[[], Any], rounds: int) -> float:
        pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(rounds)]
        for begin, end in pairs:
            begin.record()
            run()
            end.record()
        self.wait()
        return statistics.median(begin.elapsed_time(end) for begin, end in pairs) * 1e-3

    def tensor(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.randn(*shape, device=self.device).to(dtype)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any] | None:
        return None if self.device == "cpu" or self.tiny else torch.compile(function)


def relative(got: torch.Tensor, exact: torch.Tensor) -> float:
    """Relative error; infinite where something was not written."""
    got = got.double()
    if not torch.isfinite(got).all():
        return float("inf")
    return float((got - exact).norm() / exact.norm().clamp_min(1e-300))


def with_peers(b: Bench, eager: Callable[[], Any], function: Callable[..., Any] | None = None) -> dict[str, Any]:
    peers = {"torch eager": eager}
    compiled = b.compiled(function or eager)
    if compiled is not None:
        peers["torch.compile"] = compiled
    return peers


# ---- families ----------------------------------------------------------------------------------------------------


def occlude(b: Bench) -> Iterator[Case]:
    """Windows, coalitions, ranks and soft grids over one picture, in the types that models take."""
    sizes = [(40, 48, 9, torch.float32), (37, 41, 7, torch.float16)]
    if not b.tiny:
        sizes = [
            (224, 224, 15_000, torch.float16),  # more than 2**31 elements
            (224, 224, 4000, torch.float16),
            (224, 224, 4000, torch.float32),
            (299, 299, 2000, torch.float16),
        ]
    for height, width, count, dtype in sizes:
        x = b.tensor(1, 3, height, width)
        fill = torch.full_like(x, 0.25)[:, :, :1, :1].expand_as(x)
        out = torch.empty(count, 3, height, width, device=b.device, dtype=dtype)
        yy, xx = torch.arange(height, device=b.device)[:, None], torch.arange(width, device=b.device)[None]
        boxes = torch.randint(0, min(height, width) // 2, (1, count, 4), device=b.device, dtype=torch.int32)
        boxes[..., 2:] = boxes[..., :2] + height // 8
        labels = torch.randint(0, 50, (1, height, width), device=b.device, dtype=torch.int32)
        keep = torch.randint(0, 2, (1, count, 50), device=b.device, dtype=torch.uint8)
        words = torch.empty(1, -(-count // 32), 50, device=b.device, dtype=torch.int32)
        b.kernels.pack_coalitions(keep, words, stream=b.stream)
        rank = torch.randperm(height * width, device=b.device).to(torch.int32).reshape(1, height, width)
        counts = torch.linspace(0, height * width, count, device=b.device).long()
        grid = (7, 0, 7, 7, 0.5)

        def windows(m, boxes=boxes, yy=yy, xx=xx):
            y0, x0, y1, x1 = boxes[0, m].unbind(-1)
            at = [v[:, None, None] for v in (y0, y1, x0, x1)]
            return ~((yy >= at[0]) & (yy < at[1]) & (xx >= at[2]) & (xx < at[3]))

        def soft(m, height=height, width=width):
            from xplain import native
            from xplain.native.reference import soft_grid_mask

            masks = []
            for number in m.tolist():
                cells, shifts = native.soft_grid_cells(7, number, 1, (7, 7), 0.5, (height, width))
                masks.append(torch.from_numpy(soft_grid_mask(cells[0], shifts[0], (7, 7), (height, width))))
            return torch.stack(masks).to(b.device)

        common = (x, fill, None, None, out)
        kinds: dict[str, tuple[Callable[[], None], Callable[[torch.Tensor], torch.Tensor], float]] = {
            "windows": (
                lambda a=common, e=boxes: b.kernels.occlude_windows(*a, e, start=0, stream=b.stream),
                windows,
                0.85,
            ),
            "coalitions": (
                lambda a=common, e=(labels, words), n=count: b.kernels.occlude_coalitions(
                    *a, *e, samples=n, start=0, stream=b.stream
                ),
                lambda m, k=keep, ls=labels: k[0][m][:, ls[0].long()] != 0,
                0.85,
            ),
            "ranks": (
                lambda a=common, e=(rank, counts): b.kernels.occlude_ranked(
                    *a, *e, insert=False, start=0, stream=b.stream
                ),
                lambda m, r=rank, c=counts: r[0] >= c[m][:, None, None],
                0.85,
            ),
            "soft grids": (
                lambda a=common, n=count, g=grid: b.kernels.occlude_soft_grid(
                    *a, g, samples=n, start=0, stream=b.stream
                ),
                soft,
                0.75,
            ),
        }
        some = torch.tensor(sorted({0, 1, 33 % count, count // 2, count - 1}), device=b.device)
        every = torch.arange(min(count, 4000), device=b.device)
        for kind, (run, mask, wanted) in kinds.items():

            def error(mask=mask, out=out, x=x, some=some):
                m = mask(some)[:, None].double()
                bad = 0.0 if bool(torch.isfinite(out.float().sum())) else float("inf")
                return max(bad, relative(out[some], x.double() * m + 0.25 * (1 - m)))

            peers = {}
            if kind != "soft grids" and count <= 4000:

                def eager(mask=mask, x=x, dtype=dtype, every=every):
                    return torch.where(mask(every)[:, None], x, 0.25).to(dtype)

                peers = with_peers(b, eager)
            name = f"occlude {kind} {count}x3x{height}x{width} {str(dtype)[6:]}"
            tolerance = 1e-6 if dtype == torch.float32 else 1e-3
            yield Case(name, run, [out], error, tolerance, "write", out.nbytes, wanted, peers)


def gram(b: Bench) -> Iterator[Case]:
    """VGG-19's five style layers in one launch, single large layers, odd lengths, and the way back."""
    layers = (
        {"two layers": [(64, 128), (70, 49)]}
        if b.tiny
        else {
            "VGG-19, five layers": [(64, 50176), (128, 12544), (256, 3136), (512, 784), (512, 196)],
            "2048x3136": [(2048, 3136)],
            "2048x50176": [(2048, 50176)],
            "192x22201": [(192, 22201)],
        }
    )
    for dtype in (torch.bfloat16, torch.float32):
        for label, shapes in layers.items():
            features = [b.tensor(*shape).relu().to(dtype) for shape in shapes]
            scales = [1 / f.numel() for f in features]
            grams = [torch.empty(f.shape[0], f.shape[0], device=b.device) for f in features]
            tiles = {64, b.kernels.gram_tile(0)}
            for tile in sorted(tiles):
                size = b.kernels.gram_workspace(features, grams, scales, tile=tile)
                workspace = torch.empty(size, device=b.device)
                for precision in (0, 1) if dtype == torch.float32 else (0,):

                    def error(grams=grams, features=features, scales=scales):
                        return max(
                            relative(g, f.double() @ f.double().T * s) + (0.0 if torch.equal(g, g.T) else 1.0)
                            for g, f, s in zip(grams, features, scales, strict=True)
                        )

                    products = sum(c * (c + 1) * p for c, p in shapes) * (3 if precision else 1)
                    yield Case(
                        f"gram {label} {str(dtype)[6:]}{' in three' if precision else ''}, tiles of {tile}",
                        lambda a=(features, grams, scales, workspace), t=tile, p=precision: b.kernels.gram(
                            *a, tile=t, precision=p, stream=b.stream
                        ),
                        [*grams, workspace],
                        error,
                        {(torch.float32, 0): 1e-3, (torch.float32, 1): 5e-6}.get((dtype, precision), 1e-5),
                        "bfloat16" if dtype == torch.bfloat16 else "tf32",
                        products,
                        peers=with_peers(
                            b, lambda f=features, s=scales: [(m @ m.T).float() * k for m, k in zip(f, s, strict=True)]
                        ),
                    )
            f = features[0]
            upstream, out = b.tensor(len(f), len(f)), torch.empty_like(f)
            workspace = torch.empty(len(f), -(-len(f) // 16) * 16, device=b.device, dtype=dtype)
            yield Case(
                f"gram backward {f.shape[0]}x{f.shape[1]} {str(dtype)[6:]}",
                lambda a=(upstream, f, out, workspace): b.kernels.gram_backward(*a, scale=1.0, stream=b.stream),
                [out, workspace],
                lambda u=upstream, f=f, o=out: relative(o, (u.double() + u.double().T) @ f.double()),
                8e-3 if dtype == torch.bfloat16 else 1e-3,
                "bfloat16" if dtype == torch.bfloat16 else "tf32",
                2 * f.shape[0] * f.numel(),
                peers=with_peers(b, lambda u=upstream, f=f: (u + u.T).to(f.dtype) @ f),
            )


def order(b: Bench) -> Iterator[Case]:
    """Ranks of maps."""
    items, size = (2, 700) if b.tiny else (256, 224 * 224)
    values = b.tensor(items, size)
    rank = torch.empty(items, size, device=b.device, dtype=torch.int32)
    workspace = torch.empty(items, 4, size, device=b.device, dtype=torch.int32)
    order = values.sort(dim=1, descending=True, stable=True).indices
    exact = torch.empty_like(rank).scatter_(
        1, order, torch.arange(size, device=b.device, dtype=torch.int32).expand_as(rank)
    )
    yield Case(
        f"rank {items}x{size}",
        # on the simulator the workspace is the wrapper's
        lambda: b.kernels.rank(values, rank, workspace, stream=b.stream),
        [rank],
        lambda: 0.0 if torch.equal(rank, exact) else float("inf"),
        0.0, "copy", 2 * rank.nbytes,
        peers=with_peers(b, lambda: values.argsort(dim=1, descending=True, stable=True).argsort(dim=1)),
    )  # fmt: skip


FAMILIES = (occlude, gram, order)
