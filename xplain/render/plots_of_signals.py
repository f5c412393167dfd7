"""Plots of what has axes of its own: series over time, spectrograms, bands, planes of volumes."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.render.band_maps import MOST, bands_of
from xplain.render.colormap import find
from xplain.render.overlay import Map, Style, limit_of, map_of, overlay
from xplain.render.planes import projected, volume_of
from xplain.render.plot_sheet import Sheet, palette, signs
from xplain.render.series import shades
from xplain.render.shown import Shown
from xplain.render.slices import word_of
from xplain.render.spectra import Spectrum, heard, labels, spectrum_of
from xplain.render.tracks import Track, Tracks, tracks_of

__all__ = ["bands", "planes", "series", "spectrogram"]

_TWO_SIDED = 1.96  # 95 % of a normal distribution
_FEW = 400  # moments up to which each has a bar of its own, which can be taken apart again in a drawing program
_LETTERS = 16  # of a unit, beside values
_LINE, _VALUES, _FOOT = 0.95, 0.75, 0.55  # inches


def series(sheet: Sheet, attribution: Shown, item: int) -> None:
    """One item over time: a pair of axes per channel, its coloured line above its values with their 95 % interval."""
    tracks = tracks_of(attribution, item, min(sheet.most, 8))
    limit = limit_of(tracks.values) or 1.0
    heights: list[float] = []
    for one in tracks.tracks:
        heights += [_LINE] if one.signal is not None else []
        heights += [] if tracks.shared else [_VALUES]
    heights += [_VALUES] if tracks.shared else []
    sound = _sound(attribution[item], tracks)
    heights += [_LINE] if sound is not None else []
    sheet.figure.set_size_inches(sheet.width, sum(heights) + _FOOT)
    grid = sheet.figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    free = iter(grid)
    for one in tracks.tracks:
        if one.signal is not None:
            _line(next(free), one, tracks, attribution.signed, limit)
        if not tracks.shared:
            _values(next(free), one, tracks, attribution.unit if one is tracks.tracks[0] else "", one.signal is None)
    if tracks.shared:
        _values(next(free), tracks.tracks[0], tracks, attribution.unit, False)
    if sound is not None:
        _heard(next(free), sound, limit)
    grid[-1].set_xlabel("moment" if tracks.step is None else "seconds")
    more = f"; {tracks.others} channels are not shown" if tracks.others else ""
    told = f"{attribution.method}: {attribution.target_of(item)}{more}"
    sheet.figure.suptitle(told, x=0.02, ha="left", fontsize=8)


def _sound(one: Shown, tracks: Tracks) -> Spectrum | None:
    """The computed spectrogram of the first channel of recorded sound; None for other series."""
    first, told = tracks.tracks[0], one.coordinates
    if told.kind != "waveform" or told.rate is None or first.signal is None or len(first.signal) < 2:
        return None
    return heard(first.signal, first.values, told.rate, one.signed)


def _heard(axes: Any, drawn: Spectrum, limit: float) -> None:
    """A spectrogram below its waveform, tinted by what each frame speaks for."""
    picture = np.rint(np.asarray(drawn.grey)[::-1] * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    laid = overlay(
        Map(drawn.values, None, picture, drawn.signed), limit, find(None, drawn.signed), Style(0.6, 1, False, False)
    )
    bins, frames = drawn.values.shape
    edges = (drawn.start, drawn.start + frames * drawn.step, 0, bins)
    axes.imshow(laid, aspect="auto", extent=edges, interpolation="nearest")
    marks = labels(drawn.hertz)[::2]
    axes.set_yticks([(1 - share) * bins for share, _ in marks], [text for _, text in marks])
    axes.set_ylabel("Hz")


def _times(tracks: Tracks) -> Array:
    """The middle of each moment: its number, or seconds."""
    moments = np.arange(tracks.moments)
    return moments * 1.0 if tracks.step is None else (moments + 0.5) * tracks.step


def _line(axes: Any, one: Track, tracks: Tracks, signed: bool, limit: float) -> None:
    from matplotlib.collections import LineCollection

    time, signal = _times(tracks), np.asarray(one.signal, np.float64)
    half = 0.5 * (tracks.step or 1.0)
    low, high = float(signal.min()), float(signal.max())
    room = 0.08 * (high - low) or 0.5
    edges = (time[0] - half, time[-1] + half, low - room, high + room)
    axes.imshow(
        one.values[None], aspect="auto", extent=edges, cmap=palette(signed), alpha=0.35, interpolation="nearest",
        vmin=-limit if signed else 0, vmax=limit,
    )  # fmt: skip
    points = np.stack([time, signal], axis=1)
    middles = (points[:-1] + points[1:]) / 2
    # each moment owns the line half way to its neighbours
    first, last = np.concatenate([points[:1], middles]), np.concatenate([middles, points[-1:]])
    ink, thick = shades(one.values, find(None, signed), limit)
    pieces = np.stack([first, points, last], axis=1)
    axes.add_collection(LineCollection(list(pieces), colors=ink / 255.0, linewidths=0.35 * thick, capstyle="round"))
    axes.set_xlim(edges[:2])
    name = "signal" if tracks.alone else one.name
    axes.set_ylabel(f"{name}{f', {tracks.unit}' if tracks.unit else ''}")


def _values(axes: Any, one: Track, tracks: Tracks, unit: str, alone: bool) -> None:
    time, wide = _times(tracks), tracks.step or 1.0
    if len(time) <= _FEW:
        axes.bar(time, one.values, width=wide, color=signs(one.values))
    else:
        for sign in (1, -1):
            part = sign * np.maximum(sign * one.values, 0)
            axes.fill_between(time, part, step="mid", color=signs(np.array([float(sign)]))[0], linewidth=0)
    if one.error is not None:
        spread = _TWO_SIDED * one.error
        axes.fill_between(
            time, one.values - spread, one.values + spread, step="mid", color="0.25", alpha=0.35, linewidth=0
        )
    axes.axhline(0, color="0.4", linewidth=0.6)
    told = textwrap.fill(unit, _LETTERS)
    axes.set_ylabel(f"{one.name}\n{told}" if alone and not tracks.alone else told, fontsize=6)


def spectrogram(sheet: Sheet, attribution: Shown, item: int) -> None:
    """The attribution over a spectrogram, in hertz and seconds."""
    drawn = spectrum_of(attribution, item)
    limit = limit_of(drawn.values) or 1.0
    axes = sheet.axes(0.55 * sheet.width + 0.5)
    bins, moments = drawn.values.shape
    picture = None
    if drawn.grey is not None:
        picture = np.rint(drawn.grey[::-1] * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    noise = None if drawn.noise is None else drawn.noise[::-1]
    big = Map(drawn.values[::-1], noise, picture, drawn.signed)
    laid = overlay(big, limit, find(None, drawn.signed), Style(line=False, hatch=False))
    edges = (drawn.start, drawn.start + moments * drawn.step, 0, bins)
    axes.imshow(laid, aspect="auto", extent=edges, interpolation="nearest")
    marks = labels(drawn.hertz)
    axes.set_yticks([(1 - share) * bins for share, _ in marks], [text for _, text in marks])
    axes.set_xlabel("seconds")
    axes.set_ylabel("Hz")
    axes.set_title(f"{attribution.method}: {attribution.target_of(item)}", loc="left")
    _bar(sheet, axes, limit, drawn.signed, attribution.unit)


def planes(sheet: Sheet, attribution: Shown, item: int) -> None:
    """Three planes through the most important place of a volume, and projections; of a video the frames' projection."""
    one = attribution[item]
    volume = volume_of(one)
    values = volume.drawn.values
    limit = limit_of(values) or 1.0
    alone = word_of(one) == "frame"
    shown = [0] if alone else [axis for axis in range(3) if min(np.delete(values.shape, axis)) > 1]
    shown = shown or [0]  # one line of positions
    sheet.figure.set_size_inches(sheet.width, sheet.width * (0.9 if alone else 0.72))
    grid = sheet.figure.subplots(1 if alone else 2, len(shown), squeeze=False)
    for column, axis in enumerate(shown):
        rest = [k for k in range(3) if k != axis]
        extent = (
            0,
            values.shape[rest[1]] * volume.spacing[rest[1]],
            values.shape[rest[0]] * volume.spacing[rest[0]],
            0,
        )
        k = volume.place[axis]
        ground = None if volume.grey is None else volume.grey.take(k, axis=axis)[..., None].repeat(3, axis=2)
        noise = None if volume.drawn.noise is None else volume.drawn.noise.take(k, axis=axis)
        cut = Map(values.take(k, axis=axis), noise, ground, one.signed)
        drawn = [(projected(volume, axis), f"largest along {'time' if alone else 'zyx'[axis]}")]
        drawn = drawn if alone else [(cut, volume.at(axis)), *drawn]
        for row, (panel, name) in enumerate(drawn):
            laid = overlay(panel, limit, find(None, one.signed), Style(line=False, hatch=False))
            axes = grid[row, column]
            axes.imshow(laid, extent=extent, interpolation="nearest")
            axes.set_title(name, fontsize=7)
            axes.tick_params(labelsize=5)
    unit = f" (axes in {volume.length})" if volume.length else ""
    sheet.figure.suptitle(f"{attribution.method}: {attribution.target_of(item)}{unit}", x=0.02, ha="left", fontsize=8)
    _bar(sheet, list(grid.ravel()), limit, one.signed, attribution.unit)


def bands(sheet: Sheet, attribution: Shown, item: int) -> None:
    """Shares of many bands as bars, the sum over all, and one small map per band."""
    one = attribution[item]
    found = bands_of(one)
    assert found is not None, "the kind is offered where there are bands"
    order = found.order[: min(MOST, sheet.most)]
    limit, picture = limit_of(found.values) or 1.0, map_of(one, 0).picture
    across = 4
    rows = -(-len(order) // across)
    sheet.figure.set_size_inches(sheet.width, 0.9 + 0.17 * len(order) + rows * sheet.width / across * 0.9)
    upper, lower = sheet.figure.subfigures(
        2, 1, height_ratios=[0.5 + 0.17 * len(order), rows * sheet.width / across * 0.9]
    )
    axes = upper.subplots()
    places = np.arange(len(order))[::-1]
    axes.barh(places, found.shares[order], color=find(None, False).table[-60] / 255.0, height=0.7)
    axes.set_yticks(places, [found.names[k] for k in order])
    axes.set_xlabel("share of the magnitude")
    axes.set_title(f"{attribution.method}: {attribution.target_of(item)}", loc="left")
    grid = lower.subplots(rows, across, squeeze=False).ravel()
    for panel, k in zip(grid, order, strict=False):
        laid = overlay(
            Map(found.values[k], None, picture, one.signed), limit, find(None, one.signed), Style(line=False)
        )
        panel.imshow(laid, interpolation="nearest")
        panel.set_title(found.names[k], fontsize=7)
    for panel in grid:
        panel.set_axis_off()
    _bar(sheet, list(grid), limit, one.signed, attribution.unit, lower)


def _bar(sheet: Sheet, axes: Any, limit: float, signed: bool, unit: str, figure: Any = None) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(-limit if signed else 0.0, limit), palette(signed))
    (figure or sheet.figure).colorbar(scale, ax=axes, label=unit, shrink=0.9)
