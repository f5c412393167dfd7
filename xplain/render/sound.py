"""Recorded sound: WAV files of whole numbers, as a model of waveforms takes them.

Nothing is resampled or mixed: what a model hears at another rate is another sound.
"""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ItemError
from xplain.core.keeping.plain import counted
from xplain.core.positions.coordinates import Coordinates

__all__ = ["WAVES", "is_sound", "read_sound", "samples_of"]

WAVES = ".wav"
"""How names of recorded sound end."""
_MOST_BYTES = 512 * 1024**2


def is_sound(content: bytes) -> bool:
    """Whether a file's bytes begin as a WAV file's do."""
    return content[:4] == b"RIFF" and content[8:12] == b"WAVE"


def read_sound(path: Path, told: Coordinates | None, axes: str | None, model: str) -> Array:
    """The samples of a file; see ``samples_of``.

    Raises:
        ItemError: it cannot be read, or is not what the card states.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ItemError(f"{path} has {path.stat().st_size:,} bytes; accepted: up to {_MOST_BYTES:,}.")
        content = path.read_bytes()
    except ItemError:
        raise
    except OSError as error:
        raise ItemError(f"{path} cannot be read: {error.strerror or error}.") from None
    return samples_of(content, str(path), told, axes, model)


def samples_of(content: bytes, called: str, told: Coordinates | None, axes: str | None, model: str) -> Array:
    """The samples of a WAV file, float32 in -1 to 1, ``[T]``, ``[C, T]`` or ``[T, C]`` as the model's layout says.

    Args:
        content: The file's bytes.
        called: What a message calls the sound.
        told: What the model's card says of its axes; None for no card.
        axes: Letters of the model's layout, such as ``NCT``; None for ``NT``.
        model: What a message calls the model.

    Raises:
        ItemError: it cannot be read, or has another rate than the card states, or other channels than the model takes.
    """
    if told is not None and told.kind == "spectrogram":
        raise ItemError(
            f"{called} is recorded sound, and the card of {model} says that it takes spectrograms. How the one becomes "
            "the other (window, scale, normalisation) no card says: compute them as training did, and give arrays."
        )
    if axes is not None and "H" in axes and (told is None or told.kind != "waveform"):
        raise ItemError(
            f"{called} is recorded sound, and {model} takes items of layout {axes}, which are no waveforms. Where they "
            "are spectrograms, compute these as training did, and give arrays."
        )
    if told is None or told.kind != "waveform":
        raise ItemError(
            f"{called} is sound, but no card says how many samples per second {model} takes. State it beside "
            'the model, in MODEL.card.toml: [coordinates] with kind = "waveform" and rate = 16000, or what is right.'
        )
    try:
        with wave.open(io.BytesIO(content), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        why = str(error) or "it ends too early"
        raise ItemError(f"{called} cannot be read: {why}; accepted: WAV of whole numbers, 8 to 32 bits.") from None
    if rate != told.rate:
        raise ItemError(
            f"{called} has {rate:,} samples per second, and the card states {told.rate:,g}. Resample it to that rate."
        )
    count = len(frames) // (width * channels)
    samples = _numbers(frames[: count * width * channels], width).reshape(count, channels)
    letters = axes or "NT"
    if "C" not in letters:
        if channels > 1:
            raise ItemError(f"{called} has {counted(channels, 'channel')}, and {model} takes one. Mix them first.")
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
