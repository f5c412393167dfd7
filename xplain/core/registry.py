"""The one registry: a thing is declared once, above its function, and everything else follows from the declaration.

    @method("rise", needs=Score, paper=Paper("Petsiuk 2018", "arXiv:1806.07421"), unit="delta logit", sampled=True)
    def rise(view: View, *, samples: Positive = 4000, cells: Size = 7, keep: Fraction = 0.5) -> Flow:
        '''One sentence of idea. ... Google sections: Args, Returns, Cost, Differs from the paper, Raises, Source.'''

| declared with | what the function does | found in | plugins |
|---|---|---|---|
| ``@method`` | asks a model, and returns a ``Reading`` | ``METHODS`` | ``xplain.methods`` |
| ``@table`` | makes a table of rules for a sweep | ``TABLES`` | ``xplain.tables`` |
| ``@features`` | divides items into what can be switched off | ``FEATURES`` | ``xplain.features`` |
| ``@metric`` | judges an explanation | ``METRICS`` | ``xplain.metrics`` |
| ``@renderer`` | shows a result | ``RENDERERS`` | ``xplain.renderers`` |

(``@cam``, in the room of the methods, declares a method from a function of activations and gradients.)

From name, signature and docstring come ``explain(...)``, the command line's flags and help, the tables of the docs, and
the contract tests. The five catalogues are the only mutable state of the project; they change at import alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from xplain.core.catalogue import Catalogue, plain_name
from xplain.core.docstrings import argument_docs, docstring_sections
from xplain.core.errors import nearest, unknown
from xplain.core.options import Option, options_of, parsed
from xplain.core.query import Flow, Score, View, laid_out
from xplain.core.rules import Rules

__all__ = [
    "CATALOGUES",
    "FEATURES",
    "METHODS",
    "METRICS",
    "RENDERERS",
    "TABLES",
    "Declared",
    "Maker",
    "Method",
    "Metric",
    "Paper",
    "Renderer",
    "RuleOf",
    "Table",
    "features",
    "find",
    "method",
    "methods",
    "metric",
    "renderer",
    "table",
]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Paper:
    """Where something comes from: short name, and an identifier a person can look up."""

    name: str
    where: str

    def __str__(self) -> str:
        return f"{self.name}, {self.where}"


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What every declaration has.

    Args:
        name: Public name, kebab-case.
        function: The function that was declared, unchanged.
        aliases: Other names people know.
        options: Its keyword-only parameters, by name.
        sections: Its docstring, by section.
    """

    word: ClassVar[str] = "declaration"

    name: str
    function: Callable[..., Any]
    aliases: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)
    sections: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The docstring's first sentence."""
        return self.sections.get("summary", "")

    @property
    def cost(self) -> str:
        """The docstring's ``Cost`` section."""
        return self.sections.get("cost", "")

    def read_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their values: those given, validated, and the defaults of the rest.

        Raises:
            UnknownName: an option that there is not; the message names the nearest and lists all.
            UsageError: a value that is refused; the message says what is accepted.
        """
        values = {name: option.default for name, option in self.options.items()}
        for name, value in given.items():
            plain = name.replace("-", "_")
            if plain not in self.options:
                raise unknown(f"option of {self.word} {self.name!r}:", name, self.options)
            values[plain] = self.options[plain].read(value, f"{self.word} {self.name!r}")
        return values


@dataclass(frozen=True, kw_only=True)
class Method(Declared):
    """A method: the generator function ``(view, **options) -> Flow``.

    Args:
        needs: Kinds of question it asks; with the default options, where they decide.
        paper: Where it comes from.
        unit: Unit of the values, such as ``"delta logit when hidden"``.
        family: Folder it lives in: perturbation, gradient, relevance, cam; or plugin.
        signed: Values carry a sign; unsigned maps are drawn with another colour map.
        sampled: Depends on the seed, and returns a standard error.
        complete: The values sum to f(x) - f(baseline); contract tests hold it to that.
        traceable: The method can be compiled into a graph.
        traced_with: Options that compiling fixes, where the method would otherwise decide from data how long to run.
        channels: Values have the item's own shape rather than the map's.
    """

    word: ClassVar[str] = "method"

    needs: frozenset[type]
    paper: Paper
    unit: str
    family: str
    signed: bool = True
    sampled: bool = False
    complete: bool = False
    traceable: bool = True
    traced_with: Mapping[str, Any] = field(default_factory=dict)
    channels: bool = False

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

    def needs_with(self, options: Mapping[str, Any]) -> frozenset[type]:
        """Kinds of question it asks with these options: a method that runs another one asks what that one asks."""
        kinds = [(name, getattr(option.kind, "needs", None)) for name, option in self.options.items()]
        found = [needs(options[name]) for name, needs in kinds if needs is not None and name in options]
        return frozenset().union(*found) if found else self.needs


@dataclass(frozen=True, kw_only=True)
class Table(Declared):
    """A rule table: the function ``(**options) -> Rules``.

    Args:
        method: The method whose option ``rule`` offers it; empty for one that a method uses without asking.
        paper: Where it comes from.
    """

    word: ClassVar[str] = "rule table"

    method: str = ""
    paper: Paper | None = None

    def rules(self, **options: Any) -> Rules:
        """The table with these options."""
        made: Rules = self.function(**options)
        return made


@dataclass(frozen=True, kw_only=True)
class Maker(Declared):
    """A way to divide items into features: the function ``(view, **options) -> Partition``."""

    word: ClassVar[str] = "features"


@dataclass(frozen=True, kw_only=True)
class Metric(Declared):
    """A judgement of an explanation.

    Args:
        better: Whether a ``small`` or a ``large`` value is good.
        asks: Whether it asks the model, as a flow ``(view, values, fill, **options) -> Flow``; else it compares
            ``(found, truth, **options)``.
    """

    word: ClassVar[str] = "metric"

    better: Literal["small", "large"] = "large"
    asks: bool = False


@dataclass(frozen=True, kw_only=True)
class Renderer(Declared):
    """A way to show a result: the function ``(result, ..., **options)``.

    Args:
        draws: What it shows, such as ``attribution``.
    """

    word: ClassVar[str] = "renderer"

    draws: str = "attribution"


_LISTED = "'xplain methods' lists them."

METHODS: Catalogue[Method] = Catalogue(
    "method", "xplain.explainers", "xplain.methods", _LISTED, lambda entry: (entry.family, entry.name)
)
TABLES: Catalogue[Table] = Catalogue("rule table", "xplain.rules", "xplain.tables")
FEATURES: Catalogue[Maker] = Catalogue("features", "xplain.explainers.features", "xplain.features")
METRICS: Catalogue[Metric] = Catalogue("metric", "xplain.metrics", "xplain.metrics")
RENDERERS: Catalogue[Renderer] = Catalogue("renderer", "xplain.render", "xplain.renderers")

CATALOGUES: tuple[Catalogue[Any], ...] = (METHODS, TABLES, FEATURES, METRICS, RENDERERS)


@dataclass(frozen=True)
class RuleOf:
    """What a method's option ``rule`` accepts: one of its tables, with options of its own.

    Args:
        method: The method that the tables declare.
    """

    method: str

    def _tables(self) -> list[Table]:
        return [one for one in TABLES if one.method == self.method]

    @property
    def accepts(self) -> str:
        """Words for a message: the tables there are, those of plugins too."""
        tables = self._tables()
        own = next((f"{one.name}:{name}={one.options[name].default}" for one in tables for name in one.options), "")
        example = f", with options of its own as in {own!r}" if own else ""
        return f"one of {', '.join(one.name for one in tables)}{example}"

    @property
    def invalid(self) -> tuple[Any, ...]:
        """Values that must be refused."""
        return ("none-of-these", 3, "")

    def read(self, value: Any) -> str:
        """The table's name as it was declared, with the options that follow it. Raises ValueError when refused."""
        if not isinstance(value, str):
            raise ValueError
        name = parsed(value)[0]
        names = [known for one in self._tables() for known in (one.name, *one.aliases)]
        if plain_name(name) not in names:
            raise unknown("rule", name, names) if nearest(name, names) else ValueError
        return TABLES.read(value)[0].name + value[len(name) :]


def facts_of(function: Callable[..., Any], any_type: bool = False) -> dict[str, Any]:
    """Options and documentation of a function, as every declaration keeps them.

    Args:
        function: The function that is declared.
        any_type: Leave out keyword options of a type that no command line could give, instead of refusing them.
    """
    sections = docstring_sections(inspect.getdoc(function) or "")
    options = options_of(function, argument_docs(sections.get("args", "")), any_type=any_type)
    return {"function": function, "options": options, "sections": sections}


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
) -> Callable[[F], F]:
    """Declare a method; see ``Method`` for the arguments. The function itself is returned unchanged.

    ``traceable`` None means: unless it asks for scores of edited items, which no graph can answer.
    """

    def declare(function: F) -> F:
        kinds = frozenset(needs if isinstance(needs, tuple) else (needs,))
        entry = Method(
            name=name,
            needs=kinds,
            paper=paper,
            unit=unit,
            family=family_of(function.__module__),
            aliases=aliases,
            signed=signed,
            sampled=sampled,
            complete=complete,
            traceable=Score not in kinds if traceable is None else traceable,
            traced_with=traced_with or {},
            channels=channels,
            **facts_of(function),
        )
        METHODS.add(entry)
        return function

    return declare


def table(
    name: str, *, method: str = "", paper: Paper | None = None, aliases: tuple[str, ...] = ()
) -> Callable[[F], F]:
    """Declare a rule table; see ``Table``. The function itself is returned unchanged."""

    def declare(function: F) -> F:
        TABLES.add(Table(name=name, method=method, paper=paper, aliases=aliases, **facts_of(function)))
        return function

    return declare


def features(name: str, *, aliases: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Declare a way to divide items into features; see ``Maker``. The function itself is returned unchanged."""

    def declare(function: F) -> F:
        FEATURES.add(Maker(name=name, aliases=aliases, **facts_of(function)))
        return function

    return declare


def metric(
    name: str, *, better: Literal["small", "large"], asks: bool = False, aliases: tuple[str, ...] = ()
) -> Callable[[F], F]:
    """Declare a metric; see ``Metric``. The function itself is returned unchanged."""

    def declare(function: F) -> F:
        METRICS.add(Metric(name=name, better=better, asks=asks, aliases=aliases, **facts_of(function)))
        return function

    return declare


def renderer(name: str, *, draws: str = "attribution", aliases: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Declare a renderer; see ``Renderer``. Its options may be of any type. The function is returned unchanged."""

    def declare(function: F) -> F:
        RENDERERS.add(Renderer(name=name, draws=draws, aliases=aliases, **facts_of(function, any_type=True)))
        return function

    return declare


def family_of(module: str) -> str:
    """The folder of a method's file, ``plugin`` for one that came from elsewhere."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["xplain", "explainers"] and len(parts) > 3 else "plugin"


def find(name: str) -> Method:
    """The method called ``name``; case and ``_`` for ``-`` do not matter, aliases are followed.

    Raises:
        UnknownName: no such method; the message names the nearest.
    """
    return METHODS.find(name)


def methods() -> Iterator[Method]:
    """All methods, by family and name."""
    return iter(METHODS)
