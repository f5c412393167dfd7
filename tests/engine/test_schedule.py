"""How many rows a call has: as much input as the cores share, and nothing that changes from call to call."""

from __future__ import annotations

import os

import numpy as np
import pytest

from xplain.engine.schedule import batch_rows


@pytest.mark.parametrize(("cores", "rows"), [(1, 4), (2, 4), (4, 8), (6, 13), (64, 13)])
def test_a_call_grows_with_the_cores_up_to_what_caches_hold(monkeypatch, cores, rows):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    picture = np.zeros((20, 3, 224, 224), np.float32)  # 588 KiB: 2.5 MiB, 5 MiB, 7.5 MiB and 8 MiB hold so many
    assert batch_rows(picture, None) == rows
    assert batch_rows(picture, 7) == 7
    assert batch_rows(np.zeros((1, 4), np.float32), None) == 256
