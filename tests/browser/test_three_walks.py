"""The three questions of a new user, each answered within a minute from the first page, by clicks and typing."""

import re
import time

import pytest
from small_run import ARTIST

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

#: A person reads; what the machine may take of the minute, seconds.
_MACHINE = 30


@pytest.fixture
def clock():
    """Fails where a walk took longer than it may."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < _MACHINE


def enter(page, run):
    """Open a run from the list of runs."""
    page.goto("/")
    page.get_by_test_id("runs").get_by_role("link", name=run, exact=True).click()


def test_why_was_this_picture_dropped(page, clock, artefacts):
    enter(page, "drawings")
    page.get_by_test_id("nav-samples").click()
    page.get_by_test_id("filter-q").fill("tree in Kenya, number 24")
    page.get_by_test_id("filter-q").press("Enter")
    page.wait_for_url("**q=**")
    page.get_by_test_id("chips").wait_for()
    page.locator("#results a.cap").first.click()
    said = page.get_by_test_id("decision").inner_text()
    assert "BLURRED" in said
    assert "sharpness" in said.lower()
    row = page.get_by_test_id("rules").locator("tr.fail").filter(has_text="sharpness")
    assert "5" in row.locator("td").nth(2).inner_text(), "the bound stands beside the value"
    assert page.get_by_test_id("way").locator("li.stopped").count() == 1
    page.screenshot(path=artefacts / "walk-why-dropped.png")


def test_what_did_the_technical_filter_do_to_one_region(page, clock, artefacts):
    enter(page, "drawings")
    page.get_by_test_id("nav-thresholds").click()
    page.get_by_test_id("rule-sharpness").click()
    page.get_by_test_id("group").select_option("region")
    page.wait_for_url("**group=region**")
    rates = page.get_by_test_id("rates")
    rates.get_by_role("link", name="Africa", exact=True).wait_for()

    def passing(region):
        row = rates.locator("tr", has=page.get_by_role("link", name=region, exact=True))
        return float(row.locator("td").nth(1).inner_text().split()[0].rstrip("%"))

    assert passing("Africa") < 60
    assert passing("Asia") == passing("Europe") == 100
    rates.get_by_role("link", name="Africa", exact=True).click()
    page.wait_for_url("**group.region=Africa**")
    assert "any_reason=BLURRED" in page.url
    assert page.get_by_test_id("sample").count() > 10
    page.screenshot(path=artefacts / "walk-one-region.png")


def test_is_this_artists_work_in_the_set(page, clock, artefacts):
    enter(page, "drawings")
    page.get_by_test_id("nav-search").click()
    page.get_by_test_id("ask-creator").fill(ARTIST.upper().replace("Ø", "ø"))
    page.get_by_test_id("go-creator").click()
    answer = page.get_by_test_id("answer")
    answer.wait_for()
    assert answer.get_attribute("data-state") == "in"
    sentence = page.get_by_test_id("sentence").inner_text()
    kept = int(re.search(r"\d+", sentence).group())
    assert kept > 0
    page.screenshot(path=artefacts / "walk-artist.png")
    command = page.get_by_test_id("command").inner_text()
    assert "assay optout add" in command
    assert "--creator" in command
    page.get_by_test_id("all").click()
    page.wait_for_url("**creator=**")
    assert int(page.get_by_test_id("total").inner_text()) > 10
