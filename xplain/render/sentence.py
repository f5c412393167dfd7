"""What an explanation shows and how sure it is, in one or two sentences that are generated from its numbers alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.keeping.plain import plain
from xplain.render.axis import number
from xplain.render.band_maps import bands_of
from xplain.render.bars import names_of
from xplain.render.overlay import map_of
from xplain.render.planes import volume_of
from xplain.render.shown import Shown, kind_of
from xplain.render.spectra import Spectrum, spectrum_of
from xplain.render.tracks import Tracks, seconds, stretches, tracks_of

__all__ = ["sentence"]

_HALF = 0.5
_SPREAD = 0.25  # share of the area from which half of the evidence is said to be spread out
_SPREAD_OVER = 0.1  # share of all below which the first channel is not worth a place of its own
_FAR = 0.1  # share of what is held that may lie away from the place that is named
_FEW = 3  # columns or words that are named
_GAPS = 100  # into how many gaps a series is cut, of which a stretch may hold one
_ROUNDED = 1e-6  # share of the largest value below which a value is what float32 leaves of a zero
_TWO_SIDED = 1.96  # 95 % of a normal distribution
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


@renderer("sentence")
def sentence(attribution: Shown, item: int = 0, *, named: bool = True) -> str:
    """What one item's values show, and how sure they are; for people who do not read maps, and for screen readers.

    Of pictures: on how little of the picture half of the positive values lie, and where; how much speaks against; and
    what share of the sizes cannot be told from zero. Of rows and texts: the largest values by name. Of series: the
    moments that hold half, or the channels and stretches of time that hold most. Of spectrograms: between which
    frequencies and when. Of many bands: what each holds besides.

    Args:
        attribution: What to say.
        item: Which item.
        named: Name the target; else it is "it", for a place where it stands already.
    """
    one = attribution[item]
    kind, target = kind_of(one), repr(attribution.target_of(item)) if named else "it"
    if not np.any(one.values):
        return plain(f"Nothing is said of {target}: all values are zero.")
    if parts := one.by_input():
        said = _beside(parts, target)
    elif kind in ("row", "text"):
        said = _named(one, target)
    elif kind == "series":
        said = _over_time(tracks_of(one, most=None), target, one.signed)
    elif kind == "spectrogram":
        said = _over_frequencies(spectrum_of(one), target)
    else:
        said = f"{_placed(map_of(one, 0).values, target, one.signed)}{_further(one)}"
    return plain(" ".join([said, *_doubt(one)]))


def _beside(parts: Mapping[str, Shown], target: str) -> str:
    """Which share of all sizes lies on each of several inputs, and what stands out of the largest."""
    sizes = {name: float(np.abs(one.values).sum(dtype=np.float64)) for name, one in parts.items()}
    whole = sum(sizes.values()) or 1.0
    order = sorted(sizes, key=lambda name: -sizes[name])
    told = [f"{_percent(sizes[name] / whole)} on {name}" for name in order]
    most = []
    for name in order:
        one = parts[name]
        if np.any(one.values):
            row = kind_of(one) == "row"
            said = _named(one, "it") if row else _placed(map_of(one, 0).values, "it", one.signed)
            most.append(f"Of {name}: {said[0].lower()}{said[1:]}")
    return f"Of all that is found for {target}, by size, {', '.join(told)}. {' '.join(most)}"


def _named(one: Shown, target: str) -> str:
    names = ["".join(name) for name in names_of(one)]
    values = np.asarray(one.values[0][: len(names)], np.float64)
    order = np.argsort(-np.abs(values), kind="stable")[:_FEW]
    share = np.abs(values[order]).sum() / np.abs(values).sum()
    least = _ROUNDED * np.abs(values).max()
    listed = [f"{names[k]} ({values[k]:+.3g})" for k in order if abs(values[k]) > least]
    what = "words" if one.texts else "columns"
    most = f"{' and '.join([', '.join(listed[:-1]), listed[-1]]) if len(listed) > 1 else listed[0]}"
    rest = f"{share:.0%} of all that the {what} do" if len(values) > len(order) else "all that is found"
    what_for = "It is" if target == "it" else f"For {target} it is"
    return f"{what_for} mostly {most}: {rest}."


def _over_time(tracks: Tracks, target: str, signed: bool) -> str:
    """Channels with values of their own are named, with the stretch of time that holds most of each."""
    values = tracks.values
    if len(values) == 1:
        return _moments(values[0], target, tracks)
    found = stretches(values)
    if not found:
        return f"Nothing speaks for {target}; all that is found speaks against it."
    told = []
    if found[0].share < _SPREAD_OVER:
        name = tracks.tracks[found[0].row].name
        what = f"What speaks for {target}" if signed else f"What matters to {target}"
        return f"{what} is spread over {len(values)} channels; the most, {_percent(found[0].share)}, is on {name}."
    for one in found:
        track = tracks.tracks[one.row]
        name = track.name if track.name.startswith("channel ") else f"channel {track.name}"
        long = one.stop - one.start > _HALF * tracks.moments
        told.append(
            f"{name}{', over most of the time' if long else f' {tracks.time(one.start, one.stop)}'}: {one.share:.0%}"
        )
    what = f"What speaks for {target}" if signed else f"What matters to {target}"
    return f"{what} lies on {'; '.join(told)}.{_against(values)}"


def _over_frequencies(drawn: Spectrum, target: str) -> str:
    positive = np.maximum(drawn.values, 0)
    if not positive.any():
        return f"Nothing speaks for {target}; all that is found speaks against it."
    held = _holding(positive)
    (low, high), (first, last) = _spans(np.where(held, positive, 0))
    inside = positive[low : high + 1, first : last + 1]
    share = float(inside.sum() / positive.sum())
    start, stop = (drawn.start + k * drawn.step for k in (first, last + 1))
    when = f"between {seconds(start, drawn.step)} and {seconds(stop, drawn.step)} s"
    what = f"what speaks for {target}" if drawn.signed else f"what matters to {target}"
    if drawn.shared:
        return f"{share:.0%} of {what} lies {when}.{_against(drawn.values)}"
    edges = [number(float(f"{drawn.place(row):.3g}")) for row in (low - 0.5, high + 0.5)]
    between = f"between {edges[0]} and {edges[1]} Hz" if edges[0] != edges[1] else f"at {edges[0]} Hz"
    return f"{share:.0%} of {what} lies {between}, {when}.{_against(drawn.values)}"


def _further(one: Shown) -> str:
    """What is told of bands, and of places that have a unit of length."""
    bands = bands_of(one)
    if bands is not None:
        listed = [f"{bands.names[k]} {bands.shares[k]:.0%}" for k in bands.order[:_FEW]]
        return f" Of the magnitude, bands hold: {', '.join(listed)}."
    if len(one.coordinates.spacing) == 3 and kind_of(one) == "volume":
        volume = volume_of(one)
        return f" The most important place is {', '.join(volume.at(axis) for axis in range(3))}."
    return ""


def _moments(values: Array, target: str, tracks: Tracks) -> str:
    positive = np.maximum(values, 0)
    if not positive.any():
        return f"Nothing speaks for {target}; all that is found speaks against it."
    held = np.flatnonzero(_holding(positive))
    runs = np.split(held, np.flatnonzero(np.diff(held) > 1) + 1)
    if tracks.step is None:
        listed = (f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:_FEW])
        told = f"at moments {', '.join(listed)}"
    else:
        apart = max(2, len(values) // _GAPS)  # a stretch goes on behind a gap that is shorter
        runs = np.split(held, np.flatnonzero(np.diff(held) >= apart) + 1)
        told = ", ".join(tracks.time(int(run[0]), int(run[-1]) + 1) for run in runs[:_FEW])
    more = f" and {len(runs) - _FEW} more stretches" if len(runs) > _FEW else ""
    return (
        f"Half of what speaks for {target} lies {told}{more}, {len(held) / len(values):.0%} of the "
        f"time.{_against(values)}"
    )


def _placed(values: Array, target: str, signed: bool) -> str:
    positive = np.maximum(values, 0)
    if not positive.any():
        return f"Nothing speaks for {target}; all that is found speaks against it."
    what = f"what speaks for {target}" if signed else f"what matters to {target}"
    whole = "picture" if values.ndim == 2 else "volume"
    held = _holding(positive)
    area = float(held.mean())
    if area > _SPREAD:
        return f"Half of {what} takes {area:.0%} of the {whole}: it is spread out.{_against(values)}"
    return f"Half of {what} lies on {_percent(area)} of the {whole}, {_where(held, positive)}.{_against(values)}"


def _holding(positive: Array) -> Array:
    """The fewest positions that hold half of the positive values."""
    flat = np.sort(positive.ravel())[::-1]
    reached = np.cumsum(flat)
    bar = flat[int(np.searchsorted(reached, _HALF * reached[-1]))]
    held: Array = positive >= max(bar, np.finfo(np.float64).tiny)
    return held


def _where(held: Array, positive: Array) -> str:
    """A place in words, and in positions: the thirds of the picture that hold it, and a box that holds 90 % of it."""
    weight = np.where(held, positive, 0)
    named = dict(zip("zyx"[-held.ndim :], _spans(weight), strict=True))
    box = ", ".join(f"{axis} {low} to {high}" for axis, (low, high) in named.items())
    row, column = (_third(weight, axis) for axis in (-2, -1))
    if row is not None and column is not None:
        place = "in the middle" if row == column == 1 else f"{_ROWS[row]} {_COLUMNS[column]}"
    elif row is not None:
        place = f"{_ROWS[row]}, here and there from left to right"
    elif column is not None:
        place = f"{_COLUMNS[column]}, here and there from top to bottom"
    else:
        place = "here and there all over it"
    return f"{place} ({box})"


def _third(weight: Array, axis: int) -> int | None:
    """The third of an axis that a weight lies in: 0, 1 or 2; None where it is spread, so that no third is its place.

    It is the heaviest third where that holds half and what is not beside it a tenth at most, or two thirds side by side
    hold nine tenths.
    """
    along = weight.sum(axis=tuple(k for k in range(weight.ndim) if k != axis % weight.ndim))
    edges = np.arange(len(along) + 1) * 3 / len(along)
    reached = np.concatenate([[0.0], np.cumsum(along)]) / along.sum()
    thirds = np.diff(np.interp([0.0, 1.0, 2.0, 3.0], edges, reached))
    first = int(thirds.argmax())
    far = float(thirds[[k for k in range(3) if abs(k - first) > 1]].sum())
    pair = max(float(thirds[:2].sum()), float(thirds[1:].sum()))
    return first if (thirds[first] >= _HALF and far <= _FAR) or pair >= 1 - _FAR else None


def _spans(weight: Array) -> list[tuple[int, int]]:
    """The first and last position along each axis between which 90 % of the weight lies."""
    spans = []
    for axis in range(weight.ndim):
        along = weight.sum(axis=tuple(k for k in range(weight.ndim) if k != axis))
        reached = np.cumsum(along) / along.sum()
        spans.append((int(np.searchsorted(reached, 0.05)), int(np.searchsorted(reached, 0.95))))
    return spans


def _against(values: Array) -> str:
    against = float(-np.minimum(values, 0).sum() / np.maximum(values, 0).sum())
    if against <= 0:
        return ""
    return (
        f" Against it there is {_percent(against)} as much." if against < 1 else " More speaks against it than for it."
    )


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"


def _doubt(one: Shown) -> list[str]:
    """How sure it is: the share of all sizes whose 95 % interval holds zero; and that there are warnings."""
    said = []
    if one.error is not None and not np.any(one.error):
        said.append("Its standard errors are all zero.")
    elif one.error is not None:
        sizes, error = np.abs(np.asarray(one.values[0], np.float64)), np.asarray(one.error[0], np.float64)
        unsure = float(sizes[(sizes <= _TWO_SIDED * error) & (error > 0)].sum() / sizes.sum())
        sure = "All of it is surely not zero (95 %)."
        share = _percent(unsure)
        said.append(f"{share[0].upper()}{share[1:]} of it cannot be told from zero (95 %)." if unsure else sure)
    if one.warnings:
        said.append("Read its warnings first.")
    return said
