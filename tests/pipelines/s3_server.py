"""A real S3 server on this machine (moto), and what a user's environment would say of it."""

import json
import os
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from beam_services import ENVIRONMENT, free_port, running

BUCKET = "assay-test"


def variables(port: int) -> dict[str, str]:
    """What s3fs reads; the keys are any, the server asks for none in particular."""
    return {
        "FSSPEC_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def s3_server(folder: Path):
    """Run the server until the block ends, with one empty bucket; give the environment's variables."""
    port = free_port()
    found = variables(port)
    log = folder / "moto.log"
    environment = {**ENVIRONMENT, **found}
    with running(
        f"127.0.0.1:{port}", "moto.server", "-H", "127.0.0.1", "-p", str(port), log=log, environment=environment
    ):
        request = urllib.request.Request(f"{found['AWS_ENDPOINT_URL']}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request, timeout=60).close()
        yield found


def in_this_process(monkeypatch, found: dict[str, str]) -> None:
    """Let s3fs in this process use the server; fsspec reads its variables only when it is imported."""
    from fsspec.config import conf

    for name, value in found.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(conf, "s3", {"endpoint_url": found["AWS_ENDPOINT_URL"]})


def child_environment(found: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **ENVIRONMENT, **found}


def printed_json(capsys) -> dict:
    return json.loads(capsys.readouterr().out)
