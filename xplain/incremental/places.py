"""Where tensors lie: which share one buffer, so that a concatenation is written in place and a part is a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xplain.incremental.steps import Concat, Crop, Part, Plane, Step
from xplain.native.delta import LANE, stored

__all__ = ["Place", "Places", "places"]


@dataclass(frozen=True, slots=True)
class Place:
    """Channels ``first ..`` of the pixels of the buffer called ``buffer``."""

    buffer: str
    first: int = 0


@dataclass(frozen=True, slots=True)
class Places:
    """The layout of a plan's tensors.

    Args:
        of: Place of every tensor whose deltas are stored.
        copied: Outputs of Concat and Part steps that have to be copied after all.
        last: The step after which a buffer is free again, by its number; ``len(steps)`` where it is wanted at the end.
        members: The tensors that are written into a buffer (not the views of them).
    """

    of: Mapping[str, Place]
    copied: frozenset[str]
    last: Mapping[str, int]
    members: Mapping[str, tuple[str, ...]]


def places(entry: str, steps: Sequence[Step], planes: Mapping[str, Plane], kept: Sequence[str]) -> Places:
    """Give every tensor a place; ``kept`` are those that are read after the last step."""
    homes = _homes(steps, planes)
    of: dict[str, Place] = {entry: Place(entry)}
    members: dict[str, list[str]] = {entry: [entry]}
    copied: set[str] = set()
    for step in steps:
        place = _view(step, of, planes)
        if place is None:
            place = homes.get(step.out, Place(step.out))
            if isinstance(step, Part) or (isinstance(step, Concat) and not _in_place(step, place, homes)):
                copied.add(step.out)
            if not isinstance(step, Concat) or step.out in copied:
                members.setdefault(place.buffer, []).append(step.out)
        of[step.out] = place
    last = {place.buffer: -1 for place in of.values()}
    for number, step in enumerate(steps):
        for name in (*step.sources, step.out):
            last[of[name].buffer] = number
    last.update({of[name].buffer: len(steps) for name in kept})
    return Places(of, frozenset(copied), last, {k: tuple(v) for k, v in members.items()})


def _view(step: Step, of: Mapping[str, Place], planes: Mapping[str, Plane]) -> Place | None:
    """The place of a step that only looks at its source."""
    if isinstance(step, Crop):
        return of[step.source]
    if isinstance(step, Part) and step.first % LANE == 0:
        # stored channels past the true ones must be zero, so a view may end early only where its source ends
        whole = step.plane.channels % LANE == 0 or step.first + step.plane.channels == planes[step.source].channels
        place = of[step.source]
        return Place(place.buffer, place.first + step.first) if whole else None
    return None


def _homes(steps: Sequence[Step], planes: Mapping[str, Plane]) -> dict[str, Place]:
    """Places inside concatenations. The last ones come first, since they hold the earlier ones in dense blocks."""
    writers = {step.out for step in steps if not isinstance(step, (Crop, Part))}
    homes: dict[str, Place] = {}
    for step in reversed(steps):
        if not isinstance(step, Concat):
            continue
        firsts = [sum(step.channels[:k]) for k in range(len(step.channels))]
        own = homes.get(step.out)
        if own is None:
            own = _around(step, firsts, homes) or Place(step.out)
        wanted = {name: Place(own.buffer, own.first + first) for name, first in zip(step.parts, firsts, strict=True)}
        fits = (
            len(set(step.parts)) == len(step.parts)
            and all(first % LANE == 0 for first in firsts)
            and (step.plane.channels % LANE == 0 or own.buffer == step.out)
            and all(name in writers and homes.get(name, place) == place for name, place in wanted.items())
        )
        if fits:
            homes.update(wanted)
            homes[step.out] = own
    return homes


def _around(step: Concat, firsts: Sequence[int], homes: Mapping[str, Place]) -> Place | None:
    """Where all parts already lie side by side in one buffer, that is the concatenation's place."""
    found = [homes.get(name) for name in step.parts]
    begin = found[0]
    if begin is None:
        return None
    side_by_side = all(p == Place(begin.buffer, begin.first + f) for p, f in zip(found, firsts, strict=True))
    return begin if side_by_side else None


def _in_place(step: Concat, place: Place, homes: Mapping[str, Place]) -> bool:
    first = place.first
    for name, channels in zip(step.parts, step.channels, strict=True):
        if homes.get(name) != Place(place.buffer, first):
            return False
        first += channels
    return True


def width(buffer: str, planes: Mapping[str, Plane]) -> int:
    """Elements from one pixel of a buffer to the next.

    Kernels read some fourteen pixels side by side. Were they a multiple of 1 KiB apart, they would fall into the same
    few sets of the first cache and push each other out (measured: 30 instead of 45 GMAC/s); a line in between helps.
    """
    channels = stored(planes[buffer].channels)
    return channels + LANE if channels % 256 == 0 else channels
