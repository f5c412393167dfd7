"""``xplain why-not``: why MODEL does not say a class of a picture, and what would have to go for it to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xplain.cli.asking.flags import Force, OutFolder, Seed, find_method, options_for
from xplain.cli.asking.loading import Asking, Loading, ModelFile
from xplain.cli.keeping.output import Folder, file_stem
from xplain.cli.telling.console import FINDING, Outcome, Shell
from xplain.cli.telling.notes import hint_at_labels
from xplain.core.errors import UsageError
from xplain.core.keeping.files import there
from xplain.core.keeping.plain import counted
from xplain.core.query import Model
from xplain.core.target import label
from xplain.core.targets.units import noun
from xplain.session import Request
from xplain.session.predictions import best
from xplain.session.why_not import METHOD, WhyNot
from xplain.session.why_not import why_not as asked

__all__ = ["why_not"]

_GREY = 128
_VEIL = 0.85  # of a hidden region's grey, so that one sees what was there
_SIDE, _EDGE = 448, 2  # pixels of the drawing, and of a hidden region's edge


def why_not(
    shell: typer.Context,
    model: ModelFile,
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A file, or skimage:NAME.", show_default=False)],
    loading: Loading,
    asking: Asking,
    wanted: Annotated[
        str | None,
        typer.Argument(
            metavar="CLASS",
            help="The class that was not said: a number or a label. Without it, the runner-up.",
            show_default=False,
        ),
    ] = None,
    enough: Annotated[
        bool,
        typer.Option("--enough", help="Also tell which few regions alone keep the class that is said."),
    ] = False,
    out: OutFolder = Path("xplain-why-not"),
    force: Force = False,
    seed: Seed = 0,
    **options: Any,
) -> Outcome:
    """Tell why MODEL does not say CLASS of PICTURE: what speaks against it, and what would have to go for it to.

    Draws what each region does to the score of CLASS less that of the class that is said, and the fewest regions
    found that, hidden together, make MODEL say CLASS: that was tried at the model, and is no guess. --features and
    --baseline say what a region is and what it becomes when hidden; exit code 1 where hiding regions does not change
    it. For the row of a table, ask 'xplain explain MODEL ROWS -m counterfactual'.

    Raises:
        UsageError: CLASS is what MODEL says, or MODEL has no classes.
    """
    from xplain.render import pictures as reading

    name, equals, _ = picture.partition("=")
    if equals and name and not there(Path(picture)):
        raise UsageError(
            f"why-not asks about one picture, and {name}=... names one of several inputs. Ask the target instead, with "
            f"'xplain explain MODEL {name}=FILE OTHER=FILE --target \"1 - 0\"': why 1, not 0."
        )
    found = reading.collect([picture])
    if len(found) != 1:
        raise UsageError(f"{picture} is {len(found)} pictures. Name one: why not is asked of each by itself.")
    given = options_for([find_method(METHOD)], options)
    loaded = loading.open(model)
    hint_at_labels(loaded.outline)
    request = Request(
        given, seed=seed, batch_size=asking.batch_size, max_queries=asking.max_queries, cache=asking.cache
    )
    with Folder(out, force) as folder:
        named = int(wanted) if wanted is not None and wanted.isdecimal() else wanted
        told = asked(loaded, found, named, request, enough=enough)
        stem = file_stem(found[0], set())
        names = {"png": f"{stem}.why-not.png", "npz": f"{stem}.why-not.npz"}
        folder.announce(names.values())
        folder.write_picture(names["png"], _drawn(told, loaded))
        told.map.save(folder.path / names["npz"])
        document = _document(told, loaded, found[0]) | {"files": names, "out": str(folder.path)}
        spoken: Shell = shell.obj
        folder.record({"state": "finished", "run": {"command": spoken.line, **document}})
    code = 0 if told.change.found else FINDING
    return Outcome(document, _text(told, loaded, document), code, [folder.path / names["png"]])


def _document(told: WhyNot, model: Model, name: str) -> dict[str, Any]:
    change, called = told.change, model.outline.label_name
    return {
        "picture": name,
        "predictions": best(told.scores[None], model.outline)[0],
        "said": {"class": told.said, "label": called(told.said)},
        "wanted": {"class": told.wanted, "label": called(told.wanted), "score": float(told.scores[told.wanted])},
        "runner-up": told.chosen,
        "margin": told.margin,
        "unit": noun(model.outline, label(told.wanted)),
        "sentence": told.map.sentence(0),
        "regions": change.of,
        "change": {
            "found": change.found,
            "regions": list(change.regions),
            "share": float(np.mean(change.hidden)),
            "lead": None if not change.regions else change.lead,
            "says": None if not change.regions else {"class": change.says, "label": called(change.says)},
        },
        "enough": None
        if told.enough is None
        else {
            "regions": list(told.enough.regions),
            "share": float(np.mean(told.enough.shown)),
            "margin": told.enough.margin,
        },
        "cost": told.cost,
    }


def _text(told: WhyNot, model: Model, document: dict[str, Any]) -> str:
    wanted, said, unit = document["wanted"]["label"], document["said"]["label"], document["unit"]
    named = f"the runner-up, as no class was named, is {wanted!r}," if told.chosen else f"{wanted!r} is"
    lines = [
        f"{document['picture']}: the model says {said!r}; {named} {-told.margin:.3g} behind ({unit}).",
        f"  {document['sentence']}",
        f"  {_change(told, model, wanted)}",
        *([] if told.enough is None else [f"  {_enough(told, said)}"]),
        f"Open {Path(document['out']) / document['files']['png']}.",
    ]
    return "\n".join(lines)


def _enough(told: WhyNot, said: str) -> str:
    enough = told.enough
    assert enough is not None  # it was asked
    if not enough.regions:
        return f"With every region hidden it is {said!r} still: what hides them says so. Try another --baseline."
    part = f"{counted(len(enough.regions), 'region')} of {told.change.of} ({np.mean(enough.shown):.0%} of the picture)"
    alone = "is" if len(enough.regions) == 1 else "are"
    return f"{part} {alone} enough for {said!r}: with all others hidden it is ahead by {enough.margin:.3g}."


def _change(told: WhyNot, model: Model, wanted: str) -> str:
    change = told.change
    if not change.regions:
        return f"No region speaks against {wanted!r}: it lacks what would speak for it, and hiding cannot bring that."
    part = f"{counted(len(change.regions), 'region')} of {change.of} ({np.mean(change.hidden):.0%} of the picture)"
    if change.found:
        return f"With {part} hidden the model says {wanted!r}, ahead by {change.lead:.3g}."
    instead = model.outline.label_name(change.says)
    return (
        f"Hiding does not make it {wanted!r}: nearest with {part} hidden, still {-change.lead:.3g} behind "
        f"{instead!r}. It lacks what would speak for it."
    )


def _drawn(told: WhyNot, model: Model) -> Any:
    """What speaks for and against, and the picture without what would have to go."""
    from xplain.render.canvas import column, image, row, words

    map_ = told.map.overlay(0)
    if told.map.pictures is None:
        return map_
    seen = np.asarray(told.map.pictures[0], np.float64)
    times = max(1, _SIDE // max(seen.shape[:2]))
    seen = seen.repeat(times, axis=0).repeat(times, axis=1)
    hidden = told.change.hidden.repeat(times, axis=0).repeat(times, axis=1)
    inside = hidden.copy()
    for axis in (0, 1):
        for step in (-_EDGE, _EDGE):
            inside &= np.roll(hidden, step, axis)
    spread = (..., None) if seen.ndim == 3 else ...
    veiled = np.where(hidden[spread], (1 - _VEIL) * seen + _VEIL * _GREY, seen)
    shown = image(np.where((hidden & ~inside)[spread], 0, veiled).astype(np.uint8))
    text = _change(told, model, model.outline.label_name(told.wanted))
    return row([map_, column([words([text], shown.width), shown])])
