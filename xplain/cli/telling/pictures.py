"""Pictures in the terminal itself, below what a verb says: only where a person looks, and the terminal can."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["show"]

_MOST = 3
"""Pictures of a run that are shown; the page has all."""


def show(files: Sequence[Path]) -> None:
    """Write the first few to the terminal, as ``XPLAIN_PICTURES`` says or as it is known to show them."""
    if not files:
        return
    from xplain.render.terminal import characters, way_of

    way = way_of(os.environ)
    columns = shutil.get_terminal_size().columns
    for file in files[:_MOST] if way != "none" else ():
        sys.stdout.write(characters(file.read_bytes(), way, columns))
