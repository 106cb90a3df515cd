"""The page of `unirep serve` in a real browser: Playwright drives the system's Chromium."""

import os
import re
import shutil

import pytest

from recbole_unirep.serving.recommender import Recommender

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BAD_TITLE = '<img src=x onerror="window.harmed = 1"><b>bold</b> & "quoted"'


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install '.[test]' brings it"
    )
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed: on Debian apt-get install chromium brings one")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for root
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def served(run, tiny, serve):
    """A served SASRec whose item i7 has HTML as its title: the recommender and the page's address."""
    file = tiny / "tiny.item"
    lines = file.read_text(encoding="utf-8").splitlines()
    lines = [re.sub("^i7\t[^\t]*", lambda _: f"i7\t{BAD_TITLE}", line) for line in lines]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    recommender = Recommender.load(run())
    return recommender, f"http://127.0.0.1:{serve(recommender)}/"


@pytest.fixture
def opened(browser, served):
    """Opens the page at a given width; returns recommender, page, and a list of errors and requests to other hosts."""
    recommender, address = served
    pages = []

    def open_at(width):
        page, wrong = browser.new_page(viewport={"width": width, "height": 800}), []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith((address, "data:")) or wrong.append(request.url))
        page.goto(address)
        pages.append(page)
        return recommender, page, wrong

    yield open_at
    for page in pages:
        page.close()


def pick(page, token, query):
    """Searches for `query` and picks the item with the given token."""
    page.fill("#query", query)
    page.locator("#results button", has=page.get_by_text(token, exact=True)).click()


def shown(page, n_items):
    """Waits for `n_items` recommendations; returns their titles and scores."""
    page.locator("#best li").nth(n_items - 1).wait_for()
    page.locator("#best:not(.waiting)").wait_for()
    rows = page.locator("#best li")
    assert rows.count() == n_items
    titles, scores = page.locator("#best .title").all_inner_texts(), page.locator("#best .score").all_inner_texts()
    return titles, [float(score) for score in scores]


@pytest.mark.parametrize("width", [1200, 400])
def test_picking_items_shows_titles_and_recommendations(opened, width):
    recommender, page, wrong = opened(width)
    page.get_by_text("SASRec on tiny, 118 items").wait_for()
    pick(page, "i1", "i1")
    expected = recommender.recommend([["i1"]], k=10)[0]
    page.locator("#picked li").wait_for()
    titles, scores = shown(page, 10)
    named = [title or item for title, item in zip(expected.titles, expected.items)]
    assert titles == named and scores == pytest.approx(expected.scores, abs=5e-4)
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    pick(page, "i2", recommender.titles[recommender.item_ids["i2"]])
    assert page.locator("#picked .token").all_inner_texts() == ["i1", "i2"]
    expected = recommender.recommend([["i1", "i2"]], k=5)[0]
    page.locator("#k").select_option("5")
    page.locator("#best li").nth(5).wait_for(state="detached")
    assert shown(page, 5)[1] == pytest.approx(expected.scores, abs=5e-4)

    page.locator("#best .act").first.click()  # the best one joins the history
    page.locator("#picked li").nth(2).wait_for()
    assert page.locator("#picked li").nth(2).locator(".title").inner_text() in expected.titles + expected.items
    page.locator("#picked .act").nth(0).click()
    assert page.locator("#picked li").count() == 2
    page.locator("#clear").click()
    assert page.locator("#picked li").count() == page.locator("#best li").count() == 0
    assert wrong == []


def test_a_known_user_and_an_unknown_one(opened):
    recommender, page, wrong = opened(1200)
    page.fill("#user", "u7")
    page.press("#user", "Enter")
    page.get_by_text("For user u7, whose whole history is used.").wait_for()
    expected = recommender.recommend(users=["u7"])[0]
    assert shown(page, 10)[1] == pytest.approx(expected.scores, abs=5e-4)
    page.fill("#user", "u600")
    page.press("#user", "Enter")
    page.get_by_role("alert").wait_for()
    assert "1 of 1 users are not among the run's 60" in page.get_by_role("alert").inner_text()
    assert page.locator("#best li").count() == 0
    assert len(wrong) == 1 and "400" in wrong[0]  # the browser logs the 400 answer


def test_items_can_be_found_and_picked_with_the_keyboard_only(opened):
    _, page, wrong = opened(1200)
    page.focus("#query")
    page.keyboard.type("soap")
    page.locator("#results button").nth(1).wait_for()
    names = page.locator("#results .token").all_inner_texts()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#picked li").wait_for()
    assert page.locator("#picked .token").all_inner_texts() == names[1:2]
    page.fill("#query", "nothing has this")
    page.get_by_text("0 items", exact=True).wait_for()
    assert page.locator("#results").is_hidden() and wrong == []


def test_html_in_a_title_is_shown_as_text(opened):
    _, page, wrong = opened(1200)
    pick(page, "i7", "i7")
    page.locator("#picked li").wait_for()
    assert page.locator("#picked .title").inner_text() == BAD_TITLE
    page.locator("#keep").check()
    page.locator("#k").select_option("50")
    shown(page, 50)
    page.fill("#query", "onerror")
    page.get_by_text("1 item", exact=True).wait_for()
    assert page.locator("#results .title").inner_text() == BAD_TITLE
    assert page.locator("main img, main b, main script").count() == 0
    assert page.evaluate("window.harmed") is None and wrong == []


def test_injected_scripts_do_not_run(opened):
    _, page, wrong = opened(1200)
    page.evaluate("document.querySelector('main').innerHTML = '<img src=x onerror=\"window.harmed = 1\">'")
    page.wait_for_timeout(300)
    assert page.evaluate("window.harmed") is None
    assert any("Content Security Policy" in line for line in wrong)
