"""The methods, one folder per family; importing this package registers all of them.

A method is one generator function with ``@method`` above it. It holds no model: it yields questions
(``xplain.core.query``) and returns a ``Reading``. To add one, write one file in its family's folder; the family's
``__init__`` imports every file of its folder, so nothing else needs to know.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import types
from typing import Any

for _family in pkgutil.iter_modules(__path__):
    _package = importlib.import_module(f"{__name__}.{_family.name}")
    for _file in pkgutil.iter_modules(getattr(_package, "__path__", [])):
        importlib.import_module(f"{_package.__name__}.{_file.name}")


class _Families(types.ModuleType):
    """This package bears the name of the public function ``xplain.methods``, so it can be called as that."""

    def __call__(self) -> list[Any]:
        """All methods, by family and name."""
        from xplain.api import methods

        return methods()


sys.modules[__name__].__class__ = _Families
