"""Advice of the doors' messages, followed: estimators, texts, tables, modules, pictures; see ``advice_table``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from docs.advice_lenses import ended
from docs.advice_models import FLOAT, PICTURES, ROWS, N, brightness, graph, linear, occlusion
from docs.advice_table import Case
from doors.test_tokens import WORDS, token_model
from onnx import TensorProto, helper

import xplain
from tests import nets
from xplain import native
from xplain.core.edits import Windows
from xplain.core.positions.layout import Layout
from xplain.graph.build.tracer import Tracer
from xplain.models.rows import dataframes as frames
from xplain.models.rows.columns import MISSING, Column

__all__ = ["DOORS"]

STRING = TensorProto.STRING


def strings() -> Any:
    """A model of one text: 1 for "good", 0 for any other."""
    known = {"keys_strings": ["good"], "values_floats": [1.0], "default_float": 0.0}
    nodes = [
        N("LabelEncoder", ["text"], ["worth"], domain="ai.onnx.ml", **known),
        N("Unsqueeze", ["worth", "one"], ["up"]),
        N("Neg", ["up"], ["down"]),
        N("Concat", ["up", "down"], ["y"], axis=1),
    ]
    made = nets.model(nodes, {"text": (STRING, ["N"])}, {"y": (FLOAT, ["N", 2])}, {"one": np.array([1])})
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return made


def people() -> Any:
    """A model of a number and a word, each an input of its own."""
    known = {"keys_strings": ["nurse", "clerk"], "values_floats": [1.0, 2.0], "default_float": 0.0}
    nodes = [
        N("LabelEncoder", ["job"], ["worth"], domain="ai.onnx.ml", **known),
        N("Concat", ["age", "worth"], ["y"], axis=1),
    ]
    ends = {"age": (FLOAT, ["N", 1]), "job": (STRING, ["N", 1])}, {"y": (FLOAT, ["N", 2])}
    made = nets.model(nodes, *ends, {})
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return made


def hired(job: list[str | None], **options: Any) -> Any:
    reader = xplain.table(people(), **options)
    rows = {"age": [20.0, 30.0], "job": job}
    return xplain.explain(reader, rows, "exact-shapley", baseline={"age": 40.0, "job": "clerk"}, target=0)


def grey(mode: str) -> Any:
    """A model of one channel, asked about a picture as a card says."""
    nodes = [N("Flatten", ["x"], ["flat"]), N("MatMul", ["flat", "w"], ["y"])]
    ends = {"x": (FLOAT, ["N", 1, 8, 8])}, {"y": (FLOAT, ["N", 2])}
    made = nets.model(nodes, *ends, {"w": np.ones((64, 2), np.float32)})
    model = xplain.load(made, card={"mode": mode, "crop": [8, 8]})
    return occlusion(model, [np.zeros((8, 8, 3), np.uint8)], target=0, patch=4, stride=4)


def tokens(folder: Path, **options: Any) -> Any:
    """A model of token ids with a tokenizer of its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({word: k for k, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    given = {"tokenizer": folder / "tokenizer.json", **options}
    reader = xplain.text(token_model(mask=False), **{name: one for name, one in given.items() if one is not None})
    return xplain.explain(reader, "a good film", "occlusion", patch=1, stride=1, target=0, baseline=0)


def of_text(folder: Path) -> Any:
    tokens(folder)
    return xplain.explain(
        xplain.text(token_model(mask=False), tokenizer=folder / "tokenizer.json"), "a good film", "ablation", target=0
    )


def kept(**options: Any) -> Any:
    return xplain.explain(linear, ROWS[:1], "kernel-shap", target=0, **options)


def scores_of_words(rows: Any) -> Any:
    return np.stack([np.array([one == "x" for one in rows["a"]], float), np.asarray(rows["b"], float)], 1)


def with_words() -> Any:
    rows = {"a": ["x", "y"], "b": [1.0, 2.0]}
    reader = xplain.table(scores_of_words, columns=rows)
    return xplain.explain(reader, {"a": ["x"], "b": [1.0]}, "kernel-shap", target=0, background=rows)


def even(size: tuple[int, ...]) -> Any:
    import torch

    class Even(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            n, c, h, w = x.shape
            return x.reshape(n, c, h // 4, 4, w // 4, 4).mean((2, 3, 4, 5))

    return xplain.compile(Even().eval(), "saliency", size=size, target=0)


def silent(target: Any) -> Any:
    """A module that returns its shape and no scores, with a convolution inside."""
    import torch

    class Silent(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)

        def forward(self, x: Any) -> Any:
            return {"shape": tuple(self.conv(x).shape)}

    torch.manual_seed(0)
    return xplain.explain(Silent().eval(), PICTURES, "saliency", target=target)


def filled(layout: Layout | None) -> Any:
    out = np.empty((1, 3, 8, 8), np.float32)
    patch = Windows(np.int32([[0, 0, 2, 2]]), np.zeros((1, 1, 1, 1), np.float32))
    native.fill(PICTURES[:1], patch, 0, 1, out, layout)
    return out


def volume() -> Any:
    x = np.random.default_rng(0).random((1, 1, 4, 6, 5)).astype(np.float32)
    return occlusion(brightness, x, layout="NCDHW", target=0, patch=2, stride=2)


def scan(folder: Path, frames_: int) -> Any:
    from render.test_samples import saved

    from xplain.render import pictures

    shape = (6, 5) if frames_ == 1 else (frames_, 6, 5)
    return pictures.read(saved(folder, np.zeros(shape, np.uint16)))


def attending(again: bool = False) -> Any:
    """Tokens look at pooled ones; ``again``: and once more without a softmax."""
    kernel = np.random.default_rng(2).normal(size=(8, 3, 2, 2)).astype(np.float32)
    nodes = [
        N("Conv", ["x", "k"], ["maps"], strides=[2, 2]),
        N("AveragePool", ["maps"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        N("Reshape", ["maps", "sixteen"], ["columns"]),
        N("Transpose", ["columns"], ["tokens"], perm=[0, 2, 1]),
        N("Reshape", ["pooled", "four"], ["keys"]),
        N("Transpose", ["keys"], ["values"], perm=[0, 2, 1]),
        N("MatMul", ["tokens", "keys"], ["products"]),
        N("Softmax", ["products"], ["shares"], axis=-1),
        N("MatMul", ["products" if again else "shares", "values"], ["mixed"]),
        N("MatMul", ["shares", "values"], ["looked"]),
        N("Add", ["mixed", "looked"], ["both"]),
        N("Add", ["tokens", "both"], ["end"]),
    ]
    shapes = {"sixteen": np.array([0, 8, 16]), "four": np.array([0, 8, 4])}
    return ended(*nodes, last="end", size=128, k=kernel, **shapes)


def attended(net: Any, method: str = "attention-rollout", **options: Any) -> Any:
    return xplain.explain(net, PICTURES[:1], method, target=0, **options)


def coded(values: list[Any], code: float) -> Any:
    column = Column("c")
    column.code(frames.columns_of({"c": values})["c"])
    return column.values(np.array([code], np.float32))


def gap(method: str) -> Any:
    """A table with a gap, whose columns are hidden whole."""
    rows = {"a": [1.0, np.nan], "b": [2.0, 1.0]}
    reader = xplain.table(lambda t: np.stack([np.nan_to_num(t["a"]), t["b"]], 1), columns=rows)
    return xplain.explain(reader, rows, method, target=0, baseline={"a": 0.0, "b": 0.0})


def ranked(*, shaped: bool) -> Any:
    """The rank of what an operator makes that ONNX does not describe, in a file that states it or not."""
    own = graph(N("Own", ["x"], ["y"], domain="mine"), out=(FLOAT, ["n", 3] if shaped else None))
    return Tracer(own).value("y").rank


class Captions:
    """A net of a picture, ids and a scale, whose ids count beside what they are looked up as."""

    @staticmethod
    def joint(*inputs: str, **fixed: Any) -> Any:
        import torch
        from targets.test_joint_torch import LEFT, Captioned

        given = {"picture": LEFT[:1], "ids": np.array([[1, 4, 0]]), "scale": np.ones((1, 1), np.float32)}
        example = tuple(given[name] for name in inputs)
        torch.manual_seed(0)
        return xplain.joint(Captioned(masked=True), list(inputs), example=example, **fixed)


def logistic(fitted: bool) -> Any:
    from sklearn.linear_model import LogisticRegression

    made = LogisticRegression()
    return xplain.load(made.fit(ROWS, ROWS[:, 0] > 0) if fitted else made)


def instance(made: bool) -> Any:
    from sklearn.dummy import DummyClassifier

    return xplain.load(DummyClassifier().fit(ROWS, [0, 1, 0, 1, 0]) if made else DummyClassifier)


DOORS = [
    Case(
        "The rank of tensor {} is not known, and no run on made-up items told it.",
        lambda _: ranked(shaped=False),
        [lambda _: ranked(shaped=True)],
    ),
    Case(
        "model of tables: xplain.table(model, columns=rows).",
        lambda _: kept(background={"a": ["x", "y"], "b": [1.0, 2.0]}),
        [lambda _: with_words()],
    ),
    Case(
        "The explanation's target {} is no class; give target= an xplain target.",
        lambda _: judged(),
        [lambda _: judged(target=0)],
    ),
    Case(
        "Input {} of {} holds text: use xplain.text, which explains words.",
        lambda _: xplain.load(strings()),
        [lambda _: xplain.explain(xplain.text(strings()), "good film", "ablation", target=0)],
    ),
    Case(
        "it makes {} with {}; {} takes {}. Set layout and mode in the card.",
        lambda _: grey("RGB"),
        [lambda _: grey("L")],
    ),
    Case(
        "Fill it as the model's training did, or",
        lambda _: hired(["nurse", None]),
        [lambda _: hired(["nurse", "clerk"])],
    ),
    Case(
        "{} has {}. Say which it takes with columns=.",
        lambda _: hired(["nurse", "clerk"], columns={"age": [1.0], "job": ["clerk"], "town": ["x"]}),
        [lambda _: hired(["nurse", "clerk"], columns=["age", "job"])],
    ),
    Case(
        "For a model of token ids give tokenizer='tokenizer.json'; for rows with text among",
        lambda _: xplain.text(token_model(mask=False)),
        [of_text, lambda _: hired(["nurse", "clerk"])],
        needs=("tokenizers",),
    ),
    Case(
        "Ids are those of a tokenizer; give tokenizer='tokenizer.json'",
        lambda folder: tokens(folder, split="ids", tokenizer=None),
        [lambda folder: tokens(folder, split="ids")],
        needs=("tokenizers",),
    ),
    Case(
        " is of words in a text; ids are hidden by a method's baseline=",
        lambda folder: tokens(folder, split="ids", mask="[MASK]"),
        [lambda folder: tokens(folder, split="ids")],
        needs=("tokenizers",),
    ),
    Case(
        "{} takes no items of size {} ({}: {}). State one number for each axis of an item, ch",
        lambda _: even((8, 12)),
        [lambda _: even((3, 8, 12))],
        needs=("torch",),
    ),
    Case(
        "layer can be the target all the same: target='LAYER[0]'.",
        lambda _: silent(0),
        [lambda _: silent("conv[0]")],
        needs=("torch",),
    ),
    Case(
        "{}; say how their axes are named: layout=.",
        lambda _: filled(None),
        [lambda _: filled(Layout("NCHW", (3, 8, 8)))],
    ),
    Case(
        "accepted: one. Export the one you mean, or give the volume as an array with its layou",
        lambda folder: scan(folder, 4),
        [lambda folder: scan(folder, 1), lambda _: volume()],
        needs=("pydicom",),
    ),
    Case(
        "method 'attention-rollout': heads={} and discard={} need the matrices of laye",
        lambda _: attended(attending(), heads="max"),
        [lambda _: attended(attending(), heads="mean", discard=0)],
    ),
    Case(
        "no attention that rollout can follow. Use grad-cam, lrp or a perturbat",
        lambda _: attended(attending(again=True)),
        [
            lambda _, way=way, how=how: attended(attending(again=True), way, **how)
            for way, how in (("grad-cam", {"layer": "maps"}), ("lrp", {}), ("occlusion", {"patch": 4, "stride": 4}))
        ],
    ),
    Case(
        "which is none of its values ({}). Give rows instead",
        lambda _: coded(["x", "y"], 1.5),
        [lambda _: with_words()],
    ),
    Case(
        "a mixture of a number and a gap, which means nothing. Use a method",
        lambda _: coded([1.0, np.nan], MISSING / 2),
        [lambda _, way=way: gap(way) for way in ("kernel-shap", "exact-shapley", "ablation")],
    ),
    Case(
        "holds whole numbers, which are explained by what one nn.Embedding look",
        lambda _: Captions.joint("picture", "ids", "scale"),
        [lambda _: Captions.joint("picture", "scale", fixed={"ids": np.array([[1, 4, 0]])})],
        needs=("torch",),
    ),
    Case(
        "is not fitted, so it has nothing to explain. Fit it first.",
        lambda _: logistic(fitted=False),
        [lambda _: logistic(fitted=True)],
        needs=("sklearn",),
    ),
    Case(
        "{} is a class, not a model. Make an instance",
        lambda _: instance(made=False),
        [lambda _: instance(made=True)],
        needs=("sklearn",),
    ),
    Case(
        "These metrics compare with what is known to be there.",
        lambda _: pointed(None),
        [lambda _: pointed(np.ones((2, 8, 8), bool)), lambda _: pointed([[(0, 0, 4, 4)], [(2, 2, 8, 8)]])],
    ),
    Case(
        "Two outputs of {} may be its scores: {} is of the item's own shape",
        lambda _: xplain.predict(xplain.load(Again()), ROWS),
        [
            lambda _: xplain.predict(xplain.load(Again(), output="output:0"), ROWS),
            lambda _: xplain.predict(xplain.load(Again(), output="output:1"), ROWS),
        ],
    ),
    Case(
        "The picture was not kept, so nothing lies behind",
        lambda _: slid(),
        [lambda _: slid(behind=True)],
    ),
]


class Again(torch.nn.Module):
    """A row as three numbers, and the row made of them."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.row = torch.nn.Linear(ROWS.shape[1], 3), torch.nn.Linear(3, ROWS.shape[1])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = self.code(x)
        return z, self.row(z)


def judged(**options: Any) -> Any:
    """An explanation by hand, whose target is a word for a person."""
    from made import attribution

    found = attribution(np.abs(ROWS), target="what I meant")
    return xplain.measure.judge(linear, ROWS, found, "sparseness", **options)


def pointed(truth: Any) -> Any:
    found = xplain.explain(brightness, PICTURES, "occlusion", target=0, patch=4, stride=4)
    return xplain.measure.judge(brightness, PICTURES, found, "pointing-game", truth=truth)


def slid(behind: bool = False) -> Any:
    from made import attribution

    from xplain.render.slider import slider

    found = attribution(PICTURES[:, 0])
    return slider(found, found if behind else None)
