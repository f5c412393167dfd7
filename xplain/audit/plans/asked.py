"""What a person asks of an audit, in the words of flags, of ``audit.toml`` and of Python, as lanes to be settled."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xplain.core.declaring.catalogue import plain_name
from xplain.core.declaring.with_options import parsed
from xplain.core.errors import UsageError, unknown
from xplain.core.keeping.files import read_text
from xplain.core.lane import PREDICTED
from xplain.session.choosing import AUTO

__all__ = ["Asked", "methods_of", "read_toml", "targets_of"]

_TOP = re.compile(r"top:?([1-9][0-9]?)")
_MOST_RANKS = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A method with its options.

    Args:
        method: Its name.
        options: Options that were given.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)


def methods_of(methods: Any) -> list[Asked]:
    """Methods as a person names them: ``"grad-cam"``, ``"rise:samples=500"``, several, or name to options.

    One method may be asked with several sets of options.

    Raises:
        UsageError: there is none, or one stands twice.
    """
    if isinstance(methods, str):
        methods = [methods] if ":" in methods else methods.split(",")
    found: list[Asked] = []
    if isinstance(methods, Mapping):
        for name, options in methods.items():
            sets = options if isinstance(options, (list, tuple)) else [options]
            if not all(isinstance(one, Mapping) for one in sets):
                raise UsageError(option="methods", got=dict(methods), accepted="a method's name to its options")
            found += [Asked(str(name), dict(one)) for one in sets]
    elif isinstance(methods, Sequence):
        found = [_of_text(one) for one in methods]
    if not found or not all(one.method for one in found) or any(one in found[:k] for k, one in enumerate(found)):
        accepted = "methods, each once, such as 'grad-cam', 'rise:samples=500' or {'rise': {'samples': 500}}"
        raise UsageError(option="methods", got=methods, accepted=accepted)
    if any(plain_name(one.method) == AUTO for one in found):
        accepted = "methods by their names, for a plan says what is done; without any, the usual one"
        raise UsageError(option="methods", got=AUTO, accepted=accepted)
    return found


def _of_text(one: Any) -> Asked:
    if not isinstance(one, str):
        raise UsageError(option="methods", got=one, accepted="a method's name, with options behind a colon")
    name, options = parsed(one)
    bare = options.pop("", None)
    if bare is not None:
        raise UsageError(option="methods", got=one, accepted="options by their names behind the colon")
    return Asked(name.strip(), {key.replace("-", "_"): value for key, value in options.items()})


def targets_of(target: Any) -> list[Any]:
    """Targets as a person names them, as rules of lanes: None, ``"label"``, ``"top3"``, ``"0 - 1"``, or several.

    ``top3`` is three lanes: the predicted class, and those of rank 2 and 3.

    Raises:
        UsageError: one is no text or class number, or there are two alike.
    """
    several = target if isinstance(target, (list, tuple)) else [target]
    rules: list[Any] = []
    for one in several:
        if one is None:
            rules.append(PREDICTED)
            continue
        if isinstance(one, bool) or not isinstance(one, (str, int)):
            raise UsageError(
                option="target", got=one, accepted="predicted, label, runner-up, top3, or a target in words"
            )
        ranks = _TOP.fullmatch(one) if isinstance(one, str) else None
        if ranks is None or (isinstance(one, str) and ":" in one):
            rules.append(one)
        elif int(ranks[1]) > _MOST_RANKS:
            raise UsageError(option="target", got=one, accepted=f"up to top{_MOST_RANKS}")
        else:
            rules += [PREDICTED, *(f"top:{k}" for k in range(2, int(ranks[1]) + 1))]
    if (
        len(set(map(str, rules))) < len(rules)
        or {"top:1", PREDICTED} <= set(rules)
        or {"top:2", "runner-up"} <= set(rules)
    ):
        raise UsageError(f"Targets {rules} hold one twice. Give each once.", option="target")
    return rules


def read_toml(path: Path, known: Sequence[str]) -> dict[str, Any]:
    """What ``audit.toml`` asks: the words of ``xplain.audit.plan``; paths in it are beside it.

    Raises:
        UsageError: it is no TOML, or holds a word that is not known.
    """
    text = read_text(path, UsageError, f"{path}")
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}.") from None
    for name in raw:
        if name not in known:
            raise unknown(f"word in {path}:", name, known)
    here = path.parent
    for name in ("items", "metadata", "labels", "out", "card", "root", "truth"):
        if isinstance(raw.get(name), str):
            raw[name] = _beside(here, raw[name], always=name in ("out", "items"))
    if "models" in raw:
        raw["models"] = _models_beside(here, raw["models"])
    return raw


def _models_beside(here: Path, models: Any) -> Any:
    if isinstance(models, str):
        return _beside(here, models, always=True)
    if isinstance(models, list):
        return [_models_beside(here, one) for one in models]
    if isinstance(models, Mapping):
        return {name: _one_beside(here, one) for name, one in models.items()}
    return models


def _one_beside(here: Path, one: Any) -> Any:
    if not isinstance(one, Mapping):
        return _models_beside(here, one)
    always = ("source", "ledger")
    return {key: _beside(here, v, key in always) if isinstance(v, str) else v for key, v in one.items()}


def _beside(here: Path, text: str, always: bool) -> str:
    """A path relative to the file that names it; a word that is no path there stays as it is."""
    if "://" in text or text.startswith("datasets:"):
        return text
    path = here / text
    return str(path) if always or path.exists() else text
