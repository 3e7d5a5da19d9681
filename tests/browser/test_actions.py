"""The main actions of each page, as a person does them."""

import re

import pytest
from making import bomb
from small_run import ARTIST, drawing, encoded

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def number(locator):
    """The whole number that an element shows."""
    return int(re.sub(r"[^\d-]", "", locator.inner_text().replace("−", "-")))


def test_two_runs_are_compared(page):
    page.goto("/")
    page.get_by_label("made as the earlier run").check()
    page.get_by_label("drawings as the later run").check()
    page.get_by_test_id("compare").click()
    page.wait_for_url("**/compare?a=made&b=drawings")
    assert "LICENCE_NOT_ALLOWED" in page.locator("main").inner_text()


def test_each_figure_of_the_funnel_leads_to_as_many_samples(page):
    page.goto("/runs/drawings/funnel")
    assert page.get_by_test_id("adds-up").inner_text().startswith("Adds up")
    steps = page.locator("[data-testid^=step-]").count()
    assert steps >= 5
    for place in range(steps):
        link = page.locator("[data-testid^=step-]").nth(place).locator("td.strong a")
        wanted = number(link)
        link.click()
        assert number(page.get_by_test_id("total")) == wanted
        page.go_back()


def test_filters_exchange_the_results_and_stand_in_the_address(page, settle):
    page.goto("/runs/made/samples")
    everything = number(page.get_by_test_id("total"))
    settle(lambda: page.get_by_test_id("filter-decision").select_option("dropped"))
    dropped = number(page.get_by_test_id("total"))
    assert 0 < dropped < everything
    assert "decision=dropped" in page.url
    page.get_by_test_id("filter-q").fill("drawing 1")
    settle(lambda: page.get_by_test_id("filter-q").press("Enter"))
    assert 0 < number(page.get_by_test_id("total")) < dropped
    assert "q=drawing" in page.url
    address = page.url
    page.goto(address)
    assert page.get_by_test_id("filter-q").input_value() == "drawing 1"
    page.get_by_test_id("chips").get_by_role("link").first.click()
    page.wait_for_url(lambda url: "decision" not in url or "q=" not in url)
    page.get_by_test_id("clear").click()
    page.wait_for_url("**/samples")
    assert number(page.get_by_test_id("total")) == everything


def test_a_score_range_narrows(page, settle):
    page.goto("/runs/made/samples")
    everything = number(page.get_by_test_id("total"))
    page.get_by_text("Score ranges").click()
    page.get_by_label("similarity at least").fill("0.3")
    settle(lambda: page.get_by_label("similarity at least").press("Enter"))
    assert 0 < number(page.get_by_test_id("total")) < everything
    assert "low.similarity=0.3" in page.url


def test_pages_follow_each_other_without_doubles(page):
    page.goto("/runs/made/samples?sort=similarity&order=desc")
    total, seen = number(page.get_by_test_id("total")), []
    while True:
        items = page.get_by_test_id("sample")
        seen += [items.nth(i).get_attribute("data-uid") for i in range(items.count())]
        if not page.get_by_test_id("next").count():
            break
        before = page.url
        page.get_by_test_id("next").click()
        page.wait_for_url(lambda url, before=before: url != before)
    assert len(seen) == len(set(seen)) == total
    page.get_by_test_id("first").click()
    page.wait_for_url(lambda url: "after" not in url)


def test_the_table_shows_the_same_samples(page):
    page.goto("/runs/made/samples?sort=nsfw")
    gallery = page.get_by_test_id("sample").evaluate_all("items => items.map(item => item.dataset.uid)")
    page.get_by_test_id("view-table").click()
    page.wait_for_url("**view=table**")
    assert page.get_by_test_id("sample").evaluate_all("items => items.map(item => item.dataset.uid)") == gallery


def test_a_veiled_picture_is_shown_by_a_click_only(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/runs/made/samples?sort=nsfw&order=desc")
    page.wait_for_load_state("networkidle")
    assert page.get_by_test_id("unblur").count() > 3
    assert not [url for url in asked if "unblur" in url]
    page.get_by_test_id("unblur").first.click()
    page.get_by_test_id("unblurred").wait_for()
    page.wait_for_load_state("networkidle")
    assert len([url for url in asked if "webp?unblur=1" in url]) == 1
    shown = page.get_by_test_id("unblurred")
    assert shown.evaluate("async image => { await image.decode(); return image.naturalWidth > 0 }")


def test_the_theme_is_kept(page):
    page.goto("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_test_id("theme").click()
    after = page.evaluate(ground)
    assert after != before
    page.goto("/runs/drawings/funnel")
    assert page.evaluate(ground) == after


def test_everything_is_reached_by_keyboard(page):
    page.goto("/runs/drawings/funnel")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.reload()
    for _ in range(30):
        page.keyboard.press("Tab")
        assert page.evaluate("""() => {
            const style = getComputedStyle(document.activeElement);
            return style.outlineStyle !== 'none' || style.boxShadow !== 'none';
        }"""), "the focus cannot be seen on " + page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        if page.evaluate("document.activeElement.dataset.testid") == "nav-samples":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/samples")
    page.get_by_test_id("filter-q").focus()
    page.keyboard.type("kenya")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=kenya**")
    page.get_by_test_id("chips").wait_for()
    assert number(page.get_by_test_id("total")) == 30
    page.locator("#results a.cap").first.focus()
    page.keyboard.press("Enter")
    page.get_by_test_id("decision").wait_for()


def test_it_works_without_javascript(browser, address, artefacts):
    with browser.new_context(base_url=address, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/runs/made/samples")
        page.get_by_test_id("filter-reason").select_option("NSFW")
        page.get_by_test_id("apply").click()
        page.wait_for_url("**reason=NSFW**")
        assert page.get_by_test_id("sample").count() > 0
        page.get_by_test_id("unblur").first.click()
        page.wait_for_url("**unblur=1**")
        page.goto("/runs/drawings/thresholds?rule=sharpness")
        page.get_by_test_id("low").fill("200")
        page.get_by_test_id("try").click()
        page.wait_for_url("**low.sharpness=200**")
        assert number(page.get_by_test_id("lost")) < 0
        page.screenshot(path=artefacts / "without-javascript.png")


def test_a_bound_is_moved_by_pointer_number_and_keys(page, settle):
    page.goto("/runs/drawings/thresholds?rule=sharpness")
    before = number(page.get_by_test_id("before"))
    assert number(page.get_by_test_id("after")) == before

    def drag():
        box = page.get_by_test_id("handle-low").locator("rect.grab").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + 440, box["y"] + box["height"] / 2, steps=5)
        page.mouse.up()

    settle(drag)
    dragged = number(page.get_by_test_id("after"))
    assert dragged < before
    assert "low.sharpness=" in page.url
    assert "sharpness" in page.get_by_test_id("yaml").inner_text()
    page.get_by_test_id("low").fill("0")
    settle(lambda: page.get_by_test_id("low").press("Enter"))
    assert number(page.get_by_test_id("after")) > before
    page.get_by_test_id("handle-low").focus()

    def keys():
        for _ in range(3):
            page.keyboard.press("PageUp")

    settle(keys)
    assert float(page.get_by_test_id("low").input_value()) > 0
    page.get_by_test_id("undo").click()
    page.wait_for_url(lambda url: "low." not in url)
    assert number(page.get_by_test_id("after")) == before


def test_duplicates_show_who_stays_and_why(page):
    page.goto("/runs/drawings/duplicates")
    assert page.locator("[data-testid=member] .badge.kept").count() >= 1
    page.get_by_role("link", name=re.compile(r"\d+ pictures")).first.click()
    page.get_by_test_id("pairs").wait_for()
    assert page.get_by_test_id("members").get_by_text("stays", exact=True).count() == 1
    assert page.get_by_test_id("members").get_by_text("gone", exact=True).count() >= 1


def test_search_by_words(page):
    page.goto("/runs/drawings/search")
    page.get_by_test_id("ask-text").fill("a drawing of a boat")
    page.get_by_test_id("go-text").click()
    page.get_by_test_id("answer").wait_for()
    assert page.get_by_test_id("alike-hit").count() > 3


def test_search_by_address(page):
    page.goto("/runs/drawings/search")
    page.get_by_test_id("ask-url").fill("https://pictures1.example/10.png")
    page.get_by_test_id("go-url").click()
    assert page.get_by_test_id("answer").get_attribute("data-state") == "in"


def test_search_by_an_uploaded_copy_and_by_a_stranger(page):
    page.goto("/runs/drawings/search")
    copy = encoded(drawing(10).resize((300, 225)), "JPEG")
    page.get_by_test_id("picture").set_input_files({"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": copy})
    page.get_by_test_id("send").click()
    page.get_by_test_id("answer").wait_for()
    assert page.get_by_test_id("answer").get_attribute("data-state") == "in"
    assert page.get_by_test_id("hit").count() >= 1
    other = encoded(drawing(99_999))
    page.get_by_test_id("picture").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": other})
    page.get_by_test_id("send").click()
    page.locator("[data-testid=answer][data-state=none]").wait_for()


@pytest.mark.parametrize("name", ["no-picture", "empty", "bomb"])
def test_a_hostile_upload_is_refused_in_words(page, watch, name):
    watch.expected = (400, 413, 415)
    data = {"no-picture": b"GIF89a<script>alert(1)</script>", "empty": b"", "bomb": bomb()}[name]
    page.goto("/runs/drawings/search")
    page.get_by_test_id("picture").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": data})
    page.get_by_test_id("send").click()
    page.get_by_role("heading", name="Not shown").wait_for()


def test_the_report_says_who_the_artist_is_not(page):
    page.goto("/runs/drawings/search?creator=Nobody+At+All")
    assert page.get_by_test_id("answer").get_attribute("data-state") == "none"
    assert ARTIST not in page.get_by_test_id("sentence").inner_text()
