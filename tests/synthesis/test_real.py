"""Pictures of real files: what a result says of them is what plain ONNX Runtime says, and inversion comes near."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest

import xplain
from xplain.render import pictures


class Plain:
    """A shared file in plain ONNX Runtime, asked about one uint8 picture [224, 224, 3] by arithmetic of its own."""

    def __init__(self, folder, file):
        entry = next(one for one in json.loads((folder / "manifest.json").read_text())["models"] if one["file"] == file)
        self.pre, self.path = entry["pre"], folder / file
        labels = [line.strip() for line in (folder / entry["labels"]).read_text().splitlines() if line.strip()]
        size = {"resize_short": self.pre["resize_short"], "crop": [self.pre["crop"]] * 2, "mode": self.pre["channels"]}
        self.card = {**size, **{name: self.pre[name] for name in ("scale", "mean", "std")}, "labels": labels}

    def scores(self, picture):
        session = onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        seen = picture[..., ::-1] if self.pre["channels"] == "BGR" else picture
        x = (seen * np.float32(self.pre["scale"]) - np.float32(self.pre["mean"])) / np.float32(self.pre["std"])
        (given,) = session.get_inputs()
        kind = np.float16 if "float16" in given.type else np.float32
        return session.run(None, {given.name: x.transpose(2, 0, 1)[None].astype(kind)})[0].ravel().astype(np.float64)

    def load(self):
        return xplain.load(self.path, card=self.card, threads=1)


def test_a_quantised_file_judges_its_own_pictures_as_they_are_saved_and_so_does_its_twin(real_models):
    """A picture that convinces the file it was made for says nothing of another one, not even of its float twin."""
    ends = [Plain(real_models, f"imagenet/mobilenetv2_imagenet1001_{one}.onnx") for one in ("qdq", "fp32")]
    made = xplain.make(ends[0].load(), "class", target="espresso", judge=ends[1].load(), steps=8)
    assert made.pixels.shape == (1, 224, 224, 3)
    near = (0.01, 1e-3)  # the quantised file tells shares in steps of 1/256; ours are those of its logits
    for k, plain in enumerate(ends):
        scores = plain.scores(made.pixels[0])
        shares = scores if scores.min() >= 0 and scores.sum() < 1.1 else np.exp(scores - scores.max())
        assert made.judged[0, k, 0, 0] == pytest.approx(shares[made.labels[0]] / shares.sum(), abs=near[k])
        assert made.judged[0, k, 0, 1] == (scores > scores[made.labels[0]]).sum()


def test_fire5_of_squeezenet_is_inverted_to_a_distance_below_a_twentieth_in_110_steps(real_models):
    """``xplain make invert MODEL coral_owl.jpg --layers fire5/concat_1``; the distance is that of the saved picture."""
    model = Plain(real_models, "imagenet/squeezenet_fp16.onnx").load()
    photograph = real_models / "images" / "coral_owl.jpg"
    made = xplain.make(model, "invert", photograph, layers="fire5/concat_1", size=(112, 112), frames=0)
    assert made.trace.shape == (1, 110)
    assert made.each["distance"][0] < 0.05
    _, shown = pictures.prepare(xplain.Card(mode="RGB", resize_short=128, crop=(112, 112)), photograph)
    error = ((made.picture[0].transpose(1, 2, 0) - shown / 255) ** 2).mean()
    assert made.each["PSNR"][0] == pytest.approx(-10 * np.log10(error), abs=0.01)
