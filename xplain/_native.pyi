"""Signatures of the compiled module. Arguments are checked for memory safety only; use ``xplain.native``."""

from typing import Any, TypeAlias

_Grid: TypeAlias = tuple[int, int, int, int, float]  # seed, first, rows, columns, keep

built_with_cuda: bool
cuda_archs: str

def cpu_variant() -> str: ...
def available_threads() -> int: ...
def cuda_device_count() -> int: ...
def occlude_windows(
    x: Any, fill: Any, scale: Any, shift: Any, out: Any, boxes: Any, *, start: int, threads: int = 0, stream: int = 0
) -> None: ...
def occlude_coalitions(
    x: Any,
    fill: Any,
    scale: Any,
    shift: Any,
    out: Any,
    labels: Any,
    keep: Any,
    *,
    samples: int,
    start: int,
    threads: int = 0,
    stream: int = 0,
) -> None: ...
def occlude_ranked(
    x: Any,
    fill: Any,
    scale: Any,
    shift: Any,
    out: Any,
    rank: Any,
    counts: Any,
    *,
    insert: bool,
    start: int,
    threads: int = 0,
    stream: int = 0,
) -> None: ...
def occlude_full(
    x: Any, fill: Any, scale: Any, shift: Any, out: Any, masks: Any, *, start: int, threads: int = 0, stream: int = 0
) -> None: ...
def occlude_soft_grid(
    x: Any,
    fill: Any,
    scale: Any,
    shift: Any,
    out: Any,
    grid: _Grid,
    *,
    samples: int,
    start: int,
    threads: int = 0,
    stream: int = 0,
) -> None: ...

# On a device these need a workspace of 8-byte words: without it they do nothing and return how many.
def accumulate_windows(
    weights: Any, out: Any, boxes: Any, workspace: Any = None, *, threads: int = 0, stream: int = 0
) -> int: ...
def accumulate_coalitions(
    weights: Any, out: Any, labels: Any, keep: Any, workspace: Any = None, *, threads: int = 0, stream: int = 0
) -> int: ...
def accumulate_full(
    weights: Any, out: Any, masks: Any, workspace: Any = None, *, squared: bool, threads: int = 0, stream: int = 0
) -> int: ...
def accumulate_soft_grid(
    weights: Any, out: Any, grid: _Grid, workspace: Any = None, *, squared: bool, threads: int = 0, stream: int = 0
) -> int: ...
def soft_grid_cells(grid: _Grid, height: int, width: int, cells: Any, shifts: Any) -> None: ...
def pack_coalitions(keep: Any, words: Any, *, threads: int = 0, stream: int = 0) -> None: ...
def rank(values: Any, rank: Any, workspace: Any, *, threads: int = 0, stream: int = 0) -> None: ...

_Deltas: TypeAlias = tuple[Any, Any, int]  # windows [N, 6], data, step
_Kernel: TypeAlias = tuple[int, ...]  # size, stride, pads, dilation
_Bent: TypeAlias = tuple[int, float, float]

def delta_pairs_pay() -> bool: ...
def delta_conv(
    way: str,
    x: _Deltas,
    out: _Deltas,
    residual: _Deltas | None,
    weights: Any,
    panels: Any,
    channels_in: int,
    channels_out: int,
    kernel: _Kernel,
    base: Any,
    act: _Bent,
    factor: Any,
    shift: Any,
    load_base: Any,
    load_act: _Bent,
    threads: int,
    processor: int,
) -> None: ...
def delta_pool(
    kind: int,
    x: _Deltas,
    out: _Deltas,
    channels: int,
    kernel: _Kernel,
    far_pads: tuple[int, int],
    plane: tuple[int, int],
    before: Any,
    after: Any,
    threads: int,
) -> None: ...
def delta_unary(
    function: int,
    x: _Deltas,
    out: _Deltas,
    channels: int,
    low: float,
    high: float,
    factor: Any,
    shift: Any,
    slope: Any,
    base: Any,
    threads: int,
) -> None: ...
def delta_binary(
    function: int,
    first: _Deltas | None,
    second: _Deltas | None,
    out: _Deltas,
    channels: int,
    first_base: Any,
    second_base: Any,
    base: Any,
    act: _Bent,
    threads: int,
) -> None: ...
def delta_scale(x: _Deltas, out: _Deltas, channels: int, factors: Any, threads: int) -> None: ...
def delta_gather(x: _Deltas, out: _Deltas, channels: int, rows: Any, columns: Any, threads: int) -> None: ...
def delta_clear_rim(inner: Any, outer: _Deltas, channels: int, threads: int) -> None: ...
def delta_enter(x: Any, fill: Any, out: _Deltas, channels: int, threads: int) -> None: ...
def delta_leave(base: Any, x: _Deltas, out: Any, channels: int, threads: int) -> None: ...
def delta_plane_mean(base: Any, x: _Deltas, out: Any, channels: int, factor: float, threads: int) -> None: ...
def delta_channels_last(x: Any, out: Any) -> None: ...
def describe(maps: Any, rows: Any, columns: Any, codes: Any, numbers: Any, *, threads: int = 0) -> None: ...

# builds with device kernels alone, from here on
def grow(sample: Any, out: Any, source: Any, order: Any, draws: Any, weights: Any, *, slack: int) -> None: ...
def level(
    sample: Any,
    out: Any,
    source: Any,
    sample_above: Any,
    above: Any,
    source_above: Any,
    *,
    window: int,
    above_window: int,
) -> None: ...
def quilt(sample: Any, out: Any, draws: Any, *, block: int, overlap: int, slack: int) -> None: ...
def gram_tile(device: int) -> int: ...
def gram_workspace(
    features: list[Any], grams: list[Any], scales: list[float], *, tile: int, stream: int = 0
) -> int: ...
def gram(
    features: list[Any],
    grams: list[Any],
    scales: list[float],
    workspace: Any,
    *,
    tile: int,
    precision: int,
    stream: int = 0,
) -> None: ...
def gram_backward(upstream: Any, features: Any, out: Any, workspace: Any, *, scale: float, stream: int = 0) -> None: ...

class DeviceArray:
    pointer: int
    device: int
    shape: list[int]
    dtype: str
    def __init__(self, shape: list[int], dtype: str, device: int = 0) -> None: ...
    def as_strided(self, shape: list[int], strides: list[int], offset: int = 0) -> DeviceArray: ...
    def copy_from(self, host: Any, stream: int = 0) -> None: ...
    def copy_to(self, host: Any, stream: int = 0) -> None: ...

class Stream:
    handle: int
    def __init__(self, device: int = 0) -> None: ...
    def synchronize(self) -> None: ...
    def wait_for(self, other: int) -> None: ...
