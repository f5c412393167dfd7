"""The one registry: a method is declared once, and everything else follows from the declaration.

    @method("rise", needs=Score, paper=Paper("Petsiuk 2018", "arXiv:1806.07421"), unit="delta logit", sampled=True)
    def rise(view: View, *, samples: Positive = 4000, cells: Size = 7, keep: Fraction = 0.5) -> Flow:
        '''One sentence of idea. ... Google sections: Args, Returns, Cost, Differs from the paper, Raises, Source.'''

From name, signature and docstring come ``explain(...)``, the command line's flags, ``xplain methods``, the audit's
column and the contract tests. The registry is the only mutable state of the project; it changes at import alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xplain.core.errors import UsageError, nearest, unknown
from xplain.core.options import Option, options_of
from xplain.core.query import Flow, Score, View, laid_out

__all__ = ["Method", "Paper", "find", "method", "methods", "register"]


@dataclass(frozen=True, slots=True)
class Paper:
    """Where a method comes from: short name, and an identifier a person can look up."""

    name: str
    where: str

    def __str__(self) -> str:
        return f"{self.name}, {self.where}"


@dataclass(frozen=True)
class Method:
    """A registered method.

    Args:
        name: Public name, kebab-case.
        function: The generator function ``(view, **options) -> Flow``.
        needs: Kinds of question it asks; with the default options, where they decide.
        paper: Where it comes from.
        unit: Unit of the values, such as ``"delta logit when hidden"``.
        family: Folder it lives in: perturbation, gradient, relevance, cam; or plugin.
        aliases: Other names people know.
        signed: Values carry a sign; unsigned maps are drawn with another colour map.
        sampled: Depends on the seed, and returns a standard error.
        complete: The values sum to f(x) - f(baseline); contract tests hold it to that.
        traceable: The method can be compiled into a graph.
        traced_with: Options that compiling fixes, where the method would otherwise decide from data how long to run.
        channels: Values have the item's own shape rather than the map's.
    """

    name: str
    function: Callable[..., Flow]
    needs: frozenset[type]
    paper: Paper
    unit: str
    family: str
    aliases: tuple[str, ...] = ()
    signed: bool = True
    sampled: bool = False
    complete: bool = False
    traceable: bool = True
    traced_with: Mapping[str, Any] = field(default_factory=dict)
    channels: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)
    sections: Mapping[str, str] = field(default_factory=dict)

    def start(self, view: View, options: Mapping[str, Any]) -> Flow:
        """The method's flow for a view, its questions carrying the view's layout.

        A short name of a layer is made whole, here for every door and method.

        Raises:
            UnknownName: the layer's name is short for several.
        """
        layer = options.get("layer")
        if isinstance(layer, str) and layer not in ("input", "auto"):
            options = {**options, "layer": view.outline.layer_meant(layer)}
        return laid_out(self.function(view, **options), view)

    @property
    def summary(self) -> str:
        """The docstring's first sentence."""
        return self.sections.get("summary", "")

    @property
    def cost(self) -> str:
        """The docstring's ``Cost`` section."""
        return self.sections.get("cost", "")

    def needs_with(self, options: Mapping[str, Any]) -> frozenset[type]:
        """Kinds of question it asks with these options: a method that runs another one asks what that one asks."""
        kinds = [(name, getattr(option.kind, "needs", None)) for name, option in self.options.items()]
        found = [needs(options[name]) for name, needs in kinds if needs is not None and name in options]
        return frozenset().union(*found) if found else self.needs

    def read_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their values: those given, validated, and the defaults of the rest.

        Raises:
            UnknownName: an option the method does not have; the message names the nearest and lists all.
            UsageError: a value that is refused; the message says what is accepted.
        """
        values = {name: option.default for name, option in self.options.items()}
        for name, value in given.items():
            plain = name.replace("-", "_")
            if plain not in self.options:
                raise unknown(f"option of method {self.name!r}:", name, self.options)
            values[plain] = self.options[plain].read(value, f"method {self.name!r}")
        return values


_REGISTRY: dict[str, Method] = {}
_ALIASES: dict[str, str] = {}


def method(
    name: str,
    *,
    needs: type | tuple[type, ...],
    paper: Paper,
    unit: str,
    aliases: tuple[str, ...] = (),
    signed: bool = True,
    sampled: bool = False,
    complete: bool = False,
    traceable: bool | None = None,
    traced_with: Mapping[str, Any] | None = None,
    channels: bool = False,
) -> Callable[[Callable[..., Flow]], Callable[..., Flow]]:
    """Declare a method; see ``Method`` for the arguments. The function itself is returned unchanged.

    ``traceable`` None means: unless it asks for scores of edited items, which no graph can answer.
    """

    def declare(function: Callable[..., Flow]) -> Callable[..., Flow]:
        sections = docstring_sections(inspect.getdoc(function) or "")
        kinds = frozenset(needs if isinstance(needs, tuple) else (needs,))
        register(
            Method(
                name=name,
                function=function,
                needs=kinds,
                paper=paper,
                unit=unit,
                family=_family(function.__module__),
                aliases=aliases,
                signed=signed,
                sampled=sampled,
                complete=complete,
                traceable=Score not in kinds if traceable is None else traceable,
                traced_with=traced_with or {},
                channels=channels,
                options=options_of(function, argument_docs(sections.get("args", ""))),
                sections=sections,
            )
        )
        return function

    return declare


def _family(module: str) -> str:
    """The folder of a method's file, ``plugin`` for one that came from elsewhere."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["xplain", "methods"] and len(parts) > 3 else "plugin"


def register(entry: Method) -> None:
    """Add a method.

    Raises:
        UsageError: its name or an alias is taken; the message names both owners.
    """
    for name in (entry.name, *entry.aliases):
        owner = _REGISTRY.get(_ALIASES.get(name, name))
        if owner is not None and owner.function is not entry.function:
            raise UsageError(
                f"Method name {name!r} is declared twice: by {owner.function.__module__} and by "
                f"{entry.function.__module__}. Rename one of them."
            )
    _REGISTRY[entry.name] = entry
    _ALIASES.update(dict.fromkeys(entry.aliases, entry.name))


def find(name: str) -> Method:
    """The method called ``name``; case and ``_`` for ``-`` do not matter, aliases are followed.

    Raises:
        UnknownName: no such method; the message names the nearest.
    """
    plain = name.strip().lower().replace("_", "-")
    plain = _ALIASES.get(plain, plain)
    if plain not in _REGISTRY:
        known = [*_REGISTRY, *_ALIASES]
        hint = "" if nearest(plain, known) else " "
        raise unknown("method", name, known, ("'xplain methods' lists them." + hint).strip())
    return _REGISTRY[plain]


def methods() -> Iterator[Method]:
    """All methods, by family and name."""
    return iter(sorted(_REGISTRY.values(), key=lambda m: (m.family, m.name)))


def docstring_sections(text: str) -> dict[str, str]:
    """A Google docstring as ``{"summary": ..., "body": ..., "args": ...}``, section names in lower case."""
    sections: dict[str, list[str]] = {"summary": [], "body": []}
    current = "summary"
    for line in text.splitlines():
        heading = line.rstrip()
        if heading.endswith(":") and not line.startswith(" ") and heading[:-1].replace(" ", "").isalpha():
            current = heading[:-1].lower()
            sections[current] = []
        elif current == "summary" and not line.strip():
            current = "body"
        else:
            sections[current].append(line)
    return {name: inspect.cleandoc("\n".join(lines)) for name, lines in sections.items()}


def argument_docs(section: str) -> dict[str, str]:
    """The ``Args`` section as ``{name: text}``."""
    docs: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        head, colon, rest = line.partition(":")
        if not line.startswith(" ") and colon and head.isidentifier():
            name, docs[head] = head, rest.strip()
        elif name:
            docs[name] += " " + line.strip()
    return docs
