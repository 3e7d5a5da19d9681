from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from openclipart_debs import contents

from pipelines.sources.debian import PackagesUnavailable, default_cache, find_packages
from pipelines.sources.openclipart import write_corpus

NAMES = ("openclipart-png", "openclipart-svg")

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")


def tools(folder: Path, apt: str | None = None) -> str:
    """Make a PATH with dpkg-deb and its helpers, and an apt-get of its own where a script is given."""
    folder.mkdir()
    for tool in ("dpkg-deb", "tar", "gzip", "cp", "sh", "touch"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    if apt is not None:
        (folder / "apt-get").write_text(f"#!/bin/sh\n{apt}\n")
        (folder / "apt-get").chmod(0o755)
    return str(folder)


def test_without_dpkg_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PackagesUnavailable, match=r"^dpkg-deb is not installed: install it .*[^\n]$"):
        write_corpus(tmp_path / "out", cache=tmp_path / "cache")
    assert not (tmp_path / "out").exists()


def test_without_apt_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", tools(tmp_path / "bin"))
    advice = "apt-get is not installed; run `apt-get download openclipart-png openclipart-svg` on Debian or Ubuntu"
    with pytest.raises(PackagesUnavailable) as caught:
        write_corpus(tmp_path / "out", cache=tmp_path / "cache")
    assert str(caught.value) == f"{advice} and pass each file with --deb"


def test_a_failed_download_says_why_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'echo "W: sandbox" >&2; echo "E: no network" >&2; echo "E: more" >&2; exit 100'
    monkeypatch.setenv("PATH", tools(tmp_path / "bin", script))
    with pytest.raises(PackagesUnavailable) as caught:
        find_packages(NAMES, cache=tmp_path / "cache")
    assert "(E: no network); run `apt-get download" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not contents(tmp_path / "cache")


def test_missing_package_lists_are_fetched_privately_and_packages_kept(
    tmp_path: Path, debs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # An apt-get that knows the packages only after an update of a private state, like a fresh container's.
    log = tmp_path / "log"
    script = f"""
echo "$@" >> {log}
for word in "$@"; do
  case "$word" in Dir::State::lists=*) lists="${{word#*=}}";; update) touch "$lists/updated";; esac
done
test -e "$lists/updated" || {{ echo "E: Unable to locate package" >&2; exit 100; }}
case "$*" in *openclipart-png*) cp {debs[0]} .;; esac
case "$*" in *openclipart-svg*) cp {debs[1]} .;; esac
echo "W: Download is performed unsandboxed as root" >&2"""
    monkeypatch.setenv("PATH", tools(tmp_path / "bin", script))
    cache = tmp_path / "cache"

    first = find_packages(NAMES, cache=cache)
    assert [(package.name, package.version) for package in first] == [(name, "1:0.18-19") for name in NAMES]
    assert sorted(contents(cache)) == [deb.name for deb in debs]
    assert len(log.read_text().splitlines()) == 3

    assert find_packages(NAMES, cache=cache) == first
    assert len(log.read_text().splitlines()) == 3

    (cache / debs[1].name).write_bytes(debs[1].read_bytes()[:-300])
    (cache / ".download-left").mkdir()
    assert find_packages(NAMES, cache=cache) == first
    assert log.read_text().splitlines()[-1].endswith("download openclipart-svg")
    assert sorted(contents(cache)) == [deb.name for deb in debs]


def test_packages_are_kept_in_the_cache_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ASSAY_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "assay" / "debs"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache() == Path.home() / ".cache" / "assay" / "debs"
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own" / "debs"
