"""First contact with a file in a process of its own: what dies, hangs or floods there is refused here."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading

import nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import xplain
from xplain.core.errors import ModelError, Unsafe
from xplain.core.query import Sweep
from xplain.core.rules import Rules, Where
from xplain.graph.safety import Limits
from xplain.models.onnx import contact
from xplain.models.onnx.contact import Outcome
from xplain.models.onnx.feeds import OnnxFeeds
from xplain.models.options import FeedsOptions

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
N = helper.make_node
SHORT = Limits(contact_seconds=1, contact_bytes=2**30)


def model(*nodes, outputs=None, opset=17, **weights):
    made = nets.model(
        [N("MatMul", ["x", "W"], ["z"]), *nodes],
        {"x": (FLOAT, ["N", 4])},
        {"y": (FLOAT, ["N", 3])},
        {"W": np.ones((4, 3), np.float32), **weights},
        opset,
    )
    return made.SerializeToString()


def big_products():
    nodes = [N("ReduceSum", ["x"], ["s"], keepdims=0), N("Expand", ["s", "d"], ["b"])]
    nodes += [N("MatMul", ["b", "b"], ["b2"]), N("MatMul", ["b2", "b2"], ["b3"])]
    nodes += [N("ReduceMean", ["b3"], ["f"], keepdims=0), N("Add", ["z", "f"], ["y"])]
    return model(*nodes, d=np.array([7000, 7000]))


def many_large():
    nodes = [N("ReduceSum", ["x"], ["s"], keepdims=0)]
    nodes += [N("Expand", ["s", "d"], [f"b{k}"]) for k in range(40)]
    nodes += [N("Sum", [f"b{k}" for k in range(40)], ["t"]), N("ReduceMean", ["t"], ["f"], keepdims=0)]
    return model(*nodes, N("Add", ["z", "f"], ["y"]), d=np.array([200, 1000, 1000]))


def doubling_strings():
    nodes = [N("StringConcat", [f"s{k}"] * 2, [f"s{k + 1}"]) for k in range(26)]
    nodes += [N("RegexFullMatch", ["s26"], ["m"], pattern="b"), N("Cast", ["m"], ["f"], to=FLOAT)]
    return model(*nodes, N("Add", ["z", "f"], ["y"]), opset=20, s0=np.array(["a" * 1024], object))


def growing_loop():
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [N("Identity", ["c"], ["c2"]), N("Concat", ["v", "v"], ["v2"], axis=1)],
        "b",
        [info("i", INT64, []), info("c", BOOL, []), info("v", FLOAT, ["n", "k"])],
        [info("c2", BOOL, []), info("v2", FLOAT, ["n", "k2"])],
    )
    nodes = [N("Loop", ["M", "C", "x"], ["l"], body=body), N("ReduceMean", ["l"], ["f"], axes=[1])]
    return model(*nodes, N("Add", ["z", "f"], ["y"]), M=np.int64(30), C=np.bool_(True))


CASES = {
    "slow": (
        big_products,
        r"was not done after 1 s of processor time, in a run on .*contact_seconds\)",
    ),
    "many large": (
        many_large,
        r"wants more than 1.0 GiB of memory, in a run on .*contact_bytes\)",
    ),
    "strings": (doubling_strings, r"(wants more than 1.0 GiB|was not done after 1 s).*while ONNX Runtime opened it"),
    "loop": (growing_loop, r"wants more than 1.0 GiB of memory, in a run on zeros or ones"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_hangs_or_floods_is_refused_and_says_which_limit(case, untrusted):
    make, message = CASES[case]
    refused = message + r".*If you trust the file, give limits=Limits\(contact_"
    with pytest.raises(Unsafe, match=refused):
        xplain.load(make(), limits=SHORT)
    with pytest.raises(Unsafe, match=refused):
        OnnxFeeds(make(), FeedsOptions(limits=SHORT))
    assert not list(untrusted.iterdir()) if untrusted.exists() else True


def test_a_limit_can_be_moved_as_the_message_says(untrusted):
    content = big_products()
    small = onnx.ModelProto.FromString(content)
    small.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.array([1500, 1500]), "d"))
    tight = Limits(contact_bytes=20 * 2**20)
    with pytest.raises(Unsafe, match=r"contact_bytes=(\d+)\)") as refused:
        xplain.load(small, limits=tight)
    advice = int(str(refused.value).rpartition("contact_bytes=")[2].rstrip(")."))
    assert xplain.load(small, limits=Limits(contact_bytes=advice)).outline.scores
    assert xplain.load(small, limits=Limits(contact_seconds=0)).outline.scores


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "SIGILL"])
def test_a_death_is_told_by_its_name(name, untrusted, monkeypatch):
    monkeypatch.setattr(contact._Server, "ask", lambda *_: Outcome(-getattr(signal, name), b"co", False))
    with pytest.raises(
        Unsafe, match=rf"killed its process with {name}, while ONNX Runtime opened it.*contact_seconds=0"
    ):
        xplain.load(nets.cnn())


@pytest.mark.parametrize(("status", "trail"), [(0, b"co"), (3, b"cor."), (1, b"c")])
def test_a_child_that_says_nothing_is_no_good_sign(status, trail, untrusted, monkeypatch):
    """As where memory is so short that not even its lack can be told, or where a library ends the process."""
    monkeypatch.setattr(contact._Server, "ask", lambda *_: Outcome(status, trail, False))
    with pytest.raises(Unsafe, match=r"ended its process without a word, (while|in) .*contact_seconds=0"):
        xplain.load(nets.cnn())


def test_a_child_that_really_dies(untrusted, monkeypatch):
    """The child's own process is killed from outside, as a fault of C++ would."""
    server = contact._server()
    content = big_products()
    job = contact._Job(
        None, content, hashlib.sha256(content).hexdigest(), False, Limits(), None, None, {}, "load", Rules(), 30, 2**33
    )
    found = []
    asking = threading.Thread(target=lambda: found.append(server.ask(job)))
    asking.start()
    deadline = 200
    while deadline and not (children := _grandchildren(server._process.pid)):
        deadline -= 1
        asking.join(0.05)
    asking.join(0.3)
    os.kill(children[0], signal.SIGSEGV)
    asking.join(20)
    assert found[0].status == -signal.SIGSEGV
    assert "killed its process with SIGSEGV" in found[0].problem(job)


def _grandchildren(pid):
    def children(one):
        try:
            with open(f"/proc/{one}/task/{one}/children") as file:  # noqa: PTH123
                return [int(word) for word in file.read().split()]
        except OSError:
            return []

    return [inner for outer in children(pid) for inner in children(outer)]


def test_a_good_file_is_met_once(untrusted, monkeypatch):
    asked = []
    ask = contact._Server.ask
    monkeypatch.setattr(contact._Server, "ask", lambda self, job: asked.append(job.stage) or ask(self, job))
    net, x = nets.cnn(), np.zeros((1, 3, 16, 16), np.float32)
    for _ in range(2):
        loaded = xplain.load(net)
        xplain.explain(loaded, x, "occlusion", patch=8, stride=8)
        xplain.explain(loaded, x, "saliency")
        xplain.explain(loaded, x, "saliency")
        assert asked == ["load", "sweep"]
    assert "in a process of its own, 8 s and 4.0 GiB at most" in loaded.outline.facts["checked: first contact"]
    assert len(list(untrusted.iterdir())) == 2
    contact._passed.clear()  # as another process would find it
    xplain.explain(xplain.load(net), x, "saliency")
    assert asked == ["load", "sweep"]
    xplain.load(net, limits=Limits(contact_seconds=9))  # other limits are another question
    xplain.load(nets.cnn(classes=4))
    assert asked == ["load", "sweep", "load", "load"]


def test_every_table_of_rules_is_met_before_its_graph_is_run_here(untrusted, monkeypatch):
    """Their graphs differ: what harms in one need not in another."""
    asked, ask = [], contact._Server.ask

    def met(self, job):
        outcome = ask(self, job)
        asked.append((job.stage, job.rules.name, outcome.trail))
        return outcome

    monkeypatch.setattr(contact._Server, "ask", met)
    model, x = xplain.load(nets.cnn()), np.zeros((1, 3, 16, 16), np.float32)
    for method in ("saliency", "deeplift", "grad-cam", "lrp", "deeplift", "lrp"):
        xplain.explain(model, x, method, target=0)
    assert [stage for stage, _, _ in asked] == ["load", "sweep", "sweep", "sweep"]
    assert len({name for _, name, _ in asked[1:]}) == 3
    assert {trail for _, _, trail in asked[1:]} == {b"cos."}, "the child did not come to its end"
    xplain.explain(model, x, "lrp", target=0, rule="epsilon")
    assert len(asked) == 5


def test_rules_that_cannot_be_sent_are_met_as_the_plain_gradient(untrusted, monkeypatch):
    asked, ask = [], contact._Server.ask
    monkeypatch.setattr(contact._Server, "ask", lambda self, job: asked.append(job.rules.name) or ask(self, job))
    rules = Rules("of a plugin").on(Where(kinds=("linear",)), lambda call, g: call.vjp(*g))
    model = xplain.load(nets.cnn())
    model.answer(Sweep(np.zeros((1, 1, 3, 16, 16), np.float32), xplain.label(0), rules))
    assert asked == ["gradient", "gradient"]


def counted():
    """A model whose work is set by its second input, a number of rows."""
    nodes = [N("Gather", ["n", "first"], ["k"]), N("Concat", ["k", "k"], ["shape"], axis=0)]
    nodes += [N("ConstantOfShape", ["shape"], ["b"]), N("MatMul", ["b", "b"], ["c"]), N("MatMul", ["c", "c"], ["e"])]
    nodes += [N("ReduceSum", ["e"], ["f"], keepdims=0), N("MatMul", ["x", "W"], ["z"]), N("Add", ["z", "f"], ["y"])]
    inputs = {"x": (FLOAT, ["N", 4]), "n": (INT64, [1])}
    weights = {"W": np.ones((4, 3), np.float32), "first": np.array([0])}
    return nets.model(nodes, inputs, {"y": (FLOAT, ["N", 3])}, weights).SerializeToString()


def test_what_harms_only_with_the_value_of_another_input_is_met_with_it(untrusted):
    asked = {"input": "x", "limits": SHORT}
    assert xplain.load(counted(), fixed={"n": np.array([3])}, **asked).outline.scores
    with pytest.raises(Unsafe, match=r"limits.contact_(seconds|bytes)"):
        xplain.load(counted(), fixed={"n": np.array([9000])}, **asked)


def test_token_ids_are_swept_there_as_far_as_the_embedding(untrusted, monkeypatch):
    asked, ask = [], contact._Server.ask
    monkeypatch.setattr(contact._Server, "ask", lambda self, job: asked.append(ask(self, job)) or asked[-1])
    nodes = [N("Gather", ["E", "ids"], ["e"]), N("ReduceMean", ["e"], ["m"], axes=[1], keepdims=0)]
    nodes.append(N("MatMul", ["m", "W"], ["y"]))
    weights = {"E": np.ones((9, 4), np.float32), "W": np.ones((4, 3), np.float32)}
    net = nets.model(nodes, {"ids": (INT64, ["N", 5])}, {"y": (FLOAT, ["N", 3])}, weights)
    xplain.explain(xplain.load(net), np.ones((1, 5), np.int64), "saliency", layer="e")
    assert [one.trail for one in asked] == [b"cor.", b"cos."]


@pytest.mark.parametrize("home", ["no folder", "not writable", "relative", "a file"])
def test_a_cache_that_cannot_be_used_costs_time_alone(home, untrusted, monkeypatch, tmp_path):
    if home == "no folder":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        (tmp_path / "home").mkdir()
    elif home == "not writable":
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")
    elif home == "relative":
        monkeypatch.setenv("XDG_CACHE_HOME", "here")
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert xplain.load(nets.cnn()).outline.scores
    if home == "no folder":
        assert not list((tmp_path / "home").iterdir())  # a home without a cache folder stays as it is


def test_where_no_child_can_be_made_the_load_goes_on_and_says_so(untrusted, monkeypatch):
    monkeypatch.setattr(contact, "_server", lambda: (_ for _ in ()).throw(OSError("this system has no fork")))
    facts = xplain.load(nets.cnn()).outline.facts
    assert facts["checked: first contact"] == "no process of its own could be made here (this system has no fork)"


def test_what_fails_there_fails_here_with_its_own_message(untrusted):
    with pytest.raises(ModelError, match="Two nodes make the tensor 'y'"):
        xplain.load(model(N("Relu", ["z"], ["y"]), N("Abs", ["z"], ["y"])))


def test_models_of_this_process_meet_nobody(untrusted, monkeypatch):
    torch = pytest.importorskip("torch", reason="the module is torch's")
    monkeypatch.setattr(contact, "_server", lambda: pytest.fail("a module of this process was given to a child"))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).eval()
    xplain.explain(net, np.ones((1, 3, 2, 2), np.float32), "saliency")
    xplain.explain(net, np.ones((1, 3, 2, 2), np.float32), "lrp")
    xplain.explain(lambda rows: rows.reshape(len(rows), -1)[:, :3], np.ones((1, 3, 2, 2), np.float32), "ablation")


def test_texts_inputs_and_outside_weights_are_met_too(untrusted, tmp_path):
    onnx.save(nets.planted(size=192), tmp_path / "m.onnx", save_as_external_data=True, location="m.data")
    loaded = xplain.load(tmp_path / "m.onnx")
    xplain.explain(loaded, np.ones((1, 3, 192, 192), np.float32), "saliency")
    assert len(list(untrusted.iterdir())) == 2


@pytest.mark.parametrize("change", ["written over", "gone"])
def test_weights_exchanged_after_the_load_are_no_reason_to_refuse_a_sweep(change, untrusted, tmp_path):
    onnx.save(nets.planted(size=192), tmp_path / "m.onnx", save_as_external_data=True, location="m.data")
    loaded, x = xplain.load(tmp_path / "m.onnx"), np.ones((1, 3, 192, 192), np.float32)
    if change == "gone":
        (tmp_path / "m.data").unlink()
    else:
        (tmp_path / "m.data").write_bytes(bytes((tmp_path / "m.data").stat().st_size))
    found = xplain.explain(loaded, x, "saliency", target=0).values
    assert np.array_equal(found, xplain.explain(xplain.load(nets.planted(size=192)), x, "saliency", target=0).values)
    assert found.any()


def test_threads_and_forked_processes_may_load(untrusted):
    import multiprocessing

    done = []
    threads = [
        threading.Thread(target=lambda k=k: done.append(xplain.load(nets.cnn(classes=2 + k)).outline)) for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_classes, (nets.cnn(classes=7).SerializeToString(),)) == 7


def test_a_fork_while_another_thread_loads_can_load(untrusted):
    content = nets.cnn(classes=6).SerializeToString()
    contact._server()
    with contact._starting:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            known = contact._running == [] and not contact._starting.locked()
            os._exit(0 if known and contact._server().owner == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert xplain.load(content).outline.scores.classes == 6


def _classes(content):
    return xplain.predict(xplain.load(content), np.zeros((1, 3, 16, 16), np.float32)).shape[1]


def test_nothing_is_left_behind(tmp_path):
    code = """
import numpy as np, sys, xplain
from xplain.models.onnx import contact
xplain.load(sys.argv[1])
print(contact._running[0]._process.pid)
"""
    path = tmp_path / "m.onnx"
    path.write_bytes(nets.cnn().SerializeToString())
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "c"), "PYTHONWARNINGS": "error::ResourceWarning"}
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, env=env)
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
