"""`assay serve`: the dashboard over the runs below one folder."""

from __future__ import annotations

import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filters import environment
from filters.errors import BadInput

if TYPE_CHECKING:
    from dashboards.web.settings import Settings


def serve(
    runs: Annotated[str, typer.Argument(metavar="RUNS", help="Folder that holds runs, or one run.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8321,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", envvar=environment.TOKEN, help="Ask for this token; made up where others can reach it."
        ),
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option("--trust", envvar=environment.TRUST, help="Certificates (PEM) of the issuers that are ours."),
    ] = None,
) -> None:
    """Show the runs below RUNS in a browser. It reads, and never writes there. Ctrl-C stops it."""
    from dashboards.web.settings import Settings, is_loopback

    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isprintable()):
        raise BadInput("--token: at least 16 printable ASCII characters")
    folder = _folder(runs)
    _check(folder)
    if trust is not None:
        from dashboards.web.query.generated import trust_anchors

        trust_anchors(trust)
    listener = _listen(host, port)
    _run(Settings(folder, host, listener.getsockname()[1], token, trust=trust), listener)


def _folder(runs: str) -> Path:
    """Return the folder that RUNS names. Raises `BadInput` for a store that is not this machine's disk."""
    scheme, mark, rest = runs.partition("://")
    if not mark or Path(runs).is_dir():
        return Path(runs)
    if scheme == "file":
        return Path(f"/{rest.lstrip('/')}")
    raise BadInput(
        f"{runs}: the dashboard reads folders of this machine; copy the run first, or write its page with assay report"
    )


def _check(runs: Path) -> None:
    """Refuse what cannot be served. Raises `BadInput`."""
    from importlib.util import find_spec

    from dashboards.web.places import find_places

    lacking = [name for name in ("fastapi", "uvicorn", "multipart") if find_spec(name) is None]
    if lacking:
        raise BadInput("assay serve needs the dashboard extra: pip install 'assay-data[dashboard]'")
    if not runs.is_dir():
        raise BadInput(f"{runs}: no such folder; name the folder that holds your runs")
    if not find_places(runs):
        raise BadInput(f"{runs}: holds no run (a folder with a recipe.yaml); make one with assay run")


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything is said. Raises `BadInput` where it cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)  # whoever reads the printed address may ask at once
        return listener
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(f"{host}:{port}: {reason}; choose another with --host or --port (0 takes a free one)") from None


def _run(settings: Settings, listener: socket.socket) -> None:
    """Serve until interrupted; an interrupt ends the command well."""
    import uvicorn

    from dashboards.web.app import create_app

    app = create_app(settings)
    name = f"[{settings.host}]" if ":" in settings.host else settings.host
    query = f"/?token={settings.token}" if settings.token else "/"
    print(f"http://{name}:{settings.port}{query}", flush=True)
    print("Reading only; Ctrl-C stops.", file=sys.stderr, flush=True)
    # addresses hold what people search for: no log of requests
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
