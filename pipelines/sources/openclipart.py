"""The sample corpus: Debian's openclipart packages as WebDataset shards, real, dirty and left so.

The pictures are the PNG bytes of `openclipart-png`; title, description, keywords, creator, licence and date
come from the RDF in the twin SVG of `openclipart-svg`. Nothing is cleaned and nothing dropped: that is what
the pipeline is for. The same packages give the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from filters.errors import BadInput
from pipelines.run.storage import Store, sha256_file
from pipelines.sources.debian import Package, exclusive, find_packages, unpack
from pipelines.sources.rdf import FIELDS, MetadataError, read_rdf

PNG_PACKAGE, SVG_PACKAGE = "openclipart-png", "openclipart-svg"
#: Written last: a folder that has it is finished.
SUMMARY = "corpus.json"
#: Version of the layout of shards and summary.
_FORMAT = 1
_SHARD = re.compile(r"openclipart-\d{5,}\.tar")
_UNPACKED, _TEMPORARY = ".unpacked-", ".tmp-"
#: Stands for the slash in a key. No name in the packages has it, while many have `-` and `__`.
_SEPARATOR = "--"
_KEY_UNSAFE = re.compile(r"[^\w+-]")


def write_corpus(
    out: Path,
    debs: Sequence[Path] = (),
    shard_size: int = 1000,
    limit: int | None = None,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Write the corpus into the folder `out` and return its summary, the content of `corpus.json`.

    A finished folder is checked against its summary and left as it is; an unfinished one is written again.

    Args:
        out: a folder that is absent, empty, or holds an earlier corpus.
        debs: the files of both packages; without them the packages come from `cache` or by apt.
        shard_size: samples a shard.
        limit: only the first so many pictures; all by default.
        cache: the folder that keeps downloaded packages; `debian.default_cache()` by default.

    Raises:
        BadInput: impossible arguments, a folder that holds something else, wrong or damaged packages.
        PackagesUnavailable: the packages cannot be downloaded here.
    """
    if shard_size < 1 or (limit is not None and limit < 1):
        raise BadInput("shard size and limit must be at least 1")
    settings = {"format": _FORMAT, "shard_size": shard_size, "limit": limit}
    try:
        finished = _finished(out, debs, settings)
        if finished is not None:
            return finished
        with _progress() as progress:
            task = progress.add_task("getting the packages", total=None)
            packages = find_packages((PNG_PACKAGE, SVG_PACKAGE), debs, cache)
            out.mkdir(parents=True, exist_ok=True)
            with exclusive(out):
                # Another process may have finished it while this one waited.
                finished = _finished(out, debs, settings)
                return finished if finished is not None else _build(out, packages, settings, progress, task)
    except OSError as error:
        raise BadInput(f"cannot write {out}: {error.strerror or error}") from error


def make_keys(names: Sequence[str]) -> dict[str, str]:
    """Give each relative PNG path its key: readable, unique, and without a dot (webdataset splits at the first).

    Paths that would share a key all get their BLAKE2b hash appended, so that no key depends on the order.
    """
    plain = {name: _KEY_UNSAFE.sub("_", name.removesuffix(".png").replace("/", _SEPARATOR)) for name in names}
    sharing = Counter(plain.values())
    return {name: key if key and sharing[key] == 1 else f"{key}-{_short_hash(name)}" for name, key in plain.items()}


@dataclass(frozen=True)
class _Packages:
    """The unpacked pictures and drawings; `source` (package to version) stands in every record."""

    pngs: Path
    svgs: Path
    source: dict[str, str]

    def record(self, name: str, picture: Path) -> dict[str, Any]:
        """Return the JSON record of one name; what is wrong with its SVG stands in `metadata_error`."""
        folder, _, file = name.rpartition("/")
        is_link = (self.pngs / name).is_symlink()
        record: dict[str, Any] = {
            **dict.fromkeys(FIELDS),
            "keywords": [],
            "name": _text(file),
            "folder": _text(folder),
            # No web address is known. This names the picture within the packages, and keeps two names of one
            # picture apart.
            "url": "openclipart:" + quote(os.fsencode(name), safe="/+,;=@!$&'()*~"),
            "link_to": _text(os.path.relpath(picture, self.pngs.resolve())) if is_link else None,
            "source": self.source,
        }
        try:
            record.update(self._metadata(name))
        except MetadataError as error:
            record["metadata_error"] = str(error)
        return record

    def _metadata(self, name: str) -> dict[str, Any]:
        twin = self.svgs / f"{name.removesuffix('.png')}.svg"
        if not os.path.lexists(twin):
            raise MetadataError("there is no SVG of this name")
        svg = _inside(twin, self.svgs)
        if svg is None:
            raise MetadataError("the SVG is a link that leaves the packages or ends nowhere")
        return read_rdf(svg)


@dataclass
class _Tally:
    """What the summary counts over the written samples."""

    samples: int = 0
    links: int = 0
    empty_captions: int = 0
    without_licence: int = 0
    creators: set[str] = field(default_factory=set)
    licences: Counter[str] = field(default_factory=Counter)
    metadata_errors: Counter[str] = field(default_factory=Counter)

    def add(self, record: dict[str, Any]) -> None:
        self.samples += 1
        self.links += record["link_to"] is not None
        self.empty_captions += not _caption(record)
        self.without_licence += record["licence"] is None
        self.creators.update([record["creator"]] if record["creator"] else [])
        self.licences.update([record["licence"]] if record["licence"] else [])
        self.metadata_errors.update([record["metadata_error"]] if "metadata_error" in record else [])

    def summary(self) -> dict[str, Any]:
        return {**vars(self), "creators": len(self.creators)}


def _finished(out: Path, debs: Sequence[Path], settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the summary of a finished corpus, checked to be this corpus and whole; None for an unfinished one."""
    if not os.path.lexists(out):
        return None
    if not out.is_dir():
        raise BadInput(f"{out} is not a folder")
    names = sorted(os.listdir(out))
    for name in names:
        if not (_SHARD.fullmatch(name) or name == SUMMARY or name.startswith((_UNPACKED, _TEMPORARY))):
            raise BadInput(f"{out} holds other files ({name!r}): choose an empty folder")
    if SUMMARY not in names:
        return None
    try:
        summary: dict[str, Any] = json.loads((out / SUMMARY).read_bytes())
        stored = {key: summary[key] for key in settings}
        shards = {shard["name"]: shard["sha256"] for shard in summary["shards"]}
        packages = {package["sha256"] for package in summary["packages"].values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{out / SUMMARY} is damaged: delete the folder and run again") from error
    if stored != settings or (debs and {sha256_file(path) for path in debs if path.is_file()} != packages):
        raise BadInput(f"{out} holds a corpus of other packages or another shard size: choose an empty folder")
    if {name: sha256_file(out / name) for name in names if _SHARD.fullmatch(name)} != shards:
        raise BadInput(f"{out}: the shards are not those of its {SUMMARY}: delete the folder and run again")
    return summary


def _build(
    out: Path, packages: Sequence[Package], settings: dict[str, Any], progress: Progress, task: TaskID
) -> dict[str, Any]:
    """Unpack, write the shards, then the summary. What a killed run left is removed or replaced."""
    store = Store(str(out.resolve()))
    _remove_unpacked(out)
    store.sweep()
    # Beside the result: 330 MB may be more than the system's temporary folder holds.
    with tempfile.TemporaryDirectory(prefix=_UNPACKED, dir=out) as unpacked:
        progress.update(task, description="unpacking")
        trees = _unpack_all(packages, Path(unpacked))
        pictures, refused = _find_pictures(trees.pngs, settings["limit"])
        if not pictures:
            raise BadInput(f"{packages[0].path} holds no PNG under usr/share/openclipart/png")
        progress.update(task, description="writing shards", total=len(pictures))
        tally, size = _Tally(), settings["shard_size"]
        names, keys, shards = list(pictures), make_keys(list(pictures)), []
        for start in range(0, len(names), size):
            batch = [(keys[name], name, pictures[name]) for name in names[start : start + size]]
            shards.append(_write_shard(store, f"openclipart-{start // size:05d}.tar", batch, trees, tally))
            progress.advance(task, len(batch))
    for stale in {name for name in os.listdir(out) if _SHARD.fullmatch(name)} - {shard["name"] for shard in shards}:
        store.delete(stale)
    stated = {package.name: {"version": package.version, "sha256": package.sha256} for package in packages}
    summary = {**settings, **tally.summary(), "refused": refused, "shards": shards, "packages": stated}
    store.write(SUMMARY, json.dumps(summary, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n")
    # As it is read back: keys in the same order whether it was written or found.
    restored: dict[str, Any] = json.loads(store.read(SUMMARY))
    _remove_unpacked(out)
    return restored


def _remove_unpacked(out: Path) -> None:
    for left in out.glob(f"{_UNPACKED}*"):
        # The dpkg-deb of a killed run may still be writing; then the second removal, at the end, gets it.
        shutil.rmtree(left, ignore_errors=True)


def _unpack_all(packages: Sequence[Package], folder: Path) -> _Packages:
    for package in packages:
        unpack(package, folder / package.name)
    pictures = folder / PNG_PACKAGE / "usr/share/openclipart/png"
    drawings = folder / SVG_PACKAGE / "usr/share/openclipart/svg"
    return _Packages(pictures, drawings, {package.name: package.version for package in packages})


def _find_pictures(root: Path, limit: int | None) -> tuple[dict[str, Path], list[dict[str, str]]]:
    """Return each relative PNG path with the file behind it, in an order that no locale changes, and the refused."""
    names = []
    for folder, folders, files in os.walk(root):
        # A link to a folder stands among the folders.
        paths = [os.path.join(folder, name) for name in folders + files if name.endswith(".png")]
        names += [os.path.relpath(path, root) for path in paths if os.path.islink(path) or not os.path.isdir(path)]
    pictures: dict[str, Path] = {}
    refused = []
    for name in sorted(names, key=os.fsencode)[:limit]:
        picture = _inside(root / name, root)
        if picture is None:
            refused.append({"name": _text(name), "reason": "not a file, or a link that leaves the package"})
        else:
            pictures[name] = picture
    return pictures, refused


def _inside(path: Path, root: Path) -> Path | None:
    """Return the regular file behind a path; None where that lies outside `root` or is not there."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # a link to nowhere, or in a circle
        return None
    return real if real.is_relative_to(root.resolve()) and real.is_file() else None


def _write_shard(
    store: Store, shard: str, batch: Sequence[tuple[str, str, Path]], trees: _Packages, tally: _Tally
) -> dict[str, Any]:
    with store.create(shard) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
            for key, name, picture in batch:
                record = trees.record(name, picture)
                tally.add(record)
                _add(tar, f"{key}.json", json.dumps(record, sort_keys=True, ensure_ascii=False).encode())
                _add(tar, f"{key}.png", picture.read_bytes())
                _add(tar, f"{key}.txt", _caption(record).encode())
        digest, size = sha256_file(temporary), temporary.stat().st_size
    return {"name": shard, "samples": len(batch), "bytes": size, "sha256": digest}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    # A new TarInfo has time, owner and group 0 and no names: nothing of this machine.
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _caption(record: dict[str, Any]) -> str:
    return record["title"] or record["description"] or ""


def _short_hash(name: str) -> str:
    return hashlib.blake2b(os.fsencode(name), digest_size=4).hexdigest()


def _text(name: str) -> str:
    """Return a file name as valid Unicode, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "replace")


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
