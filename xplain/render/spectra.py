"""Sound as frequencies over time: spectrograms that are the item, and those that are computed of a recorded waveform.

Both are drawn with seconds to the right and hertz upwards, whatever the order of the item's own axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError
from xplain.core.positions.coordinates import Coordinates
from xplain.render import canvas
from xplain.render.axis import across, down, number
from xplain.render.colormap import Colormap
from xplain.render.overlay import Map, Style, overlay
from xplain.render.series import columns_of
from xplain.render.shown import Shown, axes_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Spectrum", "heard", "labels", "spectrogram", "spectrum_of", "under_wave", "upright"]

_TWO_SIDED = 1.96  # 95 % of a normal distribution
_HIGH, _WIDEST = 220, 1200  # pixels
_RANGE = 80.0  # decibels below the loudest that are told apart
_WINDOW = 0.032  # seconds of a computed spectrogram's window: speech's own, about 30 Hz fine
_LABELS = 7


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """One item as frequencies over time.

    Args:
        values: What each bin at each moment speaks for, ``[F, T]``, the lowest frequency first.
        noise: bool ``[F, T]``: the 95 % interval contains zero; None where there is no error.
        grey: What the item holds, 0 to 1, ``[F, T]``; None where that was not kept.
        hertz: The middle of each bin, ascending, ``[F]``.
        step: Seconds from one moment to the next.
        start: Seconds at which the first moment begins.
        shared: Whether one value stands for all frequencies of a moment.
        signed: Whether the sign carries meaning.
        unit: What the item's values are in; empty where it is not stated.
    """

    values: Array
    noise: Array | None
    grey: Array | None
    hertz: Array
    step: float
    shared: bool
    signed: bool
    unit: str = ""
    start: float = 0.0

    def place(self, row: float) -> float:
        """The frequency at a row, counted in bins from the lowest."""
        return float(np.interp(row, np.arange(len(self.hertz)), self.hertz))


def spectrum_of(shown: Shown, item: int = 0) -> Spectrum:
    """One item of spectrograms, with its axes as the card states them.

    Raises:
        NonFinite: the values hold NaN or infinity.
        UsageError: values of another shape than the items'.
    """
    one = shown[item]
    told, axes = one.coordinates, axes_of(one)
    time = told.time(axes)
    values = np.asarray(one.values[0], np.float64)
    if not np.isfinite(values).all():
        raise NonFinite("Values that are not all finite are not drawn.")
    letters = axes[1:]
    if values.ndim == len(letters) - 1:
        letters = letters.replace("C", "")
    if values.ndim != len(letters) or time not in letters:
        raise UsageError(
            f"Values of shape {list(values.shape)} per item cannot be drawn over frequencies of items read as {axes}."
        )
    picture = None if one.pictures is None else np.asarray(one.pictures[0])[..., 0] / 255.0
    kept = [letter for letter in axes[1:] if letter in (told.frequency, time)]
    bins = (
        picture.shape[kept.index(told.frequency)]
        if picture is not None
        else values.shape[letters.index(told.frequency)]
    )
    hertz = told.frequencies(bins)
    up = slice(None) if hertz[0] <= hertz[-1] else slice(None, None, -1)

    def laid(array: Array) -> Array:
        order = [letters.index(letter) for letter in (told.frequency, time) if letter in letters]
        others = tuple(k for k in range(array.ndim) if k not in order)
        flat = array.sum(axis=others) if others else array
        if len(order) == 1:
            return np.broadcast_to(flat, (bins, len(flat)))
        return np.asarray((flat if order[0] < order[1] else flat.T)[up])

    noise = None
    if one.error is not None and values.ndim - len([k for k in letters if k in (told.frequency, time)]) == 0:
        error = np.asarray(one.error[0], np.float64)
        noise = laid(((np.abs(values) <= _TWO_SIDED * error) & (error > 0)).astype(np.float64)) > 0
    grey = None if picture is None else upright(picture, kept, told)
    shared = told.frequency not in letters
    return Spectrum(laid(values), noise, grey, hertz[up], told.step or 1.0, shared, one.signed, told.unit)


def upright(plane: Array, letters: Sequence[str], told: Coordinates) -> Array:
    """Frequencies over time as they are drawn, ``[F, T]``, the lowest first; ``letters`` name the plane's axes."""
    laid = plane if letters[0] == told.frequency else plane.T
    hertz = told.frequencies(len(laid))
    return laid if hertz[0] <= hertz[-1] else laid[::-1]


def spectrogram(drawn: Spectrum, colours: Colormap, limit: float, style: Style, width: int) -> Image:
    """The attribution over a spectrogram in grey, with its axes."""
    bins, moments = drawn.values.shape
    down_by, right_by = max(1, -(-_HIGH // bins)), max(1, -(-width // moments))

    def big(array: Array | None) -> Array | None:
        return None if array is None else array[::-1].repeat(down_by, axis=0).repeat(right_by, axis=1)

    picture = None if drawn.grey is None else np.rint(drawn.grey * 255.0).astype(np.uint8)[..., None].repeat(3, axis=2)
    values = np.asarray(big(drawn.values))
    body = canvas.image(overlay(Map(values, big(drawn.noise), big(picture), drawn.signed), limit, colours, style))
    if body.width > _WIDEST:
        body = body.resize((_WIDEST, body.height))
    foot = across(body.width, drawn.start, drawn.start + drawn.step * moments, "s")
    left = down(body.height, labels(drawn.hertz), "Hz")
    return canvas.column([canvas.row([left, body], gap=0), _moved(foot, left.width)], gap=0)


def labels(hertz: Array) -> list[tuple[float, str]]:
    """Labels of a frequency axis: round frequencies, each at its share of the height from the top."""
    count = len(hertz)
    found: dict[str, float] = {}
    for row in np.linspace(0, count - 1, _LABELS):
        wanted = float(np.interp(row, np.arange(count), hertz))
        round_one = float(f"{wanted:.1e}")
        if not hertz[0] <= round_one <= hertz[-1]:
            round_one = wanted
        at = float(np.interp(round_one, hertz, np.arange(count)))
        found[number(float(f"{round_one:.3g}"))] = 1.0 - (at + 0.5) / count
    return [(share, text) for text, share in found.items()]


def heard(signal: Array, values: Array, rate: float, signed: bool) -> Spectrum:
    """The spectrogram of a waveform ``[T]``, in decibels below its loudest, each frame with what it speaks for.

    Power by windows of 32 ms (Hann), each half a window behind the one before; a frame's value is the mean of its
    samples'. Values belong to moments, so all frequencies of a frame share one.
    """
    from scipy.signal import spectrogram as power_of

    size = int(np.clip(2 ** round(np.log2(max(rate * _WINDOW, 2.0))), 2, len(signal)))
    hop = max(1, size // 2)
    hertz, times, power = power_of(np.asarray(signal, np.float64), rate, "hann", size, size - hop, detrend=False)
    level = 10.0 * np.log10(np.maximum(power, 1e-20))
    grey = np.clip(1.0 + (level - level.max()) / _RANGE, 0.0, 1.0)
    reached = np.concatenate([[0.0], np.cumsum(np.asarray(values, np.float64))])
    starts = np.arange(len(times)) * hop
    means = (reached[starts + size] - reached[starts]) / size
    own = np.broadcast_to(means, grey.shape)
    return Spectrum(own, None, grey, hertz, hop / rate, True, signed, "dB", float(times[0]) - hop / rate / 2)


def under_wave(drawn: Spectrum, values: Array, rate: float, colours: Colormap, limit: float, width: int) -> Image:
    """A computed spectrogram on the waveform's own time axis, tinted by what each moment speaks for.

    Args:
        drawn: What ``heard`` gave.
        values: What each sample speaks for, ``[T]``.
        rate: Samples per second.
        colours: For the values.
        limit: Value of the last colour.
        width: Pixels.
    """
    time = (np.arange(width) + 0.5) / width * len(values) / rate
    frame = np.clip(np.floor((time - drawn.start) / drawn.step), 0, drawn.values.shape[1] - 1).astype(int)
    by = max(1, -(-_HIGH // 2 // len(drawn.hertz)))
    grey = np.asarray(drawn.grey)[::-1][:, frame].repeat(by, axis=0)
    picture = np.rint(grey * 255.0).astype(np.uint8)[..., None].repeat(3, axis=2)
    tint = np.broadcast_to(columns_of(np.asarray(values, np.float64), width), grey.shape)
    body = canvas.image(overlay(Map(tint, None, picture, drawn.signed), limit, colours, Style(0.6, 1, False, False)))
    if body.height > _HIGH:
        body = body.resize((width, _HIGH))
    return canvas.row([down(body.height, labels(drawn.hertz), "Hz"), body], gap=0)


def _moved(strip: Image, by: int) -> Image:
    from PIL import Image

    paper = Image.new("RGB", (strip.width + by, strip.height), canvas.PAPER)
    paper.paste(strip, (by, 0))
    return paper
