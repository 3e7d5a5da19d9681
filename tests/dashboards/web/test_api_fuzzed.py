"""The API under what Schemathesis makes of its own description: no server error, and answers as they are described."""

import hypothesis
import pytest
from web_clients import client_for

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (assay-data[dev])")

from hypothesis import strategies as st  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance  # noqa: E402

#: The same few examples each time; a busy machine is no failure.
BOUNDED = hypothesis.settings(
    max_examples=8, derandomize=True, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)

#: Under which name the dashboard answers.
HOST = {"host": "127.0.0.1:8321"}

#: Text that means something to some layer: a path, a query, SQL, HTML, a direction, the end of a string.
HOSTILE = (
    "..", "../..", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "%00", "a\0b", "\0", ".", "", " ", "\u202e",
    "\u200f\u2066",
    "<script>alert(1)</script>", "' OR 1=1 --", "'); DROP TABLE samples; --", "{{ 7*7 }}", "\ud7ff", "\U0001f600" * 20,
    "-1", "1e999", "NaN", "0x10", "9" * 30, "_", "none_1", "x" * 290,
)  # fmt: skip


@pytest.fixture(scope="session")
def api(root, cache):
    """The description of the API that a running application gives."""
    with client_for(root, cache) as client:
        real = client.get("/api/runs/made/samples?size=40").json()["samples"]

        async def running(scope, receive, send):
            """The application as it runs: it is not started and ended around each request."""
            if scope["type"] == "http":
                await client.app(scope, receive, send)

        schema = schemathesis.openapi.from_asgi("/api/openapi.json", running, headers=HOST)

        @schema.hook
        def map_path_parameters(context, path_parameters):
            """Most requests name what is there, else each would end at the run's name."""
            found = dict(path_parameters or {})
            seed = sum(map(ord, repr(sorted(found.items()))))
            if "run" in found and seed % 5:
                found["run"] = ("made", "other")[seed % 7 == 0]
            if "uid" in found and seed % 3:
                found["uid"] = real[seed % len(real)]["uid"]
                if "row" in found:
                    found["row"] = real[seed % len(real)]["row"]
            return found

        yield schema


# what a score or a reason is called is the run's to say: an address may be well formed and ask for what is not there;
# and names that are no filter are passed over (docs/dashboard.md)
_LEFT_OUT = [positive_data_acceptance, negative_data_rejection]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["well-formed", "malformed"])
def test_answers_are_as_the_api_describes_them(api, mode):
    """Status, type and body of every answer are those that the description names; none is a server error."""
    asked = {}
    for found in api.get_all_operations():
        operation = found.ok()

        @BOUNDED
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def ask(case):
            answer = case.call_and_validate(headers=HOST, excluded_checks=_LEFT_OUT, timeout=120)
            asked.setdefault(case.operation.label, set()).add(answer.status_code)

        try:
            ask()
        except hypothesis.errors.Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, "only what takes nothing cannot be asked wrongly"
    assert len(asked) >= 6
    if mode is GenerationMode.POSITIVE:
        assert sum(200 in statuses for statuses in asked.values()) >= 6, asked


@pytest.fixture(scope="session")
def names(client):
    """The addresses of the API that are asked by GET, and the names of their parameters."""
    found = []
    for path, methods in client.get("/api/openapi.json").json()["paths"].items():
        if "get" in methods:
            found.append((path, methods["get"].get("parameters", [])))
    return found


def test_every_answer_is_described_and_no_other(names):
    assert len(names) >= 6
    assert all(path.startswith("/api/") for path, _ in names)


@hypothesis.settings(max_examples=150, derandomize=True, deadline=None, database=None)
@hypothesis.given(data=st.data())
def test_hostile_values_in_any_place_are_answered_calmly(client, names, data):
    path, parameters = data.draw(st.sampled_from(names))
    words = st.sampled_from(HOSTILE) | st.text(max_size=40)
    query = []
    for item in parameters:
        if item["in"] == "path":
            value = "made" if item["name"] == "run" and data.draw(st.booleans()) else data.draw(words)
            path = path.replace("{" + item["name"] + "}", quoted(value or "."))
        elif data.draw(st.booleans()):
            query.append((item["name"], data.draw(words)))
    for kind in ("low", "high", "missing", "group", "top"):
        if data.draw(st.integers(0, 3)) == 0:
            query.append((f"{kind}.{data.draw(words | st.sampled_from(['similarity', 'nsfw']))}", data.draw(words)))
    answer = client.get(path, params=[(name, value.encode("utf-8", "replace")) for name, value in query])
    assert answer.status_code in (200, 400, 404, 409, 422), (path, query, answer.text[:300])
    assert "Traceback" not in answer.text
    assert "/tmp/" not in answer.text


def quoted(text):
    """A segment of a path with every byte written as %XX."""
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "replace"))


UPLOADS = {
    "nothing": b"",
    "text": b"GIF89a<script>alert(1)</script>",
    "cut off": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://evil.example/'/></svg>",
    "zeros": bytes(100_000),
    "zip": b"PK\3\4" + bytes(100),
}


@pytest.mark.parametrize("name", sorted(UPLOADS))
@pytest.mark.parametrize("file", ["a.png", "../../etc/passwd", "a\r\nx: y.png", "\u202egnp.exe", "n" * 5000])
def test_hostile_uploads_are_refused_in_one_line(client, name, file):
    answer = client.post("/api/runs/made/search", files={"picture": (file, UPLOADS[name], "image/png")})
    assert answer.status_code in (400, 413, 415, 422)
    assert "Traceback" not in answer.text
    assert "/tmp/" not in answer.text
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=" + "b" * 300, b"--b"),
        ("multipart/form-data; boundary=b", b"--b\r\n" * 5000),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=" + b"p" * 100_000),
        ("application/json", b"[" * 10_000),
        ("text/html", b"<script>"),
        ("application/x-www-form-urlencoded", b"picture=" + b"a" * 200_000),
        ("", b"\0"),
    ],
)
def test_bodies_that_are_no_upload_are_refused(client, kind, body):
    answer = client.post("/api/runs/made/search", content=body, headers={"content-type": kind})
    assert answer.status_code in (400, 413, 415, 422), answer.text[:300]
    assert "Traceback" not in answer.text


def test_an_upload_of_unknown_or_too_great_length_is_refused(client):
    def endless():
        for _ in range(600):
            yield bytes(100_000)

    headers = {"content-type": "application/octet-stream"}
    assert client.post("/api/runs/made/search", content=endless(), headers=headers).status_code in (411, 413)
    assert client.post("/api/runs/made/search", content=bytes(60_000_000), headers=headers).status_code == 413
