"""The options of each door to a model, declared once: for ``xplain.load``, the command line, and the errors of both.

| source | its options |
|---|---|
| an ONNX file | ``OnnxOptions`` |
| an ONNX model that is asked with whole feeds: texts, the columns of a table | ``FeedsOptions`` |
| a torch module | ``TorchOptions`` |
| a function of items | ``FunctionOptions`` |
| a fitted estimator; a function of texts or of columns | ``AskedOptions`` |
| a URL | ``EndpointOptions`` |

What an option means stands in its class's docstring alone; ``described`` hands that out for help and pages.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from xplain.core.card import Card
from xplain.core.declaring.docstrings import argument_docs, docstring_sections
from xplain.core.declaring.wording import listed
from xplain.core.errors import UsageError, unknown

if TYPE_CHECKING:
    from xplain.graph.safety import Limits

__all__ = ["ENGINES", "AskedOptions", "EndpointOptions", "FeedsOptions", "FunctionOptions", "OnnxOptions"]
__all__ += ["Patience", "TorchOptions", "Wanted", "described", "options_for", "refuse", "summary"]

ENGINES = ("auto", "plain", "fast")
"""Ways in which an ONNX model answers hidden windows."""

_FORMATS = ("contiguous", "channels-last")
_PRECISIONS = ("float32", "bfloat16", "float16")

Wanted: TypeAlias = Sequence[str | tuple[str, Mapping[str, Any]]] | str | tuple[str, Mapping[str, Any]] | None
"""Execution providers as a caller gives them: names, ``"cuda:1"`` for a device, or ``(name, options)``."""

CardLike: TypeAlias = Card | Mapping[str, Any] | str | Path


@dataclass(frozen=True, kw_only=True)
class FeedsOptions:
    """Options of an ONNX model that is asked with whole feeds, one array per input.

    Args:
        output: Name of the tensor that is read as scores. None: the one that is found.
        providers: ONNX Runtime execution providers, best first, such as cuda,cpu. Full names, ``"tensorrt"``,
            ``"cuda"`` or ``"cpu"`` for short, ``"cuda:1"`` for a device, or ``(name, options)`` as the runtime takes
            them; None for CUDA where there is a device, else the CPU. Those that are not there or do not start are
            passed over, which the quirks and every result's notes say; if none is left, that is an error.
        threads: Threads of one run. None: all that the process may use.
        allow_external_data: Let the file read weights from any file of its folder. Those that exporters write
            beside it, such as ``m.onnx.data`` for ``m.onnx``, are read without.
        limits: How large the file may be; see ``xplain.graph.safety.Limits``, or a mapping of those that are moved,
            such as ``{"nodes": 10**6}``.

    Raises:
        UsageError: a value that cannot be used.
    """

    output: int | str | None = None
    providers: Wanted = None
    threads: int | None = None
    allow_external_data: bool = False
    limits: Limits | None = None

    def __post_init__(self) -> None:
        moved: Any = self.limits
        if isinstance(moved, Mapping):  # as a file says it
            object.__setattr__(self, "limits", _limits(moved))
        if self.threads is not None and not _is_count(self.threads):
            raise UsageError(
                option="threads", got=self.threads, accepted="a whole number of at least 1, or None for all"
            )


@dataclass(frozen=True, kw_only=True)
class OnnxOptions(FeedsOptions):
    """Options of an ONNX file, its bytes or an ``onnx.ModelProto``.

    Args:
        output: Name of the tensor that is read as scores. None: the one that is found.
        providers: As for ``FeedsOptions``.
        threads: As for ``FeedsOptions``.
        allow_external_data: As for ``FeedsOptions``.
        limits: As for ``FeedsOptions``.
        card: How pictures become tensors: a card, a preprocessor_config.json or a preset. None: the card beside the
            file or in its metadata.
        input: Name of the input that is explained, where there are several.
        fixed: Values of the other inputs, by name, with or without a batch axis of 1.
        layout: How the axes of the explained input are named, a letter each, such as NHWC, NTC or NCDHW. See
            ``xplain.core.positions.layout``. None: what the model's operators, its card, the names of its
            dimensions and last the sizes of the items say, and where those leave a doubt, a question.
        engine: How hidden windows (occlusion) are answered: auto (incrementally where that pays), plain (each in full)
            or fast (approximate). ``"auto"``: incrementally, computing again only what a
            window changes, where that is predicted to pay; same answers to float32 rounding. ``"fast"``: the same,
            approximate: differences in bfloat16 where the processor gains by it, else Winograd convolutions without
            regard to their rounding; the result says by how much. ``"plain"``: every window in full.
        scores: What the scores are, where it cannot be seen: logits, probabilities, log-probabilities, scores, or
            'scores in UNIT' such as 'scores in EUR'. Units and warnings follow. None: as it was found.

    Raises:
        UsageError: a value that cannot be used.
    """

    card: CardLike | None = None
    input: str | None = None
    fixed: Mapping[str, Any] | None = None
    layout: str | None = None
    engine: str = "auto"
    scores: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("engine", self.engine, ENGINES)


@dataclass(frozen=True, kw_only=True)
class TorchOptions:
    """Options of a ``torch.nn.Module`` or an exported program.

    Args:
        card: How pictures become its input; None where items are tensors.
        layout: How the axes of its items are named, such as ``"NHWC"``; None leaves it to what the module does with
            its first item, and to their sizes.
        output: Which of several outputs is read as scores: its place (``1``, or ``"output:1"``), its key, or the
            attribute that it is.
        memory_format: How batches of pictures lie in memory: ``"contiguous"`` or ``"channels-last"``. Same numbers to
            rounding; on CUDA devices channels-last often runs convolutions faster in half precision.
        precision: ``"float32"`` (the module's own types), or ``"bfloat16"`` or ``"float16"``: passes run under
            ``torch.autocast``. Results are then approximate, and every one says so.
        graphs: Whether full chunks on a CUDA device are captured as CUDA graphs.
        scores: What the scores are, where it cannot be seen: logits, probabilities, log-probabilities, scores, or
            'scores in UNIT' such as 'scores in EUR'. Units and warnings follow. None: as it was found.

    Raises:
        UsageError: a value that cannot be used.
    """

    card: CardLike | None = None
    layout: str | None = None
    output: int | str | None = None
    memory_format: str = "contiguous"
    precision: str = "float32"
    graphs: bool = False
    scores: str | None = None

    def __post_init__(self) -> None:
        _one_of("memory_format", self.memory_format, _FORMATS)
        _one_of("precision", self.precision, _PRECISIONS)
        if not isinstance(self.graphs, bool):
            raise UsageError(option="graphs", got=self.graphs, accepted="True or False")


@dataclass(frozen=True, kw_only=True)
class AskedOptions:
    """Options of a fitted estimator, and of a function of texts or of whole columns.

    Args:
        version: Names what it does, so that its answers can be remembered (``explain(..., cache=)``); change it with
            the model.
        price: What an evaluation costs: a number, or the parts of an ``xplain.core.price.Price``.
    """

    version: str = ""
    price: Any = None


@dataclass(frozen=True, kw_only=True)
class FunctionOptions(AskedOptions):
    """Options of a Python function ``f(batch) -> scores``.

    Args:
        version: Names what it does, so that its answers can be remembered (``explain(..., cache=)``); change it with
            the function.
        price: What an evaluation costs: a number, or the parts of an ``xplain.core.price.Price``.
        card: How pictures become its items; None where items are arrays.
        layout: How the axes of its items are named, such as ``"NHWC"``; None leaves it to the items' sizes.
        scores: What the scores are, where it cannot be seen: logits, probabilities, log-probabilities, scores, or
            'scores in UNIT' such as 'scores in EUR'. Units and warnings follow. None: as it was found.
    """

    card: CardLike | None = None
    layout: str | None = None
    scores: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """When a failed call is tried again, and when to give up.

    Args:
        attempts: Tries per call, the first one included.
        first: Upper bound of the first wait in seconds.
        longest: Upper bound of any wait; a server that wants longer is not waited for.
        breaker: Failed attempts in a row, over all calls, after which nothing more is sent for ``cooling`` seconds.
        cooling: How long that lasts.
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 60.0
    breaker: int = 10
    cooling: float = 30.0


@dataclass(frozen=True, kw_only=True)
class EndpointOptions:
    """Options of a model behind a URL.

    Args:
        mapping: TOML file, or the same as a dictionary, that describes another JSON service.
        card: How pictures become the model's tensors.
        labels: Class names; they may also stand in the card or the mapping.
        classes: How many classes there are, where neither server nor labels say it.
        scores: What the scores are: logits (any unbounded score), probabilities, log-probabilities, decisions.
        input: Input to explain, of several.
        output: Output to read, of several.
        fixed: Values of the other inputs.
        field: V1: where in a prediction the scores lie.
        top_k: V2: ask for so many best classes alone (classification extension); the others are unknown.
        binary: V2: send raw tensors; None does so when the server says it can.
        text: V1: the items are texts.
        version: Names the model's version where the server does not; part of what answers are remembered under.
        layout: How the axes of the explained input are named, such as ``"NHWC"``.
        auth: ``"${TOKEN}"`` (a bearer token from the environment), ``{"X-Api-Key": "${KEY}"}``, or a function that
            returns headers. Secrets never enter a cache, a ledger, a message or a result.
        hosts: Hosts that may be asked, as names or patterns; None allows the one in the URL.
        allow_http: Plain http also to other machines; refused together with ``auth``.
        ca: File of a company's own certificates; TLS is always verified.
        timeout: Seconds in all, or ``{"connect": ..., "read": ..., "total": ...}``.
        patience: How often a failed call is tried again, and when to give up.
        concurrency: Requests under way at a time.
        rate: Requests per second at most.
        max_batch: Items per request at most.
        max_bytes: Bytes of items per request at most.
        max_response: Bytes of an answer beyond which it is refused.
        max_calls: Calls that may be made in the life of the model, repeated ones included.
        max_cost: Money that an endpoint may cost in the life of the model, all calls together, repeated ones too.
        price: Money per item, or ``{"per_row": ..., "per_call": ..., "currency": ...}``.
        ledger: File to which a line is added for every call.

    Raises:
        UsageError: a value that cannot be used.
    """

    mapping: str | os.PathLike[str] | Mapping[str, Any] | None = None
    card: CardLike | None = None
    labels: Sequence[str] = ()
    classes: int | None = None
    scores: str | None = None
    input: str | None = None
    output: str | None = None
    fixed: Mapping[str, Any] | None = None
    field: str | None = None
    top_k: int | None = None
    binary: bool | None = None
    text: bool = False
    version: str = ""
    layout: str | None = None
    auth: str | Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None
    hosts: Sequence[str] | None = None
    allow_http: bool = False
    ca: str | None = None
    timeout: Any = None
    patience: Patience | None = None
    concurrency: int = 4
    rate: float | None = None
    max_batch: int = 16
    max_bytes: int = 8 * 2**20
    max_response: int = 64 * 2**20
    max_calls: int | None = None
    max_cost: Any = None
    price: Any = None
    ledger: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name in ("concurrency", "max_batch", "max_bytes", "max_response"):
            _count(name, getattr(self, name))
        for name in ("max_calls", "top_k"):
            if getattr(self, name) is not None:
                _count(name, getattr(self, name))
        number = isinstance(self.rate, (int, float)) and not isinstance(self.rate, bool)
        if self.rate is not None and (not number or not 0 < self.rate < math.inf):
            raise UsageError(option="rate", got=self.rate, accepted="calls per second, above 0")


_Options = TypeVar("_Options")
_DOORS: dict[type[Any], tuple[str, str]] = {
    OnnxOptions: ("an ONNX model", "ONNX models"),
    FeedsOptions: ("an ONNX model of texts or columns", "ONNX models"),
    TorchOptions: ("a torch module", "torch modules"),
    FunctionOptions: ("a function", "functions"),
    AskedOptions: ("an estimator, or a function of texts or columns", "functions"),
    EndpointOptions: ("an endpoint", "endpoints"),
}


def options_for(kind: type[_Options], given: Mapping[str, Any], source: Any) -> _Options:
    """The options of a door from what a person gave; another door's at their defaults are passed over.

    Args:
        kind: The door's options.
        given: Name to value.
        source: The model, for a message.

    Raises:
        UsageError: an option that only other doors take, named with those; an unknown one, with the nearest; or a
            value that cannot be used.
    """
    own = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    door, _ = _DOORS[kind]
    wrong = []
    for name, value in given.items():
        if name in own:
            continue
        takers = {other: _defaults(other)[name] for other in _DOORS if name in _defaults(other)}
        if not takers:
            raise unknown(f"option of {door}:", name, own)
        at_default = (value is one or (isinstance(value, (str, bool)) and value == one) for one in takers.values())
        if not any(at_default):
            wrong.append((name, " and ".join(dict.fromkeys(_DOORS[other][1] for other in takers))))
    if wrong:
        by_door: dict[str, list[str]] = {}
        for name, doors in wrong:
            by_door.setdefault(doors, []).append(name)
        said = [piece for doors, names in by_door.items() for piece in ("; ", *listed(names), f": only for {doors}")]
        raise UsageError(*said[1:], f"; got {type(source).__name__}. The options of {door}: ", *listed(own), ".")
    return kind(**{name: value for name, value in given.items() if name in own})


def refuse(given: Mapping[str, Any]) -> None:
    """A model that is loaded already has its options.

    Raises:
        UsageError: some are given.
    """
    if given:
        late = ": of no use to a model that is loaded already; they are read when its file or function is loaded."
        raise UsageError(*listed(given), late)


def described(kind: type[Any]) -> dict[str, str]:
    """What each option of a door means, in the words of its class's docstring."""
    docs = argument_docs(docstring_sections(inspect.getdoc(kind) or "").get("args", ""))
    base = kind.__mro__[1]
    shared = described(base) if base in _DOORS else {}
    return {name: shared[name] if text.startswith("As for ") else text for name, text in docs.items()}


def summary(kind: type[Any], name: str) -> str:
    """What an option means in one sentence, for a command line's help."""
    return described(kind)[name].partition(". ")[0].removesuffix(".").replace("``", "").replace('"', "") + "."


def _limits(moved: Mapping[str, float]) -> Limits:
    """Limits with some of them moved.

    Raises:
        UsageError: one that is not known, or is no number.
    """
    from xplain.graph.safety import Limits

    known = [field.name for field in fields(Limits)]
    for name, value in moved.items():
        if name not in known:
            raise unknown("limit", name, known)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or (value < 1 and not (name == "contact_seconds" and value == 0)):
            raise UsageError(
                option="limits", got=dict(moved), accepted="numbers of at least 1 by name; contact_seconds may be 0"
            )
    return Limits(**moved)  # type: ignore[arg-type]


def _defaults(kind: type[Any]) -> dict[str, Any]:
    return {field.name: None if field.default is MISSING else field.default for field in fields(kind)}


def _one_of(name: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise UsageError(option=name, got=given, accepted=", ".join(map(repr, known)))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _count(name: str, value: Any) -> None:
    if not _is_count(value):
        raise UsageError(option=name, got=value, accepted="a whole number of at least 1")
