"""Two nets layer by layer: alignment by its formula, neighbours in common, and the items that were planted apart."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.clouds import groups
from xplain.analyses import alignment as module
from xplain.analyses.alignment import alignment, linear_cka
from xplain.core.errors import UsageError


def slow_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al. 2012, equation 5, over all quadruples of different items."""
    k, m = x @ x.T, y @ y.T
    n, total, count = len(x), 0.0, 0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
                        count += 1
    return total / count


def test_alignment_without_bias_is_its_u_statistic():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)) + 1, rng.normal(size=(7, 4))
    y[:, 0] = x[:, 0]
    expected = slow_hsic(x, y) / np.sqrt(slow_hsic(x, x) * slow_hsic(y, y))
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-10)


def test_alignment_does_not_see_rotation_scale_or_place():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 9))
    turned = 3 * x @ np.linalg.qr(rng.normal(size=(9, 9)))[0] + 7
    assert linear_cka(x, turned) == pytest.approx(1)
    assert linear_cka(x, turned, debiased=False) == pytest.approx(1)


def test_wide_layers_that_have_nothing_in_common_are_not_called_alike():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 200)), rng.normal(size=(80, 200))
    assert linear_cka(x, y, debiased=False) > 0.6  # the bias of wide layers and few items
    found = alignment({"a": x}, {"b": y})
    assert abs(found.cka[0, 0, 0]) < 0.05
    assert found.cka[0, 0, 1] < 0 < found.cka[0, 0, 2]
    assert found.shared[0, 0, 0] == pytest.approx(found.chance, abs=0.04)


def test_layers_of_two_nets_make_a_matrix_with_intervals():
    rows, _ = groups(120)
    rng = np.random.default_rng(1)
    noisy = rows + rng.normal(size=rows.shape)
    found = alignment({"one": rows, "two": rows[:, :3]}, {"one": noisy, "other": rng.normal(size=(120, 5))})
    assert (found.first, found.second) == (("one", "two"), ("one", "other"))
    assert found.cka.shape == found.shared.shape == (2, 2, 3)
    for table in (found.cka, found.shared):
        assert (table[..., 1] <= table[..., 0] + 1e-9).all()
        assert (table[..., 0] <= table[..., 2] + 1e-9).all()
    assert found.cka[0, 0, 0] > 0.9 > 0.2 > found.cka[0, 1, 0]
    assert found.pairs == ((0, 0), (1, 1))


def test_the_interval_covers_what_other_items_give():
    def both(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(100, 6))
        return x, x + 0.7 * rng.normal(size=(100, 6))

    low, high = alignment(*({"a": one} for one in both(0)), draws=60).cka[0, 0, 1:]
    inside = [low < linear_cka(*both(seed)) < high for seed in range(1, 21)]
    assert sum(inside) >= 13  # another sample scatters too, so fewer than 95 % of them


def test_planted_items_are_those_that_differ_most():
    rows, _ = groups(100, width=20)
    other = rows.copy()
    other[[7, 42, 93]] = other[[42, 93, 7]]
    planted = {n for n in (7, 42, 93) if np.linalg.norm(rows[n] - other[n]) > 8}
    found = alignment({"last": rows}, {"last": other})
    assert planted
    assert planted <= set(found.most_different(count=3))


def test_many_items_are_drawn(monkeypatch):
    monkeypatch.setattr(module, "MOST", 50)
    rows, _ = groups(200)
    found = alignment({"a": rows}, {"a": rows})
    assert len(found.items) == 50
    assert found.agreement.shape == (1, 50)
    assert set(found.most_different(count=4)) <= set(found.items)


def test_what_cannot_be_compared_is_refused():
    rows = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(UsageError, match=r"vectors of \[30, 31\]|vectors of \[29, 30\]"):
        alignment({"a": rows}, {"a": rows[:-1]})
    with pytest.raises(UsageError, match="at least 8 rows"):
        alignment({"a": rows[:7]}, {"a": rows[:7]})
    with pytest.raises(UsageError, match="at least one layer"):
        alignment({}, {"a": rows})
    with pytest.raises(UsageError, match="k is 30; accepted: 1 to 29"):
        alignment({"a": rows}, {"a": rows}, k=30)
