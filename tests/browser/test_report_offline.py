"""The static report in a browser without a network: nothing is asked for, it can be used by all, it prints."""

import re

import pytest
from small_run import assay
from watching import serious_findings

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

#: What the dashboard's pages show, by the section of the report that shows the same.
SECTIONS = (
    *("funnel", "rules", "rights", "audit", "reasons", "clusters", "scores", "origin"),
    *("training", "generated", "health"),
)


@pytest.fixture(scope="module")
def report(root, tmp_path_factory):
    """The report of the small run."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    assay(root.parent, "report", str(root / "drawings"), "--out", str(out))
    return out


@pytest.fixture
def offline(browser, report):
    """The report, opened as a file in a browser that has no network; and all that it asked for."""
    asked, said = [], []
    with browser.new_context(offline=True, bypass_csp=True, viewport={"width": 1200, "height": 900}) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(report.as_uri())
        yield page
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert not said


def test_it_opens_alone_with_every_section_and_picture(offline, report, artefacts):
    assert report.stat().st_size < 10_000_000
    for name in SECTIONS:
        assert offline.locator(f"section#{name} > h2").count() == 1, name
    pictures = offline.locator("img").evaluate_all("items => items.map(item => item.naturalWidth)")
    assert len(pictures) > 10
    assert all(pictures)
    offline.screenshot(path=artefacts / "report.png", full_page=True)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_has_no_serious_accessibility_finding(offline, theme):
    offline.emulate_media(color_scheme=theme)
    assert serious_findings(offline) == []


def test_it_prints_within_the_paper_with_what_is_folded_away(offline, artefacts):
    offline.set_viewport_size({"width": 718, "height": 1016})  # A4 less margins of 1 cm, at 96 dots per inch
    offline.emulate_media(media="print")
    assert not offline.locator(".contents").is_visible()
    assert offline.get_by_text("Resolved recipe").locator("xpath=../pre").is_visible()
    assert offline.evaluate("document.documentElement.scrollWidth") <= 730
    paper = offline.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "1cm"))
    (artefacts / "report.pdf").write_bytes(paper)
    assert 3 <= len(re.findall(rb"/Type /Page\b", paper)) <= 40
