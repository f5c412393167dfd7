"""Compile an explanation into a model file; see ``xplain.graph.reverse.compile`` for how."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from math import prod
from operator import index
from pathlib import Path
from typing import Any, get_args

import numpy as np

from xplain.core.abilities import Compiles, abilities_of
from xplain.core.card import MOST_PIXELS
from xplain.core.declaring import registry
from xplain.core.declaring.wording import listed, named, option
from xplain.core.errors import CapabilityError, NonFinite, NotExported, Piece, UnsupportedOperator, UsageError
from xplain.core.items import Items
from xplain.core.outline import Outline
from xplain.core.query import TargetInput
from xplain.core.target import label
from xplain.core.targets.target_parser import Aim, aim, needs_scores
from xplain.core.targets.units import noun, spelled
from xplain.core.targets.words import wish_of
from xplain.graph.build.outputs import also_outputs
from xplain.session.fitting import advise_others, called
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.session.wishes import refuse_without_classes

__all__ = ["compile", "give_out"]

_EXAMPLE = 224
"""An extent for an example of how a size is stated: that of most picture models."""


def compile(  # noqa: A001
    model: Any,
    method: str = "saliency",
    *,
    target: Any = None,
    target_input: TargetInput = "optional",
    out: str | os.PathLike[str] | None = None,
    size: int | Sequence[int] | None = None,
    **options: Any,
) -> Any:
    """Compile an explanation into the model: one standard ONNX file that explains itself wherever ONNX runs.

    Args:
        model: What ``load`` takes, or a loaded model with a graph: an ONNX file, or a torch module (exported once).
        method: A method that can be compiled; ``xplain methods`` says which.
        target: What the file explains unless told otherwise: None for the predicted class, found in the graph; a class,
            ``"a - b"``, or a ``Target``. For a class or None the file takes an input ``target``, int64 ``[1]`` or
            ``[N]``; a negative number there means the predicted class.
        target_input: ``"optional"``: the input ``target`` may be left out. ``"required"``: it must be fed; for pages in
            a browser that let people choose, because onnxruntime-web cannot feed optional inputs and always explains
            the default. ``"none"``: there is no such input, and the target is built in. ONNX says "may be left out" by
            an initializer of the input's name, and ONNX Runtime logs a warning about every such initializer when it
            loads a file ("appears in graph inputs and will not be treated as constant"); that is what is wanted here.
            ``SessionOptions.log_severity_level = 3`` hides it; the two other choices have none.
        out: The file to write, beside what is returned. A result of more than 2 GiB, which one protobuf cannot hold,
            needs one: its weights are written beside it, as ``OUT.data`` (ship both), and what is returned refers to
            them. They go there straight from the model's own files, without a copy in memory.
        size: Size of the items that the file takes, where the model leaves it free, or a torch module has seen no item:
            ``(height, width)``, a length, or ``(depth, height, width)``; or one number for each axis of an item,
            channels included. None: that of the model, else that of its card (``crop`` or ``resize``). The file then
            takes that size only, for a gradient's way back is built for it.
        options: The method's own options. Those that would let data decide how long to run are fixed.

    Returns:
        An ``onnx.ModelProto`` with the original outputs and ``attribution``, float32, the values of ``explain``.
        Its metadata ``xplain.*`` say method, options, unit, target, the digest of the model and its card.

    Raises:
        UsageError: the method, the target, the baseline or the size cannot be compiled; the message says what can. The
            size of an item is not known: state ``size``, or ask ``predict`` a torch module about an item first.
        CapabilityError: the model has no graph.
        ModelError: the result is larger than 2 GiB, and ``out`` is not given.
        OutputError: ``out`` cannot be written, or its weights would be written over the model's own.
    """
    if target_input not in get_args(TargetInput):
        accepted = ", ".join(map(repr, get_args(TargetInput)))
        raise UsageError(option="target_input", got=target_input, accepted=accepted)
    entry = called(method)
    if not entry.traceable:
        able = [one.name for one in registry.methods() if one.traceable]
        raise UsageError(f"Method {entry.name!r} cannot be compiled into a graph. Those that can: {', '.join(able)}.")
    clash = [name for name in options if name.replace("-", "_") in entry.traced_with]
    if clash:
        fixed = ", ".join(f"{name} {value!r}" for name, value in entry.traced_with.items())
        raise UsageError(f"A compiled {entry.name!r} runs with {fixed}; leave ", *listed(clash), " out.")
    values = entry.read_options(options) | dict(entry.traced_with)
    session = Session(model, Request({method: options | dict(entry.traced_with)}, target=target))
    loaded = session.model
    inside = abilities_of(loaded).compiles
    if inside is None and loaded.outline.joined:
        raise CapabilityError(
            f"{loaded.outline.source} is explained on several inputs at once, which is not compiled. Compile it for "
            "one of them: load it with ",
            option("input"),
            " and ",
            option("fixed"),
            ".",
        )
    if inside is None:
        raise CapabilityError(
            f"{loaded.outline.source} has no graph to compile into. Use an ONNX file or torch module."
        )
    loaded = inside = _of_size(inside, size)
    if target is None:
        refuse_without_classes(loaded.outline)
    one = Aim(label(-1, "predicted class")) if target is None else _built_in(session, inside)
    outline = loaded.outline
    card = {} if outline.card is None else {"card": outline.card.to_toml()}
    about = {
        "method": entry.name,
        "options": values,
        "target": one.target.name,
        "unit": spelled(entry.unit, noun(outline, one.target)),
        "score": noun(outline, one.target),
        "model": outline.digest,
        "version": version("xplain"),
        **card,
    }
    try:
        place = None if out is None else Path(out)
        return inside.compile(one.target, lambda view: entry.start(view, values), about, target_input, out=place)
    except (UnsupportedOperator, NotExported) as error:
        advise_others(error, loaded)
        raise


def give_out(made: Any, tensors: Mapping[str, str]) -> dict[str, str]:
    """Let a compiled file, changed in place, give out tensors of its inside besides.

    Args:
        made: What ``compile`` returned.
        tensors: What each is for, and its name in the model.

    Returns:
        What each is for, and the name of its output.

    Raises:
        UsageError: compiling has left no tensor of that name.
    """
    return also_outputs(made, tensors)


def _of_size(model: Compiles, size: int | Sequence[int] | None) -> Compiles:
    """The model for items of a size that is known: as stated, of the model itself, or of its card.

    Raises:
        UsageError: the size is not known, is none, or is not one that the model takes.
    """
    if size is None:
        with suppress(UsageError):
            model.blank()
            return model
    item, places = _axes(model.outline)
    card = model.outline.card
    stated = (card.crop or card.resize) if card is not None and size is None else size
    numbers = [stated] if isinstance(stated, int) else stated
    what = _takes(item, places, model.outline.source)
    if numbers is None:
        raise UsageError(f"{what} Its size is not known, which compiling needs.", advice=_how(item, places))
    try:
        found = [0 if isinstance(n, bool) else index(n) for n in numbers]
    except TypeError:
        found = []
    known = len(found) in ({len(places), len(item)} if item else {len(found)})
    if not found or min(found) < 1 or prod(found) > MOST_PIXELS or not known:
        raise UsageError(
            f"{what} ",
            named("size"),
            f" is {size!r}",
            option="size",
            got=size,
            accepted=f"whole numbers of at least 1, of up to {MOST_PIXELS:,} together",
            advice=_how(item, places),
        )
    whole = list(item)
    if len(found) == len(item) or not item:
        whole = list(found)
    else:
        for place, extent in zip(places, found, strict=True):
            whole[place] = extent
    if any(has not in (None, gets) for has, gets in zip(item, whole, strict=False)):
        raise UsageError(
            f"{what} size is {size!r}, which it does not take. Leave out size, or change free extents only."
        )
    if None in whole:
        raise UsageError(f"{what} Its channels are not known either. {_how(item, ())}")
    return model.of_size(tuple(n for n in whole if n is not None))


def _axes(outline: Outline) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
    """The extents of an item, as far as they are known, and which of its axes a size is of; empty where no axis is."""
    spec, card = outline.explained, outline.card
    item = () if spec is None else spec.shape[1:]
    letters = "" if outline.named is None else outline.named.letters[1:]
    if not letters and card is not None and len(item) in (0, 3):
        letters = card.layout[1:]
    item = item or (None,) * len(letters)
    if len(letters) != len(item):
        return item, tuple(axis for axis, extent in enumerate(item) if extent is None)
    if card is not None and len(item) == 3:
        item = tuple(n or (card.channels if letter == "C" else None) for n, letter in zip(item, letters, strict=True))
    return item, tuple(axis for axis, letter in enumerate(letters) if letter != "C")


def _takes(item: tuple[int | None, ...], places: tuple[int, ...], source: str) -> str:
    extents = ", ".join("?" if n is None else str(n) for n in item) or "..."
    return f"{source} takes items of [N, {extents}]."


def _how(item: tuple[int | None, ...], places: tuple[int, ...]) -> tuple[Piece, ...]:
    """How to state a size, in numbers that this model may well take."""
    axes = places if places else tuple(range(len(item) or 3))
    example = tuple((item[axis] if axis < len(item) else None) or _EXAMPLE for axis in axes)
    if not item:
        example = (3, _EXAMPLE, _EXAMPLE)
    card = ", or give a card with a crop or a resize" if len(item) in (0, 3) else ""
    words = "x".join(map(str, example))
    return ("State one number for each axis, such as ", option("size", example, shell=words), f"{card}.")


def _built_in(session: Session, model: Compiles) -> Aim:
    """The one target that every item of a compiled file has.

    Raises:
        UsageError: the target depends on the item's scores, or is several.
    """
    target = session.request.target
    wish = wish_of(target, model.outline)
    if wish is not None:
        if not wish.settled:
            raise UsageError(
                f"Target {target!r} is chosen at each item, so it cannot be built into a file. Say what it reads, such "
                "as a class, 'a - b', or a place in an output."
            )
        part = session.part(model, Items(model.blank(), ("blank",)))
        part.swept = True
        return Aim(session.aims(part)[0].target.of_item(0))
    if not needs_scores(target, model.outline):
        return aim(target, None, model.outline)[0]
    blank = model.blank()
    scores = session.look(session.part(model, Items(blank, ("blank",))))
    try:  # scores that are no numbers: a target that has to look at them cannot be built in
        found = aim(target, np.full_like(scores, np.nan), model.outline)
    except NonFinite:
        raise UsageError(
            f"Target {target!r} depends on the scores of each item, so it cannot be built into a file. Leave it out "
            "for the predicted class, or name a class, 'a - b' or a layer's unit."
        ) from None
    return found[0]
