"""The page in a real browser: pictures, camera, classes, two methods, hiding by hand, keyboard, phone, dark."""

from __future__ import annotations

import base64
import io
import re
import shutil
import time

import httpx
import numpy as np
import pytest
import words_and_rows
from PIL import Image
from serving import running

import xplain
from xplain.demo import SCENES, demo_picture
from xplain.session.items import items_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    for name in SCENES:
        Image.fromarray(demo_picture(name)[0]).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def shown(textures, examples):
    with running({"textures": textures}, examples=str(examples)) as one:
        yield one


@pytest.fixture(scope="module")
def readers():
    with running(words_and_rows.readers()) as one:
        yield one


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    if CHROMIUM is None:
        pytest.skip("no chromium")
    playwright.expect.set_options(timeout=30_000)  # of a machine that does other things too
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with playwright.sync_playwright() as tools:
        one = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield one
        one.close()


@pytest.fixture
def opened(browser, shown):
    """A page of a size and scheme; any error of its console, such as a breach of the policy, fails the test."""
    from playwright.sync_api import expect

    contexts, wrong = [], []

    def told(one):  # a refusal that a test asks for is a line of the browser's own
        if one.type in ("error", "warning") and "400 (Bad Request)" not in one.text:
            wrong.append(one.text)

    def open_page(width=1600, scheme="light", where="", url=shown.url):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", told)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url + "/" + where)
        # a link that asks at once may be answered before one looks, and then tells its cost in place of "ready"
        expect(page.locator("#status")).to_contain_text(re.compile("ready|evaluation"))
        return page

    yield open_page
    for one in contexts:
        one.close()
    assert not wrong


def test_files_of_the_page_and_no_others(shown, examples):
    page = httpx.get(shown.url)
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"<script(?![^>]*src=)|style=|onclick=|https?://", page.text)
    for name in re.findall(r'(?:src|href)="(static/[^"]+)"', page.text):
        assert httpx.get(f"{shown.url}/{name}").status_code == 200
    for name in ("../app.py", "..%2fapp.py", "app.py", "%2e%2e/served.py"):
        assert httpx.get(f"{shown.url}/static/{name}").status_code == 404
    assert sorted(httpx.get(f"{shown.url}/api/examples").json()["examples"]) == sorted(f"{one}.png" for one in SCENES)
    assert httpx.get(f"{shown.url}/api/examples/notes.txt").status_code == 404
    first = next(iter(SCENES))
    assert httpx.get(f"{shown.url}/api/examples/{first}.png").content == (examples / f"{first}.png").read_bytes()


def test_hiding_a_rectangle_says_what_the_model_says_of_it(shown, textures):
    picture, _, _ = demo_picture(next(iter(SCENES)))
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    asked = {"instances": [{"b64": base64.b64encode(out.getvalue()).decode()}], "class": 2, "box": [40, 30, 90, 100]}
    told = httpx.post(f"{shown.url}/api/hide", json=asked, timeout=60).json()
    x = items_of(textures, picture).x
    hidden = x.copy()
    hidden[:, :, 40:90, 30:100] = 0
    before, after = xplain.predict(textures, np.concatenate([x, hidden]))
    assert told["before"]["score"] == before[2]
    assert told["after"]["score"] == after[2]
    assert told["after"]["best"] == textures.outline.label_name(int(after.argmax()))
    for box in ([40, 30, 40, 100], [0, 0, 161, 10], [0, 0, 1], "all", None):
        assert httpx.post(f"{shown.url}/api/hide", json=asked | {"box": box}).status_code == 400


def test_a_person_explains_compares_hides_and_sends_the_address(opened):
    from playwright.sync_api import expect

    page = opened()
    page.get_by_role("button", name=next(iter(SCENES))).click()
    classes = page.locator(".classes button")
    expect(classes).to_have_count(5)
    expect(page.get_by_text("Cancel")).to_be_hidden()
    second = classes.nth(1).locator("span").first.inner_text()
    classes.nth(1).click()
    expect(page.locator(".classes button[aria-pressed=true] span").first).to_have_text(second)
    expect(page.locator(".map")).to_have_attribute("aria-label", re.compile(f"grad-cam of {second}"))
    page.locator(".map").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".probe")).to_contain_text("row 80, column 81")
    page.locator(".threshold").fill("40")
    bounds = page.locator(".map").bounding_box()
    page.mouse.move(bounds["x"] + 50, bounds["y"] + 50)
    page.mouse.down()
    page.mouse.move(bounds["x"] + 200, bounds["y"] + 200)
    page.mouse.up()
    expect(page.locator(".hidden-box")).to_contain_text(f"the score of {second} goes from")
    page.locator(".map").focus()
    page.keyboard.press("Escape")
    expect(page.locator(".hidden-box")).to_contain_text("Drag over the picture")
    for key in ("Enter", "Shift+ArrowDown", "Shift+ArrowRight", "Enter"):  # a rectangle from corner to corner
        page.keyboard.press(key)
    expect(page.locator(".hidden-box")).to_contain_text(re.compile(r"With rows \d+ to \d+ and columns .* goes from"))
    page.get_by_text("Inside: the most active").click()
    expect(page.locator(".channels")).to_be_visible()
    layer = page.locator(".layer").input_value()
    page.get_by_label("Channel", exact=True).fill("3")
    page.get_by_role("button", name="Explain it").click()
    expect(page.locator(".aim")).to_contain_text(f"Explained: {layer}[3]")
    expect(page.locator(".map")).to_have_attribute("aria-label", re.compile(r"\[3\], in delta activation"))
    expect(page.locator(".classes button[aria-pressed=true]")).to_have_count(0)
    page.locator(".classes button", has_text=second).click()
    expect(page.locator(".aim")).to_be_hidden()
    page.locator("#compare").click()
    expect(page.locator(".panel").nth(1).locator(".classes button")).to_have_count(5)
    where = page.url.partition("#")[2]
    again = opened(390, "dark", f"#{where}")
    expect(again.locator(".panel")).to_have_count(2)
    expect(again.locator(".panel").first.locator(".classes button[aria-pressed=true] span").first).to_have_text(second)
    expect(again.locator(".threshold").first).to_have_value("40")
    wide = again.evaluate_handle("document.documentElement").get_property("scrollWidth").json_value()
    assert wide <= 390


def test_a_long_method_shows_its_map_on_the_way_and_is_planned_once(opened, shown):
    from playwright.sync_api import expect

    page, asked = opened(), []
    page.on("request", lambda one: asked.append((one.method, *one.url.removeprefix(shown.url).rpartition("/")[::2])))
    page.locator(".method").select_option("rise")
    page.locator(".options").fill("samples=3072, cells=5")
    page.get_by_role("button", name=next(iter(SCENES))).click()
    expect(page.locator(".progress")).to_be_visible()
    expect(page.locator(".warnings")).to_contain_text("So far: made of", timeout=30_000)
    expect(page.locator(".progress")).to_be_hidden(timeout=60_000)
    expect(page.locator(".warnings")).not_to_contain_text("So far")
    expect(page.locator("#status")).to_contain_text("rise: ")  # what it cost, from the job's own plan
    assert [one for one in asked if one[0] == "POST"] == [("POST", "/api", "jobs")]  # no plan is asked for before
    # a page that was closed under its question leaves its job for a while, so only this page's own are looked at
    mine = {where.rpartition("/")[2] for _, where, name in asked if name == "events"}
    until = time.monotonic() + 20
    while mine & shown.house.jobs.keys() and time.monotonic() < until:
        page.wait_for_timeout(20)
    assert mine
    assert not mine & shown.house.jobs.keys()  # what has been shown is not kept
    page.locator(".map").hover(position={"x": 60, "y": 60})
    expect(page.locator(".probe")).to_contain_text("±")


def test_what_is_of_another_question_does_not_stay(opened):
    """Options of another method, and the map of what was shown before something went wrong."""
    from playwright.sync_api import expect

    page = opened()
    options = page.locator(".options")
    page.locator(".method").select_option("rise")
    expect(options).to_have_attribute("placeholder", re.compile("^samples=4000, cells=7"))
    options.fill("samples=70, baseline=0")
    page.locator(".method").select_option("occlusion")
    expect(options).to_have_value("baseline=0")
    page.get_by_role("button", name=next(iter(SCENES))).click()
    expect(page.locator(".classes button")).to_have_count(5)
    page.locator("#file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(page.locator("#status")).to_contain_text("no picture that can be read")
    expect(page.locator(".classes button")).to_have_count(0)
    expect(page.locator(".map")).to_have_attribute("aria-label", "No explanation")


def test_a_picture_from_the_camera(opened):
    from playwright.sync_api import expect

    page = opened()
    page.locator("#camera").click()
    expect(page.locator("#camera")).to_have_text("Take this picture", timeout=20_000)
    page.locator("#camera").click()
    expect(page.locator(".classes button")).to_have_count(5, timeout=20_000)


def test_a_person_types_a_row_and_reads_its_columns(opened, readers):
    from playwright.sync_api import expect

    page = opened(url=readers.url, where='#{"panels":[{"model":"rows","method":"kernel-shap","options":"samples=40"}]}')
    expect(page.locator("#pictures")).to_be_hidden()
    assert [one.input_value() for one in page.locator("#fields input").all()] == ["40", "2"]
    page.get_by_label("age").fill("50")
    page.get_by_label("job").select_option("smith")
    page.get_by_role("button", name="Explain").click()
    rows = page.locator(".parts tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("smith")
    rows.first.hover()
    expect(page.locator(".probe")).to_contain_text(re.compile(r"^job = smith: 4(\.0*)? ± \d"))
    page.get_by_role("button", name="Hide job = smith").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".probe")).to_contain_text("age = 50: 1")
    page.keyboard.press("Enter")
    hidden = page.locator(".hidden-box")
    expect(hidden).to_contain_text("With age at 40, the score of more goes from 11 to 10 (-1); best is then more.")
    expect(page.get_by_role("button", name="Hide age = 50")).to_have_attribute("aria-pressed", "true")
    rows.first.click()
    expect(hidden).to_contain_text("With age at 40 and job at clerk, the score of more goes from 11 to 6 (-5)")
    page.keyboard.press("Escape")
    expect(hidden).to_contain_text("Click columns to hide something")
    expect(page.locator(".parts .hidden-part")).to_have_count(0)
    second = page.locator(".classes button").nth(1)
    name = second.locator("span").first.inner_text()
    second.click()
    expect(page.locator(".classes button[aria-pressed=true] span").first).to_have_text(name)
    rows.first.hover()
    expect(page.locator(".probe")).to_contain_text("job = smith: -4")
    fields = page.locator("#fields")
    fields.get_by_label("job").select_option("")  # a gap
    fields.get_by_label("age").fill("")
    again = opened(390, "dark", "#" + page.url.partition("#")[2], readers.url)
    expect(again.locator(".parts tr")).to_have_count(3)
    assert again.locator("#fields").get_by_label("job").input_value() == '"smith"'
    wide = again.evaluate_handle("document.documentElement").get_property("scrollWidth").json_value()
    assert wide <= 390


def test_a_person_pastes_a_text_compares_and_goes_on_to_rows(opened, readers):
    from playwright.sync_api import expect

    page = opened(url=readers.url)
    expect(page.locator("#rows")).to_be_hidden()
    page.locator("#text").fill("A good film, <b>not</b> bad!")
    page.locator(".method").select_option("exact-shapley")
    page.get_by_role("button", name="Explain").click()
    words = page.locator(".parts button")
    expect(words).to_have_count(7)
    words.nth(1).hover()
    expect(page.locator(".probe")).to_contain_text("good: -2")  # speaks against the class that is predicted
    words.nth(1).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".probe")).to_contain_text("film: -0.25")
    words.nth(6).click()
    hidden = page.locator(".hidden-box")
    expect(hidden).to_contain_text("Without “bad”, the score of down goes from 2.25 to -0.75 (-3); best is then up.")
    words.nth(1).click()
    expect(hidden).to_contain_text("Without “good” and “bad”, the score of down goes from 2.25 to 1.25 (-1)")
    words.nth(6).click()  # it is back
    expect(hidden).to_contain_text("Without “good”, the score of down goes from 2.25 to 4.25 (+2)")
    page.keyboard.press("Escape")
    expect(hidden).to_contain_text("Click words to hide something")
    page.locator(".threshold").fill("50")
    assert words.nth(2).evaluate_handle("one => one.style.background").json_value() == ""
    page.locator("#compare").click()
    expect(page.locator(".panel").nth(1).locator(".parts button")).to_have_count(7)
    page.locator("#compare").click()
    page.locator(".model").select_option("rows")
    expect(page.locator("#texts")).to_be_hidden()
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".parts tr")).to_have_count(3)
