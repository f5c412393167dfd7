"""Which method is meant, and whether the model can answer what it asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xplain.core.abilities import abilities_of
from xplain.core.declaring import registry
from xplain.core.declaring.registry import Method
from xplain.core.declaring.wording import option
from xplain.core.errors import CapabilityError, ModelError, NotExported, UsageError
from xplain.core.query import Model, Sweep
from xplain.session.hidden import without_rows

__all__ = ["advise_others", "called", "methods", "named_methods", "require"]


def methods() -> list[Method]:
    """All methods, by family and name: our own, and those of installed plugins."""
    return list(registry.methods())


def called(name: str) -> Method:
    """The method of this name, our own or a plugin's.

    Raises:
        UnknownName: there is none; the message names the nearest.
    """
    return registry.find(name)


def named_methods(methods: Mapping[str, Mapping[str, Any]]) -> list[tuple[Method, Mapping[str, Any]]]:
    """The methods that are meant, their options looked at as far as no model is needed.

    Raises:
        UsageError: one is given twice, under two of its names.
    """
    found = [(called(name), options) for name, options in methods.items()]
    if len({entry.name for entry, _ in found}) < len(found):
        raise UsageError(f"One method is given twice: {', '.join(methods)}. Give each once, and its options together.")
    for entry, options in found:
        entry.read_options(without_rows(options))
    return found


def require(entry: Method, options: Mapping[str, Any], model: Model) -> None:
    """Check that a model answers the questions of a method.

    Raises:
        CapabilityError: it does not; the message says which methods fit.
    """
    missing = entry.needs_with(options) - model.answers
    if missing:
        fits = [m.name for m in registry.methods() if m.needs <= model.answers]
        wanted = " and ".join(sorted(kind.__name__ for kind in missing))
        raise CapabilityError(
            f"{entry.name} needs {wanted}, but {model.outline.source} answers "
            f"only {', '.join(sorted(k.__name__ for k in model.answers))}. Methods that fit: {', '.join(fits)}.",
            *abilities_of(model).beyond,
        )


def advise_others(error: ModelError, model: Model) -> None:
    """Put the methods that do without it into the advice of a sweep that cannot be made."""
    layers = bool(model.outline.layers)  # a TorchScript module shows none, so no map of one can be made
    able = [entry for entry in registry.methods() if entry.needs <= model.answers and (layers or entry.family != "cam")]
    if isinstance(error, NotExported):  # torch has the gradient's own rules, and those of the guided ones
        fits = [entry.name for entry in able if Sweep not in entry.needs or entry.family != "relevance"]
        error.advise(f"Methods that need no graph still work: {', '.join(fits)}.")
        return
    fits = [entry.name for entry in able if Sweep not in entry.needs]
    error.advise(
        f"Methods that still work: {', '.join(fits)}; and those that sweep no further than a layer behind the "
        "operator, such as grad-cam with ",
        option("layer"),
        ".",
    )
