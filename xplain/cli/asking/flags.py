"""Options that several verbs take, and the flags that are made from a method's registered signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import fields, is_dataclass
from functools import update_wrapper
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args, get_type_hints

import typer

from xplain import api
from xplain.cli.telling.console import Outcome
from xplain.core.declaring import registry
from xplain.core.declaring.catalogue import Catalogue, plain_name
from xplain.core.declaring.registry import (
    ATTACKS,
    LENSES,
    METHODS,
    METRICS,
    RECIPES,
    AttackKind,
    Declared,
    Lens,
    Method,
    Recipe,
)
from xplain.core.errors import unknown

__all__ = ["DEFAULT_METHOD", "Force", "OutFolder", "Seed"]
__all__ += ["chosen_methods", "command", "find_method", "flag", "help_of", "named_methods", "options_for"]

DEFAULT_METHOD = "auto"

OutFolder: TypeAlias = Annotated[Path, typer.Option("--out", "-o", help="Folder for the files; made if it is absent.")]
Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Write among files that xplain did not write.")]
Seed: TypeAlias = Annotated[int, typer.Option(help="Root of all randomness.")]
CATALOGUE_OF: Mapping[type[Declared], Catalogue[Any]] = {
    Method: METHODS,
    Lens: LENSES,
    AttackKind: ATTACKS,
    Recipe: RECIPES,
}
"""Kind of declaration to all that are declared."""
_NAMED: Mapping[str, Catalogue[Any]] = {"what": LENSES, "kind": ATTACKS, "recipe": RECIPES}
"""A verb's argument that names what its options are of; ``--method`` does otherwise."""
_TOLD: Mapping[str, Catalogue[Any]] = {**_NAMED, "metric": METRICS}
"""A verb's parameters whose help has a line for each that there is."""
_VERBS: Mapping[str, str] = {"lens": "see", "attack": "attack", "recipe": "make"}
_Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def command(verb: Callable[..., Outcome], arguments: Sequence[str] = ()) -> Callable[..., Outcome]:
    """A verb as typer takes it: with ``--json``, and flags for the methods' options where it takes ``**options``.

    A parameter whose type is a dataclass, such as ``loading: Loading``, stands for a flag per field.
    """
    given = inspect.signature(verb, eval_str=True)
    parameters = [p for p in given.parameters.values() if p.kind is not p.VAR_KEYWORD]
    groups: dict[str, Any] = {p.name: p.annotation for p in parameters if is_dataclass(p.annotation)}
    parameters = [_telling_names(p) if p.name in _TOLD else p for p in parameters]
    own = [flag for p in parameters for flag in (_fields(p.annotation) if p.name in groups else [_by_keyword(p)])]
    names = {p.name for p in own}
    extra: list[inspect.Parameter] = []
    if len(parameters) < len(given.parameters):
        extra = _flags_of(*_chosen(given, arguments), names)
    extra.append(_keyword("json", _Json, False))

    def run(**values: Any) -> Outcome:
        del values["json"]  # read by the group that prints the outcome
        received = {k: v for k, v in values.items() if k in names or v is not None}
        for name, group in groups.items():
            received[name] = group(**{field.name: received.pop(field.name) for field in fields(group)})
        return verb(**received)

    update_wrapper(run, verb, assigned=("__module__", "__name__", "__qualname__"), updated=())
    run.__doc__ = help_of(verb)
    del run.__dict__["__wrapped__"]  # typer would follow it past the signature below
    run.__dict__["__signature__"] = given.replace(parameters=[*own, *extra])
    return run


def _telling_names(parameter: inspect.Parameter) -> inspect.Parameter:
    """An argument that names a lens ..., its help with a line for each that there is."""
    kind, declared = get_args(parameter.annotation)
    lines = [f"{entry.name}: {entry.summary}" for entry in _TOLD[parameter.name]]
    told = copy(declared)
    told.help = _plain_text("\n\n".join([str(declared.help), *lines]))
    return parameter.replace(annotation=Annotated[kind, told])


def _chosen(given: inspect.Signature, arguments: Sequence[str]) -> tuple[Catalogue[Any], list[str]]:
    """What the verb's ``**options`` are of, and which of these a command line names."""
    for parameter, catalogue in _NAMED.items():
        if parameter in given.parameters:
            return catalogue, list(arguments[1:])  # what is no name of one is passed over
    default = given.parameters["method"].default if "method" in given.parameters else None
    usual = default[0] if isinstance(default, list) else default
    return registry.METHODS, chosen_methods(arguments, usual or DEFAULT_METHOD)


def chosen_methods(arguments: Sequence[str], default: str = DEFAULT_METHOD) -> list[str]:
    """Names after ``--method`` and ``-m`` on a command line, as they were written; the default if there are none."""
    found = []
    for word, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if name in ("--method", "-m"):
            found.append(value if equals else following)
    return named_methods(found) or [default]


def named_methods(given: Sequence[str]) -> list[str]:
    """The names in ``-m lime,rise -m grad-cam``, each once, in order."""
    return list(dict.fromkeys(name.strip() for one in given for name in one.split(",")))


def options_for(methods: Sequence[Declared], given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options that each method, or lens ..., receives: each of those given that it has.

    Raises:
        UnknownName: an option that none of them has; the message names the nearest, and who has it.
    """
    theirs = [{name: option for option in m.flags for name in (option, _of(m, option))} for m in methods]
    accepted = {name for one in theirs for name in one}
    for name in given:
        if name not in accepted:
            asked = " or ".join(method.name for method in methods)
            word, others = methods[0].word, CATALOGUE_OF[type(methods[0])]
            owners = [one.name for one in others if name in one.flags]
            step = f"{flag(name)} belongs to {', '.join(owners)}." if owners else ""
            known = [flag(option) for method in methods for option in method.flags]
            own = f"'xplain {_VERBS.get(word, 'explain')} {methods[0].name} --help' lists them."
            see = "See 'xplain methods'." if word == "method" else own
            raise unknown(f"option of {word} {asked}:", flag(name), known, f"{step} {see}".strip())
    pairs = zip(methods, theirs, strict=True)
    return {m.name: {own[name]: value for name, value in given.items() if name in own} for m, own in pairs}


def _of(entry: Declared, option: str) -> str:
    """What an option is called on the command line where the verb has a flag of its name for something else."""
    return f"{entry.name}_{option}".replace("-", "_")


def flag(option: str) -> str:
    """An option's name on the command line."""
    return "--" + option.replace("_", "-")


def find_method(name: str) -> Method:
    """The registered method called ``name``.

    Raises:
        UnknownName: no such method; the message names the nearest.
    """
    api.methods()  # the registry fills when the methods are first asked for
    return registry.find(name)


def _flags_of(catalogue: Catalogue[Any], chosen: Sequence[str], taken: set[str]) -> list[inspect.Parameter]:
    """One parameter per option name of any method, or lens ...; help shows those of the chosen ones.

    All are parsed, so that an option given to the wrong method gets a better answer than "no such option". An option
    with the name of one of the verb's own (``taken``) is called by its method's name first: ``--transfer-labels``.
    """
    entries = list(catalogue)
    known = {name: entry.name for entry in entries for name in (entry.name, *entry.aliases)}
    shown = {known[plain] for plain in map(plain_name, chosen) if plain in known}  # the verb says of others
    flags: dict[str, inspect.Parameter] = {}
    for entry in sorted(entries, key=lambda m: m.name not in shown):
        for option in entry.flags.values():
            name = option.name if option.name not in taken else _of(entry, option.name)
            accepts = f"Accepted: {option.kind.accepts}. Default: {option.default}."
            declared = typer.Option(
                flag(name),
                help=_plain_text(f"{option.doc} {accepts}".strip()),
                metavar="VALUE",
                show_default=False,
                hidden=entry.name not in shown,
                rich_help_panel=f"Options of {entry.name}",
            )
            kind: Any = list[str] | None if getattr(option.kind, "many", False) else str | None
            flags.setdefault(name, _keyword(name, Annotated[kind, declared], None))
    return list(flags.values())


def help_of(what: Any) -> str:
    """The part of a docstring that is for users, one line per paragraph so that it is wrapped to the terminal."""
    paragraphs = (inspect.getdoc(what) or "").split("\n\n")
    ours = [p for p in paragraphs if not p.startswith(("Args:", "Returns:", "Raises:"))]
    return _plain_text("\n\n".join(" ".join(p.split()) for p in ours))


def _plain_text(text: str) -> str:
    return text.replace("[", "\\[")  # help is rich markup, where brackets are tags


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _fields(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [_keyword(field.name, hints[field.name], field.default) for field in fields(group)]


def _by_keyword(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
