"""What a model's input most likely measures, by its name and sizes; proposed as lines of a card, never taken.

Seconds and hertz that are wrong look as right as those that are true, so whoever knows the model says it.
"""

from __future__ import annotations

import re

from xplain.core.outline import Outline, TensorSpec

__all__ = ["likely_coordinates"]

_SPECTRAL = {"mel", "mels", "spec", "spectrogram", "fbank", "filterbank", "melspectrogram", "stft", "mfcc"}
_RECORDED = {"wav", "wave", "waveform", "audio", "pcm", "speech", "sound"}
_BINS = (40, 64, 80, 96, 128, 201, 229, 256, 257, 513, 1025)
"""Numbers of bins that spectrograms of speech, music and sounds usually have."""
_LONG = 4000  # samples from which one channel is rather sound than a sensor
_COLOURS = 4


def likely_coordinates(outline: Outline) -> tuple[str, str] | None:
    """Lines for a card's ``[coordinates]``, with blanks for what nobody can guess, and the reason; None for none."""
    spec, layout = outline.explained, outline.named
    if spec is None or len(spec.shape) < 2 or (outline.card is not None and outline.card.coordinates.stated):
        return None
    words = set(re.findall(r"[a-z]+", spec.name.lower()))
    axes = "" if layout is None else layout.letters
    found = _spectrogram(spec, axes, words)
    if found is not None:
        return found
    if "T" in axes and not {"H", "D"} & set(axes):
        return _series(spec, axes, words)
    channels = spec.shape[axes.index("C")] if axes in ("NCHW", "NHWC") else None
    if channels is not None and channels > _COLOURS:
        return f'channels = [{channels} names]; rgb = ["...", "...", "..."]', f"its pictures have {channels} bands"
    if {"D", "H", "W"} <= set(axes):
        return "spacing = [..., ..., ...]", "its items are volumes"
    return None


def _spectrogram(spec: TensorSpec, axes: str, words: set[str]) -> tuple[str, str] | None:
    heard = sorted(words & _SPECTRAL)
    item = spec.shape[1:]
    usual = [k for k, n in enumerate(item) if n in _BINS]
    planes = len(item) == 2 or (len(item) == 3 and item[0] == 1)
    others = [n for k, n in enumerate(item) if k not in usual and n != 1]
    if not planes or len(usual) != 1 or not (heard or (len(item) == 3 and others == [None])):
        return None
    letter = axes[usual[0] + 1] if len(axes) == len(item) + 1 else "?"
    why = f"its input is called {spec.name!r}" if heard else "its input has one channel and a free length"
    lines = f'kind = "spectrogram"; frequency = "{letter}"; bins = "..."; hertz = [..., ...]; rate = ...; hop = ...'
    return lines, f"{why}, and {item[usual[0]]} is a usual number of bins"


def _series(spec: TensorSpec, axes: str, words: set[str]) -> tuple[str, str]:
    channels = spec.shape[axes.index("C")] if "C" in axes else 1
    length = spec.shape[axes.index("T")]
    heard = sorted(words & _RECORDED)
    if channels == 1 and (heard or (length is not None and length >= _LONG)):
        why = f"its input is called {spec.name!r}" if heard else f"one channel of {length:,} samples"
        return 'kind = "waveform"; rate = ...', why
    return 'channels = ["...", ...]; rate = ...; unit = "..."', "its items are series over time"
