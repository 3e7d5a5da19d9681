"""Small published files: downloaded once, checked against their SHA-256, kept in a cache."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from filters import environment
from filters.errors import BadInput, first_line

#: No head is larger than 4 MB.
LIMIT_BYTES = 16_000_000
TIMEOUT_S = 30.0


def cache_folder() -> Path:
    """Return the folder that keeps heads: `assay/heads` in the XDG cache home, or `$ASSAY_CACHE/heads`."""
    return environment.cache_folder("heads")


def fetch(
    url: str, sha256: str, cache: Path, *, limit: int = LIMIT_BYTES, timeout: float = TIMEOUT_S, local: bool = False
) -> Path:
    """Return the file with this SHA-256 (64 hex digits): from `cache`, else from `url`, written there atomically.

    Only https, also after redirects. `local` allows http as well, but from 127.0.0.1 alone (for tests). A damaged
    file in the cache is fetched again. Raises `BadInput` in one line: no network, an answer that is too large
    (`limit`, bytes), another checksum, a folder that cannot be written.
    """
    _check(url, local)
    path = cache / f"{sha256}{Path(urlsplit(url).path).suffix}"
    try:
        if path.is_file() and sha256_of(path) == sha256:
            return path
        cache.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=cache, prefix=".fetch-")
        try:
            with os.fdopen(handle, "wb") as file:
                _download(url, sha256, file, limit, timeout, local)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"cannot keep {url} in {cache}: {error.strerror or first_line(error)}") from error
    return path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a small file, 64 hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _download(url: str, sha256: str, file: IO[bytes], limit: int, timeout: float, local: bool) -> None:
    """Write the answer of `url` into `file`, synced, if it has the right size and checksum."""
    handlers: list[urllib.request.BaseHandler] = [_Redirects(local)]
    if local:
        handlers.append(urllib.request.ProxyHandler({}))  # a proxy's 127.0.0.1 is another machine
    digest, size = hashlib.sha256(), 0
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=timeout) as answer:
            while chunk := answer.read(1 << 16):
                size += len(chunk)
                if size > limit:
                    raise BadInput(f"{url}: more than {limit} bytes, not what was published")
                digest.update(chunk)
                file.write(chunk)
    except urllib.error.HTTPError as error:
        raise BadInput(f"{url}: the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        detail = first_line(reason) if isinstance(reason, BaseException) else str(reason)
        raise BadInput(
            f"{urlsplit(url).hostname} cannot be reached ({detail}): fetch {url} elsewhere and name it as file:/path"
        ) from error
    if digest.hexdigest() != sha256:
        raise BadInput(f"{url}: SHA-256 {digest.hexdigest()[:16]}..., expected {sha256[:16]}...: nothing was kept")
    file.flush()
    os.fsync(file.fileno())


def _check(url: str, local: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if local and parts.scheme == "http" and parts.hostname == "127.0.0.1":
        return
    raise BadInput(f"{url}: weights are fetched over https only")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to allowed addresses only."""

    def __init__(self, local: bool) -> None:
        self._local = local

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the next request. Raises `BadInput` for an address that is not allowed."""
        _check(newurl, self._local)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
