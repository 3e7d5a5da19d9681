import io

from PIL import Image
from run_making import make_run, noise_thumbnail, sample_rows
from web_clients import HOSTILE, client_for


def test_hostile_captions_are_text(client, made):
    uid = made[5]["uid"]
    for path in ("/runs/made/samples", "/runs/made/samples?view=table", f"/runs/made/samples/{uid}"):
        text = client.get(path).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "\u202e" not in text
        assert "\x07" not in text
        assert "{{ 7*7 }}" in text, "a caption is no template"
    page = client.get(f"/runs/made/samples/{uid}").text
    assert "⟨U+202E⟩" in page
    assert "⟨U+0007⟩" in page
    assert client.get(f"/api/runs/made/samples/{uid}").json()["caption"] == HOSTILE


def test_a_long_caption_is_cut_until_asked_for(client, made):
    address = f"/runs/made/samples/{made[6]['uid']}"
    short, full = client.get(address).text, client.get(address + "?full=1").text
    assert "Show all 100,004 characters" in short
    assert len(short) < 40_000
    assert len(full) > 100_000
    assert len(client.get("/runs/made/samples").text) < 120_000


def test_a_sample_tells_every_score_rule_and_its_way(client, made):
    dropped = next(row for row in made if row["primary_reason"] == "LOW_SIMILARITY")
    found = client.get(f"/api/runs/made/samples/{dropped['uid']}").json()
    assert found["reason"] == "LOW_SIMILARITY"
    rules = {rule["rule"]: rule for rule in found["rules"]}
    assert rules["similarity"]["state"] == "fail"
    assert set(rules) == {"licences", "min_side", "nsfw", "similarity"}
    assert {s["column"]: s["value"] for s in found["scores"]}["similarity"] == dropped["similarity"]
    assert [stop["words"] for stop in found["way"] if stop["state"] == "stopped"] == ["LOW_SIMILARITY"]


def test_a_rule_fails_exactly_where_its_reason_applies(client, made):
    for row in made[::23]:
        found = client.get(f"/api/runs/made/samples/{row['uid']}").json()
        failed = {rule["reason"] for rule in found["rules"] if rule["state"] == "fail"}
        rules = {rule["reason"] for rule in found["rules"]}
        assert failed == rules & set(row["reasons"])


def test_a_duplicate_leads_to_the_one_that_stayed(client, made):
    row = next(row for row in made if row["duplicate_of"])
    found = client.get(f"/api/runs/made/samples/{row['uid']}").json()
    assert found["duplicate_of"] == row["duplicate_of"]
    assert row["duplicate_of"] in [member["uid"] for member in found["members"]]
    assert f"/samples/{row['duplicate_of']}" in client.get(f"/runs/made/samples/{row['uid']}").text


def test_unknown_samples_are_not_found(client, made):
    for uid in ("0" * 32, "x" * 32, "A" * 32, "0" * 31):
        assert client.get(f"/runs/made/samples/{uid}").status_code in (404, 422)
    assert client.get(f"/runs/made/samples/{made[0]['uid']}?row=1").status_code == 404


def picture(client, row, uid, query=""):
    return client.get(f"/runs/made/thumbs/{row}/{uid}.webp{query}")


def test_thumbnails_are_those_of_the_sample(client, made):
    row = next(i for i, r in enumerate(made) if r["failure"] is None and (r["nsfw"] or 0) < 0.5 and i > 300)
    answer = picture(client, row, made[row]["uid"])
    assert answer.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(answer.content)).format == "WEBP"
    again = client.get(answer.request.url.path, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    assert not again.content
    assert picture(client, row, made[row + 1]["uid"]).status_code == 404
    assert picture(client, 10**9, made[row]["uid"]).status_code == 404


def test_pictures_that_may_be_unsafe_are_blurred_until_asked_for(client, made):
    row = next(i for i, r in enumerate(made) if r["failure"] is None and r["nsfw"] >= 0.5)
    veiled, bare = picture(client, row, made[row]["uid"]), picture(client, row, made[row]["uid"], "?unblur=1")
    assert veiled.status_code == bare.status_code == 200
    assert veiled.content != bare.content
    assert "unblur=1" not in picture(client, row, made[row]["uid"]).text
    fragment = client.get(f"/runs/made/pictures/{row}/{made[row]['uid']}?unblur=1", headers={"hx-request": "true"})
    assert fragment.text.startswith("<img")


def test_the_veil_leaves_nothing_to_recognise():
    from dashboards.web.query.pictures import veil

    sharp = noise_thumbnail(1)
    soft = Image.open(io.BytesIO(veil(sharp))).convert("L")
    steps = [abs(soft.getpixel((x, 40)) - soft.getpixel((x + 1, 40))) for x in range(soft.width - 1)]
    assert max(steps) < 12
    assert veil(b"RIFF....WEBPVP8 broken") is None


def test_reserved_pictures_are_never_sent(tmp_path, cache):
    """The retraction's and the registry's reasons hide a picture whatever else applies."""
    import pyarrow as pa

    from dashboards.web.query.samples import HIDDEN, codes
    from filters.reasons import Reason
    from pipelines.run.parts import part_name, read_table

    assert {"OPTED_OUT", "REGISTRY_OPT_OUT", "LOOK_ALIKE", "KNOWN_HARMFUL"} <= set(codes(HIDDEN))
    run = make_run(tmp_path / "made", sample_rows(30, failure=lambda i: None))
    rows = read_table(run.store, part_name("ledger", 0)).to_pylist()
    hidden = [Reason.OPTED_OUT, Reason.REGISTRY_OPT_OUT, Reason.CREATOR_NAMED, Reason.LOOK_ALIKE, Reason.KNOWN_HARMFUL]
    for row, reason in zip(rows, hidden, strict=False):
        row.update(decision="dropped", primary_reason=reason.value, reasons=[reason.value])
    schema = read_table(run.store, part_name("ledger", 0)).schema
    with run.store.create(part_name("ledger", 0)) as path:
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    with client_for(tmp_path, cache) as client:
        for number, row in enumerate(rows[:5]):
            for query in ("", "?unblur=1"):
                assert picture(client, number, row["uid"], query).status_code == 404
            assert "thumbs" not in client.get(f"/runs/made/samples/{row['uid']}").text.partition("<section")[0]
        assert picture(client, 7, rows[7]["uid"], "?unblur=1").status_code == 200


def test_two_runs_side_by_side(client):
    found = client.get("/api/compare?a=made&b=other").json()
    assert "rules.nsfw.high" in [change["name"] for change in found["recipe"]]
    counts = {row["name"]: (row["before"], row["after"]) for row in found["counts"]}
    assert counts["samples"] == (600, 120)
    assert "made" in client.get("/compare?a=made&b=other").text
    assert client.get("/compare?a=made&b=none").status_code == 404


def test_pages_are_whole_and_fragments_are_not(client):
    whole = client.get("/runs/made/samples").text
    part = client.get("/runs/made/samples", headers={"hx-request": "true"}).text
    assert whole.lstrip().startswith("<!doctype html>")
    assert "<html" not in part
    assert 'id="results"' in part
    assert 'data-theme="dark"' in client.get("/?theme=dark").text
