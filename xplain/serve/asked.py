"""One request, for an explanation or for scores alone, checked before anything is asked of a model."""

from __future__ import annotations

import base64
import binascii
import gc
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.declaring.registry import Method
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.items import Items
from xplain.core.keeping.strict import strict
from xplain.core.query import Model
from xplain.core.targets.words import wish_of
from xplain.serve.served import Served
from xplain.session import Plan, Request, Session
from xplain.session.by_hand import plan_hidden
from xplain.session.choosing import Choice

__all__ = ["Asked", "asked", "hidden_asked", "instance", "scores_asked", "strict_json"]

_KNOWN = ("method", "options", "target", "seed", "max_queries", "deadline", "preview")
_OF_ANSWERS = ("overlay", "seen", "encoding")
"""What the plain route and V1 take besides: how an answer is written."""
_LONGEST_SEED = 2**63
_MOST_OPENED = 4_000_000
"""Lists and objects in a body: a picture of channels last has one for each pixel; 60 MiB of empty ones took 24 s."""
_MOST = 200_000
"""What a count among the options may be: to plan more draws than anybody waits for takes gigabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What one caller wants to know.

    Args:
        served: Of which model.
        model: The same for these items: one of texts answers questions about just these.
        items: The items, read.
        method: By which method; None for the scores alone.
        options: Its options.
        target: As ``xplain.explain`` takes it, but for words that name a file.
        seed: Root of all randomness.
        max_queries: Evaluations that may be spent, or None.
        plan: What it will take.
        deadline: Seconds after which what is known by then is told; None for no limit.
        preview: Whether the map so far is found while the rest is on its way.
        hidden: Positions that are hidden by hand; then the scores are those of the item as it is, and without them.
        task: What is done instead, alone, such as drawing a layer; what it returns is the answer's ``drawn``.
    """

    served: Served
    model: Model
    items: Items
    method: Method | None
    options: Mapping[str, Any]
    target: Any
    seed: int
    max_queries: int | None
    plan: Plan
    deadline: float | None = None
    preview: bool = False
    hidden: Array | None = None
    task: Callable[[], bytes] | None = None
    fits: str = field(init=False)

    def __post_init__(self) -> None:
        common = None if self.spreads else repr(self.target)
        own = abilities_of(self.model).codes is not None  # rows whose numbers stand for what their own reader has met
        own = own or self.max_queries is not None or self.task is not None or self.hidden is not None
        alone = (id(self), self.max_queries) if own else None
        key = self.served.key(self.name, json.dumps(self.options, sort_keys=True), common, self.seed, alone)
        object.__setattr__(self, "fits", key)

    @property
    def name(self) -> str:
        """The method's name; empty for the scores alone."""
        return "" if self.method is None else self.method.name

    @property
    def size(self) -> int:
        """Evaluations and sweeps that it will take."""
        return self.plan.queries + self.plan.sweeps

    @property
    def spreads(self) -> bool:
        """Whether its target can stand in a list that has one for every item of several requests."""
        one = self.target
        named = isinstance(one, str) and self.model.outline.has_label(one)
        return one is None or named or (isinstance(one, int) and not isinstance(one, bool)) or isinstance(one, list)

    def targets(self) -> list[Any]:
        """The same target for each of its items."""
        return list(self.target) if isinstance(self.target, list) else [self.target] * len(self.items)

    def request(self, **more: Any) -> Request:
        """What is asked of a session."""
        given = {"target": self.target, "seed": self.seed, "max_queries": self.max_queries}
        return Request({} if self.method is None else {self.name: self.options}, **{**given, **more})


def scores_asked(served: Served, given: Sequence[Any]) -> Asked:
    """A request for the scores of items.

    Raises:
        XplainError: the items are not what the model takes.
    """
    model, items = served.read(given)
    session = Session(model, Request())
    return Asked(served, model, items, None, {}, None, 0, None, session.plan_look(session.part(model, items)))


def hidden_asked(served: Served, given: Any, place: Callable[[Model, Items], Array]) -> Asked:
    """A request for the scores of an item as it is, and without the positions that ``place`` names.

    Raises:
        XplainError: the item is not what the model takes, or nothing of it can be hidden so.
    """
    model, items = served.read([given])
    hidden = place(model, items)
    plan = plan_hidden(Session(model, Request()).part(model, items), hidden)
    return Asked(served, model, items, None, {}, None, 0, None, plan, hidden=hidden)


def asked(served: Served, given: Sequence[Any], told: Mapping[str, Any], most_seconds: float) -> Asked:
    """A request for explanations, from what a caller sent.

    Args:
        served: The model that is asked.
        given: The items; see ``Served.read``.
        told: What else was sent: method, options, target, seed, max_queries, deadline, preview.
        most_seconds: The longest deadline.

    Raises:
        XplainError: it cannot be answered; nothing was asked of the model.
    """
    for one in told:
        if one not in _KNOWN:
            raise _not_known(one, told[one], served)
    name: Any = told.get("method")
    options: Any = told.get("options") or {}
    if not isinstance(name, str | None) or not isinstance(options, Mapping):
        raise UsageError('"method" is a name and "options" an object, such as {"samples": 500}.')
    seed, deadline = told.get("seed", 0), told.get("deadline")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _LONGEST_SEED:
        raise UsageError(option="seed", got=seed, accepted="a whole number of at least 0")
    real = isinstance(deadline, (int, float)) and not isinstance(deadline, bool)
    if deadline is not None and not (real and 0 < deadline <= most_seconds):
        raise UsageError(
            f'"deadline" is {deadline!r:.80}; accepted: seconds above 0, at most the {most_seconds:g} of this server.'
        )
    named = None if name is None else served.method(name)
    target = _target(told.get("target"), len(given))
    model, items = served.read(given)
    choice = Choice(named.name, "it was named") if named is not None else served.usual((model, items))
    method, options = served.method(choice.method), {**choice.options, **options}
    _refuse_files(method, options, target, model)
    _refuse_floods(method, options)
    request = Request({method.name: options}, target=target, seed=seed, max_queries=told.get("max_queries"))
    session = Session(model, request)
    plan = session.plan(session.part(model, items), method.name)
    return Asked(
        served,
        model,
        items,
        method,
        dict(options),
        target,
        seed,
        told.get("max_queries"),
        plan,
        float(deadline or most_seconds),
        told.get("preview") is True or deadline is not None,
    )


def _not_known(name: str, value: Any, served: Served) -> UsageError:
    """Why a name beside the items is refused: an option's has its place among the options."""
    plain = name.replace("-", "_")
    if any(plain in entry.options for entry in served.methods):
        with suppress(ValueError, TypeError):
            value = json.loads(value)  # in a query all are texts
        given = json.dumps({plain: value})
        return UsageError(
            f'{name!r} is an option of a method. Put it among the options: "options": {given:.200}; in a query '
            f"'options={given:.200}'."
        )
    known = ", ".join(("model", *_KNOWN, *_OF_ANSWERS))
    return UsageError(f"{name!r:.80} is not known; accepted beside the items: {known}.")


def instance(raw: Any) -> Any:
    """One item as JSON has it: ``{"b64": ...}`` is a picture, nested lists a tensor, a text itself, an object a row.

    Raises:
        UsageError: none of these.
    """
    if isinstance(raw, dict) and set(raw) == {"b64"}:
        try:
            return base64.b64decode(raw["b64"], validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise UsageError('"b64" holds no base64. Send the bytes of a PNG or JPEG file in base64.') from None
    if isinstance(raw, (str, dict)):
        return raw
    if isinstance(raw, (list, int, float)) and not isinstance(raw, bool):
        try:
            array = np.asarray(raw)
        except (ValueError, OverflowError):
            array = np.zeros(0, object)
        if array.dtype.kind in "iuf":
            return array
    raise UsageError(
        'An instance is not understood; accepted: {"b64": "..."} for a picture, nested lists of numbers of one shape, '
        "a text, or a row {column: value}."
    )


def strict_json(body: bytes) -> dict[str, Any]:
    """The object that a body holds: UTF-8, whole letters, no NaN or infinity, no name twice.

    Raises:
        UsageError: it holds none.
    """
    opened = body.count(b"[") + body.count(b"{")
    if opened > _MOST_OPENED:
        raise UsageError(
            f"The body opens {opened} lists and objects; accepted: up to {_MOST_OPENED}. Send fewer items at once."
        )
    collecting = gc.isenabled()
    gc.disable()  # which looks through all that is made so far, again and again, and finds no garbage in JSON
    try:
        value = strict(body)
    except ValueError as error:
        raise UsageError(f"The body is no strict JSON: {error}.") from None
    finally:
        if collecting:
            gc.enable()
    if not isinstance(value, dict):
        raise UsageError("The body is no JSON object.")
    if b"\\ud" in body.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UsageError(
                "A text in the body holds half of a letter, an unpaired surrogate such as \\ud800."
            ) from None
    return value


def _refuse_floods(method: Method, options: Mapping[str, Any]) -> None:
    """A count that alone would fill the memory.

    Raises:
        UsageError: one is too large.
    """
    for name, value in method.read_options(options).items():
        if isinstance(value, int) and value > _MOST:
            raise UsageError(option=name, got=value, accepted=f"up to {_MOST} on a server")


def _refuse_files(method: Method, options: Mapping[str, Any], target: Any, model: Model) -> None:
    """Nothing that a caller sends names a file: it would be one of the server's.

    Raises:
        UsageError: an option or a target is about a file.
    """
    for name, given in options.items():
        option = method.options.get(name.replace("-", "_"))
        if option is not None and option.names_files and isinstance(given, str) and given.lower() != "none":
            raise UsageError(f"Option {name!r:.80} names a file, which a server does not open. Leave it out.")
    wishes = [wish_of(one, model.outline) for one in (target if isinstance(target, list) else [target])]
    if any(wish is not None and (wish.pictures or wish.masks) for wish in wishes):
        raise UsageError(
            f"Target {target!r:.200} names a picture's file, which a server does not open. Explain it in Python or on "
            "a command line, or name a target that says what it reads."
        )


def _target(raw: Any, count: int) -> Any:
    """A target of JSON: null, a class, a text, or a list with one of these per item."""

    def one(value: Any) -> bool:
        return value is None or (isinstance(value, (int, str)) and not isinstance(value, bool))

    if one(raw) or (isinstance(raw, list) and len(raw) == count and all(map(one, raw))):
        return raw
    classes = 'null (the predicted class), a class number, a label, "a - b" or "top3"'
    raise UsageError(option="target", got=raw, accepted=f"{classes}, or a list with one per item")
