"""``xplain localise``: where in each picture is what the model saw? Boxes from maps, held against true ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xplain.cli.asking.flags import Force, OutFolder, Seed, find_method, options_for
from xplain.cli.asking.loading import Asking, Loading, ModelFile, Sentinel
from xplain.cli.keeping.book import Book, stays, told_when_interrupted
from xplain.cli.keeping.output import Folder, file_stem
from xplain.cli.run import Order, Run, explain_items
from xplain.cli.telling.console import PARTIAL, USAGE, Outcome, note
from xplain.cli.telling.notes import about, hint_at_labels, layer_of, notes_of, told_warnings, warnings_of
from xplain.core.card import Card
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.metrics.localisation import SPREAD, Box, best_iou, evened, localisation_error, region, segment
from xplain.session import Explained
from xplain.session.truths.meant import Held
from xplain.session.truths.placing import around
from xplain.session.truths.reading import truths_of

__all__ = ["localise"]

_NOWHERE: Box = (0, 0, 0, 0)


def localise(
    shell: typer.Context,
    model: ModelFile,
    loading: Loading,
    asking: Asking,
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PICTURE", help="Files, folders, globs, skimage:NAME.", show_default=False),
    ],
    method: Annotated[str, typer.Option("--method", "-m", help="Method whose map is used.")] = "grad-cam",
    target: Annotated[
        str | None, typer.Option(help="Class number, label or 'a - b'. Default: each picture's predicted class.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="True boxes, in pixels of the files: a CSV (file, y0, x0, y1, x1), COCO's JSON, or a folder of Pascal "
            "VOC's XML or of masks."
        ),
    ] = None,
    share: Annotated[float, typer.Option(help="Share of the map's maximum from which a position counts.")] = 0.2,
    smooth: Annotated[
        float | None,
        typer.Option(
            help="Spread of the Gaussian that evens a map out before, as a share of its longer side. Default: "
            f"{SPREAD:g} for maps of single pixels, none for maps of cells.",
            show_default=False,
        ),
    ] = None,
    segmented: Annotated[
        bool, typer.Option("--segment", help="Refine the region by colour (GrabCut); its box is taken.")
    ] = False,
    at_least: Annotated[float, typer.Option(help="IoU with a true box from which a box is right.")] = 0.5,
    out: OutFolder = Path("xplain-boxes"),
    force: Force = False,
    seed: Seed = 0,
    sentinel: Sentinel = None,
    **options: Any,
) -> Outcome:
    """Find what MODEL saw in each PICTURE, without ever having been trained on boxes.

    The box around the largest connected part of the map that reaches --share of its maximum (the CAM paper's rule).
    A map of single pixels, such as saliency, is evened out before by a Gaussian (--smooth), for its speckles touch
    anywhere.
    Writes per picture the map with its boxes and the region as a black and white PNG, both as the model saw the
    picture. Boxes are told in pixels of the picture file.

    Raises:
        UsageError: --share, --smooth or --at-least out of range, or a table of boxes that cannot be understood.
        MissingDependency: --segment without OpenCV.
    """
    from xplain.render import pictures as reading

    if not 0 < share <= 1 or not 0 < at_least <= 1:
        raise UsageError(f"--share is {share} and --at-least is {at_least}; accepted: above 0, up to 1.")
    if smooth is not None and not 0 <= smooth <= 0.5:
        raise UsageError(f"--smooth is {smooth}; accepted: 0 for none, up to 0.5 of the map's longer side.")
    entry = find_method(method)
    order = Order(options_for([entry], options), target, seed, asking, sentinel)
    found = reading.collect(pictures)
    stated = None if truth is None else truths_of(truth, found, files=True)
    loaded = loading.open(model)
    hint_at_labels(loaded.outline)
    held = None if stated is None else Held(stated, found, loaded.outline)
    run, keepers = Run(words=shell.obj.words), []  # type: tuple[Run, list[_Boxes]]

    def done() -> str:
        written = sum(len(one.told) for one in keepers)
        return stays(written, len(found), "picture", out)

    with told_when_interrupted(done), Folder(out, force) as folder:
        boxes = _Boxes(folder, held, share, smooth, segmented)
        keepers.append(boxes)

        def told() -> dict[str, Any]:
            return {
                "command": shell.obj.line,
                "model": {"source": loaded.outline.source, "sha256": loaded.outline.digest},
                "method": entry.name,
                "options": run.items[0]["explanations"][0]["options"] if run.items else {},
                "share": share,
                "segmented": segmented,
                "out": str(out),
                "pictures": boxes.told,
                "failures": run.failures,
                **_judged(boxes, at_least),
            }

        book = Book(folder, told, lambda: None)
        with book.kept_whatever_happens(done):
            explain_items(loaded, found, found, order, run, boxes, book.kept)
    document = told()
    if run.items:
        folder.record({"state": "finished", "run": document})
    for said in document.get("truth", {}).get("told", ()):
        note(f"xplain: --truth: {said}")
    for failure in run.failures:
        note(f"xplain: {failure['picture']}: {failure['error']['message']}")
    code = (PARTIAL if run.items else USAGE) if run.failures else PARTIAL if boxes.wrong else 0
    return Outcome(document, _text(document, out), code)


@dataclass(slots=True)
class _Boxes:
    """Turns each picture's map into a region and a box, and draws them."""

    folder: Folder
    held: Held | None
    share: float
    smooth: float | None
    segmented: bool
    told: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    _stems: set[str] = field(default_factory=set)

    def keep(self, item: str, explained: Explained) -> list[dict[str, Any]]:
        """Write the drawing and the region of one picture; what is told of its explanation."""
        from xplain.render.geometry import Frame

        picture, found = item, explained.results
        one = found[0]
        values, seen = np.asarray(one.values[0]), None if one.pictures is None else np.asarray(one.pictures[0])
        if len(found) != 1 or values.ndim != 2 or seen is None or explained.size is None:
            raise UsageError("Boxes need one target per picture and one map [H, W]; leave out 'top3' and channels.")
        frame = Frame.of(Card.from_toml(one.card), *explained.size)
        true = self._true(picture, explained)
        told: dict[str, Any] = {
            "picture": picture,
            "target": one.target,
            "notes": notes_of(one),
            "warnings": told_warnings(one),
        }
        # only a map of single pixels is speckled; what was made in cells is smooth over them
        spread = self.smooth if self.smooth is not None else SPREAD if one.resolution is None else 0.0
        told |= {"box": None, "threshold": None, "smooth": spread}
        mask, box = np.zeros(values.shape, bool), None
        try:
            part = region(evened(values, spread), self.share)
            if self.segmented:
                part = region(segment(seen, np.maximum(values, 0)).astype(np.float32), 1.0)
            mask, box = part.mask, part.box
            told |= {"box": list(frame.to_picture(box)), "threshold": None if self.segmented else part.threshold}
        except UsageError as error:  # a map with nothing positive in it
            told["why"] = str(error)
        told["share of the picture"] = float(mask.mean())
        if true is not None:
            window = frame.to_picture((0, 0, values.shape[0], values.shape[1]))
            if any(_beyond(box, window) for box in true):
                self.unseen.append(picture)
            told["truth"] = [list(box) for box in true]
            told["iou"] = best_iou(frame.to_picture(box) if box else _NOWHERE, true)
        stem = file_stem(picture, self._stems)
        names = {"png": f"{stem}.{one.method}.boxes.png", "mask": f"{stem}.{one.method}.mask.png"}
        self.folder.announce(names.values())
        drawn = {"found": [box] if box else [], "true": [frame.to_seen(box) for box in true or []]}
        self.folder.write_picture(names["png"], one.overlay(0, boxes={k: v for k, v in drawn.items() if v}))
        self._write_mask(names["mask"], mask)
        self.told.append({**told, "files": names})
        return [{**about(one), "files": names}]

    def _true(self, picture: str, explained: Explained) -> list[Box] | None:
        """The true boxes of the class that is explained, in pixels of the file; None where nothing is known of it."""
        assert explained.size is not None
        one = explained.results[0]
        if self.held is None:
            return None
        try:
            known = self.held.of(picture, explained.size)
        except UsageError as error:  # the picture is well explained all the same
            self.wrong.append(str(error))
            return None
        meant = self.held.of_class(known, int(one.labels[0]) if one.labels else -1, picture)
        return None if meant is None else around(meant)

    def _write_mask(self, name: str, mask: Any) -> None:
        from xplain.render import canvas

        self.folder.write_picture(name, canvas.image(np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)))


def _judged(boxes: _Boxes, at_least: float) -> dict[str, Any]:
    """How well the boxes fit the true ones, over the pictures that have some."""
    if boxes.held is None:
        return {}
    judged, told = [one for one in boxes.told if "iou" in one], [*boxes.held.told(), *_unseen(boxes), *boxes.wrong]
    if not judged:
        return {"truth": {"pictures": 0, "told": told}}
    given = [tuple(one["box"] or _NOWHERE) for one in judged], [list(map(tuple, one["truth"])) for one in judged]
    found = localisation_error(*given, least=at_least)
    return {
        "truth": {
            "pictures": len(judged),
            "at_least": at_least,
            "error": found["error"],
            "mean iou": found["mean iou"],
            "told": told,
        }
    }


def _beyond(box: Box, window: Box) -> bool:
    """Whether a box reaches out of a window by more than a pixel, which is what rounding may do."""
    return any((window[k] - box[k]) * (1 if k < 2 else -1) > 1 for k in range(4))


def _unseen(boxes: _Boxes) -> list[str]:
    if not boxes.unseen:
        return []
    many = counted(len(boxes.unseen), "picture")
    said = f"Of {many} a true box reaches beyond what the model sees, such as of {boxes.unseen[0]}"
    return [f"{said}: no box that is found can fill it, and its IoU stays below 1."]


def _text(document: Mapping[str, Any], out: Path) -> str:
    lines = []
    for one in document["pictures"]:
        where = "nowhere: " + one["why"] if one["box"] is None else "y {0} to {2}, x {1} to {3}".format(*one["box"])
        iou = f", IoU {one['iou']:.2f}" if "iou" in one else ""
        looked = f" ({document['method']}{layer_of(one)})" if layer_of(one) else ""
        lines.append(f"{one['picture']}: {one['target']} at {where}{iou}{looked}")
        lines += warnings_of(one)
    judged = document.get("truth", {})
    if judged.get("pictures"):
        many = counted(judged["pictures"], "picture")
        lines.append(
            f"Localisation error {judged['error']:.1%} of {many} with true boxes (IoU at least "
            f"{judged['at_least']:g}); mean IoU {judged['mean iou']:.2f}."
        )
    failed = f", {len(document['failures'])} failed" if document["failures"] else ""
    count = len(document["pictures"])
    return "\n".join([*lines, f"{counted(count, 'picture')}{failed}; drawn into {out}."])
