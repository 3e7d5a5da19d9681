import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from run_making import make_run, sample_rows
from web_clients import client_for

PAGES = [
    "/", "/runs/made/funnel", "/runs/made/samples", "/runs/made/samples?view=table", "/runs/made/health",
    "/compare?a=made&b=other", "/api/runs", "/api/openapi.json", "/static/app.css", "/nowhere", "/runs/none/funnel",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_carries_the_policy(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


@pytest.mark.parametrize("path", [page for page in PAGES if not page.startswith(("/api", "/static"))])
def test_no_page_has_inline_script_or_style_or_another_origin(client, path):
    text = client.get(path).text
    assert "<style" not in text
    assert " style=" not in text
    assert " onclick" not in text
    assert "javascript:" not in text
    assert all(tag.startswith((" src=", " src='")) for tag in text.split("<script")[1:])
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::2]", "localhost.evil:80"])
def test_other_host_names_are_refused(client, host):
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:99", "[::1]:8321", "LOCALHOST"])
def test_names_of_this_machine_are_answered(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_it_only_reads(client, method):
    assert client.request(method, "/runs/made/samples").status_code == 405


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "..%2f..%2fetc", "made%2f..%2fother", "%00", ".", "made/../../etc", "/etc/passwd", "MADE"]
)
def test_no_path_leads_out(client, name):
    for rest in ("funnel", "samples", "health", "thumbs/0/" + "0" * 32 + ".webp"):
        assert client.get(f"/runs/{name}/{rest}").status_code == 404
    assert client.get(f"/static/{name}/app.py").status_code == 404
    assert client.get("/static/..%2fapp.py").status_code == 404


def test_links_out_of_the_folder_are_not_followed(tmp_path, cache):
    make_run(tmp_path / "secret" / "run", sample_rows(30))
    inside = tmp_path / "inside"
    make_run(inside / "made", sample_rows(30))
    (inside / "out").symlink_to(tmp_path / "secret" / "run")
    shutil.copytree(inside / "made", inside / "linked")
    thumbs = inside / "linked" / "thumbnails" / "part-00000.tar"
    thumbs.unlink()
    thumbs.symlink_to(tmp_path / "secret" / "run" / "thumbnails" / "part-00000.tar")
    with client_for(inside, cache) as client:
        assert [row["name"] for row in client.get("/api/runs").json() if not row["problem"]] == ["made"]
        assert client.get("/runs/out/funnel").status_code == 404
        answer = client.get("/api/runs/linked/funnel")
        assert answer.status_code == 409
        assert str(tmp_path) not in answer.text


def test_the_run_is_not_written(tmp_path, cache):
    make_run(tmp_path / "made", sample_rows(50))
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in tmp_path.rglob("*")}
    with client_for(tmp_path, cache) as client:
        for path in PAGES:
            client.get(path)
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in tmp_path.rglob("*")} == before


def test_the_index_is_private(client, cache):
    client.get("/runs/made/funnel")
    fresh = cache / "deeper"
    client_for(cache.parent, fresh)
    assert os.stat(fresh).st_mode & 0o077 == 0


def test_a_token_is_asked_for_and_kept_in_a_cookie(root, cache):
    token = "a-token-of-thirty-characters-or-so"
    with client_for(root, cache, host="0.0.0.0", token=token) as client:
        for path in PAGES:
            assert client.get(path).status_code == 401
        assert client.get("/?token=wrong").status_code == 401
        assert client.get("/", headers={"authorization": f"Bearer {token[:-1]}"}).status_code == 401
        assert client.get("/", headers={"authorization": "Bearer é".encode()}).status_code == 401
        assert client.get("/api/runs", headers={"authorization": f"Bearer {token}"}).status_code == 200
        assert client.get("/", headers={"host": "box.example", "authorization": f"Bearer {token}"}).status_code == 200
        answer = client.get(f"http://127.0.0.1:8321//evil.example/x?token={token}&a=1")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/evil.example/x?a=1"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["NOWHERE"], "no such folder"),
        (["EMPTY"], "holds no run"),
        (["ROOT", "--token", "short"], "at least 16"),
        (["s3://bucket/runs"], "s3://bucket/runs: the dashboard reads folders of this machine"),
        (["file:///no/where"], "/no/where: no such folder"),
        (["ROOT", "--trust", "NOWHERE"], "names no certificates in PEM form"),
        (["ROOT", "--trust", __file__], "names no certificates in PEM form"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, words, root, tmp_path, capsys):
    from pipelines.commands.main import invoke

    places = {"NOWHERE": str(tmp_path / "none"), "EMPTY": str(tmp_path), "ROOT": str(root)}
    assert invoke(["serve", *(places.get(a, a) for a in arguments)]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_a_taken_port_is_told(root, capsys):
    from pipelines.commands.main import invoke

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert invoke(["serve", str(root), "--port", str(taken.getsockname()[1])]) == 2
    assert "in use" in capsys.readouterr().err


def test_the_real_server_prints_its_address_and_stops_at_an_interrupt(root, cache):
    code = "from pipelines.commands.main import main; import signal; "
    code += "signal.signal(signal.SIGINT, signal.default_int_handler); main()"
    command = [sys.executable, "-c", code, "serve", str(root), "--port", "0"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as server:
        try:
            address = server.stdout.readline().strip()
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert answer.status == 200
                assert answer.headers["server"] is None
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
            told = server.stderr.read()
            assert "Traceback" not in told
            assert "Stopped" in told
        finally:
            server.kill()


def test_a_run_that_changed_leaves_neither_index_nor_search_files_of_before(tmp_path):
    """They hold captions and hashes of samples that a retraction has taken out."""
    run = make_run(tmp_path / "runs" / "made", sample_rows(40, seed=1))
    cache = tmp_path / "cache"
    with client_for(tmp_path / "runs", cache) as client:
        assert client.get("/api/runs/made/funnel").status_code == 200
        (index,) = cache.glob("*.duckdb")
        mine = cache / f"search-{index.stem.partition('-')[0]}-0123"
        other = cache / "search-ffff-0123"
        for folder in (mine, other):
            folder.mkdir()
            (folder / "hashes.u64").write_bytes(b"x")
    os.utime(run.store.path("ledger"), (1, 1))
    with client_for(tmp_path / "runs", cache) as client:
        assert client.get("/api/runs/made/funnel").status_code == 200
    (after,) = cache.glob("*.duckdb")
    assert after != index
    assert not mine.exists()
    assert other.exists()
