"""Do the two integer forms of one float model give the same reasons? QOperator against QDQ, and both against the float.

    python benchmarks/methods/qoperator_twins.py FLOAT.onnx CARD.toml PICTURE ...

Both are made here by onnxruntime's static quantiser (uint8 activations, int8 weights by channel), calibrated on every
other picture. In QOperator form (QLinearConv ...) every activation between the first quantiser and the last
dequantiser is an integer. Spearman's rank correlation as in ``quantised_twins.py``, for the float model's class.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter
from quantised_twins import METHODS, bench, pooled, spearman

CAMS = ("grad-cam++", "layer-cam", "hires-cam", "eigen-cam", "ablation-cam", "guided-grad-cam")
OPSET = 17  # in which a scale per channel can be written


def twins(path: str, seen: np.ndarray, folder: Path) -> list[Path]:
    from onnxruntime import quantization as q

    model = onnx.load(path)
    name = model.graph.input[0].name
    onnx.save(version_converter.convert_version(model, OPSET), folder / "float.onnx")

    class Reader(q.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(seen)

        def get_next(self):
            one = next(self.left, None)
            return None if one is None else {name: one[None]}

    kinds = {"activation_type": q.QuantType.QUInt8, "weight_type": q.QuantType.QInt8, "per_channel": True}
    found = [folder / f"{form}.onnx" for form in ("QDQ", "QOperator")]
    for to in found:
        q.quantize_static(folder / "float.onnx", to, Reader(), quant_format=q.QuantFormat[to.stem], **kinds)
    return found


def measured(path: str, card: str, pictures: list[str], folder: Path) -> None:
    import xplain
    from xplain.render.pictures import prepare

    exact = xplain.load(path, card=card)
    x = np.stack([prepare(exact.outline.card, picture)[0] for picture in pictures])
    models = [exact, *(xplain.load(str(one)) for one in twins(path, x[::2], folder))]
    classes = [xplain.predict(model, x).argmax(axis=1) for model in models]
    agree = [int((classes[0] == other).sum()) for other in classes[1:]]
    target = classes[0].tolist()
    rows = []
    for method, options in {**METHODS, **{name: {} for name in CAMS}}.items():
        maps = [xplain.explain(model, x, method, target=target, **options).values for model in models]
        cells = [[pooled(one) for one in each] for each in maps]
        pairs = {"QOperator against QDQ": (2, 1), "QOperator against float": (2, 0), "QDQ against float": (1, 0)}
        found = {k: [spearman(*two) for two in zip(cells[a], cells[b], strict=True)] for k, (a, b) in pairs.items()}
        lowest = {f"{k}, lowest": min(found[k]) for k in list(pairs)[:2]}
        rows.append({"method": method, **{k: float(np.median(v)) for k, v in found.items()}, **lowest})
    note = (
        f"{Path(path).name} after onnxruntime's static quantisation, calibrated on {len(x[::2])} of {len(x)} pictures; "
        f"QDQ and QOperator predict the float model's class on {agree[0]} and {agree[1]}. Median of Spearman's rank "
        "correlation of maps over 14 x 14 cells."
    )
    bench.save("qoperator_twins", rows, note)


if __name__ == "__main__":
    bench.passive()
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="the float model")
    parser.add_argument("card")
    parser.add_argument("pictures", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured(options.model, options.card, options.pictures, Path(folder))
