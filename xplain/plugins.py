"""Methods from other distributions: installing one is all it takes. Also every name that a plugin writes with.

A distribution names its methods as entry points of the group ``xplain.methods``; the entry point's name is the method's
public name, and what it points to is a function declared with ``@method``::

    [project.entry-points."xplain.methods"]
    xgrad-cam = "xplain_xgrad_cam:xgrad_cam"

A plugin imports from here and from ``xplain.testing`` alone; ``plugins/xplain-xgrad-cam`` is a whole one.

Listing imports nothing. The first use of a name imports its plugin; a failure names the distribution and the cause.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from xplain.core import registry
from xplain.core.arrays import collapse, enlarge, namespace
from xplain.core.edits import Coalitions, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.errors import ModelError, UsageError
from xplain.core.options import Baseline, Fraction, Natural, NonNegative, Positive, PositiveReal, Share, Size
from xplain.core.query import Flow, Peek, Reading, Score, Sweep, View
from xplain.core.registry import Paper, find, method
from xplain.core.rules import Rules, Where
from xplain.methods.cam.layers import map_layer
from xplain.methods.cam.layers import reading as map_reading
from xplain.methods.design.baseline import fill_of

__all__ = [
    "GROUP",
    "Baseline",
    "Coalitions",
    "Flow",
    "Fraction",
    "Full",
    "Natural",
    "NonNegative",
    "Paper",
    "Peek",
    "Plugin",
    "Positive",
    "PositiveReal",
    "Ranked",
    "Reading",
    "Rules",
    "Score",
    "Share",
    "Size",
    "SoftGrid",
    "Sweep",
    "Untouched",
    "View",
    "Where",
    "Windows",
    "collapse",
    "enlarge",
    "fill_of",
    "find",
    "installed",
    "load",
    "map_layer",
    "map_reading",
    "method",
    "namespace",
]

GROUP = "xplain.methods"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A method that another distribution offers.

    Args:
        name: The method's public name.
        distribution: Name and version of the distribution.
        entry: Where it is.
    """

    name: str
    distribution: str
    entry: EntryPoint


def installed() -> dict[str, Plugin]:
    """Every method that an installed distribution offers, by name; nothing is imported.

    Raises:
        UsageError: two distributions offer one name; both are named.
    """
    found: dict[str, Plugin] = {}
    for entry in _entries(_places()):
        owner = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown distribution"
        other = found.get(entry.name)
        if other is not None and other.entry.value != entry.value:
            raise UsageError(
                f"Method {entry.name!r} is offered by {other.distribution} and by {owner}. Uninstall one of them."
            )
        found[entry.name] = Plugin(entry.name, owner, entry)
    return found


def _places() -> tuple[tuple[str, int], ...]:
    """Where distributions may lie, and when something was last put there or taken away."""
    places = [Path(entry).absolute() for entry in sys.path]
    return tuple((str(place), place.stat().st_mtime_ns) for place in places if place.exists())


@lru_cache(maxsize=1)
def _entries(places: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """The entry points of our group; reading those of every distribution takes longer than explaining a small model."""
    return tuple(entry_points(group=GROUP))


def load(name: str | None = None) -> None:
    """Import the plugin that offers ``name``, or all of them; a name that none offers is left to the registry.

    Raises:
        ModelError: the plugin cannot be imported; the distribution and the cause are named.
        UsageError: it declares a name that is taken, or declares nothing.
    """
    for plugin in installed().values():
        if name is not None and plugin.name != name.strip().lower().replace("_", "-"):
            continue
        try:
            plugin.entry.load()
        except UsageError:
            raise
        except Exception as error:
            raise ModelError(
                f"Method {plugin.name!r} of {plugin.distribution} cannot be imported: {type(error).__name__}: {error}. "
                "Update or uninstall that distribution."
            ) from error
        if plugin.name not in {entry.name for entry in registry.methods()}:
            raise UsageError(f"{plugin.distribution} offers a method {plugin.name!r}, but declares none of this name.")
