"""The reports in a browser: they load without a complaint, draw with WebGL, and do what their buttons say.

The pages are those that `cargo test --test report` leaves in target/tmp/report.
"""

import io
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PAGES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp" / "report"
# WebGL without a GPU.
SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
# A software renderer on a busy machine takes its time.
PATIENCE_MS = 120_000


def start_browser(playwright, *flags):
    names = ["chromium", "chromium-browser", "google-chrome"]
    found = os.environ.get("COREGISTER_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    assert found, "no Chromium found; name one in COREGISTER_BROWSER"
    # Containers run as root and have no sandbox of their own to offer.
    return playwright.chromium.launch(executable_path=found, args=["--no-sandbox", *flags])


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright):
    started = start_browser(playwright, *SOFTWARE)
    yield started
    started.close()


class Opened:
    """A page, and whatever it complained about or asked of the network."""

    def __init__(self, browser, name, **options):
        self.context = browser.new_context(viewport={"width": 1300, "height": 900}, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints = []
        self.requests = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto((PAGES / f"{name}.html").as_uri())

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def choose(self, group, value):
        self.page.click(f"#{group} button[value={value}]")
        self.wait_until_drawn()

    def wait_until_drawn(self):
        self.page.wait_for_selector("#canvas[data-idle=yes]")

    def canvas(self):
        """What is seen of the canvas."""
        self.wait_until_drawn()
        shot = self.page.locator("#canvas").screenshot()
        return Image.open(io.BytesIO(shot)).convert("RGB")

    def assert_quiet(self):
        assert self.complaints == []
        outside = [url for url in self.requests if not url.startswith(("file:", "data:"))]
        assert outside == []


@pytest.fixture
def open_page(browser):
    opened = []

    def open_one(name, **options):
        opened.append(Opened(browser, name, **options))
        return opened[-1]

    yield open_one
    for page in opened:
        page.context.close()


def share_of(picture, wanted):
    """The share of pixels for whose colour `wanted` holds."""
    pixels = picture.width * picture.height
    return sum(count for count, pixel in picture.getcolors(pixels) if wanted(pixel)) / pixels


def is_orange(pixel):
    red, green, blue = pixel
    return red > 1.3 * green > 1.3 * 1.3 * blue


def is_blue(pixel):
    red, green, blue = pixel
    return blue > 1.3 * green > 1.3 * 1.2 * red


def is_green(pixel):
    red, green, blue = pixel
    return green > 1.3 * red and green > 1.2 * blue


def difference(one, other):
    """The share of pixels that are clearly not the same."""
    return share_of(ImageChops.difference(one, other), lambda pixel: max(pixel) > 40)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_clouds_are_drawn(open_page, scheme):
    page = open_page("accepted", color_scheme=scheme)
    picture = page.canvas()
    assert share_of(picture, is_orange) > 0.01
    assert share_of(picture, is_blue) > 0.02
    corner = picture.getpixel((picture.width - 3, 3))
    assert (min(corner) > 200) if scheme == "light" else (max(corner) < 60)
    page.assert_quiet()


def test_before_and_after_are_different_pictures_and_after_comes_back(open_page):
    page = open_page("accepted")
    page.choose("matches", "none")
    after = page.canvas()
    page.choose("place", "before")
    before = page.canvas()
    assert difference(before, after) > 0.02
    page.choose("place", "after")
    assert difference(page.canvas(), after) < 0.001
    page.assert_quiet()


def test_matches_and_distances_change_the_picture(open_page):
    page = open_page("accepted")
    page.choose("place", "before")
    pictures = {}
    for which in ["none", "inliers", "all"]:
        page.choose("matches", which)
        pictures[which] = page.canvas()
    assert share_of(pictures["inliers"], is_green) > share_of(pictures["none"], is_green) + 0.005
    assert difference(pictures["inliers"], pictures["all"]) > 0.0005
    page.choose("matches", "none")
    page.choose("colour", "distance")
    assert share_of(page.canvas(), is_orange) < 0.2 * share_of(pictures["none"], is_orange)
    page.assert_quiet()


def test_the_view_turns_zooms_and_comes_back(open_page):
    page = open_page("accepted")
    first = page.canvas()
    box = page.page.locator("#canvas").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.page.mouse.move(*middle)
    page.page.mouse.down()
    page.page.mouse.move(middle[0] + 150, middle[1] + 40)
    page.page.mouse.up()
    turned = page.canvas()
    assert difference(first, turned) > 0.02
    page.page.mouse.wheel(0, -500)
    page.page.wait_for_timeout(300)
    assert difference(turned, page.canvas()) > 0.02
    page.page.click("#reset")
    page.page.mouse.move(0, 0)
    assert difference(page.canvas(), first) < 0.001
    page.assert_quiet()


def test_the_page_says_what_came_out(open_page):
    page = open_page("accepted")
    assert page.text("#status") == "ACCEPTED"
    assert page.text("#source-name").endswith("demo_source.ply")
    assert "matches agree" in page.text("#why")
    assert page.page.locator("#matrix tr").count() == 4
    assert page.page.locator("#stages .bar").count() > 10
    assert page.page.locator("#histogram i").count() > 20
    page.page.click("#copy-rows")
    # Not by `wait_for_function`: it evaluates a string in the page, which the page's own policy forbids.
    expect(page.page.locator("#copied")).to_have_text("copied", timeout=PATIENCE_MS)
    page.assert_quiet()


def test_the_scale_is_round_and_follows_the_zoom(open_page):
    page = open_page("accepted")
    page.wait_until_drawn()

    def scale():
        page.wait_until_drawn()
        pixels = page.page.locator("#scale i").bounding_box()["width"]
        return float(page.text("#scale span")), pixels

    length, pixels = scale()
    assert f"{length:e}"[0] in "125" and 50 < pixels <= 132
    page.page.click("#canvas")
    for _ in range(12):
        page.page.keyboard.press("+")
    closer, closer_pixels = scale()
    assert closer < length
    assert closer / closer_pixels == pytest.approx(0.9**12 * length / pixels, rel=0.05)
    page.assert_quiet()


def test_the_pose_is_a_translation_and_a_quaternion(open_page):
    page = open_page("accepted")
    x, y, z, w = (float(part) for part in page.text("#quaternion").split(":")[1].split())
    rows = page.page.locator("#matrix tr").all_inner_texts()
    matrix = [[float(number) for number in row.split()] for row in rows]
    assert x * x + y * y + z * z + w * w == pytest.approx(1, abs=1e-5)
    assert matrix[0][1] == pytest.approx(2 * (x * y - w * z), abs=1e-5)
    assert matrix[2][0] == pytest.approx(2 * (x * z - w * y), abs=1e-5)
    page.assert_quiet()


def test_warnings_are_shown_where_there_are_any(open_page):
    page = open_page("warned")
    assert "ignoring 1 of 2001 points of the source cloud" in page.text("#warnings")
    page.assert_quiet()
    assert not open_page("accepted").page.locator("#warnings").is_visible()


def test_a_rejected_pair_with_a_hostile_name(open_page):
    page = open_page("rejected")
    page.wait_until_drawn()
    assert page.text("#status") == "REJECTED"
    assert "<script>alert(1)" in page.text("#source-name")
    page.assert_quiet()


def test_a_narrow_screen_needs_no_sideways_scrolling(open_page):
    for name in ["accepted", "batch"]:
        page = open_page(name)
        page.page.set_viewport_size({"width": 420, "height": 800})
        page.page.wait_for_timeout(300)
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 420, name


def test_stills_take_the_place_of_webgl_where_there_is_none(playwright):
    browser = start_browser(playwright, "--disable-gpu", "--disable-3d-apis")
    page = Opened(browser, "accepted")
    page.page.wait_for_selector("#still img")
    assert "WebGL" in page.text("#no-webgl")
    assert page.page.evaluate("document.querySelector('#still img').naturalWidth") > 1000
    assert not page.page.locator("#stage").is_visible()
    assert page.text("#status") == "ACCEPTED"
    browser.close()


def names(page):
    return page.page.locator("#rows tbody td.name:nth-child(2)").all_inner_texts()


def test_the_batch_page_lists_failures_first(open_page):
    page = open_page("batch")
    states = page.page.locator("#rows tbody .pill").all_inner_texts()
    assert len(states) == 200
    order = ["accepted, wrong", "failed", "rejected", "accepted"]
    assert [order.index(state) for state in states] == sorted(order.index(state) for state in states)
    assert set(states) == set(order)
    assert names(page)[:2] == ["pair 400", "<img src=x onerror=alert(1)>"]
    page.assert_quiet()


def test_the_batch_page_filters_and_sorts(open_page):
    page = open_page("batch")
    page.page.click("#kinds button[value=rejected]")
    assert set(page.page.locator("#rows tbody .pill").all_inner_texts()) == {"rejected"}
    page.page.click("#kinds button[value=all]")
    page.page.click("#rows th button:text-is('name')")
    assert names(page)[:3] == ["<img src=x onerror=alert(1)>", "pair 0", "pair 1"]
    page.page.click("#rows th button:text-is('name')")
    assert names(page)[0] == "pair 499"
    page.page.fill("#search", "scan.ply")
    assert names(page) == ["<img src=x onerror=alert(1)>"]
    page.page.fill("#search", "")
    page.page.click("#more")
    assert len(names(page)) == 400
    page.assert_quiet()


def test_the_batch_page_tells_right_from_wrong_where_it_is_known(open_page):
    page = open_page("batch")
    assert "99.0 %\nof known answers right" in page.text("#tiles")
    assert page.page.locator("#sets thead th").all_inner_texts()[-2:] == ["right", "median s"]
    page.page.fill("#search", "pair 400")
    heads = page.page.locator("#rows th button").all_inner_texts()
    cells = page.page.locator("#rows tbody td").all_inner_texts()
    assert cells[heads.index("right")] == "no"
    assert cells[heads.index("error °")] == "91.5"
    page.assert_quiet()
