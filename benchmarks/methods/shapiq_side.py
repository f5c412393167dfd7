"""shapiq's side of ``shapiq_race.py``, run by a Python that has it: all estimators of Shapley values, on tables.

python shapiq_side.py games.npz found.json BUDGETS SEEDS
"""

from __future__ import annotations

import inspect
import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from shapiq import approximator

LEFT_OUT = {"Approximator", "SPEX", "ShaplEIG", "PermutationSamplingSTII"}
SAME = {"InconsistentKernelSHAPIQ", "KernelSHAPIQ", "PolySHAP", "RegressionFSII", "kADDSHAP", "SVARMIQ", "SHAPIQ"}
"""The base class, two that need packages of their own, and one of pairs alone; and those that at order 1 are another
one, to the last digit: KernelSHAP five times, SVARM and UnbiasedKernelSHAP."""


class Lookup:
    """A game of looked-up scores that counts what it is asked; nobody is worth 0, as shapiq wants it."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores, self.asked = scores - scores[0], 0

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        rows = np.atleast_2d(np.asarray(coalitions)).astype(np.int64)
        self.asked += len(rows)
        return self.scores[rows @ (1 << np.arange(rows.shape[1]))]


def estimators(players: int, seed: int) -> dict[str, Any]:
    """Every estimator that gives Shapley values, made for a number of players and a seed."""
    found = {}
    for name in sorted(set(approximator.__all__) - LEFT_OUT - SAME):
        kind = getattr(approximator, name)
        if not inspect.isclass(kind):
            continue
        takes = inspect.signature(kind).parameters
        given: dict[str, Any] = {"n": players}
        given |= {"random_state": seed} if "random_state" in takes else {}
        given |= {"max_order": 1} if "max_order" in takes else {}
        for index in ("SV", "k-SII", "SII"):  # at order 1 all are Shapley values
            try:
                found[name] = kind(**given, **({"index": index} if "index" in takes else {}))
                break
            except Exception as error:
                told = error
        else:
            raise SystemExit(f"{name} cannot be made: {told}")
    return found


def first_order(values: Any, players: int) -> list[float]:
    """The players' own values."""
    whole = values.dict_values if hasattr(values, "dict_values") else values.interactions
    return [float(whole.get((k,), 0.0)) for k in range(players)]


def main() -> None:
    tables, out, budgets, seeds = sys.argv[1:]
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {"shapiq": version("shapiq")}
    with np.load(tables) as games:
        for game in games.files:
            players = int(np.log2(len(games[game])))
            runs: dict[str, list[Any]] = {}
            for seed in range(int(seeds)):
                for budget in json.loads(budgets):
                    for name, one in estimators(players, seed).items():
                        play = Lookup(games[game])
                        try:
                            values = first_order(one.approximate(budget, play), players)
                        except Exception as error:
                            if seed == 0:
                                print(f"{name}, {budget} questions: {error}", file=sys.stderr)
                            continue
                        runs.setdefault(name, []).append((budget, play.asked, values))
            found[game] = runs
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
