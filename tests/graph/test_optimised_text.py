"""What onnxruntime's own tools make of a transformer: optimised, of integers, of few bits. Each is explained."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from finite import session

from xplain.core.rules import Rules
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build
from xplain.rules.excitation import EXCITATION
from xplain.rules.lrp_tables import epsilon

pytest.importorskip("torch")
quantization = pytest.importorskip("onnxruntime.quantization")
optimizer = pytest.importorskip("onnxruntime.transformers.optimizer")
text_net = pytest.importorskip("text_net")

RNG = np.random.default_rng(1)
IDS = RNG.integers(0, text_net.WORDS, (2, text_net.LENGTH))
MASK = np.array([[1] * 9, [1] * 6 + [0] * 3])
KINDS = np.array([[0] * 5 + [1] * 4] * 2)
FEEDS = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": KINDS}
FLOAT = {"DefaultTensorType": onnx.TensorProto.FLOAT}  # the quantisers cannot infer the type behind fused operators


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the net lies, as ``net.onnx``."""
    path = tmp_path_factory.mktemp("text")
    onnx.save(text_net.text_file(), path / "net.onnx")
    logging.disable(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield path
    logging.disable(logging.NOTSET)


def _optimised(folder: Path, multi_head: bool = False, half: bool = False) -> Path:
    path = folder / f"optimised{multi_head}{half}.onnx"
    options = optimizer.FusionOptions("bert")
    options.use_multi_head_attention = multi_head
    made = optimizer.optimize_model(
        str(folder / "net.onnx"), "bert", num_heads=text_net.HEADS, hidden_size=text_net.WIDTH, opt_level=0,
        optimization_options=options,
    )  # fmt: skip
    if half:
        made.convert_float_to_float16(keep_io_types=True)
    made.save_model_to_file(str(path))
    return path


def _integers(path: Path, signed: bool) -> Path:
    kind = quantization.QuantType.QInt8 if signed else quantization.QuantType.QUInt8
    out = path.with_name(f"{path.stem}-{kind}.onnx")
    quantization.quantize_dynamic(path, out, weight_type=kind, extra_options=FLOAT)
    return out


def _few_bits(path: Path, bits: int, symmetric: bool) -> Path:
    blocks = pytest.importorskip("onnxruntime.quantization.matmul_nbits_quantizer")
    config = blocks.DefaultWeightOnlyQuantConfig(block_size=16, is_symmetric=symmetric, bits=bits)
    quantizer = blocks.MatMulNBitsQuantizer(onnx.load(path), algo_config=config)
    quantizer.process()
    out = path.with_name(f"{path.stem}-{bits}-{symmetric}.onnx")
    quantizer.model.save_model_to_file(str(out))
    return out


def _saved(path: Path, level: str) -> Path:
    """What a session saves after it optimised the file."""
    import onnxruntime as ort

    out, options = path.with_name(f"{path.stem}-{level}.onnx"), ort.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(out), 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return out


FORMS: dict[str, tuple[Callable[[Path], Path], set[str], float]] = {
    "optimised": (_optimised, {"Attention", "EmbedLayerNormalization", "SkipLayerNormalization"}, 0.9999),
    "multi-head": (lambda f: _optimised(f, True), {"MultiHeadAttention"}, 0.9999),
    "saved": (lambda f: _saved(_optimised(f), "ORT_ENABLE_ALL"), {"FusedGemm", "Attention"}, 0.9999),
    "half": (lambda f: _optimised(f, half=True), {"Attention", "SkipLayerNormalization"}, 0.999),
    "int8": (lambda f: _integers(_optimised(f), True), {"QAttention", "QEmbedLayerNormalization"}, 0.98),
    "uint8": (lambda f: _integers(_optimised(f, True), False), {"MatMulInteger", "MultiHeadAttention"}, 0.98),
    "int8-saved": (
        lambda f: _saved(_integers(f / "net.onnx", True), "ORT_ENABLE_ALL"),
        {"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "SkipLayerNormalization"},
        0.98,
    ),
    "4-bit": (lambda f: _few_bits(f / "net.onnx", 4, False), {"MatMulNBits"}, 0.9),
    "4-bit-symmetric": (lambda f: _few_bits(_optimised(f), 4, True), {"MatMulNBits", "Attention"}, 0.9),
    "8-bit": (lambda f: _few_bits(f / "net.onnx", 8, True), {"MatMulNBits"}, 0.99),
}


def _embedding(made: onnx.ModelProto) -> str:
    """The tensor that goes into the first layer."""
    norms = {"LayerNormalization", "EmbedLayerNormalization", "QEmbedLayerNormalization"}
    return str(next(n.output[0] for n in made.graph.node if n.op_type in norms))


def _swept(made: onnx.ModelProto, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """The logits, and what arrives at the embedding; shapes of the batch and of the text are free."""
    tap = _embedding(made)
    integers = {v.name: v.type.tensor_type.elem_type for v in made.graph.input}
    feeds = {k: v.astype(np.int32 if integers[k] == onnx.TensorProto.INT32 else np.int64) for k, v in FEEDS.items()}
    built = build(made, [tap], [Seed("logits")], rules, returns=Returns(own=True))
    assert {node.domain for node in built.model.graph.node} <= {"", "ai.onnx"}
    y, found = session(built.model).run(["logits", built.taps[tap][1]], {**feeds, "target": np.array([0, 2])})
    away = 1e-5 if found.dtype == np.float32 else 5e-3
    np.testing.assert_allclose(y, session(made).run(["logits"], feeds)[0], rtol=1e-4, atol=away)
    return y, found.astype(np.float64)


@pytest.mark.parametrize("name", FORMS)
def test_each_form_computes_and_explains_as_the_original(name: str, folder: Path) -> None:
    make, expected, least = FORMS[name]
    made = onnx.load(make(folder))
    assert expected <= {node.op_type for node in made.graph.node}
    original = onnx.load(folder / "net.onnx")
    # relevance through a random net is another one for weights that are rounded: noise of 8 bits gives 0.4
    for rules in (Rules(), EXCITATION, *([epsilon(epsilon=1e-2)] if least > 0.999 else [])):
        one, two = _swept(original, rules)[1], _swept(made, rules)[1]
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > least
