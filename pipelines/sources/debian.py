"""Debian packages as a source of files: found, downloaded without root, checked and unpacked.

Only `apt-get` and `dpkg-deb` are called; sources, keys and proxies are the system's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filters import environment
from filters.errors import BadInput
from pipelines.run.storage import sha256_file

#: Seconds that one call may take: a local archive, the package lists, a download of some hundred megabytes.
_LOCAL_S, _UPDATE_S, _DOWNLOAD_S = 600, 300, 1800
#: Messages are parsed and shown, so they must come in one language; nothing may ask a question.
_ENVIRONMENT = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
_TEMPORARY = ".download-"
_APT_OPTIONS = ("-q", "-o", "Acquire::Retries=3", "-o", "Acquire::http::Timeout=60", "-o", "Acquire::Languages=none")


class PackagesUnavailable(BadInput):
    """The packages cannot be had on this machine; the message says what to do instead."""


@dataclass(frozen=True)
class Package:
    """One complete binary package on disk; `sha256` is of the file, 64 hex digits."""

    name: str
    version: str
    path: Path
    sha256: str


def default_cache() -> Path:
    """Return the folder that keeps downloaded packages: `assay/debs` in the XDG cache home, or `$ASSAY_CACHE/debs`."""
    return environment.cache_folder("debs")


def find_packages(names: Sequence[str], files: Sequence[Path] = (), cache: Path | None = None) -> list[Package]:
    """Return the packages `names`, in that order: from `files` if any is given, else from `cache` or by apt.

    Raises:
        BadInput: a file of `files` is not one of the packages, or one of them is missing.
        PackagesUnavailable: apt or dpkg is missing, or the download fails.
    """
    if shutil.which("dpkg-deb") is None:
        raise PackagesUnavailable(
            "dpkg-deb is not installed: install it (package dpkg), or make the corpus on Debian or Ubuntu and copy it"
        )
    if files:
        return _from_files(names, files)
    cache = cache or default_cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with exclusive(cache):
            return _from_cache_or_apt(names, cache)
    except PackagesUnavailable as error:
        advice = f"run `apt-get download {' '.join(names)}` on Debian or Ubuntu and pass each file with --deb"
        raise PackagesUnavailable(f"{error}; {advice}") from error
    except OSError as error:
        raise BadInput(f"cannot keep packages in {cache}: {error.strerror or error}") from error


def unpack(package: Package, folder: Path) -> None:
    """Unpack the package's files into the new folder `folder`; no script of the package runs.

    Raises:
        BadInput: the archive is damaged, or the folder cannot be written.
    """
    done = _run(["dpkg-deb", "-x", str(package.path.resolve()), str(folder)], _LOCAL_S)
    if done.returncode:
        raise BadInput(f"cannot unpack {package.path}: {_complaint(done) or done.returncode}")


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; another that asks waits. The lock dies with its process and leaves no file."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some network file systems cannot lock a folder. All writes are atomic, so that two writers then only
        # do the same work twice.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _from_files(names: Sequence[str], files: Sequence[Path]) -> list[Package]:
    found: dict[str, Package] = {}
    for path in files:
        if not path.is_file():
            raise BadInput(f"{path}: no such file")
        package = _identify(path)
        if package is None:
            raise BadInput(f"{path} is not a Debian package")
        if package.name not in names:
            raise BadInput(f"{path} is the package {package.name}; needed: {' and '.join(names)}")
        if package.name in found:
            raise BadInput(f"{path} is the package {package.name} a second time")
        found[package.name] = package
    if missing := [name for name in names if name not in found]:
        raise BadInput(f"no file given for the package {' and '.join(missing)}; needed: {' and '.join(names)}")
    return [found[name] for name in names]


def _from_cache_or_apt(names: Sequence[str], cache: Path) -> list[Package]:
    found = _from_cache(names, cache)
    missing = [name for name in names if name not in found]
    if missing:
        _download(missing, cache)
        found.update(_from_cache(missing, cache))
    if lost := [name for name in missing if name not in found]:
        raise PackagesUnavailable(f"apt-get delivered no complete {' and '.join(lost)}")
    return [found[name] for name in names]


def _from_cache(names: Sequence[str], cache: Path) -> dict[str, Package]:
    """Return the complete packages in the cache; of several versions the file that came last."""
    found: dict[str, Package] = {}
    for name in names:
        candidates = sorted(cache.glob(f"{name}_*.deb"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        for path in reversed(candidates):
            package = _identify(path) if _is_complete(path) else None
            if package is not None and package.name == name:
                found[name] = package
                break
    return found


def _identify(path: Path) -> Package | None:
    """Read a package's name and version from its control data; None where the file is no package."""
    done = _run(["dpkg-deb", "-f", str(path.resolve()), "Package", "Version"], _LOCAL_S)
    fields = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    if done.returncode or not {"Package", "Version"} <= fields.keys():
        return None
    return Package(fields["Package"], fields["Version"], path, sha256_file(path))


def _is_complete(path: Path) -> bool:
    """Tell whether the archive can be listed to its end: a cut or damaged file cannot."""
    return _run(["dpkg-deb", "-c", str(path.resolve())], _LOCAL_S).returncode == 0


def _download(names: Sequence[str], cache: Path) -> None:
    """Download packages into the cache: with the system's package lists, else with lists fetched privately."""
    for left in cache.glob(f"{_TEMPORARY}*"):  # by a killed process; this one has the cache for itself
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=cache) as temporary:
        folder = Path(temporary)
        done = _apt_download(names, folder, ())
        if done.returncode:
            private = _private_state(folder / "apt")
            # One broken source among the system's must not stop the others: what counts is the download.
            update = _run(["apt-get", *_APT_OPTIONS, *private, "update"], _UPDATE_S)
            done = _apt_download(names, folder, private)
            if done.returncode:
                reason = _complaint(update) or _complaint(done) or f"exit status {done.returncode}"
                raise PackagesUnavailable(f"apt-get cannot download the packages ({reason})")
        for path in folder.glob("*.deb"):
            os.replace(path, cache / path.name)


def _apt_download(names: Sequence[str], folder: Path, options: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # apt-get writes into its working folder. As root it warns that its user `_apt` cannot write there; that is
    # no failure.
    return _run(["apt-get", *_APT_OPTIONS, *options, "download", *names], _DOWNLOAD_S, folder)


def _private_state(folder: Path) -> list[str]:
    """Make an empty apt state that needs no root, and return the options that select it."""
    folders = {
        "Dir::State": folder / "state",
        "Dir::State::lists": folder / "state" / "lists",
        "Dir::Cache": folder / "cache",
        "Dir::Cache::archives": folder / "cache" / "archives",
    }
    for path in folders.values():
        (path / "partial").mkdir(parents=True)
    status = folder / "state" / "status"
    status.touch()
    chosen = {**folders, "Dir::State::status": status}
    return [part for key, value in chosen.items() for part in ("-o", f"{key}={value}")]


def _run(command: Sequence[str], timeout_s: float, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool without a shell and without input; a tool that is missing or hangs is the user's to mend."""
    tool = command[0]
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise PackagesUnavailable(f"{tool} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise PackagesUnavailable(f"{tool} did not end in {timeout_s:.0f} seconds") from error


def _complaint(done: subprocess.CompletedProcess[str]) -> str | None:
    """Return the line in which a tool says what went wrong, None where there is none."""
    # apt writes the first two, tar the third (a full disk), dpkg-deb the last.
    marks = re.compile(r"^E:|^W: Failed|: Cannot |error:")
    return next((line.strip() for line in done.stderr.splitlines() if marks.search(line)), None)
