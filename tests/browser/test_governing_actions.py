"""The main actions of Rights, Audit, Training and Generated, as a person does them, over real signals and pictures."""

import re

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("diffusers", reason="the train extra is not installed")

from generated_run import make_generated
from run_making import sample_rows
from signals_run import DIGEST, make_signals

from pipelines.jobs.balance import shard_rows
from pipelines.run.directory import open_run

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def life(browser, tmp_path_factory):
    """A folder of a run with a model and pictures, and one with signals and a registry (`reserved`)."""
    runs = make_generated(tmp_path_factory.mktemp("life"))
    make_signals(runs, sample_rows(120, seed=9), "reserved")
    return runs


@pytest.fixture(scope="module")
def life_address(life, serve, tmp_path_factory):
    """The dashboard over that folder, with the keys' own root as trust anchor."""
    trust = ("--trust", str(life.parent / "keys" / "root.pem"))
    with serve(life, tmp_path_factory.mktemp("life-cache"), ("run", "reserved"), *trust) as found:
        yield found


def number(locator):
    """The whole number at the start of what an element shows."""
    return int(re.match(r"[\d,]+", locator.inner_text())[0].replace(",", ""))


class TestOfALife:
    """On the folder with signals, a model and pictures."""

    @pytest.fixture
    def address(self, life_address):
        return life_address

    @pytest.fixture
    def context(self, browser, address):
        with browser.new_context(base_url=address, viewport={"width": 1360, "height": 900}) as found:
            found.set_default_timeout(60_000)
            yield found

    @pytest.fixture
    def watch(self, address):
        from watching import Watch

        found = Watch(address)
        yield found
        assert not found.wrong, "\n".join(found.wrong)
        assert found.requests

    def test_signals_are_narrowed_to_a_channels_denials_and_lead_to_the_deciding_line(self, page):
        page.goto("/runs/reserved/rights")
        assert page.get_by_test_id("adds-up").inner_text().startswith("Adds up")
        row = page.get_by_test_id("channels").locator("tr[data-channel='robots.txt']")
        denials = row.locator("td.strong a")
        wanted = number(denials)
        denials.click()
        page.wait_for_url("**verdict=deny**")
        assert number(page.get_by_test_id("total")) == wanted > 0
        rows = page.get_by_test_id("signals").locator("tbody tr")
        assert {rows.nth(i).locator(".result").inner_text() for i in range(rows.count())} == {"deny"}
        rows.first.locator("td a.mono").click()
        page.wait_for_url(f"**/evidence/{DIGEST}")
        assert page.get_by_test_id("deciding").count() >= 1
        assert "Disallow: /art/" in page.get_by_test_id("deciding").first.inner_text()
        page.get_by_test_id("resting").get_by_role("link").first.click()
        page.get_by_test_id("decision").wait_for()

    def test_pending_entries_of_the_registry_are_listed(self, page):
        page.goto("/runs/reserved/rights")
        assert number(page.get_by_test_id("pending")) == 2
        assert page.get_by_test_id("pending-entries").locator("tbody tr").count() == 2

    def test_a_trainings_checkpoint_leads_to_its_pictures_and_to_what_it_saw(self, page, life):
        page.goto("/runs/run/training")
        page.get_by_test_id("models").get_by_role("link", name="model").click()
        page.get_by_test_id("curves").locator("svg").first.wait_for()
        assert number(page.get_by_test_id("seen").locator("dd").first) == sum(shard_rows(open_run(str(life / "run"))))
        assert page.get_by_test_id("checkpoints").locator("tbody tr").count() >= 1
        page.locator("section[aria-labelledby=checkpoints] p a").first.click()
        page.wait_for_url("**/generated?folder=out")
        assert page.get_by_test_id("pictures").locator("li").count() == 2

    def test_a_picture_of_ours_is_verified_and_its_lineage_leads_back_to_the_rules(self, page):
        page.goto("/runs/run/generated?folder=out")
        page.get_by_test_id("verdict").filter(has_text="ours, intact").nth(1).wait_for()
        page.get_by_test_id("pictures").locator("a.cap").first.click()
        assert page.get_by_test_id("verdict-line").inner_text() == "ours, intact"
        assert page.get_by_test_id("no-trust").count() == 0
        assert page.get_by_test_id("lineage-found").count() == 1
        graph = page.get_by_role("region", name="Lineage as a graph").locator("svg")
        links = graph.locator("a")
        assert links.count() >= 3
        chain = page.get_by_test_id("chain").inner_text()
        for kind in ("checkpoint", "dataset"):
            assert kind in chain.lower()
        samples = page.get_by_test_id("branches").get_by_role("link")
        assert samples.count() >= 1
        samples.first.click()
        page.wait_for_url(re.compile(r"/runs/run/(samples|training|thresholds|funnel|audit|rights|duplicates)"))
        assert page.locator("main h1").count() == 1


def test_a_cell_of_the_impact_matrix_leads_to_its_samples(page):
    page.goto("/runs/drawings/audit")
    cells = page.get_by_test_id("impact").locator("tbody tr[data-step='BLURRED'] td a")
    assert cells.count() >= 1
    cell = cells.first
    address = cell.get_attribute("href")
    cell.click()
    page.get_by_test_id("total").wait_for()
    assert "group.region=" in address
    assert "BLURRED" in address
    assert number(page.get_by_test_id("total")) > 0
    shown = page.get_by_test_id("sample")
    assert shown.count() > 0
