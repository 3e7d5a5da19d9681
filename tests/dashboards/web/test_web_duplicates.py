import shlex
from collections import Counter, defaultdict

import pytest
from web_real_run import ledger_rows, opened, real_client, real_run

from filters.reasons import BY_CODE
from filters.rules import mask
from pipelines.jobs.dedup_choice import DUPLICATE

PAGE, API = "/runs/real/duplicates", "/api/runs/real/duplicates"


def all_clusters(query="sort=size"):
    found, after = [], ""
    while True:
        body = real_client().get(f"{API}?{query}&after={after}").json()
        found += body["found"]
        after = body["after"]
        if not after:
            return body, found


def test_clusters_are_those_of_the_ledger():
    rows = ledger_rows(real_run())
    members = defaultdict(list)
    for row in rows:
        if row["cluster"] is not None:
            members[row["cluster"]].append(row)
    body, found = all_clusters()
    assert {c["cluster"]: c["size"] for c in found} == {name: len(mine) for name, mine in members.items()}
    assert body["clusters"] == len(members) > 3
    gone = sum(bool(int(mask(*(BY_CODE[code] for code in row["reasons"]))) & int(DUPLICATE)) for row in rows)
    assert body["gone"] == gone > 3
    for cluster in found:
        mine = members[cluster["cluster"]]
        assert cluster["kept"] == sum(row["decision"] == "kept" for row in mine)
        assert {m["sample"]["uid"] for m in cluster["members"]} <= {row["uid"] for row in mine}


def test_who_went_names_method_distance_and_what_decided():
    by_uid = {row["uid"]: row for row in ledger_rows(real_run())}
    methods = Counter()
    for cluster in all_clusters()[1]:
        for member in cluster["members"]:
            row = by_uid[member["sample"]["uid"]]
            assert member["duplicate_of"] == (row["duplicate_of"] or "")
            if member["role"] == "gone":
                methods[row["duplicate_method"]] += 1
                assert member["why"]
            if row["duplicate_method"] == "sha256":
                assert member["how"] == "same bytes"
            if member["role"] == "stays":
                assert member["stays_for"] == sum(r["duplicate_of"] == row["uid"] for r in by_uid.values())
    assert methods["sha256"] > 0
    assert methods["phash"] + methods["pdq"] > 0
    # the smaller copies went for the larger pictures
    text = real_client().get(f"{PAGE}?sort=size").text
    assert "more pixels (200 × 150 against 180 × 135)" in text
    assert "same bytes" in text


def test_paging_finds_each_cluster_once():
    from dashboards.web.query.clusters import cluster_page

    run = opened()
    for sort in ("size", "gone"):
        whole = [c.cluster for c in cluster_page(run, sort, "", 1000).found]
        found, after = [], ""
        while True:
            page = cluster_page(run, sort, after, 2)
            found += [c.cluster for c in page.found]
            after = page.after
            if not after:
                break
        assert found == whole
        assert len(set(found)) == len(found)


def test_one_cluster_shows_its_pairs():
    from pipelines.run.parts import read_table

    edges = read_table(real_run().store, "duplicates/edges.parquet").to_pylist()
    cluster = all_clusters()[1][0]["cluster"]
    rows = ledger_rows(real_run())
    mine = {i for i, row in enumerate(rows) if row["cluster"] == cluster}
    body = real_client().get(f"{API}/{cluster}").json()
    wanted = sorted((e["a"], e["b"], e["method"]) for e in edges if e["a"] in mine)
    assert sorted((p["a"], p["b"], p["method"]) for p in body["pairs"]) == wanted
    assert body["pairs_total"] == len(wanted)
    page = real_client().get(f"{PAGE}/{cluster}").text
    assert page.count("<caption>") == page.count("<table")


@pytest.mark.parametrize("query", ["phash=0", "pdq=2", "phash=2&pdq=10", "phash=0&pdq=0"])
def test_a_smaller_distance_leaves_the_clusters_that_dedup_finds(query, tmp_path):
    from pipelines.jobs.replay import replay

    found = real_client().get(f"{API}/whatif?{query}").json()
    words = shlex.split(found["command"])
    overrides = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    new = ledger_rows(replay(real_run(), overrides, str(tmp_path / "new")))
    clusters = Counter(row["cluster"] for row in new if row["cluster"] is not None)
    assert found["clusters_then"] == len(clusters)
    assert found["members_then"] == sum(clusters.values())
    assert found["problem"] == ""


def test_a_larger_distance_is_not_guessed():
    found = real_client().get(f"{API}/whatif?pdq=50").json()
    assert found["clusters_then"] is None
    assert "cannot be known" in found["problem"]
    assert "duplicates.pdq_distance=50" in found["command"]
    assert "cannot be known" in real_client().get(f"{PAGE}?pdq=50").text
    assert "not searched at all" in real_client().get(f"{API}/whatif?cosine=0.9").json()["problem"]


def test_bad_addresses():
    for query in ("sort=x", "after=1", "after=a_b", "after=9999999999999999999_1", "after=1_2_3", "after=%00"):
        assert real_client().get(f"{API}?{query}").status_code == 400
        assert real_client().get(f"{PAGE}?{query}").status_code == 400
    for query in ("phash=-1", "phash=x", "cosine=2", "pdq=1e9", "pdq=nan"):
        assert real_client().get(f"{PAGE}?{query}").status_code in (400, 422)
    assert real_client().get(f"{PAGE}/999999").status_code == 404
    assert real_client().get(f"{PAGE}/1;drop").status_code == 422
    assert real_client().get(f"{API}/0?after=x").status_code in (400, 404)


def test_a_run_without_duplicates_says_so(client):
    found = client.get("/runs/other/duplicates")
    assert found.status_code == 200
    assert client.get("/api/runs/other/duplicates").json()["clusters"] >= 0
