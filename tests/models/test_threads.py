"""Threads that share a model get the bits that one thread gets, and leave a torch module as they found it."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import ModelError

torch = pytest.importorskip("torch")

THREADS = 4
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def onnx_net() -> onnx.ModelProto:
    kernel = numpy_helper.from_array(rng.normal(size=(5, 3, 3, 3)).astype(np.float32), "K")
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])
    graph = helper.make_graph(nodes, "net", [given], [made], [kernel])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def torch_net() -> Any:
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, 5)
    )


def function_of() -> Callable[[Any], Any]:
    weights = np.random.default_rng(1).normal(size=(3 * 32 * 32, 5)).astype(np.float32)
    return lambda batch: np.tanh(batch.reshape(len(batch), -1) @ weights)


def at_once(work: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What each thread's work returns; they begin together, and the first error is raised."""
    gate = threading.Barrier(threads)

    def begin(k: int) -> Any:
        gate.wait()
        return work(k)

    with ThreadPoolExecutor(threads) as pool:
        return [one.result() for one in [pool.submit(begin, k) for k in range(threads)]]


def check(model: Any, method: str, rounds: int = 2, **options: Any) -> None:
    items = [np.random.default_rng(k).normal(size=(2, 3, 32, 32)).astype(np.float32) for k in range(THREADS)]
    ask = lambda k: xplain.explain(model, items[k], method, **options)  # noqa: E731
    alone = [ask(k) for k in range(THREADS)]

    def work(k: int) -> list[Any]:
        return [(one, ask(one)) for one in ((k + step) % THREADS for step in range(rounds))]

    for pairs in at_once(work):
        for k, found in pairs:
            assert np.array_equal(found.values, alone[k].values)
            assert np.array_equal(found.scores, alone[k].scores)


SMALL: dict[str, dict[str, Any]] = {
    "occlusion": {"patch": 8, "stride": 8},
    "rise": {"samples": 64, "cells": 4},
    "kernel-shap": {"samples": 64, "features": "grid:4"},
    "saliency": {},
    "grad-cam": {},
    "lrp": {},
    "integrated-gradients": {"steps": 4},
    "guided-backprop": {},
}


@pytest.mark.parametrize("method", SMALL)
@pytest.mark.parametrize("door", ["onnx", "torch train", "torch eval"])
def test_graphs(door: str, method: str) -> None:
    net = onnx_net() if door == "onnx" else torch_net().train(door == "torch train")
    check(xplain.load(net), method, **SMALL[method])


@pytest.mark.parametrize("method", ["occlusion", "rise", "kernel-shap"])
def test_functions(method: str) -> None:
    check(xplain.load(function_of()), method, **SMALL[method])


def test_windows_answered_incrementally() -> None:
    model = xplain.load(onnx_net(), engine="fast")
    check(model, "occlusion", rounds=2, patch=4, stride=4)
    check(xplain.load(onnx_net()), "occlusion", rounds=2, patch=4, stride=2)


def test_each_thread_is_told_of_its_own_windows() -> None:
    model = xplain.load(onnx_net())
    x = np.ones((1, 3, 32, 32), np.float32)
    large = {"patch": 30, "stride": 2}
    alone = str(xplain.explain(model, x, "occlusion", **large).notes["windows answered"])

    def work(k: int) -> list[str]:
        options = large if k % 2 else {"patch": 2, "stride": 2}
        notes = [xplain.explain(model, x, "occlusion", **options).notes for _ in range(4)]
        return [str(one["windows answered"]).split(",", 2)[1] for one in notes]

    for k, told in enumerate(at_once(work)):
        if k % 2:
            assert set(told) == {alone.split(",", 2)[1]}


def test_layers_of_items_of_different_shapes() -> None:
    net = torch_net().eval()
    model = xplain.load(net)
    x = np.random.default_rng(5).normal(size=(2, 3, 32, 32)).astype(np.float32)
    wide = np.random.default_rng(6).normal(size=(1, 3, 40, 24)).astype(np.float32)
    cam, other = (xplain.explain(model, one, "layer-cam").values for one in (x, wide))

    def work(k: int) -> bool:
        for _ in range(3):
            if k % 2:
                assert np.array_equal(xplain.explain(model, x, "layer-cam").values, cam)
            else:
                assert np.array_equal(xplain.explain(model, wide, "layer-cam").values, other)
        return True

    assert all(at_once(work))


def test_two_loads_of_one_module_and_of_nets_that_share_a_part() -> None:
    nn = torch.nn
    torch.manual_seed(1)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    heads = [nn.Sequential(backbone, nn.Dropout(0.5), nn.Linear(32, 4)).train() for _ in range(2)]
    models = [xplain.load(one) for one in (*heads, heads[0], heads[1])]
    x = np.random.default_rng(2).normal(size=(2, 3, 24, 24)).astype(np.float32)
    alone = [xplain.explain(one, x, "grad-cam").values for one in models]

    def work(k: int) -> None:
        for _ in range(5):
            assert np.array_equal(xplain.explain(models[k], x, "grad-cam").values, alone[k])

    at_once(work)
    for head in heads:
        assert all(part.training for part in head.modules())
        assert not any(part._forward_hooks for part in head.modules())


def test_modules_that_share_nothing_do_not_wait_for_each_other() -> None:
    inside, go = threading.Event(), threading.Event()

    class Waits(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            inside.set()
            assert go.wait(30)
            return x.flatten(1)[:, :2]

    slow, x = xplain.load(Waits()), np.ones((1, 3, 8, 8), np.float32)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(xplain.predict, slow, x)
        assert inside.wait(30)
        assert np.isfinite(xplain.predict(xplain.load(torch_net()), np.ones((1, 3, 32, 32), np.float32))).all()
        go.set()
        assert np.array_equal(waiting.result(), [[1.0, 1.0]])


def test_calls_of_others_are_not_taken_for_the_pass_that_is_watched() -> None:
    """The caller's thread runs the module while a layer is read: its batch must not arrive in the map."""
    torch.manual_seed(0)
    inside, go = threading.Event(), threading.Event()

    class Slow(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head, self.waits = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 2), False

        def forward(self, x: Any) -> Any:
            seen = self.conv(x)
            if self.waits and threading.current_thread() is not threading.main_thread():
                inside.set()
                assert go.wait(30)
            return self.head(seen.relu().mean((2, 3)))

    net = Slow().eval()
    model, x = xplain.load(net), np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    expected = xplain.explain(model, x, "grad-cam", layer="conv", target=0).values
    net.waits = True
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(xplain.explain, model, x, "grad-cam", layer="conv", target=0)
        for _ in range(20):
            inside.wait(0.05)
            net(torch.ones(1, 3, 8, 8))
        go.set()
        assert np.array_equal(found.result().values, expected)


def test_a_module_whose_forward_explains_itself() -> None:
    """A pass inside a pass: neither sees the other's layers."""
    torch.manual_seed(0)

    class Curious(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
            self.head = torch.nn.Linear(4, 2)
            self.asks = False

        def forward(self, x: Any) -> Any:
            seen = self.body(x)
            if self.asks:
                self.asks = False
                with torch.no_grad():
                    xplain.explain(self, np.zeros((1, 3, 8, 8), np.float32), "grad-cam", layer="body.0", target=1)
                self.asks = True
            return self.head(seen.mean((2, 3)))

    net, x = Curious().train(), np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    expected = xplain.explain(net, x, "grad-cam", layer="body.0", target=0).values
    net.asks = True
    assert np.array_equal(xplain.explain(net, x, "grad-cam", layer="body.0", target=0).values, expected)
    assert net.training
    assert net.body.training


def test_a_function_that_explains() -> None:
    inner = xplain.load(onnx_net())

    def function(batch: Any) -> Any:
        x = np.asarray(batch, np.float32)
        return xplain.predict(inner, x) + xplain.explain(inner, x, "saliency", target=0).values.mean((1, 2))[:, None]

    model, x = xplain.load(function), np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    alone = xplain.explain(model, x, "occlusion", patch=16, stride=16).values
    for found in at_once(lambda _: xplain.explain(model, x, "occlusion", patch=16, stride=16).values):
        assert np.array_equal(found, alone)


def test_a_mode_that_is_changed_meanwhile_is_refused() -> None:
    class Trained(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.calls = torch.nn.Dropout(0.5), 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            if self.calls == 3:
                worker = threading.Thread(target=self.train)
                worker.start()
                worker.join()
            return self.drop(x).flatten(1)[:, :3]

    net = Trained().eval()
    with pytest.raises(ModelError, match=r"put into training mode while xplain ran it.*deepcopy"):
        xplain.explain(net, np.ones((1, 3, 8, 8), np.float32), "occlusion", patch=4, stride=4)
    advised = copy.deepcopy(net)
    assert xplain.explain(advised, np.ones((1, 3, 8, 8), np.float32), "occlusion", patch=4, stride=4).values.shape


def test_a_part_that_changes_its_own_mode_is_let_be() -> None:
    class Sampling(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            self.drop.train()
            return x.flatten(1)[:, :3]

    x = np.ones((1, 3, 8, 8), np.float32)
    assert np.isfinite(xplain.explain(Sampling().eval(), x, "occlusion", patch=4, stride=4).values).all()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_module_is_left_as_it_was_and_free_after_errors(error: type[BaseException]) -> None:
    class Fails(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.drop, self.calls = torch.nn.Conv2d(3, 4, 3), torch.nn.Dropout(0.5), 0
            self.conv.eval()

        def forward(self, x: Any) -> Any:
            self.calls += 1
            if self.calls == 3:
                raise error("in the middle")
            return self.drop(self.conv(x)).mean((2, 3))

    net = Fails()
    net.conv.eval()
    model, x = xplain.load(net), np.ones((2, 3, 8, 8), np.float32)
    with pytest.raises(error, match="in the middle"):
        xplain.explain(model, x, "grad-cam", layer="conv")
    assert net.training
    assert net.drop.training
    assert not net.conv.training
    assert not any(part._forward_hooks for part in net.modules())
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(xplain.explain, model, x, "grad-cam", layer="conv").result(30).values.shape == (2, 8, 8)


def test_checkpointed_parts_run_again_in_eval_mode() -> None:
    """Activation checkpointing runs parts once more in the backward pass; dropout must sleep there as well."""
    from torch.utils.checkpoint import checkpoint

    class Net(torch.nn.Module):
        def __init__(self, saved: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(192, 8))
            self.head, self.saved = torch.nn.Linear(8, 2), saved

        def forward(self, x: Any) -> Any:
            inner = checkpoint(self.body, x, use_reentrant=False) if self.saved else self.body(x)
            return self.head(torch.tanh(inner))

    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    plain, saved = (xplain.explain(Net(k).train(), x, "saliency", target=0).values for k in (False, True))
    np.testing.assert_allclose(saved, plain, rtol=1e-5)


def test_exports_wait_for_passes_and_passes_for_exports() -> None:
    nets = [torch_net().train() for _ in range(2)]
    models = [xplain.load(one) for one in nets]
    x = np.random.default_rng(3).normal(size=(1, 3, 32, 32)).astype(np.float32)
    alone = [xplain.explain(models[0], x, "lrp").values, xplain.explain(models[1], x, "grad-cam").values]
    fresh = [xplain.load(one) for one in nets]

    def work(k: int) -> None:
        if k == 0:
            assert np.array_equal(xplain.explain(fresh[0], x, "lrp").values, alone[0])
        else:
            for _ in range(10):
                assert np.array_equal(xplain.explain(fresh[1], x, "grad-cam").values, alone[1])

    at_once(work)


def test_items_that_were_written_over_between_two_calls() -> None:
    """float64 items are cast once per question, not once per array."""
    model, x = xplain.load(onnx_net()), np.random.default_rng(0).normal(size=(1, 3, 32, 32))
    other = np.random.default_rng(1).normal(size=x.shape)
    expected = xplain.explain(model, other.copy(), "occlusion", patch=8, stride=8).values
    xplain.explain(model, x, "occlusion", patch=8, stride=8)
    x[:] = other
    assert np.array_equal(xplain.explain(model, x, "occlusion", patch=8, stride=8).values, expected)
