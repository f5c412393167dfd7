"""Real files from public repositories: the predictions that their manifest records, through the command line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from xplain.results.attribution import Attribution

MODELS = (
    "imagenet/squeezenet_fp16.onnx",
    "imagenet/mobilenetv2_imagenet1001_qdq.onnx",
    "imagenet/mobilenetv2_imagenet1001_fp32.onnx",
    "mnist/mnist-8.onnx",
)
# a few windows: what is tested here is the way from the file to the scores
COARSE = {"imagenet": ("--patch", 112, "--stride", 56), "mnist": ("--patch", 7, "--stride", 7)}
TOLERANCE = {"imagenet/squeezenet_fp16.onnx": 0.01, "imagenet/mobilenetv2_imagenet1001_qdq.onnx": 0.1}
"""Of probabilities. One is half precision. In the other scores are read before they are rounded to 8 bits, and the
integer kernels alone differ by 0.05 with the level of optimisation. The rest agree to the digits that are recorded."""


def card_of(entry, folder, root):
    """The manifest's preprocessing as a card in ``folder``, with its labels beside it."""
    pre = entry["pre"]
    lines = [
        f"mode = {json.dumps(pre['channels'])}",
        f"resize_short = {pre['resize_short']}",
        f"crop = {pre['crop']}",
        f"scale = {pre['scale']}",
        f"mean = {[float(v) for v in pre['mean']]}",
        f"std = {[float(v) for v in pre['std']]}",
    ]
    if entry["labels"]:
        shutil.copy(root / entry["labels"], folder / "labels.txt")
        lines.append('labels = "labels.txt"')
    card = folder / "card.toml"
    card.write_text("\n".join(lines) + "\n")
    return card


def picture_of(name, root):
    if name.startswith("skimage:"):
        return name
    return next(path for folder in ("images", "mnist") if (path := root / folder / name).is_file())


def short(label):
    """``n02123045 tabby, tabby cat`` as the manifest writes it."""
    return label.partition(" ")[2].split(",")[0] if label[:1] == "n" and label[1:9].isdigit() else label.split(",")[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_top_3_of_the_manifest(xplain, real_models, tmp_path, name):
    manifest = json.loads((real_models / "manifest.json").read_text())
    entry = next(one for one in manifest["models"] if one["file"] == name)
    pictures = {str(picture_of(key, real_models)): expected for key, expected in entry["top3"].items()}
    words = (*COARSE[name.split("/")[0]], "--card", card_of(entry, tmp_path, real_models), "--out", tmp_path / "out")
    ran = xplain("explain", real_models / name, *pictures, *words, "--json")
    assert ran.code == 0, ran.err
    assert [one["picture"] for one in ran.document["pictures"]] == list(pictures)
    for found, expected in zip(ran.document["pictures"], pictures.values(), strict=True):
        predictions = [(short(p["label"]), p["probability"]) for p in found["predictions"]]
        assert predictions[0][0] == expected[0][0], found["picture"]
        for (label, probability), (other, recorded) in zip(predictions, expected, strict=True):
            if recorded < 0.01:  # among classes with next to no score the order is noise
                continue
            assert label == other, found["picture"]
            if probability is not None:
                assert probability == pytest.approx(recorded, abs=TOLERANCE.get(name, 0.001)), found["picture"]
        (one,) = found["explanations"]
        values = Attribution.load(tmp_path / "out" / one["files"]["npz"]).values
        assert np.isfinite(values).all()
        assert values.max() > 0
