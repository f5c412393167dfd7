"""The pictures that a page offers."""

from __future__ import annotations

from pathlib import Path

from xplain.render.pictures import collect

__all__ = ["examples_in"]

_MOST = 200


def examples_in(folder: str | None) -> dict[str, Path]:
    """The pictures of a folder by name; what a caller may look at, and nothing else of the disk.

    Raises:
        PictureError: there are none.
    """
    if folder is None:
        return {}
    return {Path(one).name: Path(one) for one in collect([folder])[:_MOST]}
