import time
from collections import Counter

import pytest


def test_the_funnel_is_the_ledger(client, made):
    found = client.get("/api/runs/made/funnel").json()
    primary = Counter(row["primary_reason"] for row in made if row["decision"] == "dropped")
    assert {step["reason"]: step["dropped"] for step in found["steps"]} == primary
    assert found["kept"] == sum(row["decision"] == "kept" for row in made)
    assert found["samples"] == len(made) == 600
    assert found["adds_up"]
    applies = Counter(code for row in made for code in row["reasons"])
    alone = Counter(row["reasons"][0] for row in made if len(row["reasons"]) == 1)
    assert {s["reason"]: (s["applies"], s["alone"]) for s in found["steps"]} == {
        code: (applies[code], alone[code]) for code in primary
    }


def test_the_funnel_says_when_shards_do_not_hold_what_is_kept(tmp_path, cache):
    from run_making import make_run, sample_rows
    from web_clients import client_for

    make_run(tmp_path / "made", sample_rows(40))
    marker = tmp_path / "made" / "shards" / "shard-00000.done.json"
    marker.write_text(marker.read_text().replace('"rows": ', '"rows": 1'))
    with client_for(tmp_path, cache) as client:
        assert not client.get("/api/runs/made/funnel").json()["adds_up"]
        assert "Does not add up" in client.get("/runs/made/funnel").text


def test_every_bar_leads_to_exactly_its_samples(client, everything):
    for step in client.get("/api/runs/made/funnel").json()["steps"]:
        assert len(everything(f"reason={step['reason']}")) == step["dropped"]
        assert len(everything(f"any_reason={step['reason']}")) == step["applies"]


@pytest.mark.parametrize("query", ["", "sort=similarity", "sort=nsfw&order=desc", "sort=min_side", "decision=dropped"])
def test_paging_is_complete_and_without_doubles(everything, made, query):
    found = everything(query)
    wanted = [r for r in made if "dropped" not in query or r["decision"] == "dropped"]
    assert sorted(s["row"] for s in found) == [i for i, r in enumerate(made) if r in wanted]
    assert Counter(s["uid"] for s in found) == Counter(r["uid"] for r in wanted)


@pytest.mark.parametrize(("column", "order"), [("similarity", ""), ("nsfw", "desc"), ("min_side", "")])
def test_sorted_by_score_with_missing_ones_last(everything, made, column, order):
    values = [s["value"] for s in everything(f"sort={column}&order={order}")]
    scored = [v for v in values if v is not None]
    assert scored == sorted(scored, reverse=order == "desc")
    assert values[len(scored) :] == [None] * sum(row[column] is None for row in made)


@pytest.mark.parametrize(
    ("query", "test"),
    [
        ("decision=kept", lambda r: r["decision"] == "kept"),
        ("q=DRAWING+1", lambda r: "drawing 1" in (r["caption"] or "").lower()[:1000]),
        ("domain=host3.example", lambda r: r["domain"] == "host3.example"),
        ("creator=artist+4", lambda r: r["creator"] == "artist 4"),
        ("licence=(none)", lambda r: not r["licence"]),
        (
            "low.similarity=0.1&high.similarity=0.2",
            lambda r: r["similarity"] is not None and 0.1 <= r["similarity"] <= 0.2,
        ),
        ("low.min_side=64&high.min_side=100", lambda r: r["min_side"] is not None and 64 <= r["min_side"] <= 100),
        ("missing.nsfw=1", lambda r: r["nsfw"] is None),
        (
            "decision=kept&low.nsfw=0.2&q=thing",
            lambda r: r["decision"] == "kept" and r["nsfw"] >= 0.2 and "thing" in r["caption"],
        ),
    ],
)
def test_filters_let_through_what_the_parquet_says(everything, made, query, test):
    wanted = sorted(row["uid"] for row in made if test(row))
    assert sorted(s["uid"] for s in everything(query)) == wanted
    assert wanted, "a filter that nothing passes shows nothing"


@pytest.mark.parametrize(
    "query",
    [
        "sort=uid", "sort=s0", "reason=NO", "decision=x", "low.similarity=nan", "low.similarity=a", "low.row=1",
        "group.none=1", "cluster=-1", "after=x", "after=_1x", "sort=similarity&after=_3", "order=up",
        "sort=similarity);DROP+TABLE+samples--", "low.similarity);--=1", "sort=similarity&after=nan_1",
        "sort=similarity&after=0x1p200_1", "sort=min_side&after=nan_1", "sort=min_side&after=inf_1",
        "sort=min_side&after=-0x1p64_1", "sort=min_side&after=0x1p-1_1", "sort=min_side&q=a&after=nan_1",
    ],
)  # fmt: skip
def test_what_a_run_does_not_have_is_refused_in_one_line(client, query):
    answer = client.get(f"/api/runs/made/samples?{query}")
    assert answer.status_code == 400
    assert "\n" not in answer.json()["detail"]
    assert client.get(f"/runs/made/samples?{query}").status_code == 400


def test_a_bound_beyond_what_a_score_can_be_is_a_bound(client, made):
    scored = sum(row["similarity"] is not None for row in made)
    for bound, count in (
        ("low.similarity=1e39", 0),
        ("high.similarity=1e39", scored),
        ("low.similarity=-1e300", scored),
    ):
        assert client.get(f"/api/runs/made/samples?{bound}").json()["total"] == count


def test_pages_go_on_after_a_score_that_is_infinite(tmp_path, cache):
    from run_making import make_run, sample_rows
    from web_clients import client_for

    endless = {"nsfw": lambda i: (float("inf"), float("-inf"), 0.5)[i % 3]}
    make_run(tmp_path / "made", sample_rows(30, **endless), finished=False)
    with client_for(tmp_path, cache) as client:
        for order in ("asc", "desc"):
            rows, after = [], ""
            while not rows or after:
                address = f"/api/runs/made/samples?sort=nsfw&order={order}&size=4&after={after}"
                body = client.get(address).json()
                rows += [sample["row"] for sample in body["samples"]]
                after = body["after"]
            assert sorted(rows) == list(range(30))


@pytest.mark.parametrize("text", ["'", "%25", "'+OR+1=1+--", "%5C", "%F0%9F", "%ED%A0%BD", "%C3%A9" * 200, "a%00b"])
def test_text_of_a_filter_is_text(client, text):
    answer = client.get(f"/api/runs/made/samples?q={text}")
    assert answer.status_code == 200
    assert answer.json()["total"] == 0


def test_a_filter_of_nothing_is_none(client, made):
    for text in ("", "+", "%00", "%09"):
        assert client.get(f"/api/runs/made/samples?q={text}").json()["total"] == len(made)


def test_a_run_that_changes_is_read_again(tmp_path, cache):
    from run_making import make_run, sample_rows
    from web_clients import client_for

    make_run(tmp_path / "made", sample_rows(60))
    with client_for(tmp_path, cache) as client:
        before = client.get("/api/runs/made/funnel").json()["kept"]
        (tmp_path / "made" / "manifest.json").unlink()
        for path in (tmp_path / "made" / "ledger").iterdir():
            path.unlink()
        time.sleep(1.1)
        assert client.get("/api/runs/made/funnel").status_code == 409
        assert client.get("/runs/made/health").status_code == 200
        assert before > 0


def test_rows_come_in_the_order_that_was_asked_for(client):
    from dashboards.web.query.samples import fetch

    opened = client.app.state.catalogue.open("made")
    for places in ([0, 5, 2], [7, 8, 9], [9, 8, 7], [599, 0]):
        assert [sample.row for sample in fetch(opened, [(place, None, False) for place in places])] == places


def test_no_filter_of_an_address_is_passed_over_because_others_stand_before_it(client, made):
    """A form sends all of its fields, the empty ones as well."""
    empty = "&".join(f"low.score{i}=" for i in range(100))
    kept = sum(row["decision"] == "kept" for row in made)
    assert client.get(f"/api/runs/made/samples?{empty}&decision=kept").json()["total"] == kept
    many = "&".join("low.similarity=0" for _ in range(81))
    assert client.get(f"/api/runs/made/samples?{many}&decision=kept").status_code == 400


def test_a_name_with_spaces_around_it_leads_to_its_samples(tmp_path, cache):
    from run_making import make_run, sample_rows
    from web_clients import client_for

    make_run(tmp_path / "made", sample_rows(30, creator=lambda i: ("Ann ", "Ann", " Bob")[i % 3]), finished=False)
    with client_for(tmp_path, cache) as client:
        for name in ("Ann ", "Ann", " Bob"):
            answer = client.get("/api/runs/made/samples", params={"creator": name}).json()
            assert [sample["creator"] for sample in answer["samples"]] == [name] * 10


def test_every_one_of_many_samples_with_one_uid_has_its_page(tmp_path, cache):
    from run_making import make_run, sample_rows
    from web_clients import client_for

    make_run(tmp_path / "made", sample_rows(150, uid=lambda i: "ab" * 16), finished=False)
    with client_for(tmp_path, cache) as client:
        for row in (0, 99, 100, 149):
            assert client.get(f"/api/runs/made/samples/{'ab' * 16}?row={row}").json()["row"] == row
            assert client.get(f"/runs/made/samples/{'ab' * 16}?row={row}").status_code == 200
        assert client.get(f"/api/runs/made/samples/{'ab' * 16}?row=150").status_code == 404


def test_samples_of_an_evaluation_are_found_beside_many_with_one_uid(tmp_path, cache):
    from run_making import make_run, sample_rows
    from web_clients import client_for

    from dashboards.web.query.training_evaluation import _samples

    uids = ["ab" * 16] * 250 + ["cd" * 16]
    make_run(tmp_path / "made", sample_rows(251, uid=uids.__getitem__), finished=False)
    with client_for(tmp_path, cache) as client:
        client.get("/api/runs/made/funnel")
        opened = client.app.state.catalogue.open("made")
        kept = opened.reader.rows("SELECT min(row) FROM samples WHERE kept AND row < 250")
        found = _samples(opened, set(uids))
        assert {uid: sample.row for uid, sample in found.items()} == {"ab" * 16: kept[0][0], "cd" * 16: 250}
