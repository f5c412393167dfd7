"""Recorded sound from a command line: WAV files, as a model of waveforms takes them."""

from __future__ import annotations

from pathlib import Path

from xplain.core.edits import Array
from xplain.core.outline import Outline
from xplain.render.sound import WAVES, read_sound

__all__ = ["WAVES", "read_wave"]


def read_wave(path: Path, outline: Outline) -> Array:
    """The samples of a file, float32 in -1 to 1, ``[T]``, ``[C, T]`` or ``[T, C]`` as the model's layout says.

    Raises:
        ItemError: it cannot be read, or has another rate than the card states, or other channels than the model takes.
    """
    told = None if outline.card is None else outline.card.coordinates
    return read_sound(path, told, None if outline.named is None else outline.named.letters, outline.source)
