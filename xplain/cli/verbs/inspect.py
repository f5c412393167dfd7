"""``xplain inspect``: what a model is, and what was found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from shlex import quote
from typing import Annotated, Any

import typer

from xplain import api
from xplain.cli.asking.loading import Loading, ModelFile
from xplain.cli.telling.console import Outcome, table
from xplain.core.abilities import abilities_of
from xplain.core.declaring.wording import said
from xplain.core.errors import InputsOpen
from xplain.core.likely_card import likely_card
from xplain.core.likely_coordinates import likely_coordinates
from xplain.core.outline import Outline
from xplain.core.positions.layout import Doubt
from xplain.core.query import Score
from xplain.core.targets.heads import head_of

__all__ = ["inspect"]

_SHOWN = 12
_STATED = {"input", "fixed", "card", "engine", "layout"}
"""Options of a model that has one input, or whose other inputs hold one value for all items."""


def inspect(
    shell: typer.Context,
    model: ModelFile,
    loading: Loading,
    layers: Annotated[bool, typer.Option("--layers", help="List every layer that can be named.")] = False,
) -> Outcome:
    """Show MODEL's inputs, scores, layers, labels, card and quirks, and whether it is safe to load.

    Raises:
        Unsafe: the file is refused; the message says why, and how to allow it (exit code 3).
        ModelError: the file cannot be loaded.
    """
    try:
        loaded: Any = loading.open(model)
        doors: tuple[str, ...] = ()
    except InputsOpen:
        if _STATED & loading.options().keys():
            raise  # something was stated, and the message says what is missing
        loaded, doors = _by_rows(model, loading)
    outline = loaded.outline
    outline = replace(outline, quirks=tuple(said(quirk, shell.obj.words) for quirk in outline.quirks))
    kinds = sorted(kind.__name__ for kind in loaded.answers)
    fits = [entry.name for entry in api.methods() if entry.needs <= loaded.answers]
    side = min(outline.layout.plane) if outline.layout is not None else 0
    able = abilities_of(loaded).forecast
    forecast = None if able is None else able(max(1, side // 14), max(1, side // 28))
    document, text = _document(outline, kinds, fits), _text(outline, kinds, fits, layers, doors)
    document["explained by"] = list(doors)
    if forecast is None:
        return Outcome(document, text)
    document["windows"] = {"way": forecast.way, "predicted gain": forecast.gain, "reason": forecast.reason}
    lines = [text, "", f"hidden windows of {side // 14} positions at steps of {side // 28}: {forecast}"]
    if layers and forecast.layers:
        steps = [(f"{one.gain:.1f}", one.kind, one.name) for one in forecast.layers]
        lines += [table(steps, ("predicted gain", "step", "tensor"))]
    return Outcome(document, "\n".join(lines))


@dataclass(frozen=True, slots=True)
class _Described:
    """A model that is asked with whole feeds: what is known of it, and what can be asked once its items are given."""

    outline: Outline
    answers: frozenset[type[Any]] = frozenset({Score})


def _by_rows(model: str, loading: Loading) -> tuple[_Described, tuple[str, ...]]:
    """A model of several inputs, or of text, and the command lines that explain it."""
    from xplain.models.onnx.feeds import OnnxFeeds
    from xplain.models.options import FeedsOptions
    from xplain.models.rows.tokens import takes_tokens

    given = loading.options()
    own = [field.name for field in fields(FeedsOptions)]
    outline = OnnxFeeds(model, FeedsOptions(**{name: given[name] for name in own if name in given})).outline
    inputs, names = outline.inputs, [spec.name for spec in outline.inputs]
    model, called = quote(model), [quote(name) for name in names]
    if len(inputs) == 1:
        return _Described(outline), (f"xplain explain {model} --text 'words'",)
    outline = replace(outline, input="")
    if takes_tokens(outline):
        return _Described(outline), (f"xplain explain {model} --tokenizer tokenizer.json --text 'words'",)
    if all(n == 1 for spec in inputs for n in spec.shape[1:]):  # a free extent may hold anything
        return _Described(outline), (f"xplain explain {model} table.csv   (with the columns {', '.join(names)})",)
    fixed = " ".join(f"--fixed {name}=FILE.npy" for name in called[1:])
    alone = f"xplain explain {model} --input {called[0]} {fixed} ..."
    return _Described(outline, frozenset()), (alone, *_at_once(model, outline))


def _at_once(model: str, outline: Outline) -> tuple[str, ...]:
    """The command line that explains several inputs together: those that have an axis behind the batch."""
    items, cards = [], []
    for spec in outline.inputs:
        item, name = spec.shape[1:], quote(spec.name)
        if not item:
            continue
        picture = len(item) == 3 and spec.dtype.startswith(("float", "bfloat")) and {item[0], item[2]} & {1, 3}
        row = len(item) == 1 and spec.dtype.startswith("float")
        items.append(f"{name}={'FILE.jpg' if picture else 'ROWS.csv' if row else 'FILE.npy'}")
        cards += [f"{name}=CARD"] if picture else []
    if len(items) < 2:
        return ()
    return (" ".join([f"xplain explain {model}", *items, *(["--card", ",".join(cards)] if cards else [])]),)


def _document(outline: Outline, kinds: list[str], fits: list[str]) -> dict[str, Any]:
    return {
        "source": outline.source,
        "kind": outline.kind,
        "sha256": outline.digest,
        "safety": "accepted",
        "input": outline.input or None,
        "layout": None if outline.named is None else outline.named.letters,
        "layout found": None if outline.named is None else outline.named.why,
        "inputs": [asdict(one) for one in outline.inputs],
        "scores": asdict(outline.scores),
        "head": _head(outline),
        "batch": outline.batch,
        "rows": outline.rows,
        "labels": len(outline.labels),
        "card": _card(outline),
        "coordinates proposed": _proposed(outline),
        "facts": dict(outline.facts),
        "quirks": list(outline.quirks),
        "answers": kinds,
        "methods": fits,
        "layers": [asdict(one) for one in outline.layers],
    }


def _head(outline: Outline) -> dict[str, Any]:
    """What the model ends in, and what to write as a target."""
    head = head_of(outline)
    found = {"kind": head.kind, "tensor": head.tensor, "shape": list(head.shape), "found": head.why}
    return {**found, "targets": list(head.proposals)}


def _shape(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"


def _text(outline: Outline, kinds: list[str], fits: list[str], every_layer: bool, doors: Sequence[str] = ()) -> str:
    scores, head = outline.scores, head_of(outline)
    more = "; ..." if len(outline.labels) > 3 else ""
    labels = f"{len(outline.labels)}: {'; '.join(outline.labels[:3])}{more}" if outline.labels else "none known"
    card = _card(outline)
    rows = [
        ("model", outline.source),
        ("kind", outline.kind),
        ("sha256", outline.digest or "not known"),
        ("safety", "accepted: no reason found to refuse it"),
        *[
            (
                "input",
                f"{one.name} {_shape(one.shape)} {one.dtype}" + (" (explained)" if one.name == outline.input else ""),
            )
            for one in outline.inputs
        ],
        *[("explained by", door) for door in doors],
        *([] if doors else [("layout", _layout(outline))]),
        ("batch", outline.batch if outline.rows is None else f"{outline.batch}, {outline.rows} at a time"),
        ("scores", f"{scores.tensor}, {scores.classes or '?'} classes, {scores.kind}. {scores.found}"),
        ("head", f"{head.kind}: {head.why}"),
        *(
            [("targets", "  ".join(f"--target {quote(one)}" for one in head.proposals))]
            if head.kind != "classes"
            else []
        ),
        ("labels", labels),
        *([] if doors else [("card", _card_line(outline))]),
        *([("coordinates", _coordinates_line(outline))] if _proposed(outline) and not doors else []),
        *[(name, str(value)) for name, value in outline.facts.items()],
        ("answers", ", ".join(kinds) or "once it is stated which input is explained, and what the others hold"),
        *([("methods", ", ".join(fits))] if kinds else []),
    ]
    lines = [table(rows)]
    lines += ["", "preprocessing card", *[f"  {line}" for line in card.splitlines()]] if card else []
    lines += ["", *[f"note: {quirk}" for quirk in outline.quirks]] if outline.quirks else []
    if outline.layers:
        shown = outline.layers if every_layer else outline.layers[-_SHOWN:]
        lines += ["", table([(one.op, _shape(one.shape), one.name) for one in shown], ("operator", "shape", "layer"))]
        hidden = len(outline.layers) - len(shown)
        lines += [f"and {hidden} layers before these; --layers lists all"] if hidden else []
    return "\n".join(lines)


def _card_line(outline: Outline) -> str:
    if outline.card:
        return f"{outline.card.name or 'given'}, below"
    found = likely_card(outline)
    return "none: pictures need --card" + (f"; likely {found[0]!r}: {found[1]}" if found else "")


def _proposed(outline: Outline) -> dict[str, str] | None:
    """What the input's axes likely measure, for a card; nothing takes it by itself."""
    found = likely_coordinates(outline)
    return None if found is None else {"lines": found[0], "why": found[1]}


def _coordinates_line(outline: Outline) -> str:
    found = likely_coordinates(outline)
    return (
        "" if found is None else f"not stated, so drawings count positions; likely in a card: {found[0]} ({found[1]})"
    )


def _layout(outline: Outline) -> str:
    if outline.named is not None:
        return f"{outline.named.letters}: {outline.named.why}"
    spec = outline.explained
    item = () if spec is None else tuple(n for n in spec.shape[1:] if n is not None)
    if item and spec is not None and len(item) == len(spec.shape) - 1:
        found = outline.layout_of(item)
        if isinstance(found, Doubt):
            return f"in doubt between {', '.join(found.readings)}: state it with --layout"
    return "found out when an item is seen; --layout states it"


def _card(outline: Outline) -> str | None:
    """The card without its labels, which may be thousands."""
    return None if outline.card is None else outline.card.to_toml(labels=False)
