"""What holds for every page, whichever there are: it loads, logs no error, asks no other host, can be used by all."""

import re

import pytest
from watching import Watch, same_origin_links, serious_findings

pytest.importorskip("fastapi", reason="the dashboard extra is not installed")

from dashboards.web.pages import load_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

OF_RUN = [page.slug for page in load_pages() if page.of_run]

#: Most addresses that the crawl opens; the kinds of addresses are fewer.
_MOST = 120


def shape(address):
    """The kind of an address: names, numbers and values taken out, so that each kind is opened once or twice."""
    path, _, query = address.partition("?")
    path = re.sub(r"[0-9a-f]{16,}|\b\d+\b", "*", path)
    return path, tuple(sorted({part.partition("=")[0].partition(".")[0] for part in query.split("&") if part}))


def crawl(page, start, per_shape=1):
    """Open `start` and what it leads to on this origin, `per_shape` of each kind; yields each address when open."""
    todo, seen, counts = [start], {start}, {}
    while todo and sum(counts.values()) < _MOST:
        address = todo.pop(0)
        if counts.get(shape(address), 0) >= per_shape or address.startswith("/api"):
            continue
        counts[shape(address)] = counts.get(shape(address), 0) + 1
        answer = page.goto(address, wait_until="load")
        yield address, answer
        for link in same_origin_links(page):
            if link not in seen:
                seen.add(link)
                todo.append(link)


@pytest.mark.parametrize("run", ["drawings", "made"])
@pytest.mark.parametrize("slug", OF_RUN)
def test_a_page_loads_without_error_or_outside_request(page, run, slug):
    answer = page.goto(f"/runs/{run}/{slug}")
    assert answer.status == 200
    assert page.locator("main h1").count() == 1
    assert page.locator(f"[data-testid=nav-{slug}]").get_attribute("aria-current") == "page"


def test_the_first_page_lists_the_runs(page):
    page.goto("/")
    assert page.get_by_test_id("run-row").count() == 2


@pytest.mark.parametrize("run", ["drawings", "made"])
def test_every_kind_of_link_leads_to_a_page(page, run):
    opened = []
    for address, answer in crawl(page, f"/runs/{run}/funnel"):
        assert answer.status == 200, address
        assert page.locator("main h1").count() == 1, address
        opened.append(address)
    assert len(opened) > 2 * len(OF_RUN)
    kinds = {re.sub(r"^/runs/[^/]+/", "", address.partition("?")[0]).partition("/")[0] for address in opened}
    assert set(OF_RUN) <= kinds


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_kind_of_page_has_a_serious_accessibility_finding(browser, address, artefacts, theme):
    found, watch, opened = [], Watch(address), 0
    # the policy forbids scripts from elsewhere, axe too; only here it is set aside
    context = browser.new_context(
        base_url=address,
        bypass_csp=True,
        reduced_motion="reduce",
        color_scheme=theme,
        viewport={"width": 1360, "height": 900},
    )
    with context:
        page = watch.attach(context.new_page())
        for place, _ in crawl(page, "/runs/drawings/funnel" if theme == "light" else "/runs/made/funnel"):
            opened += 1
            findings = serious_findings(page)
            found += [f"{place}: {line}" for line in findings]
            if findings:
                page.screenshot(path=artefacts / f"axe-{theme}-{opened:03d}.png")
    assert not found, "\n".join(found)
    assert not watch.wrong, "\n".join(watch.wrong)
    assert opened > 2 * len(OF_RUN)


def test_axe_would_find_something(browser, address):
    """The check above can fail: a picture without words and an input without a label are found."""
    with browser.new_context(base_url=address, bypass_csp=True) as context:
        page = context.new_page()
        page.goto("/")
        page.evaluate("document.querySelector('main').innerHTML = '<img src=/static/icon.png><input><a href=/></a>'")
        kinds = {line.partition(":")[0] for line in serious_findings(page)}
    assert {"image-alt", "label", "link-name"} <= kinds


@pytest.mark.parametrize("slug", ["", *OF_RUN])
def test_a_narrow_page_does_not_scroll_sideways(page, artefacts, slug):
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"/runs/drawings/{slug}" if slug else "/")
    wide, there = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= there + 1
    page.screenshot(path=artefacts / f"narrow-{slug or 'runs'}.png", full_page=True)


@pytest.mark.parametrize("slug", ["", *OF_RUN])
def test_screenshots_of_every_page_in_both_themes(page, artefacts, slug):
    for theme in ("light", "dark"):
        page.goto((f"/runs/drawings/{slug}" if slug else "/") + f"?theme={theme}")
        path = artefacts / f"page-{slug or 'runs'}-{theme}.png"
        page.screenshot(path=path)
        assert path.stat().st_size > 10_000


@pytest.mark.parametrize("slug", OF_RUN)
def test_hostile_captions_run_nothing(page, slug):
    page.goto(f"/runs/made/{slug}")
    assert page.locator("main script").count() == 0
    assert page.locator("img[src='x'], [onload], [onerror]").count() == 0
    assert "\u202e" not in page.locator("main").inner_text()
    assert page.content().count("<script") <= 6


@pytest.mark.parametrize("place", [5, 6, 7, 8])
def test_a_hostile_caption_on_its_own_page_is_text(page, place):
    """Markup and a turned direction; a million characters; right to left; NUL."""
    page.goto("/runs/made/samples")
    page.get_by_test_id("sample").nth(place).locator("a.cap").click()
    page.get_by_test_id("caption").wait_for()
    if page.get_by_test_id("show-all").count():
        page.get_by_test_id("show-all").click()
        page.wait_for_url("**full=1**")
    text = page.get_by_test_id("caption").inner_text()
    assert len(text) >= (1_000_000 if place == 6 else 1)
    assert not {"\0", "\u202e", "\u202c", "\u200f"} & set(text)
    assert ("<script>alert(1)</script>" in text) == (place == 5)
    assert page.locator("main script, main img[src='x']").count() == 0
