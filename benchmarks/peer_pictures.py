"""The pictures that `benchmarks.peers` gives to both sides: one set, as files, as shards, as JSON lines and as URLs.

Drawings of openclipart flattened on white as JPEG: peers that ignore transparency would take all icons for one. The
byte-identical files of the corpus stay in, so there are duplicates to find.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import multiprocessing
import tarfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web
from PIL import Image

from benchmarks.score_inputs import records

#: Hosts over which Assay's list spreads the pictures; all are the one server.
HOSTS = tuple(f"h{number}.test" for number in range(40))
#: Samples of a shard at most. There are always two: clip-retrieval waits for ever where a loading process has none.
_SHARD = 500


@dataclass(frozen=True)
class Pictures:
    """A set on disk: `files/*.jpg` with `*.txt` beside them, `shards/*.tar`, `rows.jsonl`."""

    folder: Path
    count: int

    @property
    def files(self) -> Path:
        """The folder of pictures and captions."""
        return self.folder / "files"

    @property
    def shards(self) -> Path:
        """The folder of WebDataset shards."""
        return self.folder / "shards"

    @property
    def each(self) -> int:
        """Samples of a shard, but for the last."""
        return max(1, min(_SHARD, -(-self.count // 2)))

    @property
    def rows(self) -> Path:
        """JSON lines of `text` and `images`, as Data-Juicer reads them."""
        return self.folder / "rows.jsonl"

    def names(self) -> list[str]:
        """Return the names of the picture files."""
        return [f"{number:07d}.jpg" for number in range(self.count)]


def flattened(data: bytes) -> bytes:
    """Return a picture as JPEG 95 on white."""
    with Image.open(io.BytesIO(data)) as image:
        drawing = image.convert("RGBA")
    ground = Image.new("RGBA", drawing.size, "white")
    ground.alpha_composite(drawing)
    buffer = io.BytesIO()
    ground.convert("RGB").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def make_pictures(images: Path, folder: Path, count: int) -> Pictures:
    """Write the first `count` pictures of a folder of shards or files; fewer where it holds fewer."""
    found = records(images, count)
    made = Pictures(folder, len(found))
    for part in (made.files, made.shards):
        part.mkdir(parents=True)
    names, lines = made.names(), []
    for name, record in zip(names, found, strict=True):
        path = made.files / name
        path.write_bytes(flattened(record.data))
        path.with_suffix(".txt").write_text(record.caption, encoding="utf-8")
        lines.append(json.dumps({"text": record.caption, "images": [str(path)]}))
    captions = [record.caption for record in found]
    for start in range(0, len(found), made.each):
        _write_shard(made, names[start : start + made.each], captions[start : start + made.each], start // made.each)
    made.rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def _write_shard(made: Pictures, names: list[str], captions: list[str], shard: int) -> None:
    with tarfile.open(made.shards / f"{shard:05d}.tar", "w") as tar:
        for name, caption in zip(names, captions, strict=True):
            path = made.files / name
            for suffix, data in ((".jpg", path.read_bytes()), (".txt", caption.encode())):
                member = tarfile.TarInfo(path.stem + suffix)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def write_list(path: Path, made: Pictures, hosts: tuple[str, ...]) -> Path:
    """Write a CSV of `url` and `caption` over the hosts in turn; a host may have a port."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(("url", "caption"))
        for number, name in enumerate(made.names()):
            caption = (made.files / name).with_suffix(".txt").read_text(encoding="utf-8")
            rows.writerow((f"http://{hosts[number % len(hosts)]}/{name}", caption))
    return path


def _serve(pipe: Connection, folder: str) -> None:
    async def main() -> None:
        app = web.Application()
        app.router.add_static("/", folder)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        await asyncio.to_thread(pipe.recv)
        await runner.cleanup()

    asyncio.run(main())


class Server:
    """A web server on 127.0.0.1 over a folder, in a process of its own; its time is counted for neither side."""

    def __init__(self, folder: Path) -> None:
        self._pipe, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_serve, args=(other, str(folder)), daemon=True)
        self._process.start()
        self.port: int = self._pipe.recv()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(10)
