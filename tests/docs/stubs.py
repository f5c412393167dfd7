"""Typed stubs of the public functions, made from the registry: what a method can be told, for editors.

python tests/docs/methods_table.py     # writes them beside the modules
"""

from __future__ import annotations

import ast
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import xplain
from xplain.core.declaring.registry import Declared

FOLDER = Path(xplain.__file__).parent
_HEAD = '"""Made from the registry by tests/docs/methods_table.py; do not edit."""\n\n'
_PUBLIC = FOLDER / "session" / "public.py"
_TYPED = FOLDER / "typed"


def stubs() -> dict[Path, str]:
    """The stubs that there must be: text by path."""
    entries = [one for one in xplain.methods() if one.family != "plugin"]
    families: dict[str, list[Any]] = {}
    for one in entries:
        families.setdefault(one.family, []).append(one)
    made = {_TYPED / f"{family}.pyi": _dicts(found) for family, found in families.items()}
    made[_TYPED / "asked.pyi"] = _asked()
    made[_TYPED / "__init__.pyi"] = _functions(families)
    return made


def class_name(name: str) -> str:
    """``grad-cam++`` -> ``GradCamPlusPlus``."""
    return "".join(word.capitalize() for word in name.replace("+", "-plus").split("-"))


def _asked() -> str:
    """What every call may be told, as ``explain`` itself declares it."""
    tree = ast.parse(_PUBLIC.read_text(encoding="utf-8"))
    (explain,) = (one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "explain")
    fields = [f"    {one.arg}: {ast.unparse(one.annotation)}" for one in explain.args.kwonlyargs if one.annotation]
    return "\n".join(
        [
            _HEAD + "from typing import Any, TypedDict\n",
            "from xplain.engine import Progress, Sentinel",
            "from xplain.session.request import Cache\n",
            "class Asked(TypedDict, total=False):",
            *fields,
            "",
        ]
    )


def _dicts(entries: list[Declared]) -> str:
    lines = [_HEAD + "from typing import Any, Literal\n", "from .asked import Asked\n"]
    for one in entries:
        hints = get_type_hints(one.function, include_extras=True)
        fields = [f"    {name}: {written(hints.get(name, Any))}" for name in one.options]
        lines += [f"class {class_name(one.name)}(Asked, total=False):", *(fields or ["    pass"]), ""]
    return "\n".join(lines)


def written(hint: Any) -> str:
    """A type as a stub writes it; what a reader cannot name from outside is Any."""
    if get_origin(hint) is Annotated:
        return written(get_args(hint)[0])
    if hint is type(None) or hint is None:
        return "None"
    if get_origin(hint) is Literal:
        return "Literal[" + ", ".join(f'"{one}"' for one in get_args(hint)) + "]"
    if get_origin(hint) in (Union, types.UnionType):
        parts = list(dict.fromkeys(written(one) for one in get_args(hint)))
        return "Any" if "Any" in parts else " | ".join(parts)
    if get_origin(hint) is tuple:
        inner = ["..." if one is Ellipsis else written(one) for one in get_args(hint)]
        return f"tuple[{', '.join(inner)}]"
    return {int: "int", float: "float", bool: "bool", str: "str"}.get(hint, "Any")


def _functions(families: dict[str, list[Any]]) -> str:
    """``explain`` and ``explain_many``: an overload per method, and last what they are declared as."""
    tree = ast.parse(_PUBLIC.read_text(encoding="utf-8"))
    lines = [_HEAD + "from typing import Any, Literal, Unpack, overload\n"]
    lines += ["from xplain.engine import Progress, Sentinel", "from xplain.results.attribution import Attribution"]
    lines += ["from xplain.session.request import Cache\n", f"from . import {', '.join(sorted(families))}\n"]
    for one in tree.body:
        if not isinstance(one, ast.FunctionDef) or one.name not in ("explain", "explain_many") or not one.returns:
            continue
        result = ast.unparse(one.returns)
        # a stub says that there is a default, not which
        one.args.defaults = [ast.Constant(...) for _ in one.args.defaults]
        one.args.kw_defaults = [None if given is None else ast.Constant(...) for given in one.args.kw_defaults]
        for family, entries in families.items():
            for entry in entries:
                names = ", ".join(f'"{name}"' for name in (entry.name, *entry.aliases))
                told = f"**options: Unpack[{family}.{class_name(entry.name)}]"
                lines += ["@overload", f"def {one.name}(model: Any, x: Any, method: Literal[{names}], {told})"]
                lines[-1] += f" -> {result}: ..."
        lines += ["@overload", f"def {one.name}({ast.unparse(one.args)}) -> {result}: ..."]
    return "\n".join([*lines, ""])
