"""xplain tells a person why a classifier said what it said, for any classifier they can run.

Names are loaded when they are first used, so that ``import xplain`` costs next to nothing. Nothing is imported here for
that, not even ``typing`` (8 ms): until ``__main__`` has begun, Ctrl-C prints a traceback.

``lazy_loader`` would say every name once, in a stub that it parses with ``ast`` at each import: 7.7 ms of processor
time, 0.3 as it is here. But the stub would have to name the home of ``explain`` and that of its types, which are two.
From a table like ``_NAMES`` it saves ten lines and still wants the names again for type checkers. So it is not used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; it is ``typing``'s, without the import
if TYPE_CHECKING:
    from typing import Any

    from xplain.api import (
        attack,
        attacks,
        explain_stream,
        lenses,
        load,
        make,
        methods,
        plan,
        predict,
        probe,
        recipes,
        see,
    )
    from xplain.core.card import Card
    from xplain.core.errors import XplainError
    from xplain.core.target import Target, channel, inner, label, neuron
    from xplain.engine import Sentinel, Store
    from xplain.models.joint import joint
    from xplain.models.table import table
    from xplain.models.text import text
    from xplain.results.attack import Attack
    from xplain.results.attribution import Attribution
    from xplain.results.picture import Picture
    from xplain.session.compiling import compile
    from xplain.typed import explain, explain_many

__version__ = "0.1.0"

__all__ = [
    "Attack",
    "Attribution",
    "Card",
    "Picture",
    "Sentinel",
    "Store",
    "Target",
    "XplainError",
    "attack",
    "attacks",
    "channel",
    "compile",
    "explain",
    "explain_many",
    "explain_stream",
    "inner",
    "joint",
    "label",
    "lenses",
    "load",
    "make",
    "methods",
    "neuron",
    "plan",
    "predict",
    "probe",
    "recipes",
    "see",
    "table",
    "text",
]

_NAMES = {
    "api": "attack attacks explain explain_many explain_stream lenses load make methods plan predict probe recipes see",
    "core.card": "Card",
    "core.errors": "XplainError",
    "core.target": "Target channel inner label neuron",
    "engine": "Sentinel Store",
    "models.joint": "joint",
    "models.table": "table",
    "models.text": "text",
    "results.attack": "Attack",
    "results.attribution": "Attribution",
    "results.picture": "Picture",
    "session.compiling": "compile",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
_ROOMS = ("api", "audit", "core", "demo", "measure", "models", "plugins", "render", "report", "targets", "testing")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'xplain' has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS, "__version__"})
