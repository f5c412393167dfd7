"""How a model is loaded, and what asking it may cost: options that every verb with a model takes.

Each group is one dataclass, declared here and nowhere else: a verb that takes ``loading: Loading`` has all its flags.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer

from xplain import api
from xplain.cli.asking.tables import labels_of
from xplain.core.errors import UsageError, unknown
from xplain.core.keeping.files import read_text
from xplain.core.query import Model
from xplain.models.options import EndpointOptions, OnnxOptions, summary
from xplain.models.outlines import labelled

__all__ = ["Asking", "Loading", "ModelFile", "Opening", "Sentinel", "endpoint_options", "named_file"]

_LOADED, _ASKED = "How the model is loaded", "What it may cost"

ModelFile: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="An ONNX file, or the URL of an endpoint.", show_default=False)
]
Sentinel: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--sentinel",
        help="Look every so many evaluations whether the model was replaced; then stop.",
        rich_help_panel=_ASKED,
    ),
]


def _flag(name: str, text: str, panel: str = _LOADED, metavar: str | None = None) -> Any:
    return typer.Option(name, help=text, metavar=metavar, rich_help_panel=panel)


def _of_door(name: str, kind: type[Any] = OnnxOptions, panel: str = _LOADED) -> Any:
    """A flag that is a door's option, in the words of its declaration."""
    return _flag(f"--{name.replace('_', '-')}", summary(kind, name), panel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a model's file or endpoint is opened: what a verb with one model says of it, and one with several of each."""

    providers: Annotated[str | None, _of_door("providers")] = None
    engine: Annotated[str, _of_door("engine")] = "auto"
    layout: Annotated[str | None, _of_door("layout")] = None
    input: Annotated[str | None, _of_door("input")] = None
    output: Annotated[str | None, _of_door("output")] = None
    scores: Annotated[str | None, _of_door("scores")] = None
    fixed: Annotated[
        list[str] | None,
        _flag(
            "--fixed",
            "Another input's value: a number, several with commas between, or an .npy file.",
            metavar="NAME=VALUE",
        ),
    ] = None
    allow_external_data: Annotated[bool, _of_door("allow_external_data")] = False
    limit: Annotated[
        list[str] | None,
        _flag("--limit", "Move a limit on an untrusted file, such as nodes=200000.", metavar="NAME=NUMBER"),
    ] = None
    endpoint: Annotated[
        Path | None,
        _flag(
            "--endpoint",
            "Options of a model behind a URL: auth, price, limits, mapping; see xplain.models.options.",
            metavar="FILE.toml",
        ),
    ] = None

    def options(self, of_url: bool = True) -> dict[str, Any]:
        """The options given, as ``xplain.load`` takes them; labels are put on what was loaded.

        Args:
            of_url: Whether those of an endpoint are meant too.

        Raises:
            UsageError: one that cannot be understood.
        """
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _APART}
        remote = {} if self.endpoint is None or not of_url else endpoint_options(self.endpoint)
        if self.providers is not None:
            given["providers"] = [word.strip() for word in self.providers.split(",") if word.strip()]
        if self.fixed:
            given["fixed"] = dict(_fixed(one) for one in self.fixed)
        if self.limit:
            given["limits"] = _limits(self.limit)
        if self.engine == "auto":
            del given["engine"]
        return remote | {name: value for name, value in given.items() if value is not None and value is not False}


_APART = ("endpoint", "labels", "limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading(Opening):
    """How the model is loaded."""

    card: Annotated[str | None, _of_door("card")] = None
    labels: Annotated[
        str | None, _flag("--labels", "Class names, a,b,c or a file with one per line, where the model has none.")
    ] = None
    threads: Annotated[int | None, _of_door("threads")] = None
    max_cost: Annotated[str | None, _of_door("max_cost", EndpointOptions, _ASKED)] = None

    def open(self, model: str) -> Model:
        """The model that a command line names.

        Raises:
            UsageError: an option that cannot be understood.
            Unsafe: the file is refused.
            ModelError: the file cannot be loaded.
        """
        loaded = api.load(model, **self.options())
        if self.labels is not None:
            loaded.outline = labelled(loaded.outline, labels_of(self.labels))  # type: ignore[misc]
        return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How the model is asked."""

    batch_size: Annotated[
        int | None, _flag("--batch-size", "Rows per model call, at most; another number may change last bits.", _ASKED)
    ] = None
    max_queries: Annotated[
        int | None,
        _flag("--max-queries", "Model evaluations that may be spent, by all pictures together.", _ASKED),
    ] = None
    cache: Annotated[
        Path | None,
        _flag("--cache", "Folder of answers: what lies there is never asked, nor paid, again.", _ASKED),
    ] = None


def named_file(model: str) -> tuple[str, str]:
    """The name and the file of ``NAME=FILE``; without a name, the file's own."""
    name, equals, file = model.partition("=")
    if equals and "/" not in name and ":" not in name:
        return name, file
    stem = Path(model.rstrip("/")).name.removesuffix(".onnx")
    return "".join(one if one.isalnum() and one.isascii() else "-" for one in stem)[:64], model


def endpoint_options(file: Path) -> dict[str, Any]:
    """The options in a TOML file; a path in it is beside it."""
    try:
        options = tomllib.loads(read_text(file, UsageError, f"--endpoint {file}"))
    except UsageError:
        raise
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--endpoint {file} cannot be read: {error}.") from None
    for name in ("mapping", "ca", "ledger"):
        if isinstance(options.get(name), str):
            options[name] = str(file.parent / options[name])
    return options


def _fixed(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not (name and equals and value):
        raise UsageError(f"--fixed {given} is not understood; accepted: NAME=NUMBER or NAME=FILE.npy.")
    if not value.endswith(".npy"):
        try:
            whole = "." not in value and "e" not in value.lower()
            many = [int(one) if whole else float(one) for one in value.split(",")]
            return name, np.asarray(many if "," in value else many[0])
        except ValueError:
            raise UsageError(f"--fixed {given}: {value!r} is neither a number nor an .npy file.") from None
    try:
        return name, np.load(value, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--fixed {given}: the file cannot be read: {error}.") from None


def _limits(given: list[str]) -> Any:
    from xplain.graph.safety import Limits

    known, moved = [field.name for field in fields(Limits)], {}
    for one in given:
        name, _, value = one.partition("=")
        name = name.strip().replace("-", "_")
        if name not in known:
            raise unknown("limit", name, known)
        try:
            number = float(value)
            moved[name] = int(number)
        except (ValueError, OverflowError):
            number = -1.0
        if number < 1 and not (name == "contact_seconds" and number == 0):
            raise UsageError(
                f"--limit {one} is not understood; accepted: NAME=NUMBER, of at least 1; contact_seconds may be 0."
            )
    return Limits(**moved)
