"""The methods, one folder per family.

A method is one generator function with ``@method`` above it. It holds no model: it yields questions
(``xplain.core.query``) and returns a ``Reading``. To add one, write one file in its family's folder; the registry
imports every file of this package before it looks for a method, so nothing else needs to know.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _Families(types.ModuleType):
    """This package bears the name of the public function ``xplain.methods``, so it can be called as that."""

    def __call__(self) -> list[Any]:
        """All methods, by family and name."""
        from xplain.api import methods

        return methods()


sys.modules[__name__].__class__ = _Families
