"""Other people's architectures through both of torch's exporters: do we say of the file what torch says of the net?

    python benchmarks/zoo/run.py [NET ...] [--exporters script dynamo] [--seconds 300] [--resume]

Needs torchvision, timm and transformers beside xplain; weights are random, nothing is downloaded. Each net and exporter
runs in a process of its own with a time limit. Per net:

| column | what is compared |
|---|---|
| predict | largest difference of the logits from torch's, over their range (torch's own where that is large) |
| saliency | cosine between our input gradient of the file and torch autograd's in float64 (its own float32 where low) |
| occlusion | largest difference of the map from a loop over windows in torch, over the map's range |
| deeplift | |sum - (f(x) - f(0))| over the same difference (of the score, where that is larger); w: it warned |
| lrp | share of the score that arrives at the pixels; w: it warned |
| grad-cam | grid of the layer that `auto` takes, and the correlation with Grad-CAM of torch's last feature map there |
| attention | relevance, rollout: ran, or declined |
| compile | cosine of saliency compiled into the file with saliency |
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
import bench
from architectures import NETS, Net, pictures

COLUMNS = ("predict", "saliency", "occlusion", "deeplift", "lrp", "grad-cam", "attention", "compile")
KEPT = bench.RESULTS / "zoo.json"


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-300))


def export(net: Any, x: Any, path: Path, exporter: str) -> None:
    import torch

    if exporter == "script":
        free = {"x": {0: "n"}, "y": {0: "n"}}
        torch.onnx.export(
            net, (x,), path, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=free, opset_version=17
        )
    else:
        twice = x.repeat(2, *[1] * (x.ndim - 1))  # a batch of one is taken for a constant
        shapes = ({0: torch.export.Dim("n")},)
        torch.onnx.export(
            net, (twice,), path, dynamo=True, input_names=["x"], output_names=["y"], dynamic_shapes=shapes,
            verbose=False,
        )  # fmt: skip


class Case:
    """One net and one file of it, with what torch says."""

    def __init__(self, net: Net, exporter: str, folder: Path) -> None:
        import torch

        import xplain

        torch.set_num_threads(1)
        self.make = net.make
        self.net = net.make()
        item = net.item or (3, *self.net.default_cfg.get("input_size", (3, 224, 224))[1:])
        draws = torch.Generator().manual_seed(1)
        if net.vocabulary:
            self.x = torch.randint(1, net.vocabulary, (1, *item), generator=draws)
        else:
            self.x = pictures((1, *item), draws)
        self.ids = bool(net.vocabulary)
        with torch.no_grad():
            self.scores = self.net(self.x).double().numpy()[0]
        self.target = int(self.scores.argmax())
        path = folder / "net.onnx"
        export(self.net, self.x, path, exporter)
        self.model = xplain.load(path, threads=1)
        self.array = self.x.numpy()

    def explain(self, method: str, **options: Any) -> Any:
        import xplain

        return xplain.explain(self.model, self.array, method, target=self.target, **options)

    def gradient(self, dtype: str = "float32") -> np.ndarray:
        import torch

        kind = getattr(torch, dtype)
        # made anew: some nets keep tensors between calls, which cannot be copied nor cast
        net = self.net if dtype == "float32" else self.make().to(kind)
        x = self.x.to(kind).requires_grad_(True)
        # as one of two rows: torch's backward pass of batch norms errs for one, where tokens became a picture
        (found,) = torch.autograd.grad(net(torch.cat([x, x]))[0, self.target], x)
        return found.numpy()

    def against_torch(self, ours: np.ndarray) -> str:
        """Cosine with torch's gradient in double precision; where low, torch's own in single precision beside it."""
        exact = self.gradient("float64")
        found = cosine(ours, exact)
        own = "" if found > 0.999 else f" (torch float32: {cosine(self.gradient(), exact):.4f})"
        return f"{found:.6f}{own}"

    def predict(self) -> str:
        """How far our logits are from torch's; where far, how far torch's are from its own in double precision."""
        import torch

        import xplain

        ours = xplain.predict(self.model, self.array)[0]
        found = np.abs(ours - self.scores).max() / np.ptp(self.scores)
        if found < 1e-4 or self.ids:
            return f"{found:.1e}"
        with torch.no_grad():
            exact = self.make().double()(self.x.double()).numpy()[0]
        return f"{found:.1e} (torch float32: {np.abs(self.scores - exact).max() / np.ptp(exact):.1e})"

    def saliency(self) -> str:
        if self.ids:
            return "-"
        return self.against_torch(self.explain("saliency", channels=True).values)

    def occlusion(self) -> str:
        import torch

        if self.ids:
            return self._words()
        height, width = self.array.shape[2:]
        side = height // 4
        ours = self.explain("occlusion", patch=side, stride=side, baseline=0).values[0]
        total, count = np.zeros((height, width)), np.zeros((height, width))
        with torch.no_grad():
            for top in range(0, height - side + 1, side):
                for left in range(0, width - side + 1, side):
                    hidden = self.x.clone()
                    hidden[:, :, top : top + side, left : left + side] = 0
                    drop = self.scores[self.target] - float(self.net(hidden)[0, self.target])
                    total[top : top + side, left : left + side] += drop
                    count[top : top + side, left : left + side] += 1
        seen = count > 0
        theirs = total[seen] / count[seen]
        return f"{np.abs(ours[seen] - theirs).max() / np.abs(theirs).max():.1e}"

    def _words(self) -> str:
        """The same for token ids: one word after another replaced by token 0."""
        import torch

        ours = self.explain("ablation", baseline=0).values[0].ravel()
        theirs = np.zeros(self.array.shape[1])
        with torch.no_grad():
            for k in range(len(theirs)):
                hidden = self.x.clone()
                hidden[:, k] = 0
                theirs[k] = self.scores[self.target] - float(self.net(hidden)[0, self.target])
        return f"{np.abs(ours - theirs).max() / np.abs(theirs).max():.1e}"

    def deeplift(self) -> str:
        import torch

        if self.ids:
            return "-"
        found = self.explain("deeplift", baseline=0)
        with torch.no_grad():
            base = float(self.net(torch.zeros_like(self.x))[0, self.target])
        wanted = self.scores[self.target] - base
        gap = abs(float(found.values.sum(dtype=np.float64)) - wanted) / max(abs(wanted), 1e-12)
        return f"{gap:.1e}{_warned(found)}"

    def lrp(self) -> str:
        if self.ids:
            return "-"
        found = self.explain("lrp")
        return f"{float(found.values.sum(dtype=np.float64)) / self.scores[self.target]:.2g}{_warned(found)}"

    def grad_cam(self) -> str:
        found = self.explain("grad-cam")
        grid = "x".join(map(str, found.resolution or ()))
        theirs = self._cam()
        if theirs is None or theirs.shape != tuple(found.resolution or ()):
            return grid
        low = np.asarray(found.values[0])
        rows = (np.arange(theirs.shape[0]) + 0.5) * low.shape[0] / theirs.shape[0]
        columns = (np.arange(theirs.shape[1]) + 0.5) * low.shape[1] / theirs.shape[1]
        ours = low[np.ix_(rows.astype(int), columns.astype(int))]
        return f"{grid} {np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]:.2f}"

    def _cam(self) -> np.ndarray | None:
        """Grad-CAM of what ``forward_features`` returns, where that is a map and the head reads nothing else."""
        import torch

        if not hasattr(self.net, "forward_features") or not hasattr(self.net, "forward_head"):
            return None
        maps = self.net.forward_features(self.x)
        if not isinstance(maps, torch.Tensor) or maps.ndim != 4:
            return None
        leaf = maps.detach().requires_grad_(True)
        slope = torch.autograd.grad(self.net.forward_head(leaf)[0, self.target], leaf)[0]
        last = getattr(self.net, "output_fmt", "NCHW")
        if str(last).endswith("NHWC"):
            leaf, slope = leaf.permute(0, 3, 1, 2), slope.permute(0, 3, 1, 2)
        return torch.relu((slope.mean((2, 3), keepdim=True) * leaf).sum(1))[0].detach().numpy()

    def attention(self) -> str:
        import xplain

        said = []
        for method in ("attention-relevance", "attention-rollout"):
            try:
                self.explain(method)
                said.append("ran")
            except xplain.XplainError:
                said.append("declined")
        return ", ".join(said)

    def compile(self) -> str:
        import onnxruntime

        import xplain

        if self.ids:
            return "-"
        made = xplain.compile(self.model, method="saliency", channels=True).SerializeToString()
        levels = onnxruntime.GraphOptimizationLevel
        told = ""
        for level in (levels.ORT_ENABLE_ALL, levels.ORT_ENABLE_BASIC):
            how = onnxruntime.SessionOptions()
            how.graph_optimization_level, how.log_severity_level = level, 4
            session = onnxruntime.InferenceSession(made, how, providers=["CPUExecutionProvider"])
            feeds = {session.get_inputs()[0].name: self.array}
            for extra in session.get_inputs()[1:]:
                feeds[extra.name] = np.array([self.target], np.int64)
            try:
                return self.against_torch(session.run(["attribution"], feeds)[0]) + told
            except Exception:
                if told:
                    raise
                told = " (at level basic; the runtime's optimiser breaks it at its highest)"
        raise AssertionError("two levels were tried")


def _warned(found: Any) -> str:
    return " w" if found.warnings else ""


def child(name: str, exporter: str) -> None:
    """Everything of one net and one exporter; the last line is the row as JSON."""
    warnings.filterwarnings("ignore")
    import xplain

    row: dict[str, Any] = {"net": name, "exporter": exporter}
    with tempfile.TemporaryDirectory() as folder:
        try:
            case = Case(NETS[name], exporter, Path(folder))
        except Exception as error:
            row["load"] = f"{'' if isinstance(error, xplain.XplainError) else 'RAW '}{_short(error)}"
            print(json.dumps(row))
            return
        steps: dict[str, Callable[[], str]] = {
            "predict": case.predict, "saliency": case.saliency, "occlusion": case.occlusion,
            "deeplift": case.deeplift, "lrp": case.lrp, "grad-cam": case.grad_cam, "attention": case.attention,
            "compile": case.compile,
        }  # fmt: skip
        for column, step in steps.items():
            started = time.perf_counter()
            try:
                row[column] = step()
            except Exception as error:
                row[column] = f"{'declined' if isinstance(error, xplain.XplainError) else 'RAW'}: {_short(error)}"
            print(f"  {column}: {row[column]} ({time.perf_counter() - started:.1f} s)", file=sys.stderr, flush=True)
            print(json.dumps(row), flush=True)


def _short(error: Exception) -> str:
    return re.sub(r"/\S*/", "", f"{type(error).__name__} {error}".replace("\n", " ").replace("|", "/"))[:160]


def ask(name: str, exporter: str, seconds: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, exporter]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))  # noqa: E731
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, env=environment, preexec_fn=limit
        )
        out, died = done.stdout, f"exit {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired as late:
        out, died = (late.stdout or b"").decode(), f"over {seconds} s"
    rows = [line for line in out.splitlines() if line.startswith("{")]
    row = json.loads(rows[-1]) if rows else {"net": name, "exporter": exporter}
    if died:
        missing = [column for column in COLUMNS if column not in row]
        row[missing[0] if missing else "load"] = f"DIED: {died}"
    return row


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=list(NETS), metavar="NET")
    parser.add_argument("--exporters", nargs="+", default=["script", "dynamo"])
    parser.add_argument("--seconds", type=int, default=300, help="limit per net and exporter")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--resume", action="store_true", help="keep rows of the last table not asked again")
    options = parser.parse_args()
    unknown = set(options.nets) - set(NETS)
    if unknown:
        raise SystemExit(f"unknown nets: {', '.join(sorted(unknown))}; known: {', '.join(NETS)}")
    rows = {}
    if options.resume and KEPT.exists():
        rows = {(row["net"], row["exporter"]): row for row in json.loads(KEPT.read_text())["rows"]}
    cases = [(name, exporter) for name in options.nets for exporter in options.exporters]
    with ThreadPoolExecutor(options.jobs) as pool:
        for case, row in zip(cases, pool.map(lambda case: ask(*case, options.seconds), cases), strict=True):
            rows[case] = row | {"commit": bench.machine()["commit"]}
            print(row, flush=True)
    shown = [
        {key: row.get(key, "") for key in ("net", "exporter", "load", *COLUMNS, "commit")} for row in rows.values()
    ]
    columns = __doc__[__doc__.index("| column") :]
    bench.save("zoo", shown, f"Columns:\n\n{columns}\nReproduce: `python benchmarks/zoo/run.py`.")


if __name__ == "__main__":
    bench.passive()
    main()
