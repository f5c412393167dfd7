"""The page without a server in a real browser: addresses that restore it, two methods or models side by side."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import threading
from urllib.parse import quote, unquote

import pytest
from PIL import Image

import xplain
from xplain.core.errors import MissingDependency
from xplain.demo import SCENES, demo_model_path, demo_picture
from xplain.serve.site import runtime, write_site

pytestmark = pytest.mark.slow
FIRST, SECOND = list(SCENES)[:2]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two names of the demo's model, two methods, two pictures; the address at which they are served."""
    try:
        runtime(os.environ.get("XPLAIN_WEB_DIST"))
    except MissingDependency as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("site")
    (folder / "pictures").mkdir()
    for name in (FIRST, SECOND):
        Image.fromarray(demo_picture(name)[0]).save(folder / "pictures" / f"{name}.png")
    models = {name: xplain.load(demo_model_path()) for name in ("here", "there")}
    write_site(
        models,
        folder / "site",
        {"grad-cam": {}, "saliency": {}},
        runtime_folder=os.environ.get("XPLAIN_WEB_DIST"),
        examples=str(folder / "pictures"),
    )
    handler = functools.partial(Quiet, directory=str(folder / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    tools = pytest.importorskip("playwright.sync_api", reason="no playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium")
    tools.expect.set_options(timeout=30_000)
    with tools.sync_playwright() as kit:
        one = kit.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def opened(browser, site):
    """A page of a size and scheme; any error of its console, such as a breach of the policy, fails the test."""
    from playwright.sync_api import expect

    contexts, wrong = [], []

    def told(one):  # that there is no WebGPU here is a line of the browser's own
        if one.type in ("error", "warning") and one.text != "No available adapters.":
            wrong.append(one.text)

    def open_page(width=1600, scheme="light", state=None, ready=True):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", told)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(site + ("" if state is None else "#" + quote(state if isinstance(state, str) else json.dumps(state))))
        if ready:
            expect(page.locator("#status")).to_have_text(re.compile(r"^Ready\.|\.png$"))
        return page

    yield open_page
    for one in contexts:
        one.close()
    assert not wrong


def state_of(page):
    return json.loads(unquote(page.url.partition("#")[2]))


def pixels(page, place=0):
    return page.locator(".map").nth(place).evaluate_handle("one => one.toDataURL()").json_value()


@pytest.mark.parametrize(("width", "scheme"), [(1600, "dark"), (390, "dark"), (390, "light")])
def test_an_address_restores_what_was_seen(opened, width, scheme):
    from playwright.sync_api import expect

    page = opened()
    page.get_by_role("button", name=f"{FIRST}.png").click()
    classes = page.locator(".classes button")
    expect(classes).to_have_count(5)
    second = classes.nth(1).locator("span").first.inner_text()
    classes.nth(1).click()
    expect(page.locator(".map")).to_have_attribute("aria-label", re.compile(f"grad-cam of {second}, in"))
    page.locator(".opacity").fill("30")
    page.locator(".threshold").fill("40")
    page.get_by_role("button", name=re.compile("^Compare with another method or model")).click()
    panels = page.locator(".panel")
    expect(panels).to_have_count(2)
    expect(page.get_by_role("article", name="Second explanation")).to_be_visible()
    expect(panels.nth(1).locator(".map")).to_have_attribute("aria-label", re.compile(f"saliency of {second}, in"))
    panels.nth(1).get_by_label("Model").select_option("there")
    panels.nth(1).locator(".target").select_option(label=second)
    panels.nth(1).get_by_label("Channel", exact=True).fill("3")
    panels.nth(1).get_by_role("button", name="Show it").click()
    expect(panels.nth(1).locator(".map")).to_have_attribute("aria-label", re.compile("Map: channel 3 of .*activation"))
    told = state_of(page)
    assert told["example"] == f"{FIRST}.png"
    assert [(one["model"], one["method"], one["channel"]) for one in told["panels"]] == [
        ("here", "grad-cam", None),
        ("there", "saliency", 3),
    ]
    again = opened(width, scheme, json.dumps(told))
    expect(again.locator("#status")).to_have_text(f"{FIRST}.png")
    assert state_of(again) == told
    assert [pixels(again, k) for k in (0, 1)] == [pixels(page, k) for k in (0, 1)]
    expect(again.locator(".classes button[aria-pressed=true] span:first-child").first).to_have_text(second)
    wide = again.evaluate_handle("document.documentElement").get_property("scrollWidth").json_value()
    assert wide <= width


def test_each_panel_says_what_explain_says(opened, site):
    from playwright.sync_api import expect

    model = xplain.load(demo_model_path())
    picture = demo_picture(SECOND)[0]
    panels = [
        {"model": "here", "method": "grad-cam", "target": 1},
        {"model": "there", "method": "saliency", "target": 2},
    ]
    page = opened(state={"panels": panels, "example": f"{SECOND}.png"})
    expect(page.locator("#status")).to_have_text(f"{SECOND}.png")
    for place, one in enumerate(panels):
        values = xplain.explain(model, picture, one["method"], target=one["target"]).values[0]
        page.locator(".map").nth(place).focus()
        page.keyboard.press("ArrowRight")
        probe = page.locator(".probe").nth(place)
        expect(probe).to_contain_text("row 80, column 81: ")
        said = float(re.search(r": (\S+) ", probe.inner_text())[1])
        assert said == pytest.approx(float(values[80, 81]), rel=0.02, abs=1e-6)


def test_a_tile_shows_its_channel_and_a_button_leads_back(opened):
    from playwright.sync_api import expect

    page = opened()
    page.get_by_role("button", name=f"{FIRST}.png").click()
    expect(page.locator(".tiles")).to_have_attribute("aria-label", re.compile(r"most active channels of \d+: 0, "))
    before = pixels(page)
    page.locator(".tiles").click(position={"x": 5, "y": 5})
    expect(page.locator(".map")).to_have_attribute("aria-label", re.compile("Map: channel 0 of"))
    assert pixels(page) != before
    assert state_of(page)["panels"][0]["channel"] == 0
    page.get_by_role("button", name="Show the explanation").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".map")).to_have_attribute("aria-label", re.compile("Map: grad-cam of"))
    assert pixels(page) == before
    expect(page.get_by_label("Channel", exact=True)).to_be_focused()


@pytest.mark.parametrize(
    "state",
    [
        "no json",
        "null",
        '{"panels": [null]}',
        '{"panels": [{}, {}, {}]}',
        {"panels": [{"model": "<img src=x onerror=alert(1)>", "method": "none", "target": 10**9, "channel": -4}]},
        {"panels": [{"target": "1", "opacity": "x", "threshold": {}, "channel": 1e300}], "example": "../about.json"},
    ],
)
def test_an_address_that_says_nothing_opens_the_page_as_it_is(opened, state):
    page = opened(state=state)
    assert page.locator(".panel").count() == 1
    page.get_by_role("button", name=f"{FIRST}.png").click()
    page.locator(".classes button").first.wait_for()
    (one,) = state_of(page)["panels"]
    assert (one["model"], one["method"], one["target"], one["channel"]) == ("here", "grad-cam", None, None)


def test_another_address_in_an_open_page_is_another_state(opened):
    from playwright.sync_api import expect

    page = opened()
    state = {"panels": [{"model": "there", "method": "saliency", "target": 2}], "example": f"{SECOND}.png"}
    page.evaluate_handle("text => { location.hash = text; }", quote(json.dumps(state)))
    expect(page.locator("#status")).to_have_text(f"{SECOND}.png")
    expect(page.get_by_label("Model")).to_have_value("there")
    expect(page.locator(".target")).to_have_value("2")
