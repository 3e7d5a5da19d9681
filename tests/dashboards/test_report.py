"""The static report: its numbers are the ledger's, its text is harmless, its size is bounded."""

import json
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from run_making import RECIPE, make_run, noise_thumbnail, sample_rows

from dashboards.pictures import embed
from dashboards.report import MAX_BYTES, REPORT, render_report, write_report
from filters.errors import BadInput
from filters.reasons import Reason
from pipelines.commands.main import invoke
from pipelines.jobs.finish import run_counts
from pipelines.run.parts import part_name

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>\x00\n\u202egnp.\u2066"
    "<a href='https://evil.example/x'>{{ 7*7 }}{% raw %}</style></title> &lt;b&gt;"
)

#: Rules with two bounds each.
WIDE = [("min_side", 100, 300), ("caption_words", 2, 6), ("nsfw", 0.01, 0.5), ("similarity", 0.1, 0.3)]

#: Elements without an end tag.
VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """All that the tests ask of a page: elements with attributes, text, and whether tags are closed in order."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.text, self.misnested = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), list(self.open)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), list(self.open)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop()[0] != tag:
            self.misnested.append(tag)

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs, _ in self.elements if name == tag]


def page_of(run):
    return Page(render_report(run).decode())


def rows_of(html, label):
    """Cells of every row of the table in the region `label`, as text."""
    table = re.search(rf'aria-label="{label}".*?</table>', html, re.DOTALL).group()
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", c).strip() for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run", sample_rows(600), part_rows=250)


@pytest.fixture(scope="module")
def page(run):
    return page_of(run)


def test_funnel_numbers_are_those_of_the_ledger(run):
    counts = run_counts(run)
    rows = {row[0]: row for row in rows_of(render_report(run).decode(), "Funnel")}
    assert len(counts.dropped) >= 6
    assert {code: rows[code][2] for code in counts.dropped} == {c: f"{n:,}" for c, n in counts.dropped.items()}
    assert rows["samples in"][4] == "600"
    assert rows["kept"][4] == rows["in 1 shard"][4] == f"{counts.kept:,}"
    assert rows["dropped in all"][2] == f"{600 - counts.kept:,}"


def test_each_reason_tells_primary_any_and_only_counts(run):
    lists = [codes for table in run.tables("ledger") for codes in table.column("reasons").to_pylist()]
    with_reason = Counter(code for codes in lists for code in codes)
    alone = Counter(codes[0] for codes in lists if len(codes) == 1)
    html = render_report(run).decode()
    dropped = run_counts(run).dropped
    for code in with_reason:
        section = re.search(rf'<section class="reason-card" id="{code}".*?</header>', html, re.DOTALL).group()
        tally = [int(n) for n in re.findall(r"<dd>([\d,]+)</dd>", section)]
        assert tally == [dropped.get(code, 0), with_reason[code], alone[code]], code


def test_funnel_rows_link_to_sections_that_exist(page):
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    links = [attrs["href"] for attrs in page.all("a")]
    assert len(ids) == len(set(ids))
    assert all(link.startswith("#") and link[1:] in ids for link in links)


def test_markup_is_well_nested_and_accessible(page):
    assert page.misnested == []
    assert page.open == []
    assert all(attrs.get("alt") for attrs in page.all("img"))
    for attrs in page.all("svg"):
        assert attrs.get("aria-hidden") or (attrs["role"] == "img" and attrs["aria-labelledby"])
    assert {"main", "nav", "header", "h1", "h2", "h3", "caption"} <= {tag for tag, _, _ in page.elements}


def test_galleries_stand_on_both_sides_of_a_bound(run):
    html = render_report(run).decode()
    section = re.search(r'id="IMAGE_TOO_SMALL".*?</section>', html, re.DOTALL).group()
    dropped, kept = section.split("Just kept")
    values = [[int(v) for v in re.findall(r'class="value"><bdi>(\d+)', half)] for half in (dropped, kept)]
    assert values[0] == sorted(values[0], reverse=True)
    assert max(values[0]) < 64 <= min(values[1])
    ledger = [row for table in run.tables("ledger") for row in table.to_pylist()]
    sides = [v for table in run.tables("scores", ["min_side"]) for v in table.column("min_side").to_pylist()]
    kept_sides = sorted(v for v, row in zip(sides, ledger, strict=True) if row["decision"] == "kept")
    assert sorted(values[1]) == kept_sides[: len(values[1])]


def test_a_duplicate_stands_beside_the_one_in_its_place(run):
    section = re.search(r'id="EXACT_DUPLICATE".*?</section>', render_report(run).decode(), re.DOTALL).group()
    ledger = {row["uid"]: row for table in run.tables("ledger") for row in table.to_pylist()}
    uids = re.findall(r'title="uid ([0-9a-f]{32})"', section)
    assert len(uids) >= 2
    for dropped, stands in zip(uids[::2], uids[1::2], strict=True):
        assert ledger[dropped]["duplicate_of"] == stands


def test_an_undecodable_sample_is_told_in_a_table(run):
    rows = rows_of(render_report(run).decode(), "Records with DECODE_ERROR")
    assert rows[0] == ["key", "shard", "what was wrong", "caption", "uid"]
    assert 1 < len(rows) <= 21
    assert all(row[2].startswith("cut off") for row in rows[1:])


def test_samples_without_a_picture_are_told_in_a_table_whatever_dropped_them(tmp_path):
    changes = {"licence": lambda i: None if i < 5 else "CC0", "failure": lambda i: "EMPTY_CAPTION" if i < 5 else None}
    html = render_report(make_run(tmp_path / "run", sample_rows(40, **changes))).decode()
    rows = rows_of(html, "Records with LICENCE_MISSING")
    assert [row[0] for row in rows[1:]] == [f"k{i:06d}" for i in range(5)]
    assert all(row[2].endswith("also EMPTY_CAPTION") for row in rows[1:])


def test_keep_top_is_shown_with_the_bound_that_it_became(run):
    rules = {row[0]: row for row in rows_of(render_report(run).decode(), "Rules")}
    low = next(r["low"] for r in run.marker("ledger", 0).facts["rules"] if r["name"] == "similarity")
    assert rules["similarity"][2].startswith(f"{low:.6g} or more")
    assert rules["similarity"][2].endswith("the best 80% of the scores")


def test_hostile_text_is_shown_as_text(tmp_path):
    changes = {name: lambda i: HOSTILE + str(i) for name in ("caption", "key", "shard")}
    changes["failure_detail"] = lambda i: HOSTILE
    changes["licence"] = lambda i: HOSTILE if i % 2 else "CC0"
    changes["creator"] = lambda i: HOSTILE + str(i % 8)
    made = make_run(tmp_path / "run", sample_rows(150, **changes), RECIPE.replace("cap: 40", "cap: 1"))
    html = render_report(made).decode()
    page = Page(html)
    tags = {tag for tag, _, _ in page.elements}
    assert tags.isdisjoint({"script", "iframe", "object", "embed", "form", "base"})
    for tag, attrs, _ in page.elements:
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
        assert all(value.startswith("data:image/webp;base64,") for name, value in attrs.items() if name == "src")
        assert all(value.startswith(("#", "data:,")) for name, value in attrs.items() if name == "href")
    assert "url(" not in html
    assert "@import" not in html
    assert "\x00" not in html
    assert "\u202e" not in html
    assert page.misnested == []
    assert {"LICENCE_NOT_ALLOWED", "DECODE_ERROR", "BALANCE_CAP"} <= set(run_counts(made).dropped)
    assert "<script>alert(1)</script>" in "".join(page.text)
    assert "{{ 7*7 }}" in "".join(page.text)


def test_content_security_policy_allows_no_load_and_no_script(page):
    policy = next(attrs["content"] for attrs in page.all("meta") if attrs.get("http-equiv"))
    assert policy.split(";")[0] == "default-src 'none'"
    assert "script" not in policy
    assert "http" not in policy


def test_nsfw_pictures_are_veiled_wherever_they_stand(run):
    page = page_of(run)
    nsfw = {}
    for samples, scores in zip(run.tables("samples"), run.tables("scores"), strict=True):
        nsfw.update(zip(samples.column("uid").to_pylist(), scores.column("nsfw").to_pylist(), strict=True))
    html = render_report(run).decode()
    cards = re.findall(r'<figure class="card">.*?</figure>', html, re.DOTALL)
    shown = [(re.search(r"title=\"uid (\w+)", c).group(1), 'class="frame veil"' in c) for c in cards if "<img" in c]
    assert sum(nsfw[uid] >= 0.5 for uid, _ in shown) > 10
    assert all(veiled for uid, veiled in shown if nsfw[uid] >= 0.5)
    section = re.search(r'id="NSFW".*?</section>', html, re.DOTALL).group()
    assert section.count("<img") == section.count("frame veil") > 0
    style = "".join(page.text)
    assert ".veil img { filter: blur(" in style
    assert all("checked" not in attrs for attrs in page.all("input"))


def test_report_stays_small_with_many_samples(tmp_path):
    made = make_run(tmp_path / "run", sample_rows(20_000), part_rows=2000)
    page = render_report(made)
    assert len(page) < 2_000_000
    assert b"20,000" in page


def test_report_stays_below_its_bound_with_the_largest_pictures_and_texts(tmp_path):
    rules = "\n".join(f"  {name}: {{low: {low}, high: {high}}}" for name, low, high in WIDE)
    recipe = f"name: made\ninput: {{kind: webdataset, path: x}}\nrules:\n{rules}\nlicences: {{allow: [CC0]}}\n"
    rows = sample_rows(900, caption=lambda i: "&\"<'" * 4096, caption_words=lambda i: i % 9)
    made = make_run(tmp_path / "run", rows, recipe, picture=noise_thumbnail)
    page = render_report(made)
    assert 500_000 < len(page) < MAX_BYTES


def test_same_run_gives_the_same_bytes(run, tmp_path):
    again = make_run(tmp_path / "again", sample_rows(600), part_rows=250, finished=False)
    for name in ("manifest.json", *(n for folder in ("shards", "ledger") for n in run.store.list(folder))):
        again.store.write(name, run.store.read(name))
    assert render_report(run) == render_report(again) == render_report(run)


def test_galleries_do_not_depend_on_the_size_of_parts(tmp_path, run):
    other = make_run(tmp_path / "other", sample_rows(600), part_rows=90)
    found = [re.findall(r'title="uid (\w+)"', render_report(made).decode()) for made in (run, other)]
    assert found[0] == found[1]


def test_an_undecided_run_is_refused_in_one_line(tmp_path, run):
    made = make_run(tmp_path / "run", sample_rows(30), part_rows=10)
    made.store.delete(part_name("ledger", 2, ".done.json"))
    with pytest.raises(BadInput, match="2 of 3 parts are decided") as caught:
        write_report(made)
    assert "\n" not in str(caught.value)
    assert not made.store.exists(REPORT)


def test_a_run_without_manifest_is_marked_as_unfinished(tmp_path):
    made = make_run(tmp_path / "run", sample_rows(60), finished=False)
    text = "".join(page_of(made).text)
    assert "This run is not finished." in text
    assert "no manifest" in text


def test_counts_that_do_not_add_up_are_told_loudly(tmp_path):
    made = make_run(tmp_path / "run", sample_rows(60))
    manifest = json.loads(made.store.read("manifest.json"))
    manifest["content"]["counts"]["kept"] += 1
    made.store.write("manifest.json", json.dumps(manifest).encode())
    page = page_of(made)
    assert [attrs["role"] for attrs in page.all("div") if attrs.get("class") == "alarm"] == ["alert"]
    text = "".join(page.text)
    assert "The manifest's counts are not those of the ledger." in text
    assert "does not have the hash that it states" in text


def test_missing_and_broken_thumbnails_leave_a_report(tmp_path):
    made = make_run(tmp_path / "run", sample_rows(60), part_rows=20)
    made.store.delete(part_name("thumbnails", 0, ".tar"))
    made.store.write(part_name("thumbnails", 1, ".tar"), b"no tar at all" * 100)
    text = "".join(page_of(made).text)
    assert "thumbnails/part-00000.tar is missing" in text
    assert "thumbnails/part-00001.tar is unreadable" in text
    assert "no thumbnail" in text


def test_only_small_webp_is_embedded():
    assert embed(noise_thumbnail(1)).width == 128
    assert embed(b"<svg onload=alert(1)>") is None
    assert embed(b"RIFF\0\0\0\0WEBPVP8X") is None


def test_every_sample_kept_or_dropped_gives_a_report(tmp_path):
    for name, licence in (("kept", "CC0"), ("dropped", "GPL")):
        changes = {"licence": lambda i, value=licence: value, "failure": lambda i: None}
        recipe = "name: made\ninput: {kind: folder, path: x}\nlicences: {allow: [CC0]}\n"
        made = make_run(tmp_path / name, sample_rows(12, **changes), recipe)
        assert page_of(made).misnested == []


def test_command_writes_where_it_is_told(run, tmp_path, capsys):
    assert invoke(["report", run.store.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": f"{run.store.url}/{REPORT}", "finished": True}
    assert invoke(["report", run.store.url, "--out", str(tmp_path / "new" / "r.html")]) == 0
    assert (tmp_path / "new" / "r.html").read_bytes() == run.store.read(REPORT)
    assert invoke(["report", run.store.url, "--out", str(tmp_path)]) == 2
    assert invoke(["report", str(tmp_path / "nothing")]) == 2


def test_every_reason_has_its_place(tmp_path):
    """A reason of a later version must not break the page: all of them are drawn once."""
    made = make_run(tmp_path / "run", sample_rows(2 * len(Reason), failure=lambda i: list(Reason)[i // 2].value))
    html = render_report(made).decode()
    assert all(f'id="{reason.value}"' in html for reason in Reason)
