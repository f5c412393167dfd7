"""A page that explains in the browser alone: a compiled file, a runtime in WebAssembly, no server but one for files.

SITE/index.html, live.js, draw.js, page.css ...  the page
SITE/model.onnx, model-2.onnx ...                one per model and method: scores, attribution and one layer's values
SITE/about.json                                  of each: card, labels, method, unit, colours; names of the examples
SITE/examples/                                   pictures that the page offers
SITE/ort/                                        onnxruntime-web, from the wheel ``xplain-web`` or a folder
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from xplain.core.card import Card
from xplain.core.declaring.wording import option
from xplain.core.errors import CardError, MissingDependency, OutputError, UsageError
from xplain.core.outline import Outline
from xplain.core.query import Model
from xplain.render.colormap import find
from xplain.serve.examples import examples_in
from xplain.session import called
from xplain.session.compiling import compile as build_in
from xplain.session.compiling import give_out

__all__ = ["RUNTIME", "runtime", "write_site"]

RUNTIME = (
    "ort.wasm.min.mjs",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""Files of onnxruntime-web that a page needs."""

_PAGE = {f"live/{name}": name for name in ("index.html", "live.js", "see.js", "runs.js", "shown.js")}
_PAGE |= {f"page/{name}": name for name in ("page.css", "draw.js", "hand.js", "address.js", "controls.js")}


def runtime(folder: str | None = None) -> Path:
    """Where the files of onnxruntime-web are: the folder given, or the wheel ``xplain-web``.

    Raises:
        MissingDependency: the wheel is not installed.
        UsageError: a file is not there.
    """
    if folder is None:
        try:
            import xplain_web
        except ImportError:
            raise MissingDependency(
                "A page needs onnxruntime-web. Install it: pip install ./plugins/xplain-web; or give the folder "
                "'dist' of its npm package: ",
                option("runtime"),
                ".",
            ) from None
        place: Path = xplain_web.folder()
    else:
        place = Path(folder)
    missing = [name for name in RUNTIME if not (place / name).is_file()]
    if missing:
        raise UsageError(f"{place} holds no {missing[0]}; it must be the folder 'dist' of onnxruntime-web 1.30.")
    return place


def write_site(
    models: Model | Mapping[str, Model],
    out: Path,
    methods: str | Mapping[str, Mapping[str, Any]] = "grad-cam",
    layer: str | None = None,
    runtime_folder: str | None = None,
    examples: str | None = None,
) -> dict[str, Any]:
    """Write a site that explains pictures and the camera's live, wherever files can be served.

    Args:
        models: A picture classifier with a graph and a card, or several by the names that the page shows.
        out: A folder that is empty, or not there.
        methods: A method that compiles, or several with the options of each. Every model gets every method, as a file
            of its own.
        layer: The layer whose channels are shown; None for the one that the method reads, or the last.
        runtime_folder: The folder ``dist`` of onnxruntime-web; None for the wheel ``xplain-web``.
        examples: A folder of pictures that the page offers, and that its address can name.

    Returns:
        What stands in ``about.json``.

    Raises:
        CardError: it is not known how a picture becomes a model's input.
        UsageError: a model, a method or the layer cannot be used.
        PictureError: there is no picture in ``examples``.
        OutputError: the folder cannot be written, or holds something.
    """
    named = models if isinstance(models, Mapping) else {Path(models.outline.source).stem: models}
    asked = {methods: {}} if isinstance(methods, str) else methods
    for model in named.values():
        _card(model.outline)
    source, pictures = runtime(runtime_folder), examples_in(examples)
    told: list[dict[str, Any]] = []
    built: dict[str, bytes] = {}
    for name, model in named.items():
        for method, options in asked.items():
            file = f"model-{len(built) + 1}.onnx" if built else "model.onnx"
            made = build_in(model, method, target_input="required", **options)
            told.append({"name": name, "file": file} | _about(model.outline, made, method, layer))
            built[file] = made.SerializeToString()
    about = {"models": told, "examples": list(pictures)}
    _write(out, built, about, source, pictures)
    return about


def _about(outline: Outline, made: Any, method: str, layer: str | None) -> dict[str, Any]:
    """What the page has to know of a compiled model; the layer's values are given out by it from here on."""
    told = {e.key.removeprefix("xplain."): e.value for e in made.metadata_props}
    shown = outline.layer(outline.layer_meant(layer)).name if layer else told.get("layer", "") or _last(outline)
    gives = give_out(made, {"scores": outline.scores.tensor, "layer": shown or outline.scores.tensor})
    spec, card = outline.explained, _card(outline)
    # the model's own axes before its card's, as where items are read
    letters = outline.named.letters if outline.named is not None else card.layout or "NCHW"
    extents = next((one.shape for one in outline.layers if one.name == shown and len(one.shape) == 4), ())
    return {
        "source": Path(outline.source).name,
        "digest": outline.digest,
        "method": method,
        "unit": told["unit"],
        "signed": called(method).signed,
        "input": outline.input,
        "dtype": "float32" if spec is None else spec.dtype,
        "layout": letters,
        "outputs": gives | {"attribution": "attribution"},
        "layer": shown,
        "channels": extents[1] or 0 if extents else 0,
        "classes": outline.scores.classes or len(outline.labels),
        "kind": outline.scores.kind,
        "link": outline.scores.link,
        "card": {name: value for name, value in asdict(card).items() if name not in ("labels", "name")},
        "size": _size(made, outline.input, letters),
        "labels": list(outline.labels),
        "colours": find(None, called(method).signed).table.tolist(),
    }


def _card(outline: Outline) -> Card:
    """How a picture becomes the input: what else a model takes, this page has no way to give it.

    Raises:
        UsageError: it is none.
        CardError: it is not known how a picture becomes the input.
    """
    spec = outline.explained
    shape = () if spec is None else spec.shape
    text = spec is not None and spec.dtype == "str"
    if text or (shape and len(shape) not in (3, 4)):
        what = "texts" if text else f"items of {['?' if n is None else n for n in shape[1:]]}"
        raise UsageError(
            f"A page that needs no server shows pictures, [N, C, H, W], [N, H, W, C] or [N, H, W] with a card; "
            f"{outline.source} takes {what}. The page of 'xplain serve' takes texts, rows of tables and tensors."
        )
    if outline.card is None or outline.card.mode == "BANDS":
        raise CardError(
            f"{outline.source} has no card for pictures, which the page turns into its input. Give ",
            option("card"),
            ".",
        )
    return outline.card


def _last(outline: Outline) -> str:
    """The last layer with channels at several rows and columns, or at any; empty where none is known."""
    found = [one for one in reversed(outline.layers) if len(one.shape) == 4]
    return next((one.name for one in [*(one for one in found if 1 not in one.shape[1:]), *found]), "")


def _size(made: Any, name: str, letters: str) -> list[int]:
    """Height and width of the compiled input."""
    (entry,) = [one for one in made.graph.input if one.name == name]
    extents = [one.dim_value for one in entry.type.tensor_type.shape.dim]
    return [extents[letters.index("H")], extents[letters.index("W")]]


def _write(
    out: Path, built: Mapping[str, bytes], about: Mapping[str, Any], source: Path, examples: Mapping[str, Path]
) -> None:
    """All files, into a folder of another name first: a site is whole or not there."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is there already. Choose another folder, or empty it.")
    draft = out.with_name(f".{out.name}.unfinished")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        (draft / "ort").mkdir(parents=True)
        here = files("xplain.serve")
        for inside, name in _PAGE.items():
            (draft / name).write_bytes((here / inside).read_bytes())
        for name in RUNTIME:
            shutil.copyfile(source / name, draft / "ort" / name)
        for name, model in built.items():
            (draft / name).write_bytes(model)
        if examples:
            (draft / "examples").mkdir()
        for name, path in examples.items():
            shutil.copyfile(path, draft / "examples" / name)
        (draft / "about.json").write_text(json.dumps(about, allow_nan=False), encoding="utf-8")
        if out.exists():
            out.rmdir()
        draft.replace(out)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise OutputError(f"{out} cannot be written: {error.strerror}.") from None
