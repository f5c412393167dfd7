"""A page that explains in the browser alone: a compiled file, a runtime in WebAssembly, no server but one for files.

SITE/index.html, live.js, draw.js, page.css ...  the page
SITE/model.onnx                                  scores, attribution and one layer's values from one run
SITE/about.json                                  card, labels, method, unit, colours
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

from xplain.core.declaring.wording import option
from xplain.core.errors import CardError, MissingDependency, OutputError, UsageError
from xplain.core.outline import Outline
from xplain.core.query import Model
from xplain.render.colormap import find
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

_PAGE = {"live/index.html": "index.html", "live/live.js": "live.js", "live/see.js": "see.js"}
_PAGE |= {"page/page.css": "page.css", "page/draw.js": "draw.js", "page/hand.js": "hand.js"}


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
    model: Model,
    out: Path,
    method: str = "grad-cam",
    options: Mapping[str, Any] | None = None,
    layer: str | None = None,
    runtime_folder: str | None = None,
) -> dict[str, Any]:
    """Write a site that explains pictures and the camera's live, wherever files can be served.

    Args:
        model: A picture classifier with a graph and a card.
        out: A folder that is empty, or not there.
        method: A method that compiles.
        options: Its options.
        layer: The layer whose channels are shown; None for the one that the method reads, or the last.
        runtime_folder: The folder ``dist`` of onnxruntime-web; None for the wheel ``xplain-web``.

    Returns:
        What stands in ``about.json``.

    Raises:
        CardError: it is not known how a picture becomes the model's input.
        UsageError: the model, the method or the layer cannot be used.
        OutputError: the folder cannot be written, or holds something.
    """
    outline = model.outline
    _check(outline)
    card = outline.card
    if card is None or card.mode == "BANDS":
        raise CardError(
            f"{outline.source} has no card for pictures, which the page turns into its input. Give ",
            option("card"),
            ".",
        )
    source = runtime(runtime_folder)
    made = build_in(model, method, target_input="required", **(options or {}))
    told = {e.key.removeprefix("xplain."): e.value for e in made.metadata_props}
    shown = outline.layer(outline.layer_meant(layer)).name if layer else told.get("layer", "") or _last(outline)
    gives = give_out(made, {"scores": outline.scores.tensor, "layer": shown or outline.scores.tensor})
    spec = outline.explained
    # the model's own axes before its card's, as where items are read
    letters = outline.named.letters if outline.named is not None else card.layout or "NCHW"
    about = {
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
        "kind": outline.scores.kind,
        "link": outline.scores.link,
        "card": {name: value for name, value in asdict(card).items() if name not in ("labels", "name")},
        "size": _size(made, outline.input, letters),
        "labels": list(outline.labels),
        "colours": find(None, called(method).signed).table.tolist(),
    }
    _write(out, made.SerializeToString(), about, source)
    return about


def _check(outline: Outline) -> None:
    """Whether the input may be a picture: what else a model takes, this page has no way to give it.

    Raises:
        UsageError: it is none.
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


def _last(outline: Outline) -> str:
    """The last layer with channels and positions; empty where none is known."""
    return next((one.name for one in reversed(outline.layers) if len(one.shape) == 4), "")


def _size(made: Any, name: str, letters: str) -> list[int]:
    """Height and width of the compiled input."""
    (entry,) = [one for one in made.graph.input if one.name == name]
    extents = [one.dim_value for one in entry.type.tensor_type.shape.dim]
    return [extents[letters.index("H")], extents[letters.index("W")]]


def _write(out: Path, model: bytes, about: Mapping[str, Any], source: Path) -> None:
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
        (draft / "model.onnx").write_bytes(model)
        (draft / "about.json").write_text(json.dumps(about, allow_nan=False), encoding="utf-8")
        if out.exists():
            out.rmdir()
        draft.replace(out)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise OutputError(f"{out} cannot be written: {error.strerror}.") from None
