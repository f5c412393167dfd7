"""The way of one grad-cam through the house: which rooms it passes, in which order, and whether a call ever climbs.

    python benchmarks/methods/trace.py MODEL.onnx PICTURE --card imagenet

A room is a folder or file of ``xplain/``, as in README's table. Every Python call under ``xplain.explain`` is seen,
from the file's first byte to the result; what is imported on the way was imported by a run before.

* **passed**: the rooms that the run enters. ``core`` is not counted: it holds the nouns that all rooms speak in, and
  calls nobody.
* **a move**: a call whose room is another than that of the call before.
* **a climb**: a call from a room into one that the table does not let it import. Three kinds of call are no climbs,
  because who calls does not know whom, and are shown by themselves:

  - *resumed*: a method's flow, a generator, goes on with its answer. The engine resumes it, or ``core``, which adds the
    layout to its questions; both know ``Flow`` alone.
  - *answered*: a model is asked through ``core.query.Model`` and ``core.abilities.Abilities``, which the door passed
    in. The engine knows no model.
  - *called back*: a function that the room above handed down, named in ``CALLED_BACK`` with its reason.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ANSWERS = {
    "abilities": "what a model states that it can do",
    "answer": "the answer to a question",
    "finds": "whether a sweep says what its target reads",
    "least_rows": "how rows are cut into calls",
    "swept_rows": "how rows are cut into calls",
    "most_rows": "how rows are cut into calls",
    "outline": "what is known of the model",
}
"""The model's side of ``core.query.Model``, ``core.abilities.Abilities`` and ``core.batches.Batches``."""

CALLED_BACK = {
    ("core", "graph", "follow"): "Outline.follow: the model hands out how its axes are followed through its graph",
    ("graph", "models", "load"): "meet=: the first contact with an untrusted file, in a process of its own",
}
FLOWS = inspect.CO_GENERATOR


@dataclass
class Trace:
    """What was seen.

    Args:
        rooms: Rooms in the order in which they were first entered.
        moves: How often the room changed from one call to the next.
        files: Files that ran.
        arrows: (from, to) to the number of calls along the table.
        outside: ``resumed``, ``answered`` or ``called back`` to (from, to, function) to the number of calls.
        climbs: (from, to, function) to the number of calls.
    """

    rooms: list[str] = field(default_factory=list)
    moves: int = 0
    files: set[str] = field(default_factory=set)
    arrows: Counter[tuple[str, str]] = field(default_factory=Counter)
    outside: dict[str, Counter[tuple[str, str, str]]] = field(default_factory=dict)
    climbs: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def passed(self) -> list[str]:
        """The rooms that were passed, without the nouns."""
        return [room for room in self.rooms if room != "core"]

    def __str__(self) -> str:
        lines = [
            f"{len(self.passed)} rooms: {' -> '.join(self.passed)} (and core, the nouns)",
            f"{self.moves} moves between rooms, {len(self.files)} files, {sum(self.climbs.values())} climbs",
            *(f"  climbs: {one} -> {other}.{what}, {n} times" for (one, other, what), n in self.climbs.items()),
            "along the table:",
            *(f"  {one} -> {other}: {n} calls" for (one, other), n in sorted(self.arrows.items())),
        ]
        for kind, calls in sorted(self.outside.items()):
            lines += [f"{kind}:", *(f"  {one} -> {other}.{what}: {n}" for (one, other, what), n in calls.items())]
        return "\n".join(lines)


def table() -> Mapping[str, set[str]]:
    """Room to the rooms that it may import, as the architecture tests have it."""
    file = Path(__file__).parents[2] / "tests" / "architecture" / "test_imports.py"
    spec = importlib.util.spec_from_file_location("house_table", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    rooms: Mapping[str, set[str]] = module.ROOMS
    return rooms


def traced(run: Callable[[], Any], may: Mapping[str, set[str]]) -> Trace:
    """Run something and follow its calls through the rooms.

    Args:
        run: What is followed.
        may: Room to the rooms that it may import besides itself.
    """
    found, last = Trace(), ""

    def look(frame: FrameType, event: str, _: object) -> None:
        nonlocal last
        module = _module(frame)
        if event != "call" or not module or frame.f_code.co_name == "<module>":
            return
        room = module.split(".")[1]
        found.files.add(module)
        if room not in found.rooms:
            found.rooms.append(room)
        found.moves += room != last
        last = room
        caller = frame.f_back
        while caller is not None and not _module(caller):
            caller = caller.f_back
        before = "" if caller is None else _module(caller).split(".")[1]
        if before in ("", room):
            return
        if room in may[before]:
            found.arrows[before, room] += 1
            return
        code = frame.f_code
        kind = _kind(before, room, code)
        calls = found.climbs if kind is None else found.outside.setdefault(kind, Counter())
        calls[before, room, code.co_name] += 1

    gc.collect()  # what others left behind is not let go of in the middle of this
    gc.disable()
    sys.setprofile(look)
    try:
        run()
    finally:
        sys.setprofile(None)
        gc.enable()
    return found


def _kind(before: str, room: str, code: CodeType) -> str | None:
    """Why a call that the table does not allow is none of the caller's knowledge; None for a climb."""
    if code.co_flags & FLOWS and before in ("engine", "core"):
        return "resumed"
    if room == "models" and before in ("engine", "core") and code.co_name in ANSWERS:
        return "answered"
    return "called back" if (before, room, code.co_name) in CALLED_BACK else None


def _module(frame: FrameType) -> str:
    """The module of our own that a frame runs in, empty for any other; a generated function has its class's."""
    name = str(frame.f_globals.get("__name__", ""))
    return name if name.startswith("xplain.") else ""


def main() -> None:
    """Trace one grad-cam of a file, as it is and with the model loaded before, and print both."""
    import xplain

    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("model", help="an ONNX file")
    parser.add_argument("picture")
    parser.add_argument("--card", help="how the picture becomes a tensor, such as imagenet")
    given = parser.parse_args()
    may = table()

    def run(model: Any) -> None:
        xplain.explain(model, given.picture, "grad-cam", card=given.card)

    run(given.model)  # everything is imported
    print("from the file:", traced(lambda: run(given.model), may), sep="\n")
    loaded = xplain.load(given.model)
    run(loaded)
    print("\nwith a model that was used before:", traced(lambda: run(loaded), may), sep="\n")


if __name__ == "__main__":
    main()
