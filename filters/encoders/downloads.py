"""Published weights: from the local cache without a word to the network, else by one download."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import constants, try_to_load_from_cache

from filters.errors import BadInput, first_line

#: The names under which open_clip publishes weights, the safe form first.
_SAFE_NAME = "open_clip_model.safetensors"
_DEFAULT_NAME = "open_clip_pytorch_model.bin"


def weights_of(open_clip: ModuleType, published: dict[str, Any]) -> Path:
    """Return the file of one of open_clip's published weights, downloaded into the hub's cache if need be.

    `published` is open_clip's entry for the weights. Raises `BadInput` where they are neither here nor to be had.
    """
    cached = _cached(str(published.get("hf_hub", "")))
    if cached is not None:
        return cached
    if constants.HF_HUB_OFFLINE:
        raise BadInput("downloads are switched off by HF_HUB_OFFLINE")
    source = constants.ENDPOINT if published.get("hf_hub") else str(published.get("url", ""))
    host = urlsplit(source).hostname or ""
    if not _known_host(host):  # the hub's client would try again for a minute
        raise BadInput(f"{host} cannot be reached")
    try:
        return Path(open_clip.download_pretrained(published))
    except Exception as error:  # the hub's client raises its own, urllib's and the system's errors
        raise BadInput(first_line(error)) from error


def _cached(entry: str) -> Path | None:
    """Look up `ORG/MODEL/` or `ORG/MODEL/FILE` in the hub's cache, a safetensors file before any other."""
    repository, _, name = entry.rpartition("/")
    if not repository:
        return None
    names = [str(Path(name).with_suffix(".safetensors")), name] if name else [_SAFE_NAME, _DEFAULT_NAME]
    for candidate in names:
        found = try_to_load_from_cache(repository, candidate)
        if isinstance(found, str):
            return Path(found)
    return None


def _known_host(host: str) -> bool:
    if "https" in urllib.request.getproxies():
        return True  # the proxy looks the name up
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True
