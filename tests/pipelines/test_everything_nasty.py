"""All that can be wrong with an input at once: each defect is one row with its reason, and the rest is kept."""

import json

from making import bomb, picture, sample, write_recipe, write_tar

from pipelines.commands.main import invoke
from pipelines.run.directory import open_run


def changed(seed, key, **members):
    """A good sample with some members replaced (`txt`, `png`, `json`) or, for None, left out."""
    whole = sample(seed, key=key)
    whole.update({f"{key}.{suffix}": data for suffix, data in members.items()})
    return {name: data for name, data in whole.items() if data is not None}


def test_each_defect_costs_its_sample_and_no_other(tmp_path, capsys):
    jpeg = picture(40, (400, 300), "JPEG")
    nasty = {
        "corrupt-png": (changed(30, "corrupt-png", png=picture(30)[:400] + b"\0" * 300), "DECODE_ERROR"),
        "corrupt-jpeg": (changed(31, "corrupt-jpeg", png=None, jpg=jpeg[: len(jpeg) // 2]), "DECODE_ERROR"),
        "zero": (changed(32, "zero", png=b""), "EMPTY_IMAGE"),
        "bomb": (changed(33, "bomb", png=bomb()), "DECOMPRESSION_BOMB"),
        "ten-megabytes": (changed(34, "ten-megabytes", txt=b"word " * (2 << 20)), "CAPTION_TOO_LONG"),
        "latin-1": (changed(35, "latin-1", txt=b"caf\xe9 terrasse"), "CAPTION_NOT_UTF8"),
        "no-caption": (changed(36, "no-caption", txt=None), "EMPTY_CAPTION"),
        "no-picture": (changed(37, "no-picture", png=None), "MISSING_IMAGE"),
        "../../outside": (changed(38, "../../outside"), "UNSAFE_PATH"),
        "html": (changed(39, "html", png=b"<html>404</html>"), "UNSUPPORTED_FORMAT"),
        "metadata": (changed(40, "metadata", json=b"{"), "BAD_METADATA"),
        "again": (sample(41, key="again"), None),
    }
    twice = sample(42, key="again")
    folder = tmp_path / "in"
    write_tar(folder / "a.tar", *(sample(i) for i in range(10)), *(members for members, _ in nasty.values()), twice)
    cut = write_tar(folder / "b.tar", *(sample(i) for i in range(50, 54)))
    cut.write_bytes(cut.read_bytes()[:-14_000])
    (folder / "c.tar").write_bytes(b"this is no archive" * 100)
    write_tar(folder / "d.tar", *(sample(i) for i in range(60, 64)))
    recipe = write_recipe(tmp_path, folder)
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["balanced"] is True

    run = open_run(str(tmp_path / "run"))
    samples = [row for table in run.tables("samples") for row in table.to_pylist()]
    ledger = [row for table in run.tables("ledger") for row in table.to_pylist()]
    reasons = [(s["shard"], s["key"], row["primary_reason"]) for s, row in zip(samples, ledger, strict=True)]
    found = {key: reason for shard, key, reason in reasons if shard == "a.tar" and key in nasty and key != "again"}
    assert found == {key: reason for key, (_, reason) in nasty.items() if key != "again"}
    assert [reason for _, key, reason in reasons if key == "again"] == [None, "DUPLICATE_KEY"]
    assert [reason for shard, _, reason in reasons if shard == "b.tar"][-1] == "UNREADABLE_SHARD"
    assert [reason for shard, _, reason in reasons if shard == "c.tar"] == ["UNREADABLE_SHARD"]
    good = [reason for _, key, reason in reasons if key.startswith("s000")]
    assert len(good) >= 16
    assert set(good) <= {None, "UNREADABLE_SHARD"}
    assert not (tmp_path.parent / "outside.png").exists()
