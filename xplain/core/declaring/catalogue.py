"""Everything of one kind that is declared, by name: xplain's own and what other distributions offer.

    METHODS = Catalogue("method", home="xplain.explainers", group="xplain.methods")
    METHODS.find("rise")                                      # loads what declares it, or names the nearest

Nothing is imported before the first look-up. Then the modules of ``home`` are, which declare xplain's own, and of the
plugins the one that offers the name; listing a catalogue imports all of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import walk_packages
from threading import RLock
from typing import Any, Generic, Protocol, TypeVar

from xplain.core.declaring.options import Option
from xplain.core.declaring.with_options import parsed
from xplain.core.errors import ModelError, UsageError, nearest, unknown

__all__ = ["Catalogue", "Named", "Plugin", "plain_name"]


class Named(Protocol):
    """What a catalogue holds: something with a public name, made by a function."""

    @property
    def name(self) -> str:
        """The public name, in kebab-case."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names people know."""

    @property
    def options(self) -> Mapping[str, Option]:
        """What it can be told, by name."""

    def read_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their values."""

    @property
    def function(self) -> Callable[..., Any]:
        """The function that was declared."""


E = TypeVar("E", bound=Named)


@dataclass(frozen=True, slots=True)
class Plugin:
    """A name that another distribution offers.

    Args:
        name: The public name.
        distribution: Name and version of the distribution.
        entry: Where it is.
    """

    name: str
    distribution: str
    entry: EntryPoint


class Catalogue(Generic[E]):
    """What is declared of one kind.

    Args:
        word: What one of them is called in a message, such as ``rule table``.
        home: The package whose modules declare xplain's own.
        group: The entry points' group where plugins offer more.
        step: What a message about an unknown name proposes.
        order: How they are listed; by name if it is not given.
    """

    def __init__(
        self, word: str, home: str, group: str, step: str = "", order: Callable[[E], Any] = lambda entry: entry.name
    ) -> None:
        self.word, self.home, self.group, self._step, self._order = word, home, group, step, order
        self._entries: dict[str, E] = {}
        self._aliases: dict[str, str] = {}
        self._offered: tuple[tuple[Any, ...], dict[str, Plugin]] | None = None  # where it was looked, what was there
        self._loaded = False
        self._loading = RLock()  # while one thread imports, another must not see half of the names

    def add(self, entry: E) -> None:
        """Put in what was declared.

        Raises:
            UsageError: its name or an alias is taken; the message names both owners.
        """
        for name in (entry.name, *entry.aliases):
            owner = self._entries.get(self._aliases.get(name, name))
            if owner is not None and owner.function is not entry.function:
                raise UsageError(
                    f"{self.word.capitalize()} name {name!r} is declared twice: by {owner.function.__module__} and by "
                    f"{entry.function.__module__}. Rename one of them."
                )
        self._entries[entry.name] = entry
        self._aliases.update(dict.fromkeys(entry.aliases, entry.name))

    def find(self, name: str) -> E:
        """What is called ``name``; case and ``_`` for ``-`` do not matter, aliases are followed.

        Raises:
            UnknownName: there is none; the message names the nearest.
            ModelError: the plugin that offers it cannot be imported.
            UsageError: a plugin declares a name that is taken, or does not declare what it offers.
        """
        wanted = plain_name(name)
        self._load_own()
        self.load(wanted)
        wanted = self._aliases.get(wanted, wanted)
        if wanted not in self._entries:
            known = list(dict.fromkeys([*self._entries, *self._aliases, *self.plugins()]))
            hint = "" if nearest(wanted, known) else " "
            raise unknown(self.word, name, known, (self._step + hint).strip())
        return self._entries[wanted]

    def read(self, text: str) -> tuple[E, dict[str, Any]]:
        """What ``name:first,option=value`` names, and all its options: those given, and the defaults of the rest.

        The first value belongs to the first option; see ``xplain.core.declaring.options.parsed``.

        Raises:
            UnknownName: no such name, or no such option of it.
            UsageError: a value that is refused; the message says what is accepted.
        """
        name, given = parsed(text)
        entry = self.find(name)
        first = next(iter(entry.options), None)
        if "" in given and first is not None:
            given = {first: given.pop(""), **given}
        elif "" in given:
            given = {given.pop(""): ""}
        return entry, entry.read_options(given)

    def __iter__(self) -> Iterator[E]:
        """All of them, those of plugins too."""
        self._load_own()
        self.load()
        return iter(sorted(self._entries.values(), key=self._order))

    def plugins(self) -> dict[str, Plugin]:
        """What installed distributions offer, by name; nothing is imported.

        Raises:
            UsageError: two distributions offer one name; both are named.
        """
        places = _places()
        if self._offered is not None and self._offered[0] == places:
            return dict(self._offered[1])
        found: dict[str, Plugin] = {}
        for entry in _entry_points(places).select(group=self.group):
            owner = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown distribution"
            other = found.get(entry.name)
            if other is not None and other.entry.value != entry.value:
                raise UsageError(
                    f"{self.word.capitalize()} {entry.name!r} is offered by {other.distribution} and by {owner}. "
                    "Uninstall one of them."
                )
            found[entry.name] = Plugin(entry.name, owner, entry)
        self._offered = places, found
        return dict(found)

    def _load_own(self) -> None:
        with self._loading:
            if not self._loaded:
                self._loaded = True
                try:
                    _import_all(self.home)
                except BaseException:
                    self._loaded = False
                    raise

    def load(self, name: str | None = None) -> None:
        """Import the plugin that offers ``name``, or all of them; nothing happens where none offers it.

        Raises:
            ModelError: the plugin cannot be imported; the distribution and the cause are named.
            UsageError: it declares a name that is taken, or does not declare what it offers.
        """
        for plugin in self.plugins().values():
            if name is not None and plain_name(plugin.name) != plain_name(name):
                continue
            try:
                plugin.entry.load()
            except UsageError:
                raise
            except Exception as error:
                raise ModelError(
                    f"{self.word.capitalize()} {plugin.name!r} of {plugin.distribution} cannot be imported: "
                    f"{type(error).__name__}: {error}. Update or uninstall that distribution."
                ) from error
            if plugin.name not in self._entries:
                raise UsageError(
                    f"{plugin.distribution} offers a {self.word} {plugin.name!r}, but declares none of this name."
                )


def plain_name(name: str) -> str:
    """A name as it is declared: lower case, with ``-`` for ``_``.

    Raises:
        UsageError: something that is no name, as where arguments are given in another order.
    """
    if not isinstance(name, str):
        raise UsageError(f"A name is a text such as 'grad-cam'; got {type(name).__name__} in its place.")
    return name.strip().lower().replace("_", "-")


def _import_all(package: str) -> None:
    found = import_module(package)
    for module in walk_packages(found.__path__, f"{package}."):
        import_module(module.name)


def _places() -> tuple[Any, ...]:
    """Where distributions may lie, and which of them lie there."""
    places = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100 - Path takes ten times as long
    return tuple((place, *_distributions(place, _changed(place))) for place in places)


def _changed(place: str) -> int:
    """When something was last put into a place or taken away, in nanoseconds; 0 where there is none."""
    try:
        return os.stat(place).st_mtime_ns  # noqa: PTH116 - as above
    except OSError:
        return 0


@lru_cache(maxsize=256)
def _distributions(place: str, changed: int) -> tuple[Any, ...]:
    """The distributions of a place, each with when it changed: results that are written there are none."""
    if not os.path.isdir(place):  # noqa: PTH112 - as above
        return (changed,)
    with os.scandir(place) as entries:
        found = [one.path for one in entries if one.name.endswith((".dist-info", ".egg-info", ".egg"))]
    return tuple((path, _changed(path)) for path in sorted(found))


@lru_cache(maxsize=1)
def _entry_points(places: tuple[Any, ...]) -> Any:
    """Every distribution's; to read them takes longer than to explain a small model."""
    return entry_points()
