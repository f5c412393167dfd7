"""Counterfactuals of one table by dice and by dice-ml: how many are valid, how near, how sparse, how unlike each other.

    python benchmarks/methods/counterfactuals.py [--items 20]

Needs scikit-learn and dice-ml (MIT). A gradient boosting classifier on scikit-learn's breast cancer data (30 columns);
both get the training rows and are asked for four counterfactuals of rows that were not trained on. All figures are
computed here, alike for both: distance is the mean over columns of ``|a - b|`` by the column's median deviation.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

import xplain

MANY = 4


def main() -> None:
    bench.passive()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peer's own
    import dice_ml
    import pandas as pd
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import train_test_split

    frame = load_breast_cancer(as_frame=True).frame
    train, rest = train_test_split(frame, random_state=0)
    columns = list(frame.columns[:-1])
    model = GradientBoostingClassifier(n_estimators=50, random_state=0).fit(train[columns], train["target"])
    seen, x = train[columns].to_numpy(np.float64), rest[columns].to_numpy(np.float64)[: options.items]
    spread = np.median(np.abs(seen - np.median(seen, axis=0)), axis=0)

    def predict(rows: np.ndarray) -> np.ndarray:
        return model.predict_proba(pd.DataFrame(rows, columns=columns))

    def figures(name: str, found: list[np.ndarray], seconds: float) -> dict[str, Any]:
        valid, near, few, unlike = 0, [], [], []
        for row, rows in zip(x, found, strict=True):
            own = predict(row[None]).argmax()
            good = rows[predict(rows).argmax(axis=1) != own] if len(rows) else rows
            valid += len(good)
            near += (np.abs(good - row) / spread).mean(axis=1).tolist()
            few += (~np.isclose(good, row, rtol=1e-5)).sum(axis=1).tolist()
            gaps = (np.abs(good[:, None] - good[None]) / spread).mean(axis=2)
            unlike.append(float(np.linalg.det(1 / (1 + gaps))) if len(good) == MANY else 0.0)
        return {
            "by": name,
            "valid of those asked for": f"{valid / (MANY * len(x)):.0%}",
            "distance": round(float(np.mean(near)), 3),
            "columns changed": round(float(np.mean(few)), 1),
            "determinant": round(float(np.mean(unlike)), 3),
            "seconds, median of items": round(seconds, 3),
        }

    ours = xplain.load(predict, layout="NS")
    data = dice_ml.Data(dataframe=train, continuous_features=columns, outcome_name="target")
    inner = dice_ml.Model(model=model, backend="sklearn")
    peers = {how: dice_ml.Dice(data, inner, method=how) for how in ("genetic", "random")}

    def of_ours(k: int) -> np.ndarray:
        a = xplain.explain(ours, x[k : k + 1].astype(np.float32), "dice", background=seen, many=MANY)
        return np.array(a.each["counterfactuals"][0]).reshape(-1, x.shape[1])

    def of_peer(how: str, k: int) -> np.ndarray:
        try:
            told = peers[how].generate_counterfactuals(
                rest[columns].iloc[k : k + 1], total_CFs=MANY, desired_class="opposite", verbose=False
            )
            return told.cf_examples_list[0].final_cfs_df[columns].to_numpy(np.float64)
        except Exception:  # it raises where it finds none
            return np.zeros((0, len(columns)))

    runs: dict[str, Callable[[int], np.ndarray]] = {"xplain dice": of_ours}
    runs |= {f"dice-ml {how}": partial(of_peer, how) for how in peers}
    found: dict[str, list[np.ndarray]] = {name: [] for name in runs}
    took: dict[str, list[float]] = {name: [] for name in runs}
    for k in range(len(x)):  # in turn, so that a drift of the machine's speed meets all alike
        for name, run in runs.items():
            start = time.perf_counter()
            found[name].append(run(k))
            took[name].append(time.perf_counter() - start)
    rows = [figures(name, found[name], statistics.median(took[name])) for name in runs]
    for row in rows:
        row["time, ours against it"] = f"{rows[0]['seconds, median of items'] / row['seconds, median of items']:.2f}"
    bench.save("counterfactuals", rows, f"{len(x)} rows, {MANY} counterfactuals of each")


if __name__ == "__main__":
    main()
