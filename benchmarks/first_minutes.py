"""The first minutes: from nothing to an answer, in a fresh environment for each kind of model.

    python -m pip wheel . --no-deps -w dist
    python benchmarks/first_minutes.py dist/xplain-*.whl [--constraint tests/constraints.txt] [--only endpoint]

For each kind a virtual environment is made, the wheel is installed with what that kind needs and no more, and the lines
of the documentation run in a folder of their own: seconds of ``pip install`` (downloads included), of the first run,
which compiles Python's files, and of the second. A run that fails, or says what it should not, stops the table.
``--constraint`` is pip's file of pinned versions: ``tests/constraints.txt`` takes the version of torch that CI takes.
The nets of timm and transformers have random weights: nothing is fetched but packages.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import bench

FUNCTION = """
import numpy as np, xplain
model = xplain.load(lambda x: np.stack([x[:, :, :8].mean((1, 2, 3)), x[:, :, 8:].mean((1, 2, 3))], 1))
a = xplain.explain(model, np.random.default_rng(0).random((1, 3, 16, 16)).astype("f4"), "occlusion", patch=4, stride=4,
                   layout="NCHW")
a.overlay(0).save("map.png")
"""
ONNX = """
from xplain.demo import SCENES, demo_model_path, demo_picture
from PIL import Image
import subprocess, sys
Image.fromarray(demo_picture(next(iter(SCENES)))[0]).save("picture.png")
subprocess.run([sys.executable, "-m", "xplain", "explain", demo_model_path(), "picture.png"], check=True)
"""
TORCH = """
import torch, xplain
net = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 14 * 14, 3)
)
a = xplain.explain(net.eval(), torch.rand(1, 3, 16, 16))
a.overlay(0).save("map.png")
"""
TIMM = """
import timm, xplain
from PIL import Image
from xplain.demo import SCENES, demo_picture
Image.fromarray(demo_picture(next(iter(SCENES)))[0]).save("picture.png")
net = timm.create_model("resnet18", pretrained=False).eval()
a = xplain.explain(net, "picture.png")
assert a.values.shape[-2:] == (224, 224)  # the size that timm keeps beside the net
a.overlay(0).save("map.png")
"""
TABLE = """
import xplain
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
data = load_iris(as_frame=True)
model = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(data.data, data.target)
a = xplain.explain(xplain.table(model, columns=data.data), data.data.iloc[:3], background=data.data.iloc[::15])
print(a[0])
assert abs(a.base + a.values.sum(1) - a.scores).max() < 1e-4
"""
LIGHTGBM = """
import lightgbm, numpy as np, pandas as pd, xplain
draw = np.random.default_rng(0)
rows = pd.DataFrame({"age": draw.integers(18, 80, 200), "job": pd.Categorical(draw.choice(["nurse", "clerk"], 200))})
model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(rows, (rows.age > 40).astype(int))
a = xplain.explain(xplain.table(model, columns=rows), rows.iloc[:4], background=rows.iloc[::20])
assert (abs(a.values[:, 0]) > 10 * abs(a.values[:, 1])).all()
"""
TEXT = """
import torch, xplain
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast, pipeline
Path("vocab.txt").write_text("\\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "not", "bad", "at", "all", "."]))
shape = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
names = {0: "NEGATIVE", 1: "POSITIVE"}
net = BertForSequenceClassification(BertConfig(vocab_size=10, id2label=names, **shape)).eval()
classify = pipeline("text-classification", net, tokenizer=BertTokenizerFast("vocab.txt"), top_k=None)
scores = lambda texts: [[{one["label"]: one["score"] for one in row}["POSITIVE"]] for row in classify(list(texts))]
a = xplain.explain(xplain.text(scores), "Not bad at all.")
print(a)
"""
ENDPOINT = """
import os, xplain
from xplain.demo import SCENES, demo_picture
model = xplain.load(os.environ["URL"], card={"resize": [160, 160]})
a = xplain.explain(model, demo_picture(next(iter(SCENES)))[0], "occlusion", patch=40, stride=40)
a.overlay(0).save("map.png")
"""

SERVER = """
from xplain.cli import main
from xplain.demo import demo_model_path
main(["serve", f"textures={demo_model_path()}", "--port", "0"])
"""

KINDS = {  # what one has: extra of xplain, other packages, the lines
    "a function": ("", (), FUNCTION),
    "an ONNX CNN": ("cpu", (), ONNX),
    "a torch module": ("", ("torch",), TORCH),
    "a timm model": ("", ("torch", "timm"), TIMM),
    "a scikit-learn pipeline": ("", ("scikit-learn", "pandas"), TABLE),
    "a LightGBM model": ("", ("lightgbm", "pandas", "scikit-learn"), LIGHTGBM),
    "a text classifier of transformers": ("", ("torch", "transformers"), TEXT),
    "an endpoint": ("endpoint", (), ENDPOINT),
}


def timed(command: list[str], **how: object) -> float:
    """Seconds of a command that has to succeed."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **how)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return time.perf_counter() - began


def tried(kind: str, wheel: Path, constraint: Path | None, url: str) -> dict[str, object]:
    """One kind of model in an environment of its own."""
    extra, packages, lines = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        place, work = Path(folder) / "env", Path(folder) / "work"
        work.mkdir()
        python = str(place / "bin" / "python")
        made = timed([sys.executable, "-m", "venv", str(place)])
        what = f"{wheel.resolve()}[{extra}]" if extra else str(wheel.resolve())
        pinned = ["-c", str(constraint)] if constraint else []
        installed = timed([python, "-m", "pip", "install", "-q", "--no-cache-dir", *pinned, what, *packages])
        environment = {**os.environ, "HOME": folder, "URL": url}
        environment.pop("PYTHONPATH", None)
        runs = [timed([python, "-c", lines], cwd=work, env=environment) for _ in range(2)]
        size = sum(one.stat().st_size for one in place.rglob("*") if one.is_file()) / 2**20
    return {"you have": kind, "venv, s": made, "pip install, s": installed, "first answer, s": runs[0]} | {
        "again, s": runs[1],
        "MiB": size,
    }


def main() -> None:
    """Try each and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--constraint", type=Path, help="pinned versions, as pip reads them")
    parser.add_argument("--only", choices=[name.rpartition(" ")[2] for name in KINDS], action="append")
    parser.add_argument("--dry", action="store_true", help="print the table and do not keep it")
    given = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER], stderr=subprocess.PIPE, text=True)
    try:
        found = re.search(r"http://[\d.:]+", server.stderr.readline())
        url = f"{found[0]}/v2/models/textures"
        wanted = [kind for kind in KINDS if not given.only or kind.rpartition(" ")[2] in given.only]
        rows = []
        for kind in wanted:
            rows.append(tried(kind, given.wheel, given.constraint, url))
            print(rows[-1], file=sys.stderr, flush=True)
    finally:
        server.terminate()
        server.wait()
    note = f"Load of the machine before: {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores."
    rounded = [{name: round(v, 1) if isinstance(v, float) else v for name, v in row.items()} for row in rows]
    if given.dry:
        print(bench.table(rounded), note)
    else:
        bench.save("first_minutes", rounded, note)


if __name__ == "__main__":
    main()
