"""From what a person gives to the model's tensors: pictures by the card, arrays as they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.arrays import all_finite
from xplain.core.card import PRESETS, Card, load_card
from xplain.core.caveat import Caveat
from xplain.core.declaring.wording import Sentence, option
from xplain.core.edits import Array
from xplain.core.errors import CardError, ItemError, ModelError, NonFinite, UsageError, XplainError
from xplain.core.items import Items
from xplain.core.keeping.content import checksums, keys_of
from xplain.core.likely_card import likely_card
from xplain.core.outline import Outline
from xplain.core.positions.coordinates import UNSTATED, Coordinates
from xplain.core.positions.layout import Axes, Doubt, Layout, stated
from xplain.core.query import Model
from xplain.models.outlines import attach_card

__all__ = ["as_used", "digests_of", "is_picture", "item_keys", "items_of"]


def items_of(model: Model, source: Any, card: Any = None, layout: str | None = None, out: Array | None = None) -> Items:
    """Turn what a person gives into the model's tensors.

    Floating and integer arrays (also torch tensors) are tensors in the model's own layout, with or without the batch
    axis, and are used as they are; recorded sound (the path or the bytes of a WAV file) becomes one. Other
    paths, the bytes of files, PIL pictures and uint8 arrays are pictures ``[H, W]`` or ``[H, W, 3]`` and go through
    the preprocessing card.

    What a card states of the axes (``Coordinates``) goes with tensors too.

    The layout is resolved here, once: ``layout`` if it is given, else what is known of the model, else what the sizes
    of an item say, or a ``Doubt`` (``xplain.core.positions.layout``).

    The tensor of a picture that comes alone is written to ``out`` where it has that shape.

    Raises:
        CardError: pictures for a model without a card.
        PictureError: a picture that cannot be read.
        UsageError: no items, or ones that do not go together.
        ItemError: a tensor of the wrong rank, shape or type.
        NonFinite: a tensor that holds NaN or infinity.
    """
    many = isinstance(source, (list, tuple))
    given = list(source) if many else [source]
    if not given:
        raise UsageError("There is nothing to explain: the list of items is empty.")
    carded = model.outline.card if card is None else load_card(card)
    named = _named(model.outline, carded, layout)
    given = [_heard(one, model.outline, carded, named) for one in given]
    if all(is_picture(one) for one in given):
        return _pictures(model, given, card, named, out if len(given) == 1 else None)
    if any(is_picture(one) for one in given):
        raise UsageError("The items mix pictures and tensors; give all as pictures or all as arrays.")
    tensors = [_tensor(one) for one in given]
    rank = _rank(model, named)
    if many:
        empty = [n for n, t in enumerate(tensors) if 0 in t.shape]
        if empty:
            raise ItemError(
                f"Item {empty[0]} is {list(tensors[empty[0]].shape)}: there is nothing to explain. Leave it out."
            )
        tensors = [t[None] if rank is not None and t.ndim == rank - 1 else t for t in tensors]
        if rank is None:
            tensors = [t[None] for t in tensors]
        if len({t.shape[1:] for t in tensors}) > 1:
            raise UsageError(
                f"The items have different shapes: {sorted({t.shape for t in tensors})}. Items of one call make one "
                "batch: cut or pad them alike, or give each alone, with xplain.explain_stream."
            )
        x = np.concatenate(tensors) if len(tensors) > 1 else tensors[0]
    else:
        x = tensors[0][None] if rank is not None and tensors[0].ndim == rank - 1 else tensors[0]
        look = abilities_of(model).look
        x = _batched(x, look) if rank is None and look is not None and 0 not in x.shape else x
    _check_tensor(x, model, rank if model.outline.named is not None or named is None else None)
    x = np.ascontiguousarray(x)
    found = _resolved(model, x, named)
    told = UNSTATED if carded is None else carded.coordinates
    names = tuple(str(n) for n in range(len(x)))
    return Items(x, names, _seen(x, found, told), layout=found, warnings=_against(found), coordinates=told)


def _heard(one: Any, outline: Outline, card: Card | None, named: Axes | None) -> Any:
    """Recorded sound, a WAV file's path or bytes, as its samples; anything else as it is.

    Raises:
        ItemError: it cannot be read, or is not what the card states.
    """
    if not isinstance(one, (str, Path, bytes)):
        return one
    from xplain.render.sound import WAVES, is_sound, read_sound, samples_of

    told, known = None if card is None else card.coordinates, named or outline.named
    axes = None if known is None else known.letters
    if isinstance(one, bytes):
        return samples_of(one, "The sound", told, axes, outline.called) if is_sound(one) else one
    return read_sound(Path(one), told, axes, outline.called) if str(one).lower().endswith(WAVES) else one


def _named(outline: Outline, card: Card | None, layout: str | None) -> Axes | None:
    """The axes that a person states of these items, by an option or, where nothing else says them, by the card."""
    if layout is not None:
        return stated(layout)
    if card is None or not card.layout or outline.named is not None or card.layout in ("NCHW", "NHWC"):
        return None
    return Axes(card.layout, "stated by the preprocessing card")


def _seen(x: Array, layout: Layout | Doubt, told: Coordinates) -> Array | None:
    """Tensors as pictures to look at, where the card says how: bands in false colours, a spectrogram in grey.

    Raises:
        CardError: the card's coordinates contradict the items' axes.
    """
    if isinstance(layout, Doubt) or not told.stated:
        return None
    told.check(layout)
    from xplain.render import bands

    if told.kind == "spectrogram":
        alone = told.frequency == "C" or layout.channel_axis is None
        return bands.grey(x if alone else x.mean(axis=layout.channel_axis))
    which = told.colours(layout.channels)
    if which is None or not layout.is_picture or layout.channel_axis is None:
        return None
    return bands.false_colours(np.moveaxis(x, layout.channel_axis, -1)[..., list(which)])


def _against(layout: Layout | Doubt) -> tuple[Caveat, ...]:
    """What must be known of a layout that a person stated and the model contradicts."""
    if isinstance(layout, Doubt) or ", though " not in layout.why:
        return ()
    return (
        Caveat(
            Sentence(
                f"The items are read as {layout.axes}: {layout.why}. Leave ",
                option("layout"),
                " out if the model is right.",
            ),
            "layout",
        ),
    )


def _batched(x: Array, look: Callable[[Array], None]) -> Array:
    """One item without a batch axis as a batch of one: what the model takes so, and takes as a batch in no way."""
    try:
        look(x)
    except Exception as error:
        try:
            look(x[None])
        except Exception:
            raise error from None
        return x[None]
    return x


def _looked(look: Callable[[Array], None], x: Array, model: Model) -> None:
    """Show a module the items; what its own code raises says which items they were.

    Raises:
        ModelError: it fails on them.
    """
    try:
        look(x)
    except XplainError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0].removesuffix(".") or type(error).__name__
        raise ModelError(
            f"{model.outline.source} fails on items of {list(x.shape[1:])}: {said}. Check rank, channels and size."
        ) from error


def _rank(model: Model, named: Axes | None) -> int | None:
    """How many axes a batch has, where that is known before an item is seen."""
    outline = model.outline
    if outline.named is not None:
        return len(outline.named.letters)
    spec = outline.explained
    if spec is not None and len(spec.shape) > 1:
        return len(spec.shape)
    return None if named is None else len(named.letters)


def _resolved(model: Model, x: Array, named: Axes | None) -> Layout | Doubt:
    """The layout of a batch: the only place that asks for it on a run's way."""
    look = abilities_of(model).look
    if look is not None:
        _looked(look, x, model)
    item = tuple(x.shape[1:])
    if named is None:
        return model.outline.layout_of(item)
    if len(named.letters) != x.ndim:
        raise UsageError(
            f"The layout is {named.letters!r}, of {len(named.letters)} axes with the batch, but the items are "
            f"{list(item)}, {x.ndim} with the batch."
        )
    known = model.outline.named
    if known is not None and known.letters != named.letters:
        return Axes(named.letters, f"{named.why}, though {known.why}, which reads {known.letters}").of(item)
    return named.of(item)


def is_picture(one: Any) -> bool:
    """Whether something is a picture: a path, the bytes of a file, a PIL picture, or an array of uint8."""
    if isinstance(one, (str, Path, bytes)):
        return True
    if isinstance(one, np.ndarray):
        return bool(one.dtype == np.uint8)
    pil = sys.modules.get("PIL.Image")
    return bool(pil is not None and isinstance(one, pil.Image))


def _pictures(model: Model, given: Sequence[Any], card: Any, named: Axes | None, out: Array | None) -> Items:
    from xplain.render import bands, pictures

    outline = model.outline
    known = named or outline.named
    if known is not None and known.letters not in ("NCHW", "NHWC"):
        item = [] if outline.explained is None else ["?" if n is None else n for n in outline.explained.shape[1:]]
        raise UsageError(
            f"{outline.source} takes items of {item} ({known.letters}), no pictures. "
            "For rows of a table use xplain.table; else give an array in the model's own layout."
        )
    used = outline.card if card is None else attach_card(outline, load_card(card)).card
    if used is None:
        raise CardError(
            f"{outline.source} has no preprocessing card, so it is not known how a picture becomes its input. ",
            "Write <model>.card.toml beside it, or give " if outline.kind == "onnx" else "Give ",
            option("card"),
            f" a file or a preset: {', '.join(PRESETS)}.{_proposed(outline)}",
        )
    if known is None:
        known = Axes(used.layout or "NCHW", "stated by the card" if used.layout else "what a card makes by default")
    if not used.of_pictures or known.letters not in ("NCHW", "NHWC"):
        what = used.coordinates.kind or f"items of layout {known.letters}"
        raise CardError(
            f"The card of {outline.source} is for {what}, not for pictures. Give arrays in the model's own layout."
        )
    used = as_used(used, known.letters, outline)
    said: list[list[str]] = [[] for _ in given]
    if used.mode == "BANDS":
        prepared = [bands.prepare_bands(used, one) for one in given]
        sizes = [one.shape[:2] for one in given]
    else:
        read = [pictures.read(one, used.range, told) for one, told in zip(given, said, strict=True)]
        prepared = [pictures.prepare(used, one, out) for one in read]
        sizes = [one.shape[:2] for one in read]
    shapes = {tensor.shape for tensor, _ in prepared}
    if len(shapes) > 1:
        raise CardError(f"The card gives pictures of different sizes {sorted(shapes)}; state resize or crop in it.")
    x = _together([tensor for tensor, _ in prepared])
    _check_tensor(x, model, x.ndim)
    names = tuple(Path(one).name if isinstance(one, (str, Path)) else str(n) for n, one in enumerate(given))
    named = known if outline.named is None else named
    warnings = tuple(Caveat(text, "input", n) for n, told in enumerate(said) for text in told)
    seen = _together([one for _, one in prepared])
    layout = _resolved(model, x, named)
    warnings = (*warnings, *_against(layout))
    told_axes = used.coordinates
    if isinstance(layout, Layout):
        told_axes.check(layout)
    return Items(
        x,
        names,
        seen,
        used,
        layout=layout,
        warnings=warnings,
        sizes=tuple((h, w) for h, w in sizes),
        coordinates=told_axes,
    )


def _together(arrays: Sequence[Array]) -> Array:
    """Arrays of one shape as a batch; one alone is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def as_used(card: Card, layout: str, outline: Outline) -> Card:
    """A card with all that is known of the model in it: the order of axes, and a size where it states none."""
    card = replace(card, layout=layout)
    return card.sized(*outline.layout.plane) if outline.layout is not None and outline.layout.is_picture else card


def _proposed(outline: Outline) -> str:
    found = likely_card(outline)
    return "" if found is None else f" Likely here is {found[0]!r}: {found[1]}."


def _tensor(one: Any) -> Array:
    if hasattr(one, "detach"):  # a torch tensor, without importing torch
        one = one.detach().cpu()
        one = one.float() if str(one.dtype) == "torch.bfloat16" else one  # which numpy does not have
        one = one.numpy()
    array = np.asarray(one)
    array = array.astype(np.int64) if array.dtype.kind == "b" else array
    if array.dtype.kind == "c":
        raise ItemError(
            f"An item is {list(array.shape)} of {array.dtype.name}; models take real numbers. Give its magnitude and "
            "phase, or its real and imaginary parts, as channels of the model's own layout."
        )
    if array.dtype.kind not in "fiuSUO" or array.ndim == 0:
        raise ItemError(
            f"An item is {type(one).__name__}; accepted: a path, the bytes of a picture's file, a PIL picture, a uint8 "
            "array (pictures), or a numeric array in the model's own layout."
        )
    return array


def _check_tensor(x: Array, model: Model, rank: int | None) -> None:
    spec, source = model.outline.explained, model.outline.source
    if rank is not None and x.ndim != rank:
        axes = model.outline.named.letters if model.outline.named is not None else f"{rank} axes"
        item = spec.shape[1:] if spec is not None else ()
        raise ItemError(
            f"The input is {list(x.shape)}, of rank {x.ndim}; {source} takes {axes}"
            + (f", items of {['?' if n is None else n for n in item]}." if item else ".")
        )
    expected = spec.shape[1:] if spec is not None and len(spec.shape) == x.ndim else x.shape[1:]
    if any(want not in (None, got) for want, got in zip(expected, x.shape[1:], strict=True)):
        raise ItemError(
            f"The input is {list(x.shape)}; {source} takes items of {['?' if n is None else n for n in expected]}."
        )
    if 0 in x.shape:
        raise ItemError(f"The input is {list(x.shape)}: there is nothing to explain.")
    if x.dtype.kind in "SUO" and spec is not None and spec.dtype not in ("", "str"):
        raise ItemError(f"The items are of type {x.dtype.name}; {source} is explained on numbers.")
    if not all_finite(x):
        where = [int(i) for i in np.argwhere(~np.isfinite(x))[0]]
        raise NonFinite(
            f"The input holds {x[tuple(where)]} at {where}. Explanations need finite inputs: mend or drop it."
        )


def item_keys(items: Items) -> tuple[str, ...]:
    """What each item draws under: its content as a person gave it, for a text's or a row's codes depend on the rest."""
    if items.texts:
        return keys_of([passage.text for passage in items.texts])
    return keys_of(items.columns.values if items.columns is not None and items.columns.values else items.x)


def digests_of(items: Items) -> tuple[str, ...]:
    """Each item's content as 32 hex digits, equal for equal items: what a result says it is of."""
    if items.texts or (items.columns is not None and items.columns.values) or items.x.dtype.kind not in "fiub":
        return tuple(key.partition("+")[0] for key in item_keys(items))
    return checksums(items.x)
