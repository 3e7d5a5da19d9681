"""An upload that crashes a decoder, or never lets go of it, costs itself and not the server."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from web_real_run import picture_bytes, real_client

from filters.decoding_apart import Apart

API = "/api/runs/real/search"


def gif(comment):
    """A small GIF with a comment that the broken decoder of the tests looks for."""
    buffer = io.BytesIO()
    Image.new("P", (40, 30), 3).save(buffer, "GIF", comment=comment)
    return buffer.getvalue()


def send(data):
    return real_client().post(API, files={"picture": ("x.gif", data, "image/gif")})


@pytest.mark.parametrize(("harm", "words"), [("segfault", "SIGSEGV"), ("endless", "s of CPU time")])
def test_it_is_told_and_the_next_picture_is_answered(monkeypatch, harm, words):
    assert send(picture_bytes(4)).status_code == 200  # makes the searcher
    hooks = Path(__file__).resolve().parents[2] / "faults" / "pyhooks"
    monkeypatch.setenv("PYTHONPATH", str(hooks))
    monkeypatch.setenv("ASSAY_TEST_HARM", harm)
    state = real_client().app.state
    apart = Apart(1.0, 60.0)
    monkeypatch.setattr(state, "searcher", replace(state.searcher, apart=apart))
    try:
        answer = send(gif(f"assay-test-{harm}".encode()))
        assert answer.status_code == 400
        assert words in answer.json()["detail"]
        assert send(picture_bytes(4)).json()["state"] == "in"
        assert send(gif(b"harmless")).status_code == 200
    finally:
        apart.close()
