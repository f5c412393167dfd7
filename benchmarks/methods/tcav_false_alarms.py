"""How often random vectors are called a concept: by the t-test of the TCAV paper, and by exchanging labels.

python benchmarks/methods/tcav_false_alarms.py
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import ttest_ind

from xplain.analyses.concepts import _direction, sensitivity

CASES, SETS, LEVEL = 100, 20, 0.05


def share(concept: np.ndarray, others: np.ndarray, gradients: np.ndarray) -> float:
    """The paper's score of one boundary."""
    rows = np.concatenate([concept, others])
    weights, _ = _direction(rows @ rows.T, np.arange(len(rows)))
    return float((gradients @ (weights @ rows) > 0).mean())


def case(seed: int) -> tuple[bool, bool]:
    """Whether each test calls 12 random vectors a concept, beside 40 others of the same kind."""
    rng = np.random.default_rng(seed)
    concept, others = rng.normal(size=(12, 6)), rng.normal(size=(40, 6))
    gradients = np.eye(6)[0] + 0.05 * np.random.default_rng(seed + 100).normal(size=(8, 6))
    sets = [others[rng.choice(40, 12, False)] for _ in range(SETS)]
    told = [share(concept, one, gradients) for one in sets]
    null = [share(sets[n], sets[n - 1], gradients) for n in range(SETS)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shares that are all 1
        paper = ttest_ind(told, null).pvalue <= LEVEL if np.std(told) + np.std(null) > 0 else False
    return bool(paper), sensitivity(concept, others, gradients, sets=4, draws=39, rng=rng).p <= LEVEL


if __name__ == "__main__":
    found = np.array([case(seed) for seed in range(CASES)])
    print(f"called a concept at {LEVEL}, of {CASES}: t-test {found[:, 0].sum()}, exchanging labels {found[:, 1].sum()}")
