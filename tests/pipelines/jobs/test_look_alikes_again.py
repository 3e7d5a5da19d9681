"""A registered look-alike stays out when scores that the cascade spared come later, and when a replay does without."""

import io

import numpy as np
import pytest
from making import picture, sample, write_recipe, write_tar
from PIL import Image

from filters.encoders.uri import load_encoder
from filters.optout.entries import Draft, Kind, embedding_value
from filters.scorers.pdq import pdq_hash
from pipelines.commands.main import invoke
from pipelines.registry.store import create_registry, open_registry
from pipelines.run.directory import open_run
from pipelines.run.signing import generate

LONG = "a drawing of a thing with a long caption " * 6
LOOSE = ("--set", "rules.caption_characters.high=1000")


def assay(*words):
    return invoke([str(word) for word in words])


def said(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("assay: ")]
    return line


def reasons(folder):
    run = open_run(str(folder))
    keys = [key for table in run.tables("samples", ["key"]) for key in table.column("key").to_pylist()]
    found = [row["primary_reason"] for table in run.tables("ledger") for row in table.to_pylist()]
    return dict(zip(keys, found, strict=True))


@pytest.fixture(params=[range(8), [3]], ids=["some-rows-spared", "every-row-spared"])
def made(request, tmp_path):
    """A run with a cascade, in which picture 3 is registered by its looks and was spared its embedding."""
    encoder = load_encoder("builtin:mini", threads=1)
    with Image.open(io.BytesIO(picture(3))) as image:
        vector = np.asarray(encoder.encode_images([image.convert("RGB")])[0], dtype=np.float32)
    vector /= np.linalg.norm(vector)
    write_tar(tmp_path / "in" / "0.tar", *(sample(i, LONG if i == 3 else None) for i in request.param))
    if 0 not in request.param:  # so that the run knows its encoder's embeddings at all
        write_tar(tmp_path / "in" / "1.tar", *(sample(i) for i in range(3)))
    with create_registry(str(tmp_path / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.EMBEDDING, embedding_value(encoder.model_id(), vector))])
    sections = {
        "rights": {
            "registry": str(tmp_path / "registry.sqlite"),
            "look_alike": {"cosine": 0.9999, "review_cosine": 0.9999},
        },
        "scorers": ["size", "hashes", "caption", "similarity"],
        "cascade": True,
        "duplicates": None,
        "rules": {"caption_characters": {"high": 100}},
    }
    recipe = write_recipe(tmp_path, tmp_path / "in", **sections)
    assert assay("run", recipe, "--out", tmp_path / "run", "--runner", "plain") == 0
    assert reasons(tmp_path / "run")["s00003"] == "CAPTION_LENGTH"
    return tmp_path


def test_a_picture_that_nobody_looked_at_is_undecided_and_then_matched_before_it_is_decided(made, capsys):
    new = made / "new"
    capsys.readouterr()
    assert assay("replay", made / "run", "--out", new, *LOOSE) == 2
    assert "1 samples need scores" in said(capsys)
    assert assay("decide", new) == 2
    assert assay("score", new, "--missing", "--runner", "plain") == 0
    capsys.readouterr()
    assert assay("decide", new) == 2
    assert f"run assay optout match {new}, then assay decide {new}" in said(capsys)
    assert not open_run(str(new)).parts("ledger")
    assert assay("optout", "match", new, "--runner", "plain") == 0
    assert assay("decide", new) == 0
    found = reasons(new)
    assert found.pop("s00003") == "LOOK_ALIKE"
    assert set(found.values()) == {None}
    assert assay("balance", new, "--runner", "plain") == 0
    assert assay("check", new) == 0


def test_what_was_retracted_by_its_looks_stays_out_of_a_replay_though_its_looks_are_gone(tmp_path):
    write_tar(tmp_path / "in" / "0.tar", *(sample(i) for i in range(5)))
    registry = str(tmp_path / "registry.sqlite")
    create_registry(registry).close()
    sections = {"rights": {"registry": registry}, "scorers": ["size", "hashes", "pdq"]}
    recipe = write_recipe(tmp_path, tmp_path / "in", **sections)
    assert assay("run", recipe, "--out", tmp_path / "run", "--runner", "plain") == 0
    with Image.open(io.BytesIO(picture(3))) as image:
        code, _ = pdq_hash(image.convert("RGB"))
    with open_registry(registry) as opened:
        opened.append([Draft(Kind.PDQ, code.hex())])
    generate(tmp_path / "key.pem")
    assert assay("optout", "apply", tmp_path / "run", "--key", tmp_path / "key.pem") == 0
    wanted = {f"s{i:05d}": "LOOK_ALIKE" if i == 3 else None for i in range(5)}
    assert reasons(tmp_path / "run") == wanted
    new = tmp_path / "new"
    assert assay("replay", tmp_path / "run", "--out", new) == 0
    assert reasons(new) == wanted
    assert assay("optout", "match", new, "--runner", "plain") == 0
    assert assay("decide", new) == 0
    assert reasons(new) == wanted
