"""Is my work in here: all that answers is found however it was written, and counted before anything is cut."""

import hashlib

import numpy as np
import pytest
from run_making import make_run, sample_rows
from web_clients import client_for

from dashboards.web.query.search_files import SearchFiles

URLS = [
    "https://a.example.org/%7Euser/0.png",
    "https://a.example.org/~user/1.png",
    "HTTPS://A.Example.ORG:443/%7euser/x/../2.png",
    "https://%61.example.org/~user/3.png",
    "https://a.example.org/bilder/gr\u00fc\u00dfe/4.png",
    "https://m\u00fcnchen.example.org/\u00fc/5.png",
    "https://xn--mnchen-3ya.example.org/%C3%BC/6.png",
    "http://127.1/private/7.png",
    "https://elsewhere.example.org/%7Euser/8.png",
    "https://a.example.org?picture=9",
    "//a.example.org:8443/~user/10.png?size=<1>#top",
]


@pytest.fixture(scope="module", params=["finished", "decided"])
def client(request, tmp_path_factory):
    """The dashboard over a run with an index of its keys, and over one without."""
    root = tmp_path_factory.mktemp("addresses")
    rows = sample_rows(60, url=lambda i: URLS[i % len(URLS)], page_url=lambda i: f"https://pages.example.org/{i}")
    make_run(root / "made", rows, part_rows=25, finished=request.param == "finished")
    with client_for(root, root.parent / f"cache-{request.param}") as client:
        yield client


def count(client, url):
    (answer,) = client.get("/api/runs/made/search", params={"url": url}).json()
    return answer["kept"] + sum(answer["dropped"].values())


@pytest.mark.parametrize("number", range(len(URLS)))
def test_an_address_is_found_in_the_letters_in_which_it_came(client, number):
    wanted = len(range(number, 60, len(URLS)))
    assert count(client, URLS[number]) == wanted


@pytest.mark.parametrize(
    ("url", "numbers"),
    [
        ("https://a.example.org/~user/", (0, 1, 2, 3)),
        ("a.example.org/%7Euser", (0, 1, 2, 3)),
        ("https://a.example.org/bilder/gr%C3%BC%C3%9Fe/", (4,)),
        ("https://m\u00fcnchen.example.org/%c3%bc", (5, 6)),
        ("http://127.0.0.1/private/", (7,)),
        ("https://a.example.org/?picture=9", (9,)),
        ("https://a.example.org:8443/%7Euser/10.png?size=%3C1%3E", (10,)),
        ("https://a.example.org:8443/", (10,)),
        ("https://a.example.org/use", ()),
        ("https://pages.example.org/~user", ()),
    ],
)
def test_all_below_an_address_are_counted_however_they_were_written(client, url, numbers):
    assert count(client, url) == sum(i % len(URLS) in numbers for i in range(60))


def test_a_page_is_found_by_its_own_address(client):
    (answer,) = client.get("/api/runs/made/search", params={"url": "https://PAGES.example.org/%31%37"}).json()
    assert [(hit["how"], hit["sample"]["row"]) for hit in answer["hits"]] == [("page", 17)]


def test_no_candidate_is_left_out_before_addresses_are_compared(tmp_path):
    """More samples than any list shows, with one word in all of their addresses."""
    rows = sample_rows(6000, url=lambda i: f"https://{'ab'[i % 2]}.example.org/album/{i}.png")
    for finished in (True, False):
        make_run(tmp_path / str(finished) / "made", rows, finished=finished)
        with client_for(tmp_path / str(finished), tmp_path / "cache") as client:
            assert count(client, "https://a.example.org/album") == 3000
            assert count(client, "https://b.example.org/album/") == 3000


def test_all_copies_of_a_file_are_counted_and_none_of_them_twice(tmp_path):
    from PIL import Image
    from web_real_run import encoded

    from filters.scorers.hashes import phashes
    from filters.scoring import Picture

    image = Image.radial_gradient("L").resize((96, 64)).convert("RGB")
    data = encoded(image)
    digest, code = hashlib.sha256(data).hexdigest(), int(phashes([Picture(image)])[0])
    same = {"phash": lambda i: code, "failure": lambda i: None, "sha256": lambda i: digest if i < 40 else f"{i:064x}"}
    rows = sample_rows(1200, creator=lambda i: "Ann", **same)
    recipe = "name: made\ninput: {kind: webdataset, path: nowhere}\nduplicates: null\n"
    make_run(tmp_path / "runs" / "made", rows, recipe=recipe)
    with client_for(tmp_path / "runs", tmp_path / "cache") as client:
        answer = client.post("/api/runs/made/search", files={"picture": ("x.png", data, "image/png")}).json()
    assert "in 40 kept samples" in answer["sentence"]
    assert "1,160 other samples look the same." in answer["sentence"]


def test_pictures_that_are_left_out_of_the_alike_ones_make_room_for_others():
    vectors = np.random.default_rng(0).normal(size=(9000, 8)).astype(np.float16)
    files = SearchFiles(np.zeros((9000, 5), np.uint64), vectors)
    query = vectors[3].astype(np.float32)
    nearest = [row for row, _ in files.alike(query, 9)]
    known = np.array(sorted(nearest[:4]))
    assert [row for row, _ in files.alike(query, 5, 2, known)] == nearest[4:]


def test_a_host_that_an_earlier_run_stored_in_several_spellings_is_one(tmp_path):
    spellings = ("m\u00fcnchen.de", "xn--mnchen-3ya.de", "m\u00fcnchen.de.", "www.m\u00fcnchen.de", "other.de")
    rows = sample_rows(50, domain=lambda i: spellings[i % 5], failure=lambda i: None, licence=lambda i: "CC0")
    make_run(tmp_path / "runs" / "made", rows)
    with client_for(tmp_path / "runs", tmp_path / "cache") as client:
        for asked in ("https://m\u00fcnchen.de/", "xn--mnchen-3ya.de", "https://m\u00fcnchen.de./nothing/here"):
            (answer,) = client.get("/api/runs/made/search", params={"url": asked}).json()
            assert answer["evidence"][0].startswith("40 samples come from xn--mnchen-3ya.de and its subdomains")
            assert answer["samples"] == {}, "no page shows a domain with its subdomains"
        (answer,) = client.get("/api/runs/made/search", params={"url": "other.de"}).json()
        assert client.get("/api/runs/made/samples", params=answer["samples"]).json()["total"] == 10
        for asked in ("m\u00fcnchen.de", "xn--mnchen-3ya.de", "M\u00dcNCHEN.DE."):
            assert client.get("/api/runs/made/samples", params={"domain": asked}).json()["total"] == 30
