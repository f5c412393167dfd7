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
| ``@lens`` | looks into a model, and returns a kind of result | ``LENSES`` | ``xplain.lenses`` |
| ``@attack`` | changes items until the model errs | ``ATTACKS`` | ``xplain.attacks`` |
| ``@recipe`` | makes pictures that excite a target, or show what a layer keeps | ``RECIPES`` | ``xplain.recipes`` |

(``@cam``, in the room of the methods, declares a method from a function of activations and gradients.)

From name, signature and docstring come ``explain(...)``, the command line's flags and help, the tables of the docs, and
the contract tests. The catalogues are the only mutable state of the project; they change at import alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Required, TypedDict, TypeVar, Unpack

from xplain.core.declaring.catalogue import Catalogue, plain_name
from xplain.core.declaring.declared import (
    AttackKind,
    Declared,
    Judges,
    Lens,
    Maker,
    Method,
    Metric,
    Paper,
    Recipe,
    Renderer,
    Source,
    Suits,
    Table,
    Wants,
)
from xplain.core.declaring.docstrings import argument_docs, docstring_sections
from xplain.core.declaring.options import options_of
from xplain.core.declaring.with_options import parsed
from xplain.core.errors import nearest, unknown
from xplain.core.query import Score
from xplain.core.synthesis.attack import Norm

__all__ = [
    "ATTACKS",
    "CATALOGUES",
    "FEATURES",
    "LENSES",
    "METHODS",
    "METRICS",
    "RECIPES",
    "RENDERERS",
    "TABLES",
    "AttackKind",
    "Declared",
    "Lens",
    "Maker",
    "Method",
    "Metric",
    "Paper",
    "Recipe",
    "Renderer",
    "RuleOf",
    "Source",
    "Table",
    "attack",
    "features",
    "find",
    "lens",
    "method",
    "methods",
    "metric",
    "recipe",
    "renderer",
    "table",
]

F = TypeVar("F", bound=Callable[..., Any])


_LISTED = "'xplain methods' lists them."

METHODS: Catalogue[Method] = Catalogue(
    "method", "xplain.explainers", "xplain.methods", _LISTED, lambda entry: (entry.family, entry.name)
)
TABLES: Catalogue[Table] = Catalogue("rule table", "xplain.rules", "xplain.tables")
FEATURES: Catalogue[Maker] = Catalogue("features", "xplain.explainers.features", "xplain.features")
METRICS: Catalogue[Metric] = Catalogue("metric", "xplain.metrics", "xplain.metrics")
RENDERERS: Catalogue[Renderer] = Catalogue("renderer", "xplain.render", "xplain.renderers")
ATTACKS: Catalogue[AttackKind] = Catalogue(
    "attack", "xplain.explainers.attacks", "xplain.attacks", "'xplain attack --help' lists them."
)
LENSES: Catalogue[Lens] = Catalogue("lens", "xplain.explainers.see", "xplain.lenses", "'xplain see --help' lists them.")

RECIPES: Catalogue[Recipe] = Catalogue(
    "recipe", "xplain.explainers.synthesis", "xplain.recipes", "'xplain make --help' lists them."
)

CATALOGUES: tuple[Catalogue[Any], ...] = (METHODS, TABLES, FEATURES, METRICS, RENDERERS, ATTACKS, LENSES, RECIPES)


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


class MethodFacts(TypedDict, total=False):
    """What ``@method`` is told besides the name; see ``Method``."""

    needs: Required[type[Any] | tuple[type[Any], ...]]
    paper: Required[Paper]
    unit: Required[str]
    aliases: tuple[str, ...]
    signed: bool
    sampled: bool
    complete: bool
    adaptive: bool
    suits: Suits
    traceable: bool
    traced_with: Mapping[str, Any]
    channels: bool
    trial: Mapping[str, Any]


def method(name: str, **facts: Unpack[MethodFacts]) -> Callable[[F], F]:
    """Declare a method; see ``Method`` for the arguments. The function itself is returned unchanged.

    Where ``traceable`` is not said, it is unless it asks for scores of edited items, which no graph can answer.
    """

    def declare(function: F) -> F:
        METHODS.add(method_of(name, facts_of(function), **facts))
        return function

    return declare


def method_of(name: str, read: Mapping[str, Any], **facts: Unpack[MethodFacts]) -> Method:
    """A method: ``read`` is what ``facts_of`` its function says, ``facts`` what is declared above it."""
    asked = facts["needs"]
    needs = frozenset(asked if isinstance(asked, tuple) else (asked,))
    said: dict[str, Any] = {"traceable": Score not in needs, **facts, "needs": needs}
    return Method(name=name, family=_family(read["function"].__module__), **read, **said)


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


class MetricFacts(TypedDict, total=False):
    """What ``@metric`` is told besides the name; see ``Metric``."""

    better: Required[Literal["small", "large"]]
    needs: Judges
    asks: bool
    unit: str
    range: tuple[float, float]
    paper: Paper
    aliases: tuple[str, ...]
    trial: Mapping[str, Any]


def metric(name: str, **facts: Unpack[MetricFacts]) -> Callable[[F], F]:
    """Declare a metric; see ``Metric``. ``asks=True`` is short for ``needs="curve"``. The function is unchanged."""

    def declare(function: F) -> F:
        said: dict[str, Any] = {**facts}
        if said.pop("asks", False):
            said.setdefault("needs", "curve")
        METRICS.add(Metric(name=name, **said, **facts_of(function)))
        return function

    return declare


def lens(
    name: str,
    *,
    needs: type | tuple[type, ...] = (),
    items: Wants = "must",
    kept: Literal["no", "one", "several"] = "no",
    paper: Paper | None = None,
    aliases: tuple[str, ...] = (),
    trial: Mapping[str, Any] | None = None,
) -> Callable[[F], F]:
    """Declare a lens; see ``Lens``. The function itself is returned unchanged."""
    kinds = frozenset(needs if isinstance(needs, tuple) else (needs,))

    def declare(function: F) -> F:
        told: dict[str, Any] = {
            "needs": kinds,
            "items": items,
            "kept": kept,
            "paper": paper,
            "trial": dict(trial or {}),
        }
        LENSES.add(Lens(name=name, aliases=aliases, **told, **facts_of(function)))
        return function

    return declare


def renderer(name: str, *, draws: str = "attribution", aliases: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Declare a renderer; see ``Renderer``. Its options may be of any type. The function is returned unchanged."""

    def declare(function: F) -> F:
        RENDERERS.add(Renderer(name=name, draws=draws, aliases=aliases, **facts_of(function, any_type=True)))
        return function

    return declare


class AttackFacts(TypedDict, total=False):
    """What ``@attack`` is told besides the name; see ``AttackKind``."""

    needs: Required[type[Any] | tuple[type[Any], ...]]
    paper: Required[Paper]
    aliases: tuple[str, ...]
    norms: tuple[Norm, ...]
    goals: Literal["both", "targeted", "untargeted"]
    smallest: bool
    together: bool
    learns: bool
    invents: bool
    trial: Mapping[str, Any]


def attack(name: str, **facts: Unpack[AttackFacts]) -> Callable[[F], F]:
    """Declare an attack; see ``AttackKind``. The function itself is returned unchanged."""

    def declare(function: F) -> F:
        asked = facts["needs"]
        needs = frozenset(asked if isinstance(asked, tuple) else (asked,))
        said: dict[str, Any] = {**facts, "needs": needs}
        ATTACKS.add(AttackKind(name=name, **facts_of(function), **said))
        return function

    return declare


class RecipeFacts(TypedDict, total=False):
    """What ``@recipe`` is told besides the name; see ``Recipe``."""

    paper: Paper | None
    target: Literal["needed", "optional", "none"]
    sources: tuple[Source, ...]
    learns: bool
    paints: bool
    judged: bool
    trial: Mapping[str, Any]
    aliases: tuple[str, ...]


def recipe(name: str, **facts: Unpack[RecipeFacts]) -> Callable[[F], F]:
    """Declare a way to make pictures; see ``Recipe``. The function itself is returned unchanged."""

    def declare(function: F) -> F:
        RECIPES.add(Recipe(name=name, **facts_of(function), **facts))
        return function

    return declare


def _family(module: str) -> str:
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
