"""End to end: occlusion and RISE of a ResNet-50 with everything on the device, beside captum and a plain torch loop.

All ways ask the same module in the same batches and must give the same map. ``in the model`` is the share of the time
from first to last operation that lies between the events around each batch's forward pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import nets
import numpy as np
import torch
from gpu_cases import Bench, relative

from xplain.core.edits import SoftGrid, Windows
from xplain.core.positions.layout import Layout
from xplain.native import device, place, sums

__all__ = ["end_to_end"]

PATCH, STRIDE, CELLS, KEEP, SEED = 16, 8, 7, 0.5, 5


class Timed:
    """A module's score of one class, with an event before and after every batch."""

    def __init__(self, module: torch.nn.Module, b: Bench, label: int) -> None:
        self.module, self.b, self.label, self.marks = module, b, label, []

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        return self.around(lambda: self.module(batch)[:, self.label])

    def around(self, run: Callable[[], torch.Tensor]) -> torch.Tensor:
        if self.b.device == "cpu":
            begin = time.perf_counter()
            scores = run()
            self.marks.append(time.perf_counter() - begin)
            return scores
        pair = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        pair[0].record()
        scores = run()
        pair[1].record()
        self.marks.append(pair)
        return scores

    def seconds(self) -> float:
        marks, self.marks = self.marks, []
        if self.b.device == "cpu":
            return sum(marks)
        return 1e-3 * sum(begin.elapsed_time(end) for begin, end in marks)


class Resident:
    """xplain's way: kernels fill one buffer, a captured graph of the model reads it, scores stay until the end."""

    def __init__(self, score: Timed, x: torch.Tensor, edits: Any, batch: int) -> None:
        b = score.b
        layout = Layout("NCHW", tuple(x.shape[1:]))
        self.score, self.x, self.batch, self.count = score, x, batch, edits.count
        self.edits = device.DeviceEdits(edits, tuple(x.shape), layout, stream=b.stream)
        plane = tuple(x.shape[2:])
        self.sums = sums.DeviceSums(edits, 1, plane, stream=b.stream)
        self.buffer = torch.empty(batch, *x.shape[1:], device=b.device)
        self.scores = torch.empty(-(-edits.count // batch) * batch, device=b.device)
        self.map = torch.empty(1, *plane, device=b.device, dtype=torch.float64)
        weights = torch.ones(1, edits.count, device=b.device, dtype=torch.float64)
        self.workspace = torch.empty(
            max(1, self.sums.workspace_size(weights, self.map, stream=b.stream)), device=b.device, dtype=torch.float64
        )
        self.coverage = self.sums(weights, torch.empty_like(self.map), self.workspace, stream=b.stream)
        self.graph = None if b.device == "cpu" else self._captured()

    def _captured(self) -> torch.cuda.CUDAGraph:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.score.module(self.buffer)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.found = self.score.module(self.buffer)[:, self.score.label]
        return graph

    def _model(self) -> torch.Tensor:
        if self.graph is None:
            return self.score.module(self.buffer)[:, self.score.label]
        self.graph.replay()
        return self.found

    def run(self) -> torch.Tensor:
        stream = self.score.b.stream
        for start in range(0, self.count, self.batch):
            stop = min(self.count, start + self.batch)
            self.edits.fill(self.x, start, stop, self.buffer, stream=stream)
            self.scores[start : start + self.batch].copy_(self.score.around(self._model))
        weights = self.scores[: self.count].double()[None]
        return self.sums(weights, self.map, self.workspace, stream=stream) / self.coverage.clamp_min(1e-12)


def plain(
    score: Timed, x: torch.Tensor, masks: Callable[[int, int], torch.Tensor], count: int, batch: int, hidden: bool
) -> Callable[[], torch.Tensor]:
    """What one writes without a library: masks by torch, scores to the host, the map a running sum.

    ``hidden``: whether the map is over what masks hide, as occlusion's, or over what they keep, as RISE's.
    """

    def run() -> torch.Tensor:
        total = torch.zeros(x.shape[2:], device=x.device)
        covered = torch.zeros_like(total)
        for start in range(0, count, batch):
            mask = masks(start, min(count, start + batch))
            scores = score(x * mask[:, None]).cpu()
            counted = 1 - mask if hidden else mask
            total += torch.einsum("m,mhw->hw", scores.to(x.device), counted)
            covered += counted.sum(0)
        return (total / covered.clamp_min(1e-12))[None]

    return run


def end_to_end(b: Bench) -> Iterator[dict[str, Any]]:
    """Rows of occlusion (224 pixels, 16/8) and RISE (4,000 masks); on the simulator a toy of each."""
    for module in (device, place, sums):
        vars(module)["_native"] = b.kernels  # the kernels under test, also where the installed module has none
    side, samples, batch = (224, 4000, 256) if not b.tiny else (32, 12, 5)
    net = nets.make("resnet50") if not b.tiny else torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 4))
    net = net.eval().requires_grad_(False).to(b.device)
    x = b.tensor(1, 3, side, side)
    with torch.no_grad():
        label = int(net(x).argmax())
        score = Timed(net, b, label)
        yield from _occlusion(b, score, x, batch)
        yield from _rise(b, score, x, samples, batch)


def _occlusion(b: Bench, score: Timed, x: torch.Tensor, batch: int) -> Iterator[dict[str, Any]]:
    side = x.shape[2]
    at = np.arange(0, side - PATCH + 1, STRIDE)
    corner = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
    boxes = np.concatenate([corner, corner + PATCH], axis=1).astype(np.int32)
    there = torch.from_numpy(boxes).to(b.device)[:, :, None, None]
    yy, xx = torch.arange(side, device=b.device)[:, None], torch.arange(side, device=b.device)[None]

    def windows(start: int, stop: int) -> torch.Tensor:
        box = there[start:stop]
        inside = (yy >= box[:, 0]) & (yy < box[:, 2]) & (xx >= box[:, 1]) & (xx < box[:, 3])
        return 1 - inside.float()

    edits = Windows(boxes, np.zeros((1, 1, 1, 1), np.float32))
    ways = {
        "xplain": Resident(score, x, edits, batch).run,
        "torch loop": plain(score, x, windows, len(boxes), batch, hidden=True),
    }
    if find_spec("captum"):
        from captum.attr import Occlusion

        whole = score.module(x)[:, score.label]

        def captum() -> torch.Tensor:
            drops = Occlusion(score).attribute(
                x,
                sliding_window_shapes=(3, PATCH, PATCH),
                strides=(3, STRIDE, STRIDE),
                baselines=0,
                perturbations_per_eval=batch,
            )
            return whole - drops[:, 0]  # its maps are drops, the others' mean scores

        ways["captum"] = captum
    yield from _timed(b, score, f"occlusion {side} {PATCH}/{STRIDE}, {len(boxes)} windows", ways)


def _rise(b: Bench, score: Timed, x: torch.Tensor, samples: int, batch: int) -> Iterator[dict[str, Any]]:
    side = x.shape[2]
    edits = SoftGrid(SEED, samples, (CELLS, CELLS), KEEP, np.zeros((1, 1, 1, 1), np.float32))
    cells, shifts = sums.soft_grid_cells(SEED, 0, samples, (CELLS, CELLS), KEEP, (side, side))
    grid, moved = torch.from_numpy(cells).float()[:, None].to(b.device), shifts.tolist()
    large = -(-side // CELLS) * (CELLS + 1)

    def soft(start: int, stop: int) -> torch.Tensor:
        size = {"size": (large, large), "mode": "bilinear", "align_corners": False}
        masks = torch.nn.functional.interpolate(grid[start:stop], **size)
        return torch.stack(
            [m[0, y : y + side, c : c + side] for m, (y, c) in zip(masks, moved[start:stop], strict=True)]
        )

    ways = {
        "xplain": Resident(score, x, edits, batch).run,
        "torch loop": plain(score, x, soft, samples, batch, hidden=False),
    }
    yield from _timed(b, score, f"RISE {side}, {samples} masks", ways)


def _timed(b: Bench, score: Timed, what: str, ways: dict[str, Callable[[], torch.Tensor]]) -> Iterator[dict[str, Any]]:
    expected = ways["torch loop"]().double()
    for name, run in ways.items():
        error = relative(run(), expected)
        b.wait()
        score.seconds()
        walls, shares = [], []
        for _ in range(1 if b.device == "cpu" else 5):
            begin = time.perf_counter()
            run()
            b.wait()
            walls.append(time.perf_counter() - begin)
            shares.append(score.seconds() / walls[-1])
        yield {
            "end to end": what,
            "way": name,
            "error": error,
            "holds": error < 1e-3,
            "ms": 1e3 * float(np.median(walls)),
            "in the model": float(np.median(shares)),
            "wanted": 0.95 if name == "xplain" and b.device != "cpu" else "",
        }
