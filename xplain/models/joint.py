"""Several inputs explained at once: two pictures, a picture and a text, a picture and columns.

    model = xplain.joint("pair.onnx", ["left", "right"], card="imagenet")
    a = xplain.explain(model, {"left": "a.jpg", "right": "b.jpg"}, "kernel-shap", features="inputs:cells=4")
    a.overlay().save("pair.png")         # side by side, on one scale
    maps = a.by_input()                  # {"left": Attribution, "right": Attribution}

Items are laid side by side in one row, so perturbation has one set of players over all inputs, and gradients one path
and one sweep: values of different inputs are in the same unit, and add up together.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.abilities import Abilities, abilities_of
from xplain.core.card import Card, load_card
from xplain.core.declaring.wording import fixed_input, option
from xplain.core.edits import Array, Full, SoftGrid, Windows
from xplain.core.errors import CapabilityError, CardError, ItemError, NonFinite, UsageError, unknown
from xplain.core.items import Items
from xplain.core.keeping.files import read_text, there
from xplain.core.outline import Outline, TensorSpec
from xplain.core.positions.layout import Layout
from xplain.core.query import Answer, Query, Score
from xplain.core.segments import Segment, players
from xplain.models.options import OnnxOptions, TorchOptions, options_for
from xplain.models.outlines import attach_card

__all__ = ["Joint", "by_name", "joint", "pictured", "with_cards"]


class Joint:
    """A model of several inputs that are explained at once.

    Args:
        inner: The same model, which takes them as one row.
        segments: What the row holds.
    """

    def __init__(self, inner: Any, segments: tuple[Segment, ...]) -> None:
        self._inner, self.segments = inner, segments
        self.answers = inner.answers

    @property
    def outline(self) -> Outline:
        """What is known of the model."""
        known: Outline = self._inner.outline
        return known

    @outline.setter
    def outline(self, outline: Outline) -> None:
        self._inner.outline = outline

    @property
    def abilities(self) -> Abilities:
        """As the inner one's, and it reads items of several inputs."""
        return replace(abilities_of(self._inner), read=self._read, compiles=None, forecast=None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.outline.called}: {', '.join(self.names)}>"

    def answer(self, query: Query) -> Answer:
        """The answer to one question about rows.

        Raises:
            CapabilityError: it hides places of one picture, and a row of several inputs is none.
        """
        if isinstance(query, Score) and query.at == "input" and isinstance(query.edits, (Windows, SoftGrid, Full)):
            raise CapabilityError(
                f"The method hides places of one picture, and an item of {self.outline.source} is a row of "
                f"{len(self.names)} inputs. Use one that hides features of all of them, such as kernel-shap, lime or "
                "ablation, or a gradient, such as integrated-gradients. Or explain one input alone: ",
                option("input", self.names[0], of="load"),
                " with ",
                fixed_input(self.names[1]),
                ".",
            )
        return self._inner.answer(query)

    def _read(self, given: Any) -> tuple[Joint, Items]:
        """Arrays by the names of the inputs, ``[N, *input]`` or one without the batch, as rows.

        Raises:
            UsageError: an input is missing, or does not fit.
        """
        parts = by_name(given, self.names, self.outline.source)
        rows = [_row(one, parts[one.name]) for one in self.segments]
        counts = {one.name: len(row) for one, row in zip(self.segments, rows, strict=True)}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{count} of {name}" for name, count in counts.items())
            raise UsageError(
                f"Inputs have {' and '.join(map(str, sorted(set(counts.values()))))} items ({told}); give as many of "
                "each."
            )
        if not any(counts.values()):
            raise UsageError("There is nothing to explain: the inputs have no items.")
        x = np.ascontiguousarray(np.concatenate(rows, axis=1))
        look = abilities_of(self._inner).look
        if look is not None:
            look(x)
        return self, Items(x, tuple(map(str, range(len(x)))), layout=Layout("NS", (x.shape[1],), "inputs in a row"))

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs, in order."""
        return tuple(one.name for one in self.segments)

    def players(self, cells: int = 4) -> Array:
        """One set of players over all inputs, for the option ``features``: int32 ``[P]``.

        Args:
            cells: Cells per axis of a picture. A token, a moment of a series, or a column, is a player by itself.
        """
        return players(self.segments, cells)

    def maps(self, attribution: Any) -> dict[str, Any]:
        """One result per input of a result of rows, each with a map of its own: ``attribution.by_input()``."""
        found: dict[str, Any] = attribution.by_input()
        return found


def joint(
    source: Any,
    inputs: Sequence[str],
    *,
    example: Any = None,
    card: Any = None,
    columns: Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> Joint:
    """A model of several inputs that are explained at once.

    Args:
        source: An ONNX file (a path, its bytes, or a ``ModelProto``), or a torch module whose ``forward`` takes them.
        inputs: Names of the inputs, in the order in which items give them.
        example: Items as they will be given, by name or in order, with the batch axis: the sizes that a file leaves
            free follow from it. A torch module says none, and needs one.
        card: How pictures become tensors: one card for all pictures, or one by an input's name.
        columns: Names of the numbers of an input that is a row of a table, by the input's name.
        options: As of ``xplain.load``; ``fixed`` holds the inputs that are not named.

    Raises:
        UsageError: fewer than two inputs, one that is not there, or one that cannot be joined.
        CardError: a card for an input that takes no pictures, or that does not fit.
        ModelError: the model cannot be loaded.
    """
    if isinstance(inputs, str) or len(inputs) < 2 or len(set(inputs)) < len(inputs):
        raise UsageError(option="inputs", got=inputs, accepted="the names of at least two inputs, each once")
    names = list(inputs)
    shown = None if example is None else _examples(example, names)
    if _is(source, "torch.export", "ExportedProgram"):
        source = source.module()
    if _is(source, "torch.nn", "Module"):
        from xplain.models.torch.joint import joined_module

        fixed = options.pop("fixed", None) or {}
        inner, segments = joined_module(source, names, shown, fixed, options_for(TorchOptions, options, source))
    elif isinstance(source, (str, os.PathLike, bytes)) or _is(source, "onnx", "ModelProto"):
        inner, segments = _of_file(source, names, shown, options_for(OnnxOptions, options, source))
    else:
        raise UsageError(
            f"{type(source).__name__} has no inputs that could be joined; accepted: an ONNX file, or a torch module. A "
            "function can take a row itself: split it there."
        )
    segments = _with_columns(with_cards(segments, card, inner.outline), columns or {})
    labels = next((one.card.labels for one in segments if one.card is not None and one.card.labels), ())
    inner.outline = replace(inner.outline, joined=segments, labels=labels or inner.outline.labels)
    return Joint(inner, segments)


def by_name(given: Any, names: Sequence[str], source: str) -> dict[str, Any]:
    """What is given of each input.

    Args:
        given: Parts by name, or in order.
        names: The inputs.
        source: The model, for a message.

    Raises:
        UnknownName: there is no such input.
        UsageError: one is missing, or it is something else.
    """
    if isinstance(given, Mapping):
        if strange := [name for name in given if name not in names]:
            raise unknown("input", str(strange[0])[:80], list(names))
        missing = [name for name in names if name not in given]
        if missing:
            raise UsageError(f"Items lack input {missing[0]!r}; give all of {', '.join(map(repr, names))}.")
        return {name: given[name] for name in names}
    if isinstance(given, (tuple, list)) and len(given) == len(names):
        return dict(zip(names, given, strict=True))
    got = f"{len(given)}" if isinstance(given, (tuple, list)) else type(given).__name__
    raise UsageError(
        f"Items of {source} are {len(names)} arrays, {', '.join(map(repr, names))}; got {got}. Give them as a tuple in "
        "this order, or by name."
    )


def _of_file(
    source: Any, names: list[str], example: Mapping[str, Any] | None, options: OnnxOptions
) -> tuple[Any, tuple[Segment, ...]]:
    from xplain.graph.intake.joined import joined
    from xplain.graph.understood import understood
    from xplain.models.onnx.open import open_onnx

    shapes = {name: np.shape(part) for name, part in (example or {}).items()}
    segments: list[Segment] = []

    def side_by_side(loaded: Any) -> tuple[str, ...]:
        segments.extend(joined(loaded, names, shapes))
        return tuple(names)

    with understood(str(source) if isinstance(source, (str, os.PathLike)) else type(source).__name__):
        inner = open_onnx(source, replace(options, layout=options.layout or "NS"), edit=side_by_side)
    return inner, tuple(segments)


def _examples(given: Any, names: Sequence[str]) -> dict[str, Any]:
    """Examples by the names of inputs, of some of them or of all."""
    some = [name for name in names if name in given] if isinstance(given, Mapping) else names
    if isinstance(given, Mapping) and not set(given) <= set(names):
        some = names  # which says which name is strange
    return by_name(given, some, "the model")


def _with_columns(segments: tuple[Segment, ...], columns: Mapping[str, Sequence[str]]) -> tuple[Segment, ...]:
    """The inputs with the names of those that are rows of a table."""
    names = [one.name for one in segments]
    found = []
    for name in columns:
        if name not in names:
            raise unknown("input", str(name)[:80], names, option="columns")
    for one in segments:
        own = tuple(map(str, columns.get(one.name, ())))
        if own and (one.looked_up or one.shape != (len(own),)):
            raise UsageError(
                f"Input {one.name!r} takes items of {list(one.extents)}, and {len(own)} columns are named: "
                f"{', '.join(own[:8])}. Give as many as it takes."
            )
        found.append(replace(one, columns=own) if own else one)
    return tuple(found)


def pictured(outline: Outline, one: Segment) -> Outline:
    """What is known of one picture among the inputs, as of a model that takes it alone."""
    spec, why = TensorSpec(one.name, (None, *one.shape), "float32"), "as the sizes of the input say"
    layout = Layout(one.letters, one.shape, why)
    return replace(outline, input=one.name, inputs=(spec,), layout=layout, axes=None, card=one.card)


def with_cards(segments: tuple[Segment, ...], card: Any, outline: Outline) -> tuple[Segment, ...]:
    """The inputs with the cards of those that are pictures.

    Args:
        segments: The inputs.
        card: One for all pictures, or one by an input's name, in a mapping or a file with a section for each; None
            leaves them as they are.
        outline: What is known of the model.

    Raises:
        UnknownName: a card for an input that is not there.
        CardError: a card for an input that takes no pictures, or that does not fit.
    """
    if card is None:
        return segments
    names = [one.name for one in segments]
    given = _cards_by_input(card) or {one.name: card for one in segments if one.pictured}
    for name in given:
        if name not in names:
            raise unknown("input", name, names, advice=("A card is for an input that is explained.",), option="card")
    if not given:
        raise CardError(
            f"None of the inputs {', '.join(map(repr, names))} takes pictures; leave ", option("card"), " out."
        )
    found = []
    for one in segments:
        if one.name not in given:
            found.append(one)
            continue
        if not one.pictured:
            raise CardError(
                f"Input {one.name!r} takes items of {list(one.extents)}, no pictures, so it has no preprocessing card; "
                "leave its card out."
            )
        try:
            attached = attach_card(pictured(outline, one), load_card(given[one.name])).card
        except CardError as error:
            raise CardError(f"Input {one.name!r}: ", error) from None
        assert attached is not None
        found.append(replace(one, card=attached))
    return tuple(found)


def _cards_by_input(card: Any) -> dict[str, Any] | None:
    """Cards by the names of inputs, from a mapping or a file with a section for each; None for one card."""
    if isinstance(card, (str, os.PathLike)) and there(path := Path(card)) == "file" and path.suffix == ".toml":
        try:
            card = tomllib.loads(read_text(path, CardError, f"Preprocessing card {path}"))
        except (ValueError, RecursionError):
            return None  # whoever reads it as a card says what is wrong
        if not all(isinstance(one, dict) for one in card.values()):
            return None
    if not isinstance(card, Mapping) or not card or set(card) <= {one.name for one in fields(Card)}:
        return None
    return {str(name): one for name, one in card.items()}


def _row(one: Segment, given: Any) -> Array:
    """Items of one input as rows, ``[N, size]``.

    Raises:
        ItemError: of another shape or type, or numbers that a table does not hold.
    """
    given = given.detach().cpu().numpy() if hasattr(given, "detach") else given
    part = np.asarray(given)
    if part.shape[1:] != one.extents and part.shape == one.extents:
        part = part[None]
    if part.shape[1:] != one.extents or part.dtype.kind not in "fiub":
        raise ItemError(
            f"Input {one.name!r} is {list(part.shape)} {part.dtype}; accepted: [N, {', '.join(map(str, one.extents))}]."
        )
    if part.dtype.kind == "f" and not np.isfinite(part).all():
        raise NonFinite(f"Input {one.name!r} holds NaN or infinity. Explanations need finite inputs: mend them.")
    if one.table is not None:
        if part.dtype.kind == "f" or (part < -len(one.table)).any() or (part >= len(one.table)).any():
            raise ItemError(f"Input {one.name!r} takes whole numbers from 0 to {len(one.table) - 1}.")
        part = one.table[part]
    return np.ascontiguousarray(part.reshape(len(part), prod(part.shape[1:])), dtype=np.float32)


def _is(source: Any, module: str, name: str) -> bool:
    """Whether ``source`` is an instance of a class of a package that is only looked up if somebody imported it."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(source, kind)
