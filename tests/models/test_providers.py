"""Which provider runs a model: order, options, unknown names, and every way of falling back, told and never silent."""

from __future__ import annotations

import nets
import numpy as np
import pytest

import xplain
from xplain import models
from xplain.core.errors import ModelError, UnknownName, UsageError
from xplain.core.outline import Outline
from xplain.models.onnx import providers as providers
from xplain.models.onnx import session
from xplain.models.onnx.providers import CPU, CUDA, TENSORRT, choose, open_first
from xplain.models.outlines import tell_providers

GPU_BUILD = [TENSORRT, CUDA, CPU]
KNOWN = [*GPU_BUILD, "OpenVINOExecutionProvider", "AzureExecutionProvider"]


@pytest.fixture
def two_devices(monkeypatch):
    monkeypatch.setattr(providers, "devices", lambda: 2)


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setattr(providers, "devices", lambda: 0)
    monkeypatch.setattr(providers, "_device_files", lambda: False)


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (None, [CUDA, CPU]),
        ("cpu", [CPU]),
        ("cuda", [CUDA]),
        ("CUDA", [CUDA]),
        (["tensorrt", "cuda", "cpu"], [TENSORRT, CUDA, CPU]),
        (["cpu", "cuda"], [CPU, CUDA]),  # the order asked for, however odd
        (("cuda", {"device_id": 1}), [CUDA]),
        ([("trt", {"trt_fp16_enable": True}), "CUDAExecutionProvider"], [TENSORRT, CUDA]),
    ],
)
def test_names_and_order(wanted, names):
    choice = choose(wanted, GPU_BUILD, KNOWN)
    assert choice.names == names
    assert choice.fallback == ""


@pytest.mark.usefixtures("two_devices")
def test_options_are_the_runtimes_own():
    used = dict(choose([("cuda", {"device_id": 1, "use_tf32": True}), ("cpu", {})], GPU_BUILD, KNOWN).used)
    assert used[CUDA]["device_id"] == "1"
    assert used[CUDA]["use_tf32"] == "True"  # what the caller says goes before what we say
    assert used[CUDA]["cudnn_conv_algo_search"] == "HEURISTIC"
    assert used[CPU] == {}
    assert dict(choose("cuda:1", GPU_BUILD, KNOWN).used)[CUDA]["device_id"] == "1"


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    ("wanted", "kind", "message"),
    [
        ("cudda", UnknownName, r"Unknown provider 'cudda'. Did you mean 'cuda'.*Installed here: Tensorrt.*CPU"),
        ("CPUExecutionProvder", UnknownName, "Did you mean 'CPUExecutionProvider'"),
        (["cuda", "gpu"], UsageError, "best first, each once"),
        ([], UsageError, "one or more, best first"),
        ([3], UsageError, r"Provider 3 is not understood; accepted: a name, or \(name, options\)"),
        ("cuda:2", UsageError, "device_id of CUDAExecutionProvider is 2; accepted: 0 to 1"),
        (("cuda", {"device_id": -1}), UsageError, "device_id of CUDAExecutionProvider is -1"),
        ("cuda:x", UsageError, "a device's number is given once, as in 'cuda:1'"),
        ("cpu:0", UsageError, "a device's number is given once"),
        (("cuda:0", {"device_id": 1}), UsageError, "is given once"),
        ("OpenVINOExecutionProvider", UsageError, "OpenVINOExecutionProvider is not usable here; usable: Tensorrt"),
    ],
)
def test_what_cannot_be_used_is_refused(wanted, kind, message):
    with pytest.raises(kind, match=message):
        choose(wanted, GPU_BUILD, KNOWN)


@pytest.mark.usefixtures("no_device")
def test_without_a_device_the_next_one_is_taken_and_that_is_told():
    choice = choose(["tensorrt", "cuda", "cpu"], GPU_BUILD, KNOWN)
    assert choice.names == [CPU]
    assert choice.fallback == (
        "TensorrtExecutionProvider, CUDAExecutionProvider was asked for and is not usable here; CPUExecutionProvider "
        "is used."
    )
    assert choose(None, GPU_BUILD, KNOWN).names == [CPU]
    assert choose(None, GPU_BUILD, KNOWN).fallback == ""
    with pytest.raises(UsageError, match=r"not usable here; usable: CPU.*CUDA needs pip install 'xplain\[gpu\]'"):
        choose("cuda", GPU_BUILD, KNOWN)


def test_a_device_that_the_runtime_cannot_use_is_told(monkeypatch):
    monkeypatch.setattr(providers, "_device_files", lambda: True)
    choice = choose(None, [CPU], KNOWN)
    assert choice.names == [CPU]
    assert choice.fallback.startswith("A CUDA device is here, but the installed ONNX Runtime has no CUDAExecution")
    assert choose("cpu", [CPU], KNOWN).fallback == ""  # meant


class Runtime:
    """What a build of the runtime does where some providers do not start: it leaves them out, or raises."""

    def __init__(self, starts, raises=()):
        self.starts, self.raises, self.tried = starts, raises, []

    def __call__(self, wanted):
        names = [name for name, _ in wanted]
        self.tried.append(names)
        for name in names:
            if name in self.raises:
                raise RuntimeError(f"{name}: CUDA failure 35\nat somewhere.cc")
        self.got = [name for name in names if name in self.starts] or [CPU]
        return self

    def get_providers(self):
        return self.got if CPU in self.got else [*self.got, CPU]


PAIRS = ((TENSORRT, {}), (CUDA, {"device_id": "1"}), (CPU, {}))


def test_the_first_that_starts_is_used_as_it_was_asked_for():
    opened = open_first(Runtime([TENSORRT, CUDA, CPU]), PAIRS)
    assert (opened.used, opened.fallback) == (PAIRS, "")


def test_a_provider_left_out_silently_is_told():
    opened = open_first(Runtime([CPU]), PAIRS)
    assert [name for name, _ in opened.used] == [CPU]
    assert opened.fallback == (
        "TensorrtExecutionProvider, CUDAExecutionProvider was asked for, but could not be started; "
        "CPUExecutionProvider is used. Its libraries or the driver do not fit, see 'xplain doctor'."
    )
    with pytest.raises(ModelError, match="CUDAExecutionProvider was asked for, but ONNX Runtime fell back to CPU"):
        open_first(Runtime([CPU]), PAIRS[1:2])


def test_a_provider_that_raises_is_passed_over_with_its_reason():
    runtime = Runtime([CUDA, CPU], raises=[TENSORRT])
    opened = open_first(runtime, PAIRS)
    assert runtime.tried == [[TENSORRT, CUDA, CPU], [CUDA, CPU]]
    assert opened.used == PAIRS[1:]
    assert "(TensorrtExecutionProvider: CUDA failure 35); CUDAExecutionProvider is used" in opened.fallback
    with pytest.raises(RuntimeError, match="CUDA failure 35"):
        open_first(Runtime([CPU], raises=[CUDA]), PAIRS[1:2])


def test_the_installed_runtime_left_out_a_provider_it_was_not_built_with(capfd):
    content = nets.cnn().SerializeToString()
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(ModelError, match="CUDAExecutionProvider was asked for, but ONNX Runtime fell back to CPU"),
    ):
        session.Session(content, "net", [(CUDA, {})])
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        opened = session.Session(content, "net", [(CUDA, {}), (CPU, {})])
    assert opened.used == ((CPU, {}),)
    assert "CUDAExecutionProvider was asked for, but could not be started" in opened.fallback
    assert capfd.readouterr().out == ""  # the runtime's own way of falling back prints


def test_a_result_says_that_another_provider_answered(monkeypatch):
    monkeypatch.setattr(providers, "devices", lambda: 1)
    choice = choose(["cuda", "cpu"], [CUDA, CPU], KNOWN)
    monkeypatch.setattr("xplain.models.onnx.open.choose_providers", lambda wanted: choice)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):  # the runtime installed here has no CUDA
        model = xplain.load(nets.cnn(), providers=["cuda", "cpu"])
    assert model.outline.facts["providers"] == CPU
    told = "CUDAExecutionProvider was asked for, but could not be started; CPUExecutionProvider is used."
    assert any(quirk.startswith(told) for quirk in model.outline.quirks)
    x = np.random.default_rng(0).random((1, 3, 16, 16)).astype(np.float32)
    result = xplain.explain(model, x, patch=8, stride=8)
    assert result.warnings[0].text.startswith(told)
    monkeypatch.undo()
    assert not xplain.explain(nets.cnn(), x, patch=8, stride=8).warnings


def test_a_choice_of_providers_is_a_quirk_of_texts_and_tables_too():
    outline = Outline("net", "onnx", "", (), "x", None, None)
    assert tell_providers(outline, [CPU], "", "").quirks == ()
    told = tell_providers(outline, [CPU], "one.", "two.")
    assert told.quirks == ("one.", "two.")
    assert (told.facts, [one.text for one in told.warnings]) == ({"providers": CPU}, ["one.", "two."])


@pytest.mark.usefixtures("no_device")
def test_unknown_and_missing_providers_at_the_door():
    with pytest.raises(UnknownName, match="Unknown provider 'gpu9'"):
        xplain.load(nets.cnn(), providers="gpu9")
    with pytest.raises(UsageError, match="Provider TensorrtExecutionProvider is not usable here; usable: .*CPU"):
        xplain.load(nets.cnn(), providers=["TensorrtExecutionProvider"])
    model = xplain.load(nets.cnn(), providers=["OpenVINOExecutionProvider", "cpu"])
    assert model.outline.warnings[0].text.startswith("OpenVINOExecutionProvider was asked for and is not usable here")


def test_a_provider_is_tried_with_the_least_model(monkeypatch):
    assert session.trial(CPU) == ""
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        assert "CUDAExecutionProvider was asked for, but ONNX Runtime fell back" in session.trial(CUDA)
    monkeypatch.setattr(session, "choose_providers", lambda wanted: providers.Choice(PAIRS[1:], "A device is idle."))
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        idle, broken = models.provider_findings()
    assert idle == "A device is idle."
    assert "CUDAExecutionProvider was asked for, but ONNX Runtime fell back" in broken
