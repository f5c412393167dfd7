"""Watching a picture come about: a preview, frames for a film, and what is needed to go on after an interruption."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.edits import Array
from xplain.core.errors import OutputError, UsageError
from xplain.core.keeping.files import whole_file
from xplain.core.synthesis.canvas import Canvas
from xplain.core.synthesis.commission import Commission, Painted
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.results.archive import MOST_BYTES, Fault, read_archive

__all__ = ["Kept", "Preview", "Stepped", "Watcher"]

Preview: TypeAlias = Callable[[int, Array], None]
"""Called with the number of steps made and the pictures as they are, ``[N, C, H, W]`` in 0..1."""

Stepped: TypeAlias = Callable[[int], None]
"""Called with the number of steps made."""

_FRAME = 192  # pixels of a frame's longer side, at most
_PAUSE = 10.0  # seconds between two writings of what is needed to go on


@dataclass(eq=False)
class Kept:
    """A file that holds what is needed to go on.

    Args:
        path: The file.
        wanted: What must be the same for it to be gone on from.
    """

    path: Path
    wanted: Mapping[str, str]

    def read(self) -> dict[str, Any]:
        """What was put aside; empty where there is no file yet.

        Raises:
            UsageError: the file is none of ours, is of another model, recipe, target or options, or cannot be written.
        """
        if not self.path.exists():
            if not os.access(self.path.parent, os.W_OK):
                accepted = "a file in a folder that can be written to"
                raise UsageError(option="resume", got=str(self.path), accepted=accepted)
            return {}
        try:
            meta, arrays = read_archive(self.path, lambda _: True, MOST_BYTES, "a smaller picture ({} bytes)")
        except Fault as fault:
            raise UsageError(f"{str(self.path)!r} cannot be gone on from: {fault}. Remove it to begin anew.") from None
        told = meta if isinstance(meta, dict) else {}
        differs = [name for name, value in self.wanted.items() if told.get("of", {}).get(name) != value]
        if differs:
            raise UsageError(
                f"{str(self.path)!r} was kept of a run with another {', '.join(differs)}. Ask for the same again, or "
                "name another file."
            )
        return {**told.get("plain", {}), **arrays}

    def write(self, kept: Mapping[str, Any]) -> None:
        """Put aside what a flow needs to go on; whole or not at all."""
        arrays = {name: np.asarray(value) for name, value in kept.items() if not isinstance(value, (int, str))}
        plain = {name: value for name, value in kept.items() if isinstance(value, (int, str))}
        content = io.BytesIO()
        arrays["meta"] = np.asarray(json.dumps({"of": dict(self.wanted), "plain": plain}))
        np.savez(content, **arrays)  # type: ignore[arg-type]  # its own options are keywords too
        with whole_file(self.path) as file:
            file.write(content.getvalue())


@dataclass(eq=False)
class Watcher:
    """Sees every question about a picture, and its answer.

    Args:
        commission: What is painted.
        frames: Frames of the way to keep.
        steps: Steps that there will be, as far as known; frames are spread over them.
        preview: Called after each step.
        kept: Where what is needed to go on is put aside; None for nowhere.
        stepped: Called after each step, without the pictures, which take a while to draw.
    """

    commission: Commission
    frames: int = 0
    steps: int = 1
    preview: Preview | None = None
    kept: Kept | None = None
    stepped: Stepped | None = None
    last: Slope | None = None
    made: Array | None = None
    caveats: list[Caveat] = field(default_factory=list)
    sweeps: int = 0
    _seen: int = 0
    _film: dict[str, list[Array]] = field(default_factory=dict)
    _written: float = field(default_factory=time.monotonic)
    _board: tuple[Canvas, Canvas] | None = None  # what was drawn last, and how it is drawn whole

    def __call__(self, query: Slope, answer: Sloped) -> None:
        """One question and its answer."""
        if query.kept and (self.last is None or answer.finite.all()):
            self.last, self.made = query, answer.made
        self._seen += bool(query.kept)  # a question beside the way, such as one for a reference, is no step
        self.sweeps += len(query.state) * query.rows
        every = max(1, self.steps // max(1, self.frames))
        frame = bool(query.kept) and self.frames > 0 and self._seen % every == 0
        if query.kept and (frame or self.preview is not None):
            picture = self._drawn(query, answer.made)
            film = self._film.setdefault(str(query.kept.get("stage", "")), [])
            if frame and len(film) < 4 * self.frames:
                film.append(_small(picture))
            if self.preview is not None:
                self.preview(self._seen, picture)
        if query.kept and self.stepped is not None:
            self.stepped(self._seen)
        if self.kept is not None and time.monotonic() - self._written > _PAUSE:
            self.put_aside()

    def put_aside(self) -> None:
        """Write what is needed to go on from the last step; a full disk stops no picture."""
        if self.kept is None or self.last is None:
            return
        self._written = time.monotonic()
        try:
            self.kept.write(self.last.kept)
        except OutputError as error:
            caveat = Caveat(f"What is needed to go on could not be put aside: {error}")
            if caveat not in self.caveats:
                self.caveats.append(caveat)

    def film(self, count: int) -> Array | None:
        """The frames of so many pictures, uint8 ``[N, F, h, w, 3]``: of all stages that painted pictures of their own.

        None where there are none, or where sizes changed on the way.
        """
        stages = [[one for one in film if one.shape == film[-1].shape] for film in self._film.values() if film]
        if not stages:
            return None
        least = min(map(len, stages))
        films = [np.stack(film[:least], axis=1) for film in stages]
        if len({one.shape[1:] for one in films}) > 1 or sum(map(len, films)) != count:
            return films[-1] if len(films[-1]) == count else None
        return np.concatenate(films)

    def interrupted(self) -> Painted:
        """What there was when the way was interrupted.

        Raises:
            KeyboardInterrupt: nothing yet.
        """
        if self.last is None:
            raise KeyboardInterrupt
        query, trace = self.last, np.asarray(self.last.kept.get("trace", np.zeros((0, len(self.last.state)))))
        picture = self._drawn(query, self.made, exact=True)
        said = f"The recipe was interrupted after {len(trace)} steps; the picture is as it was then."
        return Painted(picture, query.state, trace.reshape(len(trace), len(query.state)), warnings=(Caveat(said),))

    def _drawn(self, query: Slope, made: Array | None, exact: bool = False) -> Array:
        """The whole canvases, as the flow would go on from them: what it asks about may be rolled, or a trial."""
        if made is not None:
            return made
        if self._board is None or self._board[0] is not query.canvas:
            self._board = (query.canvas, query.canvas.resized(query.canvas.extent))
        return np.clip(self._board[1].drawn(query.kept.get("state", query.state), exact=exact), 0, 1)


def _small(picture: Array) -> Array:
    """Pictures ``[N, C, H, W]`` as frames uint8 ``[N, h, w, 3]``, every so many pixels averaged."""
    step = -(-max(picture.shape[2:]) // _FRAME)
    count, channels, high, wide = picture.shape
    high, wide = high // step * step, wide // step * step
    planes = picture[:, :, :high, :wide].reshape(count, channels, high // step, step, wide // step, step).mean((3, 5))
    whole = np.rint(planes * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(np.broadcast_to(whole, (*whole.shape[:3], 3)))
