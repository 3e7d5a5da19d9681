"""What the dashboard is started with."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from filters import environment


def cache_folder() -> Path:
    """Return where indexes of runs are kept: `$XDG_CACHE_HOME/assay/dashboard`, else below `~/.cache`."""
    base = os.environ.get(environment.XDG_CACHE) or str(Path.home() / ".cache")
    return Path(base) / "assay" / "dashboard"


@dataclass(frozen=True)
class Settings:
    """Settings of one dashboard.

    `root` holds the runs; nothing outside it is readable. `token` is asked for where it is not None.
    `memory` and `threads` are DuckDB's limits over all runs together. `patience` is how many seconds a page
    waits for a run's index before it says that one is being made. `trust` names the certificates (PEM) of our own
    issuers, by which credentials of generated pictures count as ours; None: as `$ASSAY_TRUST` says.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 8321
    token: str | None = None
    cache: Path = field(default_factory=cache_folder)
    memory: str = "400MB"
    threads: int = max(1, min(4, os.cpu_count() or 1))
    patience: float = 3.0
    page_size: int = 60
    max_upload: int = 20 << 20
    trust: Path | None = None

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach the dashboard."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Tell whether `host` (a name or an address) is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
