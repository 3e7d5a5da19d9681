"""The report shows the largest clusters: who stays first, each of the others with how it was found."""

import re

from run_making import make_run, sample_rows

from dashboards.clusters import CLUSTERS, largest_clusters
from dashboards.galleries import PICTURES
from dashboards.report import render_report


def star(i):
    """Rows 0 to 399 share a hash up to one bit; so do rows 400 to 409."""
    return 0b1111 ^ (1 << (i % 2 + 10)) if i < 400 else 2**40 if i < 410 else (i * 2654435761) << 20


def made(tmp_path):
    return make_run(tmp_path / "run", sample_rows(600, phash=star), part_rows=250)


def test_the_largest_stand_first_with_who_stays_and_the_evidence(tmp_path):
    found = largest_clusters(made(tmp_path))
    assert 2 <= len(found) <= CLUSTERS
    first = found[0]
    assert first.size == max(one.size for one in found)
    assert [one.gone for one in found[1:]] == sorted((one.gone for one in found[1:]), reverse=True)
    assert first.size > 300
    assert 1 < len(first.shown.cards) <= PICTURES
    values = [card.value for card in first.shown.cards]
    assert any("of 64 bits differ (pHash)" in value for value in values)
    assert first.shown.cards[0].state == "kept" or "dropped" in first.shown.cards[0].state


def test_they_stand_in_the_report_and_the_same_run_gives_the_same_page(tmp_path):
    run = made(tmp_path)
    page = render_report(run)
    text = page.decode()
    assert 'id="clusters"' in text
    assert re.search(r"<h4>\d+ pictures: \d+ kept, \d+ gone as duplicates", text)
    assert render_report(run) == page


def test_a_run_without_duplicates_has_no_such_section(tmp_path):
    rows = sample_rows(20, sha256=lambda i: f"{i:064x}", phash=lambda i: (i * 2654435761) << 20)
    run = make_run(tmp_path / "run", rows)
    assert largest_clusters(run) == []
    assert 'id="clusters"' not in render_report(run).decode()
