"""Advice of rarer messages, followed: of caches, files, tables and kernels; see ``advice_table``."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from docs.advice_models import (
    FLOAT,
    PICTURES,
    ROWS,
    N,
    brightness,
    cached,
    database,
    graph,
    linear,
    occlusion,
)
from docs.advice_table import Case
from onnx import helper

import xplain
from xplain.core.edits import Windows
from xplain.core.positions.layout import Layout
from xplain.core.query import Score, Sweep
from xplain.core.rules import Rules, Where
from xplain.core.synthesis.canvas import Cosines, Phases, Pixels
from xplain.graph.safety import Limits
from xplain.native import gram

__all__ = ["CORNERS"]


def foreign(folder: Path) -> Path:
    """A cache whose file holds what somebody else keeps."""
    place = database(folder / "foreign")
    (file,) = place.glob("*.sqlite") if any(place.glob("*.sqlite")) else place.iterdir()
    with sqlite3.connect(file) as lines:
        lines.execute("CREATE TABLE mine (a)")
    return place


def compared(reference: bool) -> Any:
    """A sweep whose rule looks at the baseline."""

    def against(call: Any, g: Any) -> Any:
        return call.baseline().vjp(*g)

    rules = Rules("mine", reference=reference).on(Where(), against)
    baseline = np.zeros_like(ROWS[:, None])
    return xplain.load(graph()).answer(Sweep(ROWS[:, None], xplain.label(0), rules, baseline=baseline))


def hiding(external: bool, folder: Path) -> Any:
    """A file with an external tensor in a branch, and the same saved whole."""
    inner = helper.make_graph(
        [N("Add", ["z", "k"], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", FLOAT, None)],
        [onnx.numpy_helper.from_array(np.ones(3, np.float32), "k")],
    )
    other = helper.make_graph(
        [N("Identity", ["z"], ["e"])], "else", [], [helper.make_tensor_value_info("e", FLOAT, None)]
    )
    made = graph(
        N("MatMul", ["x", "w"], ["z"]),
        N("If", ["c"], ["y"], then_branch=inner, else_branch=other),
        c=np.array(True),
    )
    path = folder / "branch.onnx"
    onnx.save(made, path, save_as_external_data=False)
    if external:
        (then,) = [one.g for one in made.graph.node[1].attribute if one.name == "then_branch"]
        tensor = then.initializer[0]
        (folder / "k.bin").write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="k.bin")
        path.write_bytes(made.SerializeToString())
    return occlusion(xplain.load(path), target=0)


def exported(rows: int, free: bool) -> Any:
    """A program that was exported with some rows, for so many or for any number, and what is said of it."""
    import torch

    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2)).eval()
    shapes = ({0: torch.export.Dim("n")},) if free else None
    made = torch.export.export(net, (torch.zeros(rows, 3, 8, 8),), dynamic_shapes=shapes)
    return occlusion(xplain.load(made), PICTURES, patch=4, stride=4)


def many() -> Any:
    """A graph of many nodes."""
    chain = [N("MatMul", ["x", "w"], ["z0"]), *(N("Relu", [f"z{k}"], [f"z{k + 1}"]) for k in range(200))]
    return graph(*chain, N("Identity", ["z200"], ["y"]))


def forest(background: bool) -> Any:
    """Trees from a file of the ONNX-ML operators, which keeps no counts of rows."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestRegressor

    fitted = RandomForestRegressor(3, max_depth=2, random_state=0).fit(ROWS, ROWS[:, 0])
    made = to_onnx(fitted, ROWS[:1], target_opset={"": 17, "ai.onnx.ml": 3})
    kind = {"background": ROWS} if background else {"kind": "path-dependent"}
    return xplain.explain(made, ROWS[:1], "tree-shap", **kind)


def windows(fill: tuple[int, ...]) -> Any:
    edits = Windows(np.int32([[0, 0, 2, 2]]), np.zeros(fill, np.float32))
    return xplain.load(brightness).answer(Score(PICTURES, edits, xplain.label(0), layout=Layout("NCHW", (3, 8, 8))))


def several(first: bool) -> Any:
    """A forest that predicts two outputs at once."""
    from sklearn.ensemble import RandomForestClassifier

    both = np.stack([ROWS[:, 0] > 0, ROWS[:, 1] > 0], 1).astype(int)
    fitted = RandomForestClassifier(3, max_depth=2, random_state=0).fit(ROWS, both)
    rows = {name: ROWS[:, k] for k, name in enumerate("abcd")}

    def one(frame: Any) -> Any:
        return fitted.predict_proba(np.stack([np.asarray(frame[name], np.float64) for name in "abcd"], 1))[0]

    model = xplain.table(one if first else fitted, columns=rows)
    return xplain.explain(model, rows, "exact-shapley", background=rows, target=0)


CORNERS = [
    Case(
        "models take real numbers. Give its magnitude and phase",
        lambda f: xplain.explain(xplain.load(brightness), PICTURES * 1j, "occlusion", patch=4, stride=4, layout="NCHW"),
        [
            lambda f, parts=parts: xplain.explain(
                xplain.load(brightness),
                np.concatenate([part(PICTURES * 1j) for part in parts], 1).astype("f4"),
                "occlusion",
                patch=4,
                stride=4,
                layout="NCHW",
            )
            for parts in ((np.abs, np.angle), (np.real, np.imag))
        ],
    ),
    Case(
        "but its table does not say reference=True.",
        lambda _: compared(reference=False),
        [lambda _: compared(reference=True)],
    ),
    Case(
        "a cache of xplain: it holds other tables. Give another folder.",
        lambda folder: cached(foreign(folder)),
        [lambda folder: cached(folder / "another")],
    ),
    Case(
        "with onnx.save(..., save_as_external_data=False).",
        lambda folder: hiding(True, folder),
        [lambda folder: hiding(False, folder)],
    ),
    Case(
        "ten times limits.nodes. If you trust it, give limits=Limits(nodes=...).",
        lambda _: xplain.load(many(), limits=Limits(nodes=10)),
        [lambda _: xplain.load(many(), limits=Limits(nodes=1000))],
    ),
    Case(
        "training rows at each split, which this model does not keep. Give",
        lambda _: forest(background=False),
        [lambda _: forest(background=True)],
        needs=("sklearn", "skl2onnx"),
    ),
    Case(
        "which does not broadcast against items {}. Give each axis 1 or its full extent.",
        lambda _: windows((1, 2, 1, 1)),
        [lambda _: windows((1, 3, 1, 1)), lambda _: windows((2, 3, 8, 8))],
    ),
    Case(
        "estimator.predict_proba(rows)[0], columns=frame).",
        lambda _: several(first=False),
        [lambda _: several(first=True)],
        needs=("sklearn",),
    ),
    Case(
        "and is asked about any number. Export it for any",
        lambda _: exported(3, free=False),
        [lambda _: exported(3, free=True), lambda _: exported(1, free=False)],
        needs=("torch",),
    ),
    Case(
        "A target is divided by 0; give another number.",
        lambda _: occlusion(target=xplain.label(1) / 0),
        [lambda _: occlusion(target=xplain.label(1) / 2)],
    ),
    Case(
        "gram got {} layers and {} scales; give one scale per layer.",
        lambda _: gram([ROWS, ROWS], [1.0]),
        [lambda _: gram([ROWS, ROWS], [1.0, 2.0]), lambda _: gram([ROWS, ROWS])],
    ),
    Case(
        "stands for {} targets; give one.",
        lambda _: xplain.measure.effect(linear, ROWS, 0, target="top2"),
        [lambda _: xplain.measure.effect(linear, ROWS, 0, target=1)],
    ),
    Case(
        "cannot begin from a picture. Use Pixels or Cosines.",
        lambda _: Phases((8, 8)).start(PICTURES),
        [lambda _: Pixels((8, 8)).start(PICTURES), lambda _: Cosines((8, 8)).start(PICTURES)],
    ),
]
