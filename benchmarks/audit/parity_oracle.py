"""What Quantus says of the case of tests/metrics/parity_case.py; runs where Quantus is, which is not where xplain is.

    python -m venv oracle && oracle/bin/pip install 'numpy<2.4' quantus==0.6.0 torch
    oracle/bin/python benchmarks/audit/parity_oracle.py        # writes tests/metrics/quantus.json

Quantus is LGPL and no part of xplain: its answers are compared, nothing else of it is used.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "metrics"))

import parity_case as case
import quantus
import torch
from quantus.functions.perturb_func import noisy_linear_imputation

QUIET = {"disable_warnings": True, "display_progressbar": False}
PLAIN = {**QUIET, "normalise": False, "abs": False}


def main() -> None:
    """Ask every metric, and write what it says."""
    net = _net()
    a, s = case.MAPS[:, None].astype(np.float64), case.MASKS[:, None]
    failed: dict[str, str] = {}
    found: dict[str, Any] = {
        "versions": {"quantus": quantus.__version__, "numpy": np.__version__, "torch": torch.__version__}
    }

    def ask(name: str, metric: Any, maps: Any = None, **more: Any) -> None:
        np.random.seed(5)  # noqa: TID251, NPY002 - what it draws from
        given = {
            "x_batch": case.X,
            "y_batch": case.LABELS,
            "a_batch": (a if maps is None else maps).copy(),
            "s_batch": s,
        }
        try:
            answer = metric(model=net, **given, channel_first=True, softmax=False, device="cpu", batch_size=64, **more)
            found[name] = _plain(answer)
        except Exception as error:  # it is a fact about the oracle
            failed[name] = f"{type(error).__name__}: {error}"[:160]

    ask("sparseness", quantus.Sparseness(**QUIET))
    ask("complexity", quantus.Complexity(**QUIET))
    sizes = np.abs(a) / np.abs(a).max(axis=(1, 2, 3), keepdims=True)  # its own scaling is by the largest of a batch
    ask("effective-complexity", quantus.EffectiveComplexity(eps=0.3, **{**PLAIN, "abs": True}), sizes)
    ask("pointing-game", quantus.PointingGame(**PLAIN))
    ask("relevance-mass", quantus.AttributionLocalisation(positive_attributions=True, **PLAIN))
    ask("relevance-rank", quantus.RelevanceRankAccuracy(**PLAIN))
    ask("top-k-intersection", quantus.TopKIntersection(k=20, **PLAIN))
    ask("roc-auc", quantus.AUC(**PLAIN))
    ask("deletion", quantus.PixelFlipping(features_in_step=12, perturb_baseline=0.0, **PLAIN))
    patches = {"patch_size": 3, "perturb_baseline": 0.0}
    ask("region-perturbation", quantus.RegionPerturbation(order="morf", regions_evaluation=16, **patches, **PLAIN))
    ask("selectivity", quantus.Selectivity(**patches, **PLAIN))
    hidden = {"perturb_baseline": 0.0}
    runs = {"nr_runs": case.SUBSETS, "subset_size": case.SUBSET, "return_aggregate": False}
    ask("faithfulness-correlation", quantus.FaithfulnessCorrelation(**runs, **hidden, **PLAIN))
    ask("faithfulness-estimate", quantus.FaithfulnessEstimate(features_in_step=1, **hidden, **PLAIN))
    ask("monotonicity", quantus.Monotonicity(features_in_step=12, perturb_baseline="black", **PLAIN))
    ask("non-sensitivity", quantus.NonSensitivity(features_in_step=1, eps=1e-2, **hidden, **PLAIN))
    ask("completeness-gap", quantus.Completeness(**hidden, **PLAIN))
    square = {"perturb_patch_sizes": [4], "n_perturb_samples": 1}
    ask("infidelity", quantus.Infidelity(**square, **hidden, **PLAIN))

    def explain(model: Any, inputs: Any, targets: Any, **_: Any) -> Any:
        return _explained(model, inputs, targets)[:, None]

    moved = {"nr_samples": case.STEPS, "perturb_func": _Moves()}
    for name, metric in (
        ("sensitivity-max", quantus.MaxSensitivity),
        ("local-lipschitz", quantus.LocalLipschitzEstimate),
        ("relative-input-stability", quantus.RelativeInputStability),
        ("relative-output-stability", quantus.RelativeOutputStability),
    ):
        ask(name, metric(**{**moved, "perturb_func": _Moves()}, **PLAIN), explain_func=explain)
    seen: list[list[int]] = []

    def other(model: Any, inputs: Any, targets: Any, **_: Any) -> Any:
        seen.append([int(one) for one in np.asarray(targets)])
        return _explained(model, inputs, targets)[:, None]

    likeness = quantus.similarity_func.correlation_spearman
    logit = quantus.RandomLogit(similarity_func=likeness, num_classes=case.CLASSES, seed=3, **PLAIN)
    ask("random-logit", logit, explain_func=other)
    found["random-logit classes"] = seen[-1] if seen else []
    for name, order in (("mprt", "top_down"), ("efficient-mprt", "")):
        maps: list[Any] = []

        def kept(model: Any, inputs: Any, targets: Any, maps: list[Any] = maps, **_: Any) -> Any:
            maps.append(np.abs(_explained(model, inputs, targets)))
            return maps[-1][:, None]

        asked = {**QUIET, "normalise": False, "abs": True, "seed": 8}
        if name == "mprt":
            metric = quantus.MPRT(similarity_func=likeness, layer_order=order, **asked)
        else:
            metric = quantus.EfficientMPRT(**asked)
        ask(name, metric, np.abs(a), explain_func=kept)
        found[f"{name} maps"] = [np.round(one, 9).tolist() for one in maps]
    gone = np.argsort(-case.MAPS[0].ravel())[:43]
    road = noisy_linear_imputation(arr=case.X[0].astype(np.float64), indices=gone, indexed_axes=(0,), noise=0.0)
    found["road"] = _plain(road)
    found["failed"] = failed
    empty = s.copy()
    empty[2] = False
    where = {"x_batch": case.X, "y_batch": case.LABELS, "channel_first": True, "device": "cpu"}
    blind = np.random.default_rng(1).normal(size=a.shape)
    road = quantus.ROAD(percentages=[30, 60], noise=0.0, **PLAIN)
    turned = np.where(np.arange(case.N) < 2, case.LABELS, (case.LABELS + 1) % case.CLASSES)
    found["faults"] = {
        "pointing game of an empty mask": _plain(
            quantus.PointingGame(**PLAIN)(net, a_batch=a.copy(), s_batch=empty, **where)
        )[2],
        "monotonicity of random maps": _plain(
            quantus.Monotonicity(features_in_step=12, perturb_baseline="black", **PLAIN)(net, a_batch=blind, **where)
        ),
        "ROAD at batch sizes 4 and 2": [
            _plain(road(net, a_batch=a.copy(), **{**where, "y_batch": turned}, batch_size=size)) for size in (4, 2)
        ],
    }
    case.GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{case.GOLDEN}: {len(found)} entries; failed: {failed}")


class _Moves:
    """Adds the case's own noise, step by step, whatever shape the items come in."""

    def __init__(self) -> None:
        self.step = 0

    def __call__(self, arr: Any, **_: Any) -> Any:
        noise = case.neighbours()[self.step % case.STEPS]
        self.step += 1
        return np.asarray(arr) + noise.reshape(np.shape(arr))


def _net() -> Any:
    layers = [torch.nn.Flatten(), torch.nn.Linear(case.SIZE, 16, bias=False), torch.nn.Tanh()]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(16, case.CLASSES, bias=False)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.from_numpy(case.U))
        net[3].weight.copy_(torch.from_numpy(case.V))
    return net


def _explained(model: Any, inputs: Any, targets: Any) -> Any:
    weights = [one.detach().numpy().astype(np.float64) for one in model.parameters()]
    return case.explained(np.asarray(inputs), np.asarray(targets).astype(int), *weights)


def _plain(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {str(key): _plain(value) for key, value in answer.items()}
    return np.asarray(answer).tolist()


if __name__ == "__main__":
    main()
