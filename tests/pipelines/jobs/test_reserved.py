"""A picture that its file reserves is shown to no model: no score, no embedding, no thumbnail, and it is not kept."""

import tarfile

from making import reserved, sample, write_recipe, write_tar

from pipelines.commands.main import invoke
from pipelines.run.directory import open_run
from pipelines.run.parts import part_name


def test_a_reserved_picture_is_dropped_unseen_with_its_evidence(tmp_path):
    samples = [sample(i) for i in range(6)]
    samples[2]["s00002.png"] = reserved(samples[2]["s00002.png"])
    write_tar(tmp_path / "in" / "0.tar", *samples)
    scorers = ["size", "hashes", "caption", "technical", "similarity"]
    recipe = write_recipe(tmp_path, tmp_path / "in", scorers=scorers, rules={"similarity": {"low": -1}})
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 0
    run = open_run(str(tmp_path / "run"))
    ledger, scores = run.table("ledger", 0).to_pylist(), run.table("scores", 0).to_pylist()
    assert [row["primary_reason"] for row in ledger] == [None, None, "OPTED_OUT", None, None, None]
    assert [row["similarity"] is None for row in scores] == [False, False, True, False, False, False]
    assert scores[2]["skipped"] == "OPTED_OUT"
    assert scores[2]["phash"] is not None
    vectors = run.table("embeddings", 0).column("image").to_pylist()
    assert [any(vector) for vector in vectors] == [True, True, False, True, True, True]
    with tarfile.open(fileobj=run.store.open(part_name("thumbnails", 0, ".tar"))) as archive:
        assert f"{ledger[2]['uid']}.webp" not in archive.getnames()
    signal = next(row for row in run.table("signals", 0).to_pylist() if row["uid"] == ledger[2]["uid"])
    assert (signal["channel"], signal["verdict"]) == ("iptc:data-mining", "deny")
    bodies = {row["sha256"]: row["body"] for row in run.table("policies", 0).to_pylist()}
    assert b"DMI-PROHIBITED-AIMLTRAINING" in bodies[signal["evidence_sha256"]]
    assert invoke(["score", str(tmp_path / "run"), "--missing", "--runner", "plain"]) == 0
    assert run.table("scores", 0).to_pylist()[2]["similarity"] is None
