"""What is registered, as it was declared: methods, rule tables, makers of features, metrics, renderers ..."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from xplain.core.declaring.option_names import Files
from xplain.core.declaring.options import Option
from xplain.core.edits import Array
from xplain.core.errors import unknown
from xplain.core.flows import laid_out
from xplain.core.lenses.scene import Scene, Seeing
from xplain.core.query import Flow, View
from xplain.core.rules import Rules
from xplain.core.synthesis.attack import AttackFlow, Norm, Threat
from xplain.core.synthesis.commission import Commission, Painting

__all__ = [
    "AttackKind",
    "Declared",
    "Judges",
    "Lens",
    "Maker",
    "Method",
    "Metric",
    "Paper",
    "Recipe",
    "Renderer",
    "Source",
    "Suits",
    "Table",
    "Wants",
]

Suits: TypeAlias = Literal["any", "additive", "attention", "trees"]
Wants: TypeAlias = Literal["none", "may", "must"]
Judges: TypeAlias = Literal["map", "truth", "pair", "curve", "answers", "maps", "models", "regions"]
"""What a metric is given; see ``Metric``."""


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
    def flags(self) -> Mapping[str, Option]:
        """What a command line may say of it, by name: its options, and whatever else it is given."""
        return self.options

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
        adaptive: Decides from the answers what to ask next, so that its plan is only that of a constant model.
        suits: Models that it is for: ``additive`` ones, whose score is a sum over features, those with attention, or
            sums of trees.
        trial: Options with which it can be tried in a moment, where defaults for a real answer take long.
    """

    word: ClassVar[str] = "method"

    needs: frozenset[type[Any]]
    paper: Paper
    unit: str
    family: str
    signed: bool = True
    sampled: bool = False
    complete: bool = False
    traceable: bool = True
    traced_with: Mapping[str, Any] = field(default_factory=dict)
    channels: bool = False
    adaptive: bool = False
    suits: Suits = "any"
    trial: Mapping[str, Any] = field(default_factory=dict)

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

    def needs_with(self, options: Mapping[str, Any]) -> frozenset[type[Any]]:
        """Kinds of question it asks with these options: a method that runs another one asks what that one asks."""
        kinds = [(name, getattr(option.kind, "needs", None)) for name, option in self.options.items()]
        found = [needs(options[name]) for name, needs in kinds if needs is not None and name in options]
        return frozenset().union(*found) if found else self.needs


@dataclass(frozen=True, kw_only=True)
class Lens(Declared):
    """A way to see inside a model: the generator function ``(scene, **options) -> Seeing``.

    Args:
        needs: Kinds of question it asks; none where what is known of the model is enough.
        items: Whether it takes items: ``none``, ``may``, or ``must``.
        kept: Whether it takes vectors that ``embed`` has kept in place of items: ``no``, ``one`` folder of them, or
            ``several``, such as one per layer. It finds them in ``scene.kept``.
        paper: Where it comes from.
        trial: Options with which it can be tried in a moment.
    """

    word: ClassVar[str] = "lens"

    needs: frozenset[type[Any]] = frozenset()
    items: Wants = "must"
    kept: Literal["no", "one", "several"] = "no"
    paper: Paper | None = None
    trial: Mapping[str, Any] = field(default_factory=dict)

    def start(self, scene: Scene, options: Mapping[str, Any]) -> Seeing[Any]:
        """The lens at work; a short name of a layer is made whole, here for every door.

        Raises:
            UnknownName: the layer's name is short for several.
        """
        layer = options.get("layer")
        if isinstance(layer, str) and layer not in ("input", "auto", "all"):
            options = {**options, "layer": scene.outline.layer_meant(layer)}
        found: Seeing[Any] = self.function(scene, **options)
        return found


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
    """A judgement of an explanation: one number for each item, NaN where there is none.

    What its function is, by what it is given:

    | needs | function | asks |
    |---|---|---|
    | ``map`` | ``(values [N, *map]) -> [N]`` | nothing |
    | ``truth`` | ``(values [N, *map], masks bool [N, *map]) -> [N]`` | nothing |
    | ``pair`` | ``(values, others)``, two explanations of the same items, ``-> [N]`` | nothing |
    | ``answers`` | the flow ``(view, values, fill)``, which returns ``[N]`` | scores of edited items |
    | ``curve`` | the same, with ``shares`` in its ``notes`` and ``scores`` in ``each`` | scores of edited items |
    | ``maps`` | the flow ``(view, values, again)``; ``yield from again(view)`` are maps of other items | maps |
    | ``models`` | ``(stages [K, N, *map]) -> [N]``: maps by K models, the first of them unchanged | nothing |
    | ``regions`` | ``(found, truth)``: masks or boxes, of its own form | nothing |

    All take ``**options`` besides.

    Args:
        better: Whether a ``small`` or a ``large`` value is good.
        needs: What it is given.
        unit: What one of it means, such as ``share of mass``.
        range: The least and the largest value that it can have.
        paper: Where it comes from.
        trial: Options with which it can be tried in a moment.
    """

    word: ClassVar[str] = "metric"

    better: Literal["small", "large"] = "large"
    needs: Judges = "regions"
    unit: str = ""
    range: tuple[float, float] = (-math.inf, math.inf)
    paper: Paper | None = None
    trial: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asks(self) -> bool:
        """Whether it asks the model, as a flow."""
        return self.needs in ("curve", "answers", "maps")

    def start(self, view: View, values: Array, fill: Any, options: Mapping[str, Any]) -> Flow:
        """The flow of a metric that asks, its questions carrying the view's layout; ``fill`` is ``again`` for maps."""
        return laid_out(self.function(view, values, fill, **options), view)


@dataclass(frozen=True, kw_only=True)
class Renderer(Declared):
    """A way to show a result: the function ``(result, ..., **options)``.

    Args:
        draws: What it shows, such as ``attribution``.
    """

    word: ClassVar[str] = "renderer"

    draws: str = "attribution"


@dataclass(frozen=True, kw_only=True)
class AttackKind(Declared):
    """An attack: the generator function ``(threat, **options) -> AttackFlow``.

    Args:
        needs: Kinds of question it asks.
        paper: Where it comes from.
        norms: Norms in which it measures changes, the usual one first; empty for one that has no bound on changes.
        goals: Whether it can leave a class (``untargeted``), reach one (``targeted``), or both.
        smallest: Whether it looks for the smallest change, instead of one inside a given radius.
        together: Whether it finds one change for all items, so that they are attacked in one batch.
        learns: Whether it trains a substitute, which needs torch.
        invents: Whether it makes items of its own, so that it needs none: of those given only number and size count.
        trial: Options with which it can be tried in a moment.
    """

    word: ClassVar[str] = "attack"

    needs: frozenset[type[Any]]
    paper: Paper
    norms: tuple[Norm, ...] = ()
    goals: Literal["both", "targeted", "untargeted"] = "both"
    smallest: bool = False
    together: bool = False
    learns: bool = False
    invents: bool = False
    trial: Mapping[str, Any] = field(default_factory=dict)

    def start(self, threat: Threat, options: Mapping[str, Any]) -> AttackFlow:
        """The attack's flow for a threat."""
        flow: AttackFlow = self.function(threat, **options)
        return flow


_FILES: Mapping[tuple[bool, bool], str] = {
    (False, False): Files.accepts,
    (True, False): "a model file",
    (False, True): "four whole numbers with commas between, or a picture",
}
"""What a source that is a model, or a region, is given by."""


@dataclass(frozen=True, slots=True)
class Source:
    """Pictures that a recipe is given, or another model.

    Args:
        name: The keyword that gives them, and the flag; ``"x"`` are the pictures that stand without one.
        doc: What they are, as the end of a sentence.
        needed: Whether there must be some.
        fitted: Whether they are resized and cropped as the model's card says; else they keep their own size.
        single: Whether there is one at most.
        model: Whether it is a model instead: a file, or one that was loaded.
        film: Whether an animated file is taken frame by frame.
        region_of: The source in whose picture this one is a region, said by its corners or by a picture that is white
            there; empty for a picture as it is.
    """

    name: str
    doc: str
    needed: bool = False
    fitted: bool = False
    single: bool = False
    model: bool = False
    film: bool = False
    region_of: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe(Declared):
    """A way to make pictures: the generator function ``(commission, **options) -> Painting``.

    Args:
        paper: Where it comes from.
        target: Whether it excites a target that is named: ``needed``, ``optional`` or ``none``.
        sources: Pictures that it is given.
        learns: Whether it trains a net, so that it cannot be gone on with later; an interruption ends the learning.
        paints: Whether the model is one that makes pictures of pictures, so that nobody judges them.
        judged: Whether the finished pictures are shown to models; what a recipe draws of slopes is none for them.
        trial: Options that make it quick, for contract tests.
    """

    word: ClassVar[str] = "recipe"

    paper: Paper | None = None
    target: Literal["needed", "optional", "none"] = "needed"
    sources: tuple[Source, ...] = ()
    learns: bool = False
    paints: bool = False
    judged: bool = True
    trial: Mapping[str, Any] = field(default_factory=dict)

    @property
    def flags(self) -> Mapping[str, Option]:
        """Its options, and the pictures that it takes by name."""
        given = {
            one.name: Option(
                one.name,
                Files(_FILES[one.model, bool(one.region_of)], many=not one.single and not one.model),
                None,
                f"{one.doc[:1].upper()}{one.doc[1:]}.",
            )
            for one in self.sources
        }
        return {**self.options, **{name: one for name, one in given.items() if name != "x"}}

    def start(self, commission: Commission, options: Mapping[str, Any]) -> Painting:
        """The flow."""
        flow: Painting = self.function(commission, **options)
        return flow
