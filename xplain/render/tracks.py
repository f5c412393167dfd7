"""A series as it is drawn and told: which channels, their lines, what each moment speaks for, and what was hidden.

A drawing shows what stands here and nothing else, so a test of these numbers is a test of what a reader is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError
from xplain.render.shown import Shown, axes_of

__all__ = ["MOST", "Stretch", "Track", "Tracks", "seconds", "stretches", "tracks_of"]

MOST = 8
"""Channels that are drawn one by one."""

_HELD = 0.8  # share of a channel's evidence that its stretch holds
_WORTH = 0.1  # share of all from which a stretch is told
_DIGITS = 9  # behind the point; what is shorter or longer is told in powers of ten


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One channel over time.

    Args:
        name: What it is called.
        number: Its place among the item's channels.
        signal: What the item holds, ``[T]``; None where that was not kept.
        values: What each moment speaks for, ``[T]``.
        error: Standard error of each, or None.
        share: Its share of the magnitude of all channels; None where one value stands for all of them.
        cells: Stretches (start, stop), half open, that were hidden together; empty where they are single moments, or
            windows that overlap.
    """

    name: str
    number: int
    signal: Array | None
    values: Array
    error: Array | None
    share: float | None
    cells: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """One item over time.

    Args:
        tracks: The channels that are drawn, in the order of the drawing.
        others: Number of channels that are not.
        rest: Their share of the magnitude; 0 where one value stands for all channels.
        shared: Whether one value stands for all channels, because what was hidden was hidden in all of them.
        moments: T.
        step: Seconds from one moment to the next; None where no rate is stated.
        unit: What the item's values are in; empty where it is not stated.
        window: Size and step, in moments, of windows that slid over the series; None for other methods.
    """

    tracks: tuple[Track, ...]
    others: int
    rest: float
    shared: bool
    moments: int
    step: float | None
    unit: str
    window: tuple[int, int] | None

    @property
    def alone(self) -> bool:
        """Whether there is one channel, which nobody has named."""
        return len(self.tracks) == 1 and not self.others and self.tracks[0].name == "channel 0"

    @property
    def values(self) -> Array:
        """``[C, T]`` of the tracks that are drawn, ``[1, T]`` where one value stands for all."""
        return self.tracks[0].values[None] if self.shared else np.stack([one.values for one in self.tracks])

    def time(self, start: int, stop: int) -> str:
        """A stretch of moments, half open, in words: seconds where a rate is stated."""
        if self.step is None:
            return f"moment {start}" if stop - start == 1 else f"moments {start} to {stop - 1}"
        return f"between {seconds(start * self.step, self.step)} and {seconds(stop * self.step, self.step)} s"


def seconds(at: float, step: float) -> str:
    """A time in seconds, to as many digits as tell one step from the next."""
    digits = int(np.ceil(-np.log10(step)))
    if not 0 <= digits <= _DIGITS:
        return f"{at:.6g}"
    told = f"{at:.{digits}f}"
    return told.rstrip("0").rstrip(".") if "." in told else told


def tracks_of(shown: Shown, item: int = 0, most: int | None = MOST) -> Tracks:
    """What is drawn of one item, the most active channels first where each has values of its own.

    Where one value stands for all channels, they keep their order, and of many those are drawn that move most.

    Args:
        shown: An attribution of series.
        item: Which item.
        most: Channels that are drawn; None for all.

    Raises:
        NonFinite: the values hold NaN or infinity.
        UsageError: values of another shape than a series has.
    """
    one = shown[item]
    axes = axes_of(one)
    values = np.asarray(one.values[0], np.float64)
    if not np.isfinite(values).all():
        raise NonFinite("Values that are not all finite are not drawn over time.")
    at = axes.index("C") - 1 if "C" in axes else 0
    if values.ndim not in (1, 2):
        raise UsageError(
            f"Values of shape {list(values.shape)} per item cannot be drawn over time; accepted: [T], [C, T]."
        )
    table = values[None] if values.ndim == 1 else np.moveaxis(values, at, 0)
    error = None if one.error is None else np.asarray(one.error[0], np.float64)
    errors = None if error is None else error[None] if error.ndim == 1 else np.moveaxis(error, at, 0)
    signal = _signal(one, at, table.shape[1])
    channels = len(table) if values.ndim == 2 or signal is None else len(signal)
    if signal is not None and len(signal) != channels:
        signal = None
    shared = values.ndim == 1 and channels > 1
    sizes = np.abs(table).sum(axis=1)
    order = _order(sizes, signal if shared else None, channels, most)
    names = one.coordinates.names(channels)
    total = float(sizes.sum()) or 1.0
    tracks = []
    for number in order:
        row = 0 if shared else int(number)
        tracks.append(
            Track(
                names[number],
                int(number),
                None if signal is None else signal[number],
                table[row],
                None if errors is None else errors[row],
                None if shared else float(sizes[row]) / total,
                _cells(one, int(number), at, table.shape[1]),
            )
        )
    drawn = sum(one.share or 0.0 for one in tracks)
    rest = 0.0 if shared or len(order) == channels else max(0.0, 1.0 - drawn)
    coordinates = one.coordinates
    how = table.shape[1], coordinates.step, coordinates.unit, _window(one)
    return Tracks(tuple(tracks), channels - len(order), rest, shared, *how)


def _order(sizes: Array, signal: Array | None, channels: int, most: int | None) -> Array:
    """Numbers of the channels that are drawn, in the order of the drawing."""
    count = channels if most is None else min(most, channels)
    if len(sizes) == channels:
        return np.argsort(-sizes, kind="stable")[:count]
    moves = np.zeros(channels) if signal is None else np.asarray(signal).std(axis=1)
    return np.sort(np.argsort(-moves, kind="stable")[:count])


def _signal(one: Shown, at: int, length: int) -> Array | None:
    """What the item holds, ``[C, T]``; None where it was not kept, or the values are of a layer of another length."""
    if one.signals is not None:
        held = np.asarray(one.signals[0], np.float64)
        held = held[None] if held.ndim == 1 else np.moveaxis(held, at, 0) if held.ndim == 2 else held
        return held if held.ndim == 2 and held.shape[1] == length else None
    if one.rows is not None and one.rows.shape[1] == length:
        return np.asarray(one.rows, np.float64)
    return None


def _cells(one: Shown, channel: int, at: int, length: int) -> tuple[tuple[int, int], ...]:
    """Stretches of one channel that were one feature."""
    own = one.each.get("labels")
    labels = own[0] if own is not None else one.facts.get("labels")
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        return ()
    if labels.ndim == 2:
        table = np.moveaxis(labels, at, 0)
        labels = table[channel] if channel < len(table) else table[0]
    if labels.shape != (length,):
        return ()
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), length]
    runs = [(a, b) for a, b in pairwise(edges) if labels[a] >= 0]
    return tuple(runs) if len(runs) < length else ()


def _window(one: Shown) -> tuple[int, int] | None:
    """Size and step of sliding windows, as the method noted them."""
    size, step = one.facts.get("patch"), one.facts.get("stride")
    pair = [tuple(found) for found in (size, step) if isinstance(found, (tuple, list)) and len(found) == 2]
    if len(pair) != 2 or pair[0][0] != 1:
        return None
    return int(pair[0][1]), int(pair[1][1])


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of one channel that holds much of what speaks for the target: moments, half open, and its share."""

    row: int
    start: int
    stop: int
    share: float


def stretches(values: Array, most: int = 3) -> list[Stretch]:
    """Where the positive values ``[C, T]`` lie: of each channel the shortest stretch that holds 80 % of its own.

    Told are those that hold at least a tenth of all, the largest first.
    """
    positive = np.maximum(np.asarray(values, np.float64), 0.0)
    total = float(positive.sum())
    found: Sequence[Stretch] = [
        _shortest(row, line, total) for row, line in enumerate(positive) if total > 0 and line.any()
    ]
    worth = sorted((one for one in found if one.share >= _WORTH), key=lambda one: -one.share)
    return (worth or sorted(found, key=lambda one: -one.share)[:1])[:most]


def _shortest(row: int, line: Array, total: float) -> Stretch:
    reached = np.concatenate([[0.0], np.cumsum(line)])
    wanted = reached[:-1] + _HELD * reached[-1]
    # the first place from which a stretch that begins here holds enough; what rounding leaves is no moment
    stops = np.searchsorted(reached, wanted * (1.0 - 1e-9), side="left")
    lengths = np.where(stops < len(reached), stops - np.arange(len(line)), len(line) + 1)
    start = int(lengths.argmin())
    stop = int(min(stops[start], len(line)))
    return Stretch(row, start, stop, float(reached[stop] - reached[start]) / total)
