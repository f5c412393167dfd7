"""Attacks against foolbox's and torchattacks', judged alike: after rounding to 8 bits, by plain ONNX Runtime.

    python benchmarks/methods/attacks.py MODEL CARD PICTURES    # needs foolbox==3.3.4 and torchattacks==3.5.1

The peers attack the same file, interpreted in torch operator by operator; its scores are held against ONNX Runtime's
first. Every picture is attacked as the model sees it. ``claimed`` is what an attack itself says; ``holds`` is what is
left of it once the picture is saved with 8 bits. The decision attack gets as many queries as foolbox's took.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import foolbox
import numpy as np
import onnx
import onnxruntime
import torch
import torchattacks
from onnx import numpy_helper
from torch.nn import functional

import xplain

RESULTS = Path(__file__).resolve().parents[1] / "results"
PICTURES = 9
"""Of the decision attack, whose queries cost most: so many that a median means something."""


class Twin(torch.nn.Module):
    """An ONNX file of a plain convolutional net in torch, with the card in front: pictures [N, 3, H, W] in 0..1."""

    def __init__(self, path: Path, card: xplain.Card, scores: str) -> None:
        super().__init__()
        graph = onnx.load(path).graph
        self.nodes, self.scores = graph.node, scores
        self.weights = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
        self.input = next(one.name for one in graph.input if one.name not in self.weights)
        self.card, self.rows = card, 0

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.rows += len(pictures)
        mean, std = (torch.tensor(v, dtype=torch.float32).reshape(1, -1, 1, 1) for v in (self.card.mean, self.card.std))
        seen = pictures.flip(1) if self.card.mode == "BGR" else pictures
        values = {self.input: (seen * (255 * self.card.scale) - mean) / std}
        for node in self.nodes:
            given = [values[name] if name in values else self.weights[name] for name in node.input]
            values[node.output[0]] = self._made(node, given)
            if node.output[0] == self.scores:
                break
        return values[self.scores].reshape(len(pictures), -1)

    def _made(self, node: Any, given: list[Any]) -> Any:
        said = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Conv":
            return _convolved(said, *given)
        if node.op_type == "Clip":
            low, high = (float(one) for one in given[1:]) if len(given) > 1 else (said["min"], said["max"])
            return given[0].clamp(low, high)
        if node.op_type == "AveragePool":
            return functional.avg_pool2d(given[0], said["kernel_shape"])
        if node.op_type == "Reshape":
            return given[0].reshape(len(given[0]), -1)
        simple = {
            "Add": lambda a, b: a + b,
            "Relu": functional.relu,
            "GlobalAveragePool": lambda a: a.mean((2, 3), keepdim=True),
            "Transpose": lambda a: a.permute(said["perm"]),
            "Identity": lambda a: a,
            "Softmax": lambda a: a.softmax(said.get("axis", -1)),
        }
        return simple[node.op_type](*given)


def _convolved(said: dict[str, Any], x: Any, weight: Any, bias: Any = None) -> Any:
    step, pads = said.get("strides", [1, 1]), said.get("pads", [0, 0, 0, 0])
    if said.get("auto_pad", b"NOTSET") == b"SAME_UPPER":
        lack = [
            max(0, (-(-x.shape[2 + k] // step[k]) - 1) * step[k] + weight.shape[2 + k] - x.shape[2 + k]) for k in (0, 1)
        ]
        pads = [lack[0] // 2, lack[1] // 2, lack[0] - lack[0] // 2, lack[1] - lack[1] // 2]
    x = functional.pad(x, (pads[1], pads[3], pads[0], pads[2]))
    return functional.conv2d(x, weight, bias, step, 0, said.get("dilations", [1, 1]), said.get("group", 1))


class Plain:
    """The file in plain ONNX Runtime, on uint8 pictures [N, H, W, 3]."""

    def __init__(self, path: Path, card: xplain.Card) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.card, self.name = card, self.session.get_inputs()[0].name

    def scores(self, pictures: np.ndarray) -> np.ndarray:
        seen = pictures[..., ::-1] if self.card.mode == "BGR" else pictures
        x = (seen.astype(np.float32) * np.float32(self.card.scale) - np.float32(self.card.mean)) / np.float32(
            self.card.std
        )
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)
        return np.concatenate([self.session.run(None, {self.name: one[None]})[0].reshape(1, -1) for one in x])


def rounded(pictures: torch.Tensor) -> np.ndarray:
    """Pictures as they are saved, uint8 [N, H, W, 3]."""
    return np.rint(pictures.detach().numpy().transpose(0, 2, 3, 1) * 255).clip(0, 255).astype(np.uint8)


def main() -> None:
    """Run the comparison and write its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "card", "pictures"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=3, help="HopSkipJump steps of foolbox.")
    parser.add_argument(
        "--part", choices=("balls", "decisions", "all"), default="all", help="the other part stays as it is."
    )
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model = xplain.load(asked.model, card=asked.card, threads=1)
    files = sorted(asked.pictures.iterdir())
    clean = xplain.attack(model, files, "fgsm", epsilon="1/255", explain=None)
    card = xplain.Card.from_toml(clean.card)
    plain, twin = Plain(asked.model, card), Twin(asked.model, card, model.outline.scores.tensor).eval()
    for weight in twin.weights.values():
        weight.requires_grad_(False)
    x = torch.from_numpy(clean.before.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    labels = plain.scores(clean.before).argmax(axis=1)
    assert np.array_equal(twin(x).argmax(1).numpy(), labels), "the twin is another model"
    y = torch.from_numpy(labels)

    def holds(pictures: np.ndarray) -> int:
        return int((plain.scores(pictures).argmax(axis=1) != labels[: len(pictures)]).sum())

    before = json.loads((RESULTS / "attacks.json").read_text()) if (RESULTS / "attacks.json").is_file() else {}
    rows, decisions = before.get("rows", []), before.get("decisions", {})
    if asked.part != "decisions":
        rows = _balls(model, files, twin, holds, x, y)
        _write(asked, rows, decisions, len(files))
    if asked.part != "balls":
        _write(asked, rows, _decisions(model, files, twin, holds, x, y, asked.steps), len(files))


def _balls(model: Any, files: Any, twin: Twin, holds: Any, x: Any, y: Any) -> list[dict[str, Any]]:
    """FGSM and PGD in linf, at equal steps."""
    rows = []
    for size in (0.25, 1.0, 2.0):
        for attack in ("fgsm", "pgd"):
            row: dict[str, Any] = {
                "attack": "FGSM" if attack == "fgsm" else "PGD, 10 steps",
                "epsilon": f"{size:g}/255",
            }
            if size >= 1:
                options = {} if attack == "fgsm" else {"steps": 10}
                ours = xplain.attack(model, files, attack, epsilon=size / 255, explain=None, **options)
                row["xplain"] = [int(ours.fooled.sum()), holds(ours.after)]
            one = foolbox.PyTorchModel(twin, bounds=(0, 1), device="cpu")
            torch.manual_seed(0)
            peer = foolbox.attacks.LinfFastGradientAttack() if attack == "fgsm" else foolbox.attacks.LinfPGD(steps=10)
            _, found, won = peer(one, x, y, epsilons=[size / 255])
            row["foolbox"] = [int(won.sum()), holds(rounded(found[0]))]
            eps = size / 255
            other = (
                torchattacks.FGSM(twin, eps=eps)
                if attack == "fgsm"
                else torchattacks.PGD(twin, eps=eps, alpha=eps / 4, steps=10)
            )
            found = other(x, y)
            row["torchattacks"] = [int((twin(found).argmax(1) != y).sum()), holds(rounded(found))]
            rows.append(row)
            print(row, flush=True)
    return rows


def _decisions(model: Any, files: Any, twin: Twin, holds: Any, x: Any, y: Any, steps: int) -> dict[str, Any]:
    """HopSkipJump of foolbox, and ours with as many queries."""
    one = foolbox.PyTorchModel(twin, bounds=(0, 1), device="cpu")
    torch.manual_seed(0)
    peer = foolbox.attacks.HopSkipJumpAttack(steps=steps)
    twin.rows, started = 0, time.process_time()
    with torch.no_grad():
        found = peer.run(one, x[:PICTURES], foolbox.criteria.Misclassification(y[:PICTURES]))
    queries, spent = twin.rows // PICTURES, time.process_time() - started
    ours = xplain.attack(model, files[:PICTURES], "decision", explain=None, queries=queries)
    far = (found - x[:PICTURES]).flatten(1).norm(dim=1).numpy()
    told = {
        "queries": queries,
        "foolbox": {
            "l2": far.tolist(),
            "median": float(np.median(far)),
            "holds": holds(rounded(found)),
            "cpu s": spent,
        },
        "xplain": {
            "l2": ours.sizes[:, 1].tolist(),
            "median": float(np.median(ours.sizes[:, 1])),
            "holds": holds(ours.after),
        },
        "of": PICTURES,
    }
    print(told, flush=True)
    return told


def _write(asked: Any, rows: list[dict[str, Any]], decisions: dict[str, Any], count: int) -> None:
    versions = {one.__name__: one.__version__ for one in (foolbox, torchattacks, torch, onnxruntime, np, xplain)}
    (RESULTS / "attacks.json").write_text(
        json.dumps({"rows": rows, "decisions": decisions, "versions": versions}, indent=2)
    )
    lines = [
        "# Attacks beside foolbox's and torchattacks'",
        "",
        f"`{asked.model.name}`, {count} pictures. Each cell: claimed,",
    ]
    lines += ["then what holds after rounding to 8 bits, by plain ONNX Runtime. xplain refuses sizes below 1/255.", ""]
    lines += ["| attack | epsilon | xplain | foolbox | torchattacks |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [
            ("-" if name not in row else "{} -> {}".format(*row[name]))
            for name in ("xplain", "foolbox", "torchattacks")
        ]
        lines.append(f"| {row['attack']} | {row['epsilon']} | {' | '.join(cells)} |")
    if decisions:
        lines += ["", f"HopSkipJump in L2, {decisions['of']} pictures, {decisions['queries']} queries each:", ""]
        lines += ["| | median L2 | holds after rounding |", "|---|---|---|"]
        for name in ("xplain", "foolbox"):
            lines.append(
                f"| {name} | {decisions[name]['median']:.3g} | {decisions[name]['holds']} of {decisions['of']} |"
            )
    lines += ["", ", ".join(f"{name} {version}" for name, version in versions.items()), ""]
    lines += ["`python benchmarks/methods/attacks.py MODEL CARD PICTURES`", ""]
    (RESULTS / "attacks.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
