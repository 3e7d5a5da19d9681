import hashlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from web_real_run import (
    ARTIST,
    RESERVED,
    creator_of,
    drawing,
    encoded,
    ledger_rows,
    opened,
    picture_bytes,
    real_client,
    real_folder,
    real_run,
)

PAGE, API = "/runs/real/search", "/api/runs/real/search"
KEPT = 4  # a picture that the run keeps, with no copy; a test below holds this


def send(data, base=API, **headers):
    return real_client().post(base, files={"picture": ("../../x.png", data, "image/png")}, headers=headers)


def ask(**query):
    (answer,) = real_client().get(API, params=query).json()
    return answer


def test_the_very_file_is_exact():
    row = ledger_rows(real_run())[KEPT]
    assert row["decision"] == "kept"
    answer = send(picture_bytes(KEPT)).json()
    assert answer["state"] == "in"
    assert answer["sentence"].startswith("Yes: this very file is in the dataset, in 1 kept sample")
    assert answer["hits"][0]["how"] == "exact"
    assert answer["hits"][0]["sample"]["uid"] == row["uid"]
    assert f"--sha256={hashlib.sha256(picture_bytes(KEPT)).hexdigest()}" in answer["opt_out"]["command"]


CHANGED = {
    "smaller": lambda image: encoded(image.resize((140, 105)), "JPEG", quality=70),
    "mirrored": lambda image: encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "turned": lambda image: encoded(image.transpose(Image.Transpose.ROTATE_90)),
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_copy_looks_the_same(change):
    answer = send(CHANGED[change](drawing(KEPT))).json()
    assert answer["state"] == "in"
    assert answer["hits"][0]["how"] == "near"
    assert "of 256 bits differ (PDQ)" in answer["hits"][0]["words"]
    assert answer["hits"][0]["sample"]["uid"] == ledger_rows(real_run())[KEPT]["uid"]
    assert "looks the same" in answer["sentence"]


def test_another_picture_is_only_alike():
    answer = send(encoded(drawing(987654))).json()
    assert answer["state"] == "none"
    assert answer["sentence"].startswith("No: neither this file nor a picture that looks the same")
    assert answer["hits"] == []
    assert {hit["how"] for hit in answer["alike"]} == {"alike"}
    values = [hit["sample"]["value"] for hit in answer["alike"]]
    assert values == sorted(values, reverse=True)


def test_nearest_are_those_of_the_whole_table():
    """The blocked scan over the mapped file against one product over the stored embeddings."""
    from dashboards.web.query.search_files import SearchFiles

    run = real_run()
    column = run.table("embeddings", run.parts("scores")[0], ["image"]).column("image").combine_chunks()
    vectors = column.flatten().to_numpy().reshape(len(column), -1)
    query = vectors[KEPT].astype(np.float32)
    wanted = np.argsort(-(vectors.astype(np.float32) @ query), kind="stable")[:10]
    searcher = real_client().app.state.searcher if hasattr(real_client().app.state, "searcher") else None
    if searcher is None:
        send(picture_bytes(KEPT))
        searcher = real_client().app.state.searcher
    found = searcher.files(opened()).alike(query, 10, 2)
    assert found[0][0] == KEPT
    assert {row for row, _ in found} == set(wanted.tolist())
    big = np.random.default_rng(0).normal(size=(30_000, 32)).astype(np.float16)
    files = SearchFiles(np.zeros((30_000, 5), np.uint64), big)
    best = np.argsort(-(big.astype(np.float32) @ big[7].astype(np.float32)))[:5]
    assert [row for row, _ in files.alike(big[7].astype(np.float32), 5, 2)] == best.tolist()


def test_a_reserved_picture_is_stated_and_not_shown():
    number = next(i for i in range(96) if creator_of(i) == RESERVED)
    answer = send(picture_bytes(number)).json()
    assert answer["state"] == "out"
    assert answer["sentence"].startswith("It is not in the dataset")
    assert answer["dropped"] == {"REGISTRY_OPT_OUT": 1}
    assert answer["hits"][0]["sample"]["picture"] == "hidden"
    page = send(picture_bytes(number), PAGE).text
    assert "Not shown: reserved" in page
    assert f"/{answer['hits'][0]['sample']['uid']}.webp" not in page


@pytest.mark.parametrize("name", [ARTIST, "zoe angstrom", "ÅNGSTRÖM, Zoë", "  Zoë   Ångström "])
def test_a_creator_is_found_however_the_name_is_written(name):
    rows = ledger_rows(real_run())
    mine = [row for i, row in enumerate(rows) if creator_of(i) == ARTIST and i != 3]
    answer = ask(creator=name)
    assert answer["state"] == "in"
    assert answer["kept"] == sum(row["decision"] == "kept" for row in mine)
    assert answer["kept"] + sum(answer["dropped"].values()) == len(mine)
    assert "--creator=" in answer["opt_out"]["command"]


def test_an_unknown_creator_is_none_and_a_reserved_one_out():
    assert ask(creator="Nobody Else")["state"] == "none"
    answer = ask(creator=RESERVED)
    assert answer["state"] == "out"
    assert "REGISTRY_OPT_OUT" in answer["dropped"]


def test_addresses():
    assert ask(url="https://pictures1.example/album/4.png")["hits"][0]["how"] == "address"
    assert ask(url="pictures1.example/album/./4.png")["kept"] == 1
    assert ask(url="https://PICTURES1.example:443/album/x/../4.png")["kept"] == 1
    below = ask(url="https://pictures1.example/album/")
    assert {hit["how"] for hit in below["hits"]} == {"below"}
    site = ask(url="https://pictures1.example/")
    assert site["state"] == "in"
    assert "--domain=pictures1.example" in site["opt_out"]["command"]
    assert ask(url="https://pictures1.example/album/999.png")["state"] == "none"
    assert ask(url="https://elsewhere.example/album/4.png")["state"] == "none"
    assert "names no host" in ask(url="no address")["sentence"]


def test_a_digest():
    digest = hashlib.sha256(picture_bytes(KEPT)).hexdigest()
    assert ask(sha256=digest.upper())["state"] == "in"
    assert ask(sha256="0" * 64)["state"] == "none"
    assert "no SHA-256" in ask(sha256="abc")["sentence"]


def test_words_show_pictures_and_assert_nothing():
    answer = ask(text="a drawing of shapes")
    assert answer["state"] == "shown"
    assert len(answer["alike"]) == 24
    assert answer["opt_out"] is None


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, rows):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


HOSTILE = {
    "bomb by its header": lambda: png(60_000, 60_000, bytes(1 << 20)),
    "bomb by its data": lambda: png(8, 8, bytes(16 << 20)),
    "cut off": lambda: picture_bytes(KEPT)[: len(picture_bytes(KEPT)) // 2],
    "text": lambda: b"hello " * 1000,
    "svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "html": lambda: b"<!doctype html><script>alert(1)</script>",
    "nothing but a head": lambda: b"\x89PNG\r\n\x1a\n",
    "noise": lambda: os.urandom(4096),
    "pdf": lambda: b"%PDF-1.7\n" + bytes(2000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_uploads_are_refused_in_one_line(name):
    for base in (API, PAGE):
        answer = send(HOSTILE[name](), base)
        # a file with rows to spare may be read as the picture that its header promises
        assert answer.status_code == 400 or (name == "bomb by its data" and answer.status_code == 200), answer.text
        assert "Traceback" not in answer.text
        assert "<script>alert" not in answer.text


def test_large_uploads_are_refused_before_and_while_they_are_read():
    assert send(bytes(21 << 20)).status_code == 413
    # no length in the header: refused before a byte is read
    assert (
        real_client().post(API, content=iter([b"x" * 1000] * 10), headers={"content-type": "image/png"}).status_code
        == 413
    )
    # a length that lies: counted while reading
    body = b"x" * 5000
    headers = {"content-type": "image/png", "content-length": "10"}
    small = real_client().app.state.settings
    assert small.max_upload == 20 << 20
    assert real_client().post(API, content=body, headers=headers).status_code in (400, 413)


def test_only_our_own_page_may_upload():
    data = picture_bytes(KEPT)
    assert send(data, **{"sec-fetch-site": "cross-site"}).status_code == 403
    assert send(data, origin="https://evil.example").status_code == 403
    assert send(data, **{"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8321"}).status_code == 200


def test_bodies_that_are_no_form():
    client = real_client()
    assert client.post(API, content=b"{}", headers={"content-type": "application/json"}).status_code == 415
    assert client.post(API, content=b"", headers={"content-type": "image/png"}).status_code == 400
    assert client.post(API, content=b"junk", headers={"content-type": "multipart/form-data"}).status_code == 400
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post(API, content=b"--x\r\nnonsense", headers=broken).status_code == 400
    assert client.post(API, files={"other": ("a", b"data")}).status_code == 400
    assert client.post(API, data={"picture": "text"}).status_code in (400, 415)
    assert client.post(API, content=picture_bytes(KEPT), headers={"content-type": "image/png"}).json()["state"] == "in"


def test_uploads_are_never_stored(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    noise = encoded(Image.fromarray(np.random.default_rng(5).integers(0, 255, (900, 900, 3), dtype=np.uint8)))
    assert len(noise) > 2 << 20  # beyond what a form's file is kept in memory by default
    base = real_folder().parent
    before = {path: path.stat().st_mtime_ns for path in base.rglob("*") if path.is_file()}
    opens = []
    real_open = os.open
    monkeypatch.setattr(
        os,
        "open",
        lambda path, flags, *rest, **named: (opens.append((path, flags)), real_open(path, flags, *rest, **named))[1],
    )
    assert send(noise).status_code == 200
    assert not [path for path, flags in opens if flags & (os.O_WRONLY | os.O_RDWR)]
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in base.rglob("*") if path.is_file()} == before


HOSTILE_WORDS = [
    "' OR 1=1; DROP TABLE samples; --",
    "\u202eevil\u202c",
    "a\x00b",
    "<script>alert(1)</script>",
    "%s%n",
    "--help",
    "=cmd()",
    "a" * 400,
]


@pytest.mark.parametrize("words", HOSTILE_WORDS)
def test_hostile_words_are_answered_and_escaped(words):
    for name in ("creator", "url", "sha256", "text"):
        answer = real_client().get(PAGE, params={name: words})
        assert answer.status_code in (200, 422), answer.text[:200]
        assert "<script>alert" not in answer.text
        assert "\u202e" not in answer.text
        assert "\x00" not in answer.text


def test_long_text_is_refused_and_names_never_become_options():
    assert real_client().get(PAGE, params={"creator": "x" * 60_000}).status_code == 414
    command = ask(creator="--image /etc/passwd; rm -rf ~ 'x'")["opt_out"]["command"]
    import shlex

    assert shlex.split(command)[4:] == ["--creator=--image /etc/passwd; rm -rf ~ 'x'"]
    assert ask(creator="Ann\u202eB")["opt_out"] is None


def test_the_printed_rows_can_be_imported(tmp_path):
    from pipelines.registry.csv_files import read_csv

    for number, answer in enumerate((ask(creator='Ann "A", Lee'), send(picture_bytes(KEPT)).json())):
        path = tmp_path / f"{number}.csv"
        path.write_text(answer["opt_out"]["csv"], encoding="utf-8")
        assert [draft.kind.value for draft in read_csv(path)] == (["creator"] if number == 0 else ["sha256", "pdq"])


def test_the_printed_command_is_one_that_assay_takes(tmp_path):
    import shlex

    from typer.testing import CliRunner

    from pipelines.commands.optout import app
    from pipelines.registry import create_registry

    place = str(tmp_path / "registry.sqlite")
    with create_registry(place):
        pass
    for answer in (
        send(picture_bytes(KEPT)).json(),
        ask(creator=ARTIST),
        ask(url="https://pictures1.example/album/4.png"),
    ):
        words = [place if word == "REGISTRY" else word for word in shlex.split(answer["opt_out"]["command"])[2:]]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output


def test_a_run_without_hashes_and_embeddings_says_so(client):
    image = Image.new("RGB", (64, 64))
    answer = client.post("/api/runs/made/search", files={"picture": ("x.png", encoded(image), "image/png")})
    assert answer.status_code == 200
    assert any("no PDQ hashes" in line for line in answer.json()["evidence"])
    assert any("keeps none" in line for line in answer.json()["evidence"])
    words = client.get("/api/runs/made/search?text=cat").json()[0]
    assert "cannot be compared" in words["sentence"]


def test_the_page_asks_with_labels():
    text = real_client().get(PAGE).text
    assert text.count("<label>") == 5
    assert 'enctype="multipart/form-data"' in text
    assert " style=" not in text
    assert io  # the questions work without any script
    assert "<script" not in text.partition("<body>")[2]


def test_the_api_describes_its_questions():
    paths = real_client().get("/api/openapi.json").json()["paths"]
    for name in ("thresholds", "duplicates", "search"):
        assert f"/api/runs/{{run}}/{name}" in paths
    assert "multipart/form-data" in paths["/api/runs/{run}/search"]["post"]["requestBody"]["content"]
