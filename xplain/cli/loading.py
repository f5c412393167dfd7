"""The options that say how a model is loaded; every verb that takes a model takes them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer

from xplain import api
from xplain.core.errors import UsageError
from xplain.core.query import Model

__all__ = [
    "CardName",
    "EndpointFile",
    "Engine",
    "ExternalData",
    "Fixed",
    "Input",
    "MaxCost",
    "ModelFile",
    "Providers",
    "Threads",
    "open_model",
]

_PANEL = "How the model is loaded"

ModelFile: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="An ONNX file, or the URL of an endpoint.", show_default=False)
]
CardName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--card",
        help="How pictures become tensors: a card, a preprocessor_config.json or a preset's name.",
        rich_help_panel=_PANEL,
    ),
]
Providers: TypeAlias = Annotated[
    str | None,
    typer.Option("--providers", help="ONNX Runtime providers, best first, such as cuda,cpu.", rich_help_panel=_PANEL),
]
Threads: TypeAlias = Annotated[
    int | None, typer.Option("--threads", help="Threads of the model; default all cores.", rich_help_panel=_PANEL)
]
Engine: TypeAlias = Annotated[
    str,
    typer.Option(
        "--engine",
        help="How hidden windows are answered: auto (incrementally where that pays), plain, or fast (approximate).",
        rich_help_panel=_PANEL,
    ),
]
Input: TypeAlias = Annotated[
    str | None, typer.Option("--input", help="Name of the input to explain.", rich_help_panel=_PANEL)
]
Fixed: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--fixed", metavar="NAME=VALUE", help="Another input's value: a number or an .npy file.", rich_help_panel=_PANEL
    ),
]
ExternalData: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-external-data", help="Allow weights in other files of the model's folder.", rich_help_panel=_PANEL
    ),
]

EndpointFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--endpoint",
        metavar="FILE.toml",
        help="Options of a model behind a URL: auth, price, limits, mapping; see xplain.models.endpoint.open.",
        rich_help_panel=_PANEL,
    ),
]
MaxCost: TypeAlias = Annotated[
    str | None,
    typer.Option("--max-cost", help="Money that an endpoint may cost, all calls together.", rich_help_panel=_PANEL),
]


def open_model(
    model: str,
    card: str | None,
    providers: str | None,
    threads: int | None,
    input_name: str | None,
    fixed: Sequence[str] | None,
    allow_external_data: bool,
    endpoint: Path | None = None,
    max_cost: str | None = None,
    engine: str = "auto",
) -> Model:
    """The model that a command line names.

    Raises:
        UsageError: an option that cannot be understood.
        Unsafe: the file is refused.
        ModelError: the file cannot be loaded.
    """
    remote = {} if endpoint is None else _endpoint(endpoint)
    if max_cost is not None:
        remote["max_cost"] = max_cost
    words = None if providers is None else [word.strip() for word in providers.split(",") if word.strip()]
    return api.load(
        model,
        card=card,
        providers=words,
        threads=threads,
        engine=engine,
        input=input_name,
        fixed=dict(_fixed(one) for one in fixed) if fixed else None,
        allow_external_data=allow_external_data,
        **remote,
    )


def _endpoint(file: Path) -> dict[str, Any]:
    """The options in a TOML file; a path in it is beside it."""
    try:
        options = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
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
            return name, np.asarray(float(value) if "." in value or "e" in value.lower() else int(value))
        except ValueError:
            raise UsageError(f"--fixed {given}: {value!r} is neither a number nor an .npy file.") from None
    try:
        return name, np.load(value, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--fixed {given}: the file cannot be read: {error}.") from None
