"""Recorded sound from a command line: WAV files of whole numbers, as a model of waveforms takes them."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ItemError
from xplain.core.outline import Outline

__all__ = ["WAVES", "read_wave"]

WAVES = ".wav"
_MOST_BYTES = 512 * 1024**2


def read_wave(path: Path, outline: Outline) -> Array:
    """The samples of a file, float32 in -1 to 1, ``[T]``, ``[C, T]`` or ``[T, C]`` as the model's layout says.

    Nothing is resampled or mixed: what a model hears at another rate is another sound.

    Raises:
        ItemError: it cannot be read, or has another rate than the card states, or other channels than the model takes.
    """
    told = None if outline.card is None else outline.card.coordinates
    if told is None or told.kind != "waveform":
        raise ItemError(
            f"{path} is sound, but no card says how many samples per second {outline.source} takes. State it beside "
            'the model, in MODEL.card.toml: [coordinates] with kind = "waveform" and rate = 16000, or what is right.'
        )
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ItemError(f"{path} has {path.stat().st_size:,} bytes; accepted: up to {_MOST_BYTES:,}.")
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            content = file.readframes(file.getnframes())
    except ItemError:
        raise
    except (OSError, wave.Error, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error) or "it ends too early"
        raise ItemError(f"{path} cannot be read: {why}; accepted: WAV of whole numbers, 8 to 32 bits.") from None
    if rate != told.rate:
        raise ItemError(
            f"{path} has {rate:,} samples per second, and the card states {told.rate:,g}. Resample it to that rate."
        )
    frames = len(content) // (width * channels)
    samples = _numbers(content[: frames * width * channels], width).reshape(frames, channels)
    letters = outline.named.letters if outline.named is not None else "NT"
    if "C" not in letters:
        if channels > 1:
            raise ItemError(f"{path} has {channels} channels, and {outline.source} takes one. Mix them first.")
        return np.ascontiguousarray(samples[:, 0])
    return np.ascontiguousarray(samples.T if letters.index("C") < letters.index("T") else samples)


def _numbers(content: bytes, width: int) -> Array:
    """Samples of ``width`` bytes, little endian, as float32: 8 bits are unsigned there, all others signed."""
    if width == 1:
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128.0) / 128.0
    raw = np.frombuffer(content, np.uint8).reshape(-1, width)
    whole = np.zeros((len(raw), 4), np.uint8)
    whole[:, 4 - width :] = raw  # the upper bytes, so that the sign stands where it should
    found: Array = (whole.reshape(-1).view("<i4") / 2.0**31).astype(np.float32)
    return found
