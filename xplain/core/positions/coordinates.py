"""What the axes of an item measure: names of channels, seconds, hertz, millimetres. Stated in a card, never guessed.

The layout says which axis is which (``NCT``); coordinates say what a step along it is. They change no number that a
model is given and no attribution: only how a result is drawn and told. A card holds them as a table of its own::

    [coordinates]                       # a series [N, C, T]
    channels = ["I", "II", "V1"]        # one name per channel
    rate = 250                          # samples per second along T
    unit = "mV"                         # of the item's values

    [coordinates]                       # sound as it was recorded, [N, T] or [N, 1, T]: drawn with its own spectrogram
    kind = "waveform"
    rate = 16000

    [coordinates]                       # a spectrogram, [N, 1, bins, frames] or [N, bins, frames]
    kind = "spectrogram"
    frequency = "H"                     # the layout's axis that runs over frequencies; the other one is time
    bins = "mel-htk"                    # linear, log, mel-htk (torchaudio's) or mel-slaney (librosa's)
    hertz = [0, 8000]                   # see Coordinates.frequencies
    rate = 16000                        # of the sound behind it
    hop = 160                           # samples of sound from frame to frame
    unit = "dB"

    [coordinates]                       # a volume [N, C, D, H, W]
    spacing = [2.5, 0.7, 0.7]           # of D, H and W
    length = "mm"

    [coordinates]                       # many bands [N, C, H, W]
    channels = ["blue", "green", "red", "nir"]
    rgb = ["nir", "red", "green"]       # the bands that are shown as red, green and blue
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import CardError, unknown
from xplain.core.keeping.plain import counted
from xplain.core.positions.layout import Layout

__all__ = ["UNSTATED", "Coordinates", "labelled_bands"]

_KINDS = ("waveform", "spectrogram")
_BINS = ("linear", "log", "mel-htk", "mel-slaney")
_LONGEST = 80
_MOST = 65536
_LENGTHS = ("T", "D", "H", "W")
_HTK = 2595.0, 700.0
_SLANEY = 1000.0, 200.0 / 3.0, 27.0 / math.log(6.4)  # where it turns logarithmic, Hz per mel below, mels per e above


@dataclass(frozen=True, slots=True)
class Coordinates:
    """What the axes of an item measure; all of it may be left out.

    Args:
        channels: What each channel or band is called.
        unit: What the item's values are in, such as ``mV`` or ``dB``.
        rate: Samples per second: along T of a series, frames of a video, samples of the sound behind a spectrogram.
        hop: Samples of sound from one frame of a spectrogram to the next.
        kind: ``waveform`` for recorded sound, ``spectrogram``; empty for anything else.
        frequency: The axis of a spectrogram's layout that runs over frequencies: ``H``, ``W`` or ``C``.
        bins: How a spectrogram's frequencies follow each other: ``linear``, ``log``, ``mel-htk`` or ``mel-slaney``.
        hertz: The frequencies at both ends; see ``frequencies``.
        spacing: Extent of one position along each axis of space, in the order of the layout.
        length: Unit of ``spacing``.
        rgb: Names (or numbers, from 0) of the three bands that are shown as red, green and blue.

    Raises:
        CardError: values that contradict each other.
    """

    channels: tuple[str, ...] = ()
    unit: str = ""
    rate: float | None = None
    hop: float | None = None
    kind: str = ""
    frequency: str = ""
    bins: str = ""
    hertz: tuple[float, float] | None = None
    spacing: tuple[float, ...] = ()
    length: str = "mm"
    rgb: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind and self.kind not in _KINDS:
            raise _wrong("kind", self.kind, "waveform, spectrogram; left out for anything else")
        if self.bins == "mel":
            raise _wrong("bins", "mel", "mel-htk (torchaudio's own) or mel-slaney (librosa's own): they differ")
        if self.bins and self.bins not in _BINS:
            raise _wrong("bins", self.bins, ", ".join(_BINS))
        if self.frequency and self.frequency not in ("H", "W", "C"):
            raise _wrong("frequency", self.frequency, "H, W or C: the layout's axis that runs over frequencies")
        for name, number in (("rate", self.rate), ("hop", self.hop), *(("spacing", one) for one in self.spacing)):
            if number is not None and not 0 < number < math.inf:
                raise _wrong(name, number, "a number above 0")
        if twice := sorted({name for name in self.channels if self.channels.count(name) > 1}):
            raise _wrong("channels", list(self.channels)[:8], f"different names; {twice[0]!r} stands there twice")
        if self.kind == "spectrogram":
            open_ = [name for name in ("frequency", "bins", "hertz", "rate", "hop") if not getattr(self, name)]
            if open_:
                raise CardError(
                    f"The card says that items are spectrograms, and leaves out {', '.join(open_)}; its axes could not "
                    'be drawn. State them, as in frequency = "H", bins = "mel-htk", hertz = [0, 8000], rate = 16000, '
                    "hop = 160."
                )
            self._check_hertz()
        elif self.frequency or self.bins or self.hertz or self.hop:
            raise CardError(
                "The card's coordinates state frequency, bins, hertz or hop, which only a spectrogram has. Add kind = "
                '"spectrogram", or leave them out.'
            )
        if self.kind == "waveform" and not self.rate:
            raise CardError("The card says that items are recorded sound, and leaves out the samples per second: rate.")
        if self.rgb and len(self.rgb) != 3:
            raise _wrong("rgb", list(self.rgb), "three bands, shown as red, green and blue")

    def _check_hertz(self) -> None:
        low, high = sorted(self.hertz or (0.0, 0.0))
        least = 0.0 if self.bins != "log" else math.ulp(0.0)
        top = (self.rate or math.inf) / 2
        if not (least <= low < high <= top * (1 + 1e-9)):
            most = f"; sound of {self.rate:g} samples per second holds none above {top:g} Hz"
            above = "above 0" if self.bins == "log" else "of at least 0"
            raise _wrong("hertz", list(self.hertz or ()), f"two different frequencies {above}{most}")

    @property
    def stated(self) -> bool:
        """Whether anything is."""
        return self != UNSTATED

    def time(self, axes: str) -> str:
        """The letter of the axis that is time; empty where none is."""
        if self.kind == "spectrogram":
            return next((letter for letter in axes[1:] if letter in _LENGTHS and letter != self.frequency), "")
        return "T" if "T" in axes else ""

    @property
    def step(self) -> float | None:
        """Seconds from one position along time to the next; None where no rate is stated."""
        return None if self.rate is None else (self.hop or 1.0) / self.rate

    def frequencies(self, count: int) -> Array:
        """The frequency in the middle of each of a spectrogram's bins, Hz ``[count]``, in the order of the item.

        ``hertz`` holds, of ``linear`` and ``log``, the middle of the first and of the last bin (0 and half the rate for
        all bins of a Fourier transform); of the mel scales, the edges of the bank of filters (``f_min``, ``f_max``),
        whose ``count`` middles lie evenly between them on that scale. The higher one may stand first, where the first
        bin is the highest.
        """
        first, last = self.hertz or (0.0, float(count - 1))
        if self.bins == "log":
            return np.asarray(np.geomspace(first, last, count))
        if self.bins == "linear" or not self.bins:
            return np.asarray(np.linspace(first, last, count))
        ends = _mel(np.array([first, last]), self.bins)
        return _hertz(ends[0] + (ends[1] - ends[0]) * np.arange(1, count + 1) / (count + 1), self.bins)

    def names(self, count: int, word: str = "channel") -> list[str]:
        """What the channels are called: as stated, else by number."""
        return list(self.channels) if len(self.channels) == count else [f"{word} {k}" for k in range(count)]

    def colours(self, count: int) -> tuple[int, int, int] | None:
        """Numbers of the bands that are shown as red, green and blue; None where none are stated.

        Raises:
            CardError: there is no such band.
        """
        if not self.rgb:
            return None
        found = [self._band(name, count) for name in self.rgb]
        return found[0], found[1], found[2]

    def _band(self, name: str, count: int) -> int:
        if name in self.channels:
            return self.channels.index(name)
        if name.isdecimal() and int(name) < count:
            return int(name)
        known = self.channels or tuple(map(str, range(count)))
        raise CardError(str(unknown("band in the card's rgb:", name, list(known))))

    def check(self, layout: Layout) -> None:
        """Hold them against the axes of the items.

        Raises:
            CardError: they speak of axes or channels that the items do not have.
        """
        axes, what = layout.axes, f"items are {list(layout.item)}, read as {layout}"
        if self.channels and len(self.channels) != layout.channels:
            raise CardError(
                f"The card names {counted(len(self.channels), 'channel')}, but {what}: "
                f"{counted(layout.channels, 'channel')}. Name each of "
                "them once."
            )
        if self.kind == "spectrogram":
            places = [letter for letter in axes[1:] if letter in _LENGTHS and letter != self.frequency]
            if self.frequency not in axes or len(places) != 1:
                raise CardError(
                    f"The card says that frequencies lie along {self.frequency}, but {what}. State the axis that runs "
                    "over frequencies beside one of time."
                )
        elif self.rate is not None and "T" not in axes:
            raise CardError(
                f"The card states a rate of {self.rate:g} per second, but {what}: no axis is time (T). State the "
                'layout, as in layout = "NCT".'
            )
        space = [letter for letter in axes[1:] if letter in "DHW"]
        if self.spacing and len(self.spacing) != len(space):
            raise CardError(
                f"The card states the spacing of {counted(len(self.spacing), 'axis', 'axes')}, but {what}: "
                f"{counted(len(space), 'axis', 'axes')} of space. "
                f"State one for each of {', '.join(space) or 'none'}."
            )
        self.colours(layout.channels)

    def data(self) -> dict[str, Any]:
        """What is stated, as TOML and JSON have it."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        told = {name: value for name, value in found.items() if value != getattr(UNSTATED, name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}

    @classmethod
    def from_dict(cls, raw: Any, where: str = "") -> Coordinates:
        """Read what ``data`` wrote, or a card's table.

        Raises:
            CardError: an unknown key, or a value that cannot be used.
        """
        if not isinstance(raw, Mapping):
            raise CardError(f"{where}coordinates is {raw!r:.80}; accepted: a table, [coordinates].")
        known = [one.name for one in fields(cls)]
        given: dict[str, Any] = {}
        for key, value in raw.items():
            if key not in known:
                raise CardError(str(unknown(f"key in {where}coordinates:", str(key)[:100], known)))
            if value is not None:
                given[key] = _read(key, value, where)
        return cls(**given)


UNSTATED = Coordinates()
"""What is known of items whose card says nothing of their axes."""


def labelled_bands(raw: dict[str, Any], where: str) -> dict[str, Any]:
    """A card's fields with ``bands`` as a number: names of bands become those of the channels.

    Raises:
        CardError: ``bands`` and ``channels`` name other ones.
    """
    names = raw.get("bands")
    if not isinstance(names, (list, tuple)):
        return raw
    own = dict(raw.get("coordinates") or {})
    if list(own.get("channels") or names) != list(names):
        raise CardError(f"{where}bands and coordinates name the channels differently; name them once.")
    return {**raw, "bands": len(names), "coordinates": {**own, "channels": list(names)}}


def _read(key: str, value: Any, where: str) -> Any:
    """One field, of the type that it must have."""
    try:
        if key in ("channels", "rgb"):
            return _texts(value, key == "rgb")
        if key in ("spacing", "hertz"):
            if not isinstance(value, (list, tuple)) or (key == "hertz" and len(value) != 2):
                raise ValueError("[lowest, highest]" if key == "hertz" else "a list of numbers")
            return tuple(map(_real, value))
        if key in ("rate", "hop"):
            return _real(value)
        if not isinstance(value, str):
            raise ValueError("a text")
        told = _text(value)
        return told.upper() if key == "frequency" else told
    except ValueError as error:
        raise CardError(f"{where}coordinates: {key} is {value!r:.100}; accepted: {error}.") from None


def _texts(value: Any, numbers: bool) -> tuple[str, ...]:
    kinds = (str, int) if numbers else (str,)
    if not isinstance(value, (list, tuple)) or len(value) > _MOST:
        raise ValueError("a list of names")
    if any(isinstance(one, bool) or not isinstance(one, kinds) or not str(one).strip() for one in value):
        raise ValueError("a list of names" + (" or numbers of bands" if numbers else ""))
    return tuple(_text(str(one)) for one in value)


def _text(value: str) -> str:
    """Plain text of bounded length, because files are not trusted."""
    return "".join(c for c in value if c.isprintable()).strip()[:_LONGEST]


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("numbers")
    return float(value)


def _wrong(name: str, got: Any, accepted: str) -> CardError:
    return CardError(f"The card's coordinates: {name} is {got!r:.100}", accepted=accepted)


def _mel(hertz: Array, bins: str) -> Array:
    """Frequencies on a mel scale: HTK's ``2595 log10(1 + f / 700)``, or Slaney's, linear below 1000 Hz."""
    if bins == "mel-htk":
        return np.asarray(_HTK[0] * np.log10(1.0 + hertz / _HTK[1]))
    turn, per_mel, above = _SLANEY
    return np.where(hertz < turn, hertz / per_mel, turn / per_mel + above * np.log(np.maximum(hertz, turn) / turn))


def _hertz(mel: Array, bins: str) -> Array:
    """The way back of ``_mel``."""
    if bins == "mel-htk":
        return np.asarray(_HTK[1] * (10.0 ** (mel / _HTK[0]) - 1.0))
    turn, per_mel, above = _SLANEY
    knee = turn / per_mel
    return np.where(mel < knee, mel * per_mel, turn * np.exp((np.maximum(mel, knee) - knee) / above))
