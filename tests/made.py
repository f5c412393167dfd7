"""Attributions made by hand, for tests of what is done with one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from xplain import Attribution
from xplain.results.provenance import Provenance

_ORIGIN = {one.name for one in fields(Provenance)}


def attribution(values: Any, *, target: str = "cat", method: str = "by hand", **given: Any) -> Attribution:
    """An attribution of ``values`` ``[N, ...]`` to one target; other fields, also of its provenance, by name."""
    array = np.asarray(values, np.float32)
    plain = {"unit": "delta logit", "scores": np.zeros(len(array)), "targets": (target,) * len(array)}
    origin = {name: given.pop(name) for name in _ORIGIN & given.keys()}
    return Attribution(values=array, provenance=Provenance(method=method, **origin), **{**plain, **given})
