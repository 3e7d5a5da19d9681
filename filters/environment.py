"""The environment variables that Assay reads: names for the code that reads them, meanings for `docs/commands.md`."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = "ASSAY_CACHE"
CONTACT = "ASSAY_CONTACT"
CORES = "ASSAY_CORES"
HALLMARKS = "ASSAY_HALLMARKS"
SIGNING_CHAIN = "ASSAY_SIGNING_CHAIN"
SIGNING_KEY = "ASSAY_SIGNING_KEY"
TOKEN = "ASSAY_TOKEN"
TRUST = "ASSAY_TRUST"
WATERMARK_KEY = "ASSAY_WATERMARK_KEY"
SPAWNING_KEY = "SPAWNING_OPTS_KEY"
RANK = "RANK"
WORLD_SIZE = "WORLD_SIZE"
XDG_CACHE = "XDG_CACHE_HOME"
XDG_CONFIG = "XDG_CONFIG_HOME"

#: What each one is for, and what holds where it is not set.
VARIABLES = {
    CACHE: "Folder of what was downloaded or made once: `heads`, `int8`, `debs`. Else `assay` in `XDG_CACHE_HOME`.",
    CONTACT: "Your mail or web address, where `assay optout check` has no `--contact`; sent to the hosts asked.",
    CORES: "Most cores that this process may use; who starts several workers on a machine sets it for each. "
    "Else all that the system and the container allow.",
    HALLMARKS: "Register of issued pictures (file or URL), where `assay generate` has no `--hallmarks`, "
    "and `assay verify` and `assay lineage` have no `--registry`.",
    SIGNING_KEY: "Private key that signs pictures: the PEM text, not a path. "
    "Where `assay generate` has neither `--keys` nor `--key`.",
    SIGNING_CHAIN: "The certificates of that key: the PEM text, not a path.",
    TOKEN: "Token that `assay serve` asks for, where it has no `--token`; at least 16 characters.",
    TRUST: "File with the certificates (PEM) of our own issuers, where `assay verify`, `assay lineage` "
    "and `assay serve` have no `--trust`, and for `assay report`.",
    WATERMARK_KEY: "File with the secret of the marks, where `assay generate`, `assay verify` and `assay lineage` "
    "have no `--watermark-key`, and the first no `--keys`.",
    SPAWNING_KEY: "Your key for Spawning's API; `assay optout import --ask-spawning` needs it.",
    RANK: "Number of this process among several that train together; `torchrun` sets it. Only the first, 0, tells.",
    WORLD_SIZE: "How many processes train together; `torchrun` sets it. Else 1.",
    XDG_CACHE: "Folder of all programs' caches; Assay's lie in `assay` there: `ASSAY_CACHE`'s, and the indexes of "
    "registries and of the dashboard's runs. Else `~/.cache`.",
    XDG_CONFIG: "Folder of all programs' settings: `assay/operator.pem` signs receipts where no key is named. "
    "Else `~/.config`.",
}


def cache_folder(kind: str) -> Path:
    """Return the folder that keeps files of one kind: `assay/KIND` in the XDG cache home, or `$ASSAY_CACHE/KIND`."""
    if own := os.environ.get(CACHE):
        return Path(own) / kind
    # The XDG specification asks to ignore a relative value.
    home = os.environ.get(XDG_CACHE, "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "assay" / kind
