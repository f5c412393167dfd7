"""``xplain compile``: one ONNX file that explains itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from xplain.cli.asking.backgrounds import read_baselines
from xplain.cli.asking.flags import find_method, options_for
from xplain.cli.asking.loading import Loading, ModelFile
from xplain.cli.telling.console import Outcome, table
from xplain.cli.telling.notes import layer_of
from xplain.core.errors import OutputError, UsageError
from xplain.core.keeping.files import whole_file
from xplain.graph.build.triton import configuration, repository_name
from xplain.session.compiling import compile as build_in

__all__ = ["compile"]

_DEFAULTED = (
    "note: ONNX Runtime warns that 'target' is not constant when it loads the file. That is meant: it is how ONNX lets "
    "an input be left out. SessionOptions.log_severity_level = 3 hides it; --target-input required or none avoids it."
)
"""Inherent: a default is an initializer of the input's name, and ONNX Runtime logs each of these."""


def compile(  # noqa: A001  (the verb's name)
    model: ModelFile,
    loading: Loading,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write, NAME.onnx.", show_default=False)
    ] = None,
    triton: Annotated[
        Path | None,
        typer.Option(
            "--triton", help="Instead of --out: a Triton model repository, made if it is absent.", metavar="FOLDER"
        ),
    ] = None,
    method: Annotated[str, typer.Option("--method", "-m", help="Method that is built in.")] = "grad-cam",
    target: Annotated[
        str | None,
        typer.Option(help="Class number, label, 'a - b' or 'layer[12]'. Default: the predicted class, found inside."),
    ] = None,
    target_input: Annotated[
        str,
        typer.Option(
            "--target-input",
            help="The file's input 'target': optional; required, so that a page in a browser can feed it; or none.",
        ),
    ] = "optional",
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="HxW",
            help="Size of the items, such as 224x224, where neither the model nor its card says it.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    **options: Any,
) -> Outcome:
    """Build an explanation into MODEL: an ordinary ONNX file with one more output, 'attribution'.

    Whatever runs ONNX runs the file, without xplain: the original outputs stay, and 'attribution' holds what 'xplain
    explain' gives, before it is drawn. A result of more than 2 GiB has its weights beside it, in OUT.data. 'xplain
    methods' says which methods can be built in; their flags are shown by 'xplain compile --method NAME --help'.

    Raises:
        UsageError: the method, an option or the target cannot be compiled; the message says what can.
        OutputError: the file cannot be written, or is there already.
    """
    entry = find_method(method)
    given = options_for([entry], options)[entry.name]
    place = _free(_place(out, triton, model), model, force, made=triton is not None)
    loaded = loading.open(model)
    given = read_baselines({entry.name: given}, loaded)[entry.name]
    build = partial(build_in, size=_size(size), target=target, target_input=target_input, out=place)  # type: ignore[arg-type]
    with _repository(place, triton) as configure:
        made = build(loaded, entry.name, **given)
        configure(made)
    content = place.read_bytes()
    apart = {e.value for t in made.graph.initializer for e in t.external_data if e.key == "location"}
    weights = {name: (place.parent / name).stat().st_size for name in sorted(apart)}
    about = {e.key.removeprefix("xplain."): e.value for e in made.metadata_props if e.key.startswith("xplain.")}
    defaults = {tensor.name for tensor in made.graph.initializer}
    inputs = {v.name: "optional" if v.name in defaults else "required" for v in made.graph.input}
    document = {
        "out": str(place),
        "bytes": len(content),
        "weights": weights,
        "sha256": hashlib.sha256(content).hexdigest(),
        "model": {"source": loaded.outline.source, "sha256": loaded.outline.digest},
        "method": entry.name,
        "options": json.loads(about["options"]),
        "target": about["target"],
        "unit": about["unit"],
        **{name: about[name] for name in ("layer", "warning") if name in about},
        "inputs": inputs,
        "outputs": [v.name for v in made.graph.output],
        "opset": {one.domain or "ai.onnx": one.version for one in made.opset_import},
        "ir": made.ir_version,
        "nodes": len(made.graph.node),
    }
    looked = layer_of({"notes": about})
    rows = [
        ("file", f"{place}, {len(content):,} bytes"),
        *(("weights", f"{name} beside it, {size:,} bytes: keep the two together") for name, size in weights.items()),
        ("explains", f"{entry.name} of the {about['target']}{looked}, {about['unit']}"),
        ("inputs", ", ".join(f"{name} ({kind})" for name, kind in inputs.items())),
        ("outputs", ", ".join(document["outputs"])),
        ("opset", f"{', '.join(f'{k} {v}' for k, v in document['opset'].items())}; IR {made.ir_version}"),
    ]
    notes = [f"warning: {about['warning']}"] if "warning" in about else []
    notes += [_DEFAULTED] if "optional" in inputs.values() else []
    return Outcome(document | {"notes": notes}, "\n".join([table(rows), *([""] if notes else []), *notes]))


def _place(out: Path | None, triton: Path | None, model: str) -> Path:
    """The file to write: ``--out``, or version 1 of a model in a repository of Triton, whose folders are made."""
    if (out is None) == (triton is None):
        raise UsageError("Give one of --out FILE.onnx and --triton FOLDER.")
    if out is not None:
        return out
    assert triton is not None
    return triton / f"{repository_name(Path(model).stem)}-explained" / "1" / "model.onnx"


@contextmanager
def _repository(place: Path, triton: Path | None) -> Iterator[Callable[[Any], None]]:
    """The folders that a model in Triton's repository stands in, and what writes its configuration beside it."""
    if triton is None:
        yield lambda _: None
        return
    folders = [place.parent, place.parent.parent, triton]
    there = [one for one in folders if one.exists()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--triton {triton} cannot be made: {error.strerror}. Choose another folder.") from None

    def configure(made: Any) -> None:
        with whole_file(folders[1] / "config.pbtxt") as file:
            file.write(configuration(folders[1].name, made).encode())

    try:
        yield configure
    except BaseException:
        with suppress(OSError):  # of folders that hold something by now
            for one in folders:
                if one not in there:
                    one.rmdir()
        raise


def _size(words: str | None) -> tuple[int, ...] | None:
    """The numbers of ``224x224``."""
    if words is None:
        return None
    parts = words.lower().split("x")
    if not all(part.strip().isdecimal() and part.isascii() for part in parts):
        raise UsageError(f"--size is {words!r}; accepted: whole numbers with an x between, such as 224x224 or 16000.")
    return tuple(map(int, parts))


def _free(out: Path, model: str, force: bool, made: bool) -> Path:
    """The place to write to: not the model itself, and not over another file unless asked."""
    if out.suffix != ".onnx":
        name = f"{Path(model).stem}-explained.onnx"
        raise UsageError(f"--out {out} does not end in .onnx; give a file's name, such as {name}.")
    if not made and not out.parent.is_dir():
        raise OutputError(f"--out {out}: there is no folder {out.parent}. Make it first.")
    if out.exists() and Path(model).exists() and out.samefile(model):
        raise OutputError(f"--out {out} is the model itself, which stays as it is. Choose another name.")
    for place in (out, out.with_name(f"{out.name}.data")):  # where a large result's weights go
        if place.exists() and not force:
            raise OutputError(f"--out {place} is there already. Choose another name, or add --force to overwrite it.")
    return out
