"""A site that explains in the browser: what its model gives out, what stands beside it, and the camera in a browser."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import threading
from pathlib import Path

import nets
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

import xplain
from xplain.core.errors import CardError, MissingDependency, OutputError, UsageError
from xplain.demo import SCENES, demo_model_path, demo_picture
from xplain.serve.site import RUNTIME, runtime, write_site
from xplain.session.items import items_of


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The names of the runtime's files, with nothing in them."""
    folder = tmp_path_factory.mktemp("dist")
    for name in RUNTIME:
        (folder / name).write_text(name)
    return str(folder)


def test_the_sites_model_says_what_explain_says(textures, dist, tmp_path):
    layer = textures.outline.layers[2].name
    told = write_site(textures, tmp_path / "site", layer=layer, runtime_folder=dist)
    assert json.loads((tmp_path / "site" / "about.json").read_text()) == json.loads(json.dumps(told))
    (about,) = told["models"]
    picture, _, _ = demo_picture(next(iter(SCENES)))
    x = items_of(textures, picture).x
    session = onnxruntime.InferenceSession(tmp_path / "site" / "model.onnx", providers=["CPUExecutionProvider"])
    wanted = [about["outputs"][name] for name in ("scores", "attribution", "layer")]
    for target in (-1, 2):
        feeds = {about["input"]: x, "target": np.array([target])}
        scores, map_, values = session.run(wanted, feeds)
        expected = xplain.explain(textures, picture, "grad-cam", target=None if target < 0 else target)
        assert np.allclose(scores, xplain.predict(textures, x), atol=1e-4)
        assert np.allclose(map_, expected.values, atol=1e-5)
        assert values.shape[2] * values.shape[3] > 1
    assert about["size"] == [160, 160]
    assert about["labels"] == list(textures.outline.labels)
    assert about["card"]["scale"] == textures.outline.card.scale
    names = {one.name for one in (tmp_path / "site").iterdir()}
    assert names == {
        "index.html",
        "live.js",
        "see.js",
        "draw.js",
        "hand.js",
        "address.js",
        "controls.js",
        "runs.js",
        "shown.js",
        "page.css",
        "model.onnx",
        "about.json",
        "ort",
    }
    page = (tmp_path / "site" / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|style=|onclick=|https?://|unsafe-inline|'unsafe-eval'", page)


@pytest.mark.parametrize(("axes", "item"), [("NHWC", [6, 4, 3]), ("NCHW", [3, 6, 4])])
def test_the_sites_axes_are_those_that_items_are_read_by(dist, tmp_path, axes, item):
    """The model's own axes, also where a width of four would pass for channels."""
    last = axes == "NHWC"
    net = nets.model(
        [
            *([helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])] if last else []),
            helper.make_node("Conv", ["t" if last else "x", "w"], ["c"]),
            helper.make_node("GlobalAveragePool", ["c"], ["g"]),
            helper.make_node("Flatten", ["g"], ["scores"]),
        ],
        {"x": (TensorProto.FLOAT, ["N", *item])},
        {"scores": (TensorProto.FLOAT, ["N", 2])},
        {"w": np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)},
    )
    (about,) = write_site(xplain.load(net, card="unit"), tmp_path / "site", "saliency", runtime_folder=dist)["models"]
    assert about["layout"] == axes
    assert about["size"] == [6, 4]


def test_a_site_is_whole_or_not_there(textures, dist, tmp_path):
    site = tmp_path / "site"
    with pytest.raises(CardError, match="no card for pictures"):
        write_site(xplain.load(nets.cnn()), site, runtime_folder=dist)
    with pytest.raises(UsageError, match=r"holds no ort.*1\.30"):
        write_site(textures, site, runtime_folder=str(tmp_path))
    with pytest.raises(UsageError, match="cannot be compiled"):
        write_site(textures, site, "rise", runtime_folder=dist)
    with pytest.raises(ValueError, match="Unknown layer"):
        write_site(textures, site, layer="none such", runtime_folder=dist)
    assert not site.exists()
    site.mkdir()
    (site / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="empty it"):
        write_site(textures, site, runtime_folder=dist)
    assert [one.name for one in tmp_path.iterdir()] == ["site"]


def test_the_runtime_is_the_wheel_unless_a_folder_is_given(dist):
    assert runtime(dist) == Path(dist)
    if importlib.util.find_spec("xplain_web") is None:
        with pytest.raises(MissingDependency, match=r"pip install \./plugins/xplain-web"):
            runtime()
    else:
        assert runtime().is_dir()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@pytest.mark.slow
def test_the_camera_is_explained_in_a_browser(tmp_path):
    """Needs chromium, playwright and the files of onnxruntime-web, in XPLAIN_WEB_DIST or the wheel xplain-web."""
    tools = pytest.importorskip("playwright.sync_api", reason="no playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium")
    try:
        runtime(os.environ.get("XPLAIN_WEB_DIST"))
    except MissingDependency as error:
        pytest.skip(str(error))
    textures = xplain.load(demo_model_path())
    write_site(textures, tmp_path / "site", runtime_folder=os.environ.get("XPLAIN_WEB_DIST"))
    picture = tmp_path / "p.png"
    Image.fromarray(demo_picture(next(iter(SCENES)))[0]).save(picture)
    best = xplain.predict(textures, picture)[0].argmax()
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    wrong = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with tools.sync_playwright() as kit:
            camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
            browser = kit.chromium.launch(executable_path=chromium, args=["--no-sandbox", *camera])
            page = browser.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
            page.goto(f"http://localhost:{server.server_port}/")
            tools.expect(page.locator("#status")).to_have_text("Ready.", timeout=60_000)
            assert "threads" in page.locator(".summary").inner_text()
            page.locator("#file").set_input_files(str(picture))
            first = page.locator(".classes button span").first
            tools.expect(first).to_have_text(textures.outline.label_name(int(best)), timeout=20_000)
            page.locator(".map").focus()
            page.keyboard.press("ArrowDown")
            tools.expect(page.locator(".probe")).to_contain_text("row 81, column 80: ")
            for key in ("Enter", *["Shift+ArrowDown"] * 4, *["Shift+ArrowRight"] * 4, "Enter"):
                page.keyboard.press(key)
            tools.expect(page.locator(".hidden-box")).to_contain_text(
                "With rows 81 to 122 and columns 80 to 121 hidden, the"
            )
            x = items_of(textures, picture).x
            x[:, :, 81:122, 80:121] = 0
            score = xplain.predict(textures, x)[0, best]
            said = re.search(r" to (-?[\d.]+) \([+-]?[\d.]+\); best is", page.locator(".hidden-box").inner_text())[1]
            assert abs(float(said) - score) < 0.02 * abs(score)
            page.locator("#camera").click()
            tools.expect(page.locator("#status")).to_contain_text("pictures a second", timeout=30_000)
            browser.close()
        server.shutdown()
    assert not wrong


def test_a_page_without_a_server_says_that_it_shows_pictures(dist, tmp_path):
    """Of a model of rows no card would help, so none is asked for."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["scores"])], "net", inputs, outputs)
    model = xplain.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    with pytest.raises(UsageError, match=r"shows pictures.*takes items of \[2\].*'xplain serve'"):
        write_site(model, tmp_path / "site", runtime_folder=dist)


def test_channels_are_shown_of_a_layer_that_has_positions(textures, dist, tmp_path):
    """Not of the mean over all of them, which comes last."""
    told = write_site({"a": textures}, tmp_path / "site", {"grad-cam": {}, "saliency": {}}, runtime_folder=dist)
    shapes = {one.name: one.shape for one in textures.outline.layers}
    for one in told["models"]:
        assert max(shapes[one["layer"]][2:]) > 1
        assert one["channels"] == shapes[one["layer"]][1]
    assert [one["file"] for one in told["models"]] == ["model.onnx", "model-2.onnx"]
    assert {"model.onnx", "model-2.onnx"} <= {one.name for one in (tmp_path / "site").iterdir()}


def test_a_layer_of_one_row_is_not_taken_for_one_with_positions(dist, tmp_path):
    """Class scores that a converter has laid along the last of four axes."""
    net = nets.model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("GlobalAveragePool", ["c"], ["g"]),
            helper.make_node("Transpose", ["g"], ["t"], perm=[0, 2, 3, 1]),
            helper.make_node("Flatten", ["t"], ["scores"]),
        ],
        {"x": (TensorProto.FLOAT, ["N", 3, 6, 5])},
        {"scores": (TensorProto.FLOAT, ["N", 2])},
        {"w": np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)},
    )
    (about,) = write_site(xplain.load(net, card="unit"), tmp_path / "site", "saliency", runtime_folder=dist)["models"]
    assert (about["layer"], about["channels"]) == ("c", 2)
