"""A folder of pictures, each with a .txt caption and optionally a .json of metadata beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from filters.reasons import Reason
from pipelines.run.steady import Steady
from pipelines.sources.base import ReadLimits, Record, ShardRef
from pipelines.sources.listing import find_files, full_url, input_fs, listed, relative, state_of
from pipelines.sources.webdataset import IMAGE_SUFFIXES


@dataclass(frozen=True)
class FolderSource:
    """All pictures under `path`, `files_per_part` to a shard, sorted by path."""

    path: str
    files_per_part: int

    def shards(self) -> list[ShardRef]:
        """Return slices of the sorted names; a caption or JSON without a picture is a record too."""
        suffixes = (*(f".{s}" for s in IMAGE_SUFFIXES), ".txt", ".json")
        fs, root, paths = find_files(self.path, suffixes)
        by_stem: dict[str, list[str]] = {}
        for path in paths:
            by_stem.setdefault(path.rsplit(".", 1)[0], []).append(path)
        stems = sorted(by_stem)
        shards = []
        for number, start in enumerate(range(0, len(stems), self.files_per_part)):
            members = [path for stem in stems[start : start + self.files_per_part] for path in by_stem[stem]]
            names = tuple(relative(path, root) for path in members)
            shards.append(ShardRef(f"files-{number:05d}", full_url(fs, root), state_of(fs, members), names))
        return shards

    def records(self, shard: ShardRef, limits: ReadLimits) -> Iterator[Record]:
        """Read the slice's records; a second picture of the same stem becomes a record of its own.

        A file that is gone, or that may not be read, gives an `UNREADABLE_SHARD` row. Raises `StoreFailed`.
        """
        fs, root = input_fs(shard.url)
        by_stem: dict[str, list[str]] = {}
        for name in shard.members:
            by_stem.setdefault(name.rsplit(".", 1)[0], []).append(name)
        for stem, names in by_stem.items():
            found = {name.rsplit(".", 1)[-1].lower(): name for name in names}
            try:
                caption = _read(fs, root, found.get("txt"), limits.caption)
                metadata = _read(fs, root, found.get("json"), limits.metadata)
            except OSError as error:
                yield Record(stem, failure=Reason.UNREADABLE_SHARD, detail=str(error)[:500])
                continue
            pictures = [name for name in names if name.rsplit(".", 1)[-1].lower() in IMAGE_SUFFIXES]
            chosen: list[str | None] = [*pictures]
            for picture in chosen or [None]:
                try:
                    yield Record(stem, _read(fs, root, picture, limits.image), caption, metadata)
                except OSError as error:
                    yield Record(stem, failure=Reason.UNREADABLE_SHARD, detail=str(error)[:500])


def _read(fs: Steady, root: str, name: str | None, limit: int) -> bytes | None:
    if name is None:
        return None
    return listed(fs, f"{root}/{name}", lambda path: fs.head(path, limit + 1))
