"""Fetch: the pictures of a URL list, from hosts that allow it, into parts of the run.

    downloads/part-NNNNN.tar       the pictures' original bytes, in the order of the list
    downloads/part-NNNNN.parquet   every row of the list: what came of it, headers, policies, signals

One unit of work is several parts in one event loop: while the last rows of a part wait for a slow host, the
next part is under way. Finished parts are never asked for again, except by `retry`.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import tarfile
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, Any

import pyarrow as pa

from filters.errors import BadInput
from filters.optout.hash_lists import HarmfulHashes, load_hash_lists
from pipelines.engine import Engine, run_parts
from pipelines.fetch.addresses import Network
from pipelines.fetch.client import Client
from pipelines.fetch.download import Downloader, Outcome
from pipelines.fetch.evidence import EvidenceStore
from pipelines.fetch.judge import Judge
from pipelines.fetch.policy_cache import PolicyCache
from pipelines.fetch.politeness import Hosts
from pipelines.fetch.table import RETRIES, denied, download_row, listed_failure, retried
from pipelines.jobs.lists import ARTEFACT as LISTS_ARTEFACT
from pipelines.jobs.lists import slice_list
from pipelines.jobs.named import Named
from pipelines.progress import Meter, shown
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, fingerprint, finished, part_name, read_marker, read_table
from pipelines.run.recipe_fetch import Fetch
from pipelines.run.schema_fetch import DOWNLOADS as SCHEMA
from pipelines.run.storage import Store
from pipelines.sources.url import DOWNLOADS, member_name

VERSION = "2"

#: Parts that one loop may have under way at once; bounds memory and unnamed files.
UNIT = 8

#: Seconds between two looks whether there is room for another part.
_LOOK = 0.02


@dataclass
class _Rows:
    """A part that is being filled: rows and the places of their pictures in a spool file."""

    listed: list[dict[str, Any]]
    spool: IO[bytes]
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, position: int, row: dict[str, Any], body: IO[bytes] | None) -> None:
        """Take a row and, where it has one, its picture's bytes."""
        if body is not None:
            start = self.spool.seek(0, io.SEEK_END)
            body.seek(0)
            shutil.copyfileobj(body, self.spool, 1 << 20)
            self.places[position] = (start, self.spool.tell() - start)
        self.rows[position] = row

    def todo(self) -> list[int]:
        """Return the positions that have no row yet."""
        return [position for position in range(len(self.listed)) if position not in self.rows]


@dataclass(frozen=True)
class FetchParts:
    """Downloads units of parts. `which` names the class of rows that a retry asks for again."""

    run_dir: Run
    settings: Fetch
    judge: Judge
    network: Network
    digests: tuple[str, ...]
    units: tuple[tuple[int, ...], ...]
    which: str | None = None

    def load(self) -> None:
        """Nothing to load."""

    def run(self, index: int) -> None:
        """Download all parts of unit `index` that are not finished."""
        asyncio.run(self._unit(self.units[index]))

    def wanted(self, part: int) -> str:
        """Return the fingerprint of a part: its rows, and the settings that decide what may come of them."""
        recipe, settings = self.run_dir.recipe, self.settings
        bounds = (recipe.limits.max_image_bytes, settings.redirects, settings.ports, settings.pages)
        rights = recipe.rights.model_dump(include={"agents", "noindex", "unreadable"})
        return fingerprint("fetch", VERSION, self.digests[part], bounds, rights)

    async def _unit(self, parts: tuple[int, ...]) -> None:
        store, settings = self.run_dir.store, self.settings
        evidence = EvidenceStore(store)
        hosts = Hosts(settings)
        harmful = _hash_lists(tuple(self.run_dir.recipe.rights.harmful))
        async with Client(settings, self.network, _folder(store), on_disk=harmful is None) as client:
            cache = PolicyCache(client, hosts, self.judge, evidence, settings)
            limit = self.run_dir.recipe.limits.max_image_bytes
            named = await asyncio.get_running_loop().run_in_executor(None, Named.of, self.run_dir)
            downloader = Downloader(
                client, hosts, cache, self.judge, evidence, settings, limit, harmful, named.address if named else None
            )
            running: list[asyncio.Task[None]] = []
            for part in parts:
                while hosts.busy >= settings.connections and not any(_broken(task) for task in running):
                    await asyncio.sleep(_LOOK)
                running.append(asyncio.ensure_future(self._part(part, downloader, named)))
                await asyncio.sleep(_LOOK)
            await _all(running)

    async def _part(self, part: int, downloader: Downloader, named: Named | None) -> None:
        wanted = self.wanted(part)
        if self.which is None and finished(self.run_dir.store, part_name(DOWNLOADS, part, ""), wanted):
            return
        loop = asyncio.get_running_loop()
        meter = Meter(self.run_dir.store, "fetch", part)
        with tempfile.TemporaryFile(dir=_folder(self.run_dir.store)) as spool:
            filled = _Rows(read_table(self.run_dir.store, part_name(LISTS_ARTEFACT, part)).to_pylist(), spool)
            await loop.run_in_executor(None, self._carry, part, wanted, filled)
            if named is not None:
                await loop.run_in_executor(None, _deny, filled, named)
            todo = filled.todo()
            if self.which is not None and not todo:
                return
            await _all([asyncio.ensure_future(_row(filled, position, downloader, meter)) for position in todo])
            await loop.run_in_executor(None, self._publish, part, wanted, filled)
        meter.flush()

    def _carry(self, part: int, wanted: str, filled: _Rows) -> None:
        """Take over rows of an earlier state of the part, pictures included, but for those to be asked again.

        Without a retry that is a part whose files were published and whose marker was not.
        """
        store, name = self.run_dir.store, part_name(DOWNLOADS, part)
        if not store.exists(name) or not store.exists(part_name(DOWNLOADS, part, ".tar")):
            return
        try:
            table = read_table(store, name)
            if (table.schema.metadata or {}).get(b"fingerprint", b"").decode() != wanted:
                return
            self._take_over(table.to_pylist(), part, filled)
        except (BadInput, tarfile.TarError, EOFError, ValueError):
            return  # what cannot be read is asked for again

    def _take_over(self, found: list[dict[str, Any]], part: int, filled: _Rows) -> None:
        rows = {row["row"]: row for row in found}
        positions = {listed["row"]: position for position, listed in enumerate(filled.listed)}
        for number, row in rows.items():
            if row["reason"] is not None and not (self.which is not None and retried(row, self.which)):
                filled.add(positions[number], row, None)
        with (
            self.run_dir.store.open(part_name(DOWNLOADS, part, ".tar")) as stream,
            tarfile.open(fileobj=stream) as tar,
        ):
            for member in tar:
                row = rows.get(int(member.name), {})
                content = tar.extractfile(member)
                data = content.read() if content else b""
                if row.get("sha256") == hashlib.sha256(data).hexdigest():
                    filled.add(positions[row["row"]], row, io.BytesIO(data))

    def _publish(self, part: int, wanted: str, filled: _Rows) -> None:
        """Write the part's files: pictures, rows, marker. Killed in between, the rows tell what is whole."""
        store, archive_name = self.run_dir.store, part_name(DOWNLOADS, part, ".tar")
        writer = PartWriter(store, part_name(DOWNLOADS, part, ""), wanted)
        rows = [filled.rows[position] for position in range(len(filled.listed))]
        with store.create(archive_name) as path:
            with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
                for position, (start, size) in sorted(filled.places.items()):
                    member = tarfile.TarInfo(member_name(rows[position]["row"]))
                    member.size = size
                    filled.spool.seek(start)
                    archive.addfile(member, filled.spool)
            writer.add_file(archive_name, path)
        schema = SCHEMA.with_metadata({**(SCHEMA.metadata or {}), b"fingerprint": wanted.encode()})
        writer.add_table(part_name(DOWNLOADS, part), pa.Table.from_pylist(rows, schema=schema))
        evidence = sorted({p["sha256"] for row in rows for p in row["policies"] if p["sha256"]})
        writer.commit(
            len(rows),
            {
                "statuses": dict(sorted(Counter(row["status"] for row in rows).items())),
                "failures": dict(sorted(Counter(row["reason"] for row in rows if row["reason"]).items())),
                "evidence": evidence,
            },
        )


def _deny(filled: _Rows, named: Named) -> None:
    """Settle the rows that the registry names by address, maker or caption: they are never asked for."""
    positions = filled.todo()
    for position, reason in zip(positions, named.rows([filled.listed[at] for at in positions]), strict=True):
        if reason is not None:
            filled.add(position, download_row(filled.listed[position], denied(reason)), None)


async def _row(filled: _Rows, position: int, downloader: Downloader, meter: Meter) -> None:
    listed = filled.listed[position]
    outcome: Outcome | None = listed_failure(listed)
    if outcome is None:
        outcome = await downloader.fetch(listed["url"], listed["page_url"])
    filled.add(position, download_row(listed, outcome), outcome.body)
    if outcome.body is not None:
        outcome.body.close()
    meter.count(failure=outcome.reason.value if outcome.reason else None)


@lru_cache(maxsize=1)
def _hash_lists(paths: tuple[str, ...]) -> HarmfulHashes | None:
    """Load the lists of known harmful pictures, once a process; None without any."""
    return load_hash_lists(paths) if paths else None


def _folder(store: Store) -> str | None:
    """Return where pictures wait for their part to be whole: the run's own disk, where there is one."""
    return store.root if store.local else None


def _broken(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for all tasks; the first error ends the others."""
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def fetch(run: Run, engine: Engine, network: Network | None = None) -> None:
    """Download what is missing of the run's URL list; nothing for other inputs.

    `network` is for tests with servers of their own; the default is the real one. Raises `BadInput` for a missing
    or empty list.
    """
    if run.recipe.input.kind != "url":
        return
    work = _work(run, network, None)
    for index in run.parts(DOWNLOADS):
        if index >= len(work.digests):
            for suffix in (".done.json", ".tar", ".parquet"):
                run.store.delete(part_name(DOWNLOADS, index, suffix))
    parts = range(len(work.digests))
    pending = [i for i in parts if not finished(run.store, part_name(DOWNLOADS, i, ""), work.wanted(i))]
    _run(run, engine, work, pending)


def retry(run: Run, engine: Engine, which: str, network: Network | None = None) -> int:
    """Ask again for the rows of finished parts that failed in one class; return how many there were.

    Raises `BadInput` for a run without downloads, or an unknown class.
    """
    if which not in RETRIES:
        raise BadInput(f"--retry {which}: is none of {', '.join(RETRIES)}")
    if run.recipe.input.kind != "url" or not run.parts(DOWNLOADS):
        raise BadInput(f"{run.store.url}: has no downloads to retry; --retry is for runs over URL lists")
    work = _work(run, network, which)
    pending, count = [], 0
    for index in run.parts(DOWNLOADS):
        rows = run.table(DOWNLOADS, index, ["reason", "http_status"]).to_pylist()
        again = sum(retried(row, which) for row in rows)
        marker = read_marker(run.store, part_name(DOWNLOADS, index, ""))
        if again and marker is not None and marker.fingerprint == work.wanted(index):
            pending.append(index)
            count += again
    _run(run, engine, work, pending)
    return count


def _work(run: Run, network: Network | None, which: str | None) -> FetchParts:
    settings = run.recipe.fetch
    if settings is None:
        raise BadInput(f"{run.recipe.name}: input.kind url needs a fetch section with fetch.contact")
    slices = slice_list(run, settings)
    judge = Judge.of(run.recipe.rights)
    return FetchParts(run, settings, judge, network or Network(), tuple(slices.facts["parts"]), (), which)


def _run(run: Run, engine: Engine, work: FetchParts, pending: list[int]) -> None:
    if not pending:
        return
    units = tuple(tuple(pending[start : start + UNIT]) for start in range(0, len(pending), UNIT))
    ready = FetchParts(run, work.settings, work.judge, work.network, work.digests, units, work.which)
    with shown(run.store, "fetch", None):
        run_parts(engine, "fetch", ready, range(len(units)))
