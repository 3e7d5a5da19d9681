"""`assay optout init|add|import|export|list|verify|review|grant`: the opt-out registry."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from filters import environment
from filters.errors import BadInput, GateRefused
from filters.optout.entries import Draft, Kind, entry_body, read_stamp, stamp
from filters.terminal import tell
from pipelines.commands.common import JsonOption, print_json
from pipelines.registry.reviews import Judgement, Review

registry_app = typer.Typer(add_completion=False, no_args_is_help=True, help="Keep a registry of opt-outs.")

RegistryArgument = Annotated[
    str, typer.Argument(metavar="REGISTRY", help="SQLite file, or postgresql://user:password@host/database.")
]
#: Largest number that a database takes.
_MOST = 2**62


@registry_app.callback()
def _group() -> None:
    """Keep a registry of opt-outs."""


@registry_app.command()
def init(registry: RegistryArgument, as_json: JsonOption = False) -> None:
    """Make an empty registry."""
    from pipelines.registry import create_registry

    with create_registry(registry) as made:
        if as_json:
            print_json({"id": made.id, "hash": made.genesis, "seq": 0})
        else:
            print(f"{made.database.shown}: empty registry {made.id}\nhash {made.genesis}")


@registry_app.command()
def add(
    registry: RegistryArgument,
    url: Annotated[list[str] | None, typer.Option("--url", help="Address of one picture or page.")] = None,
    url_prefix: Annotated[list[str] | None, typer.Option("--url-prefix", help="Part of a site.")] = None,
    domain: Annotated[list[str] | None, typer.Option("--domain", help="Domain with all its subdomains.")] = None,
    creator: Annotated[str | None, typer.Option("--creator", help="Name of one creator.")] = None,
    alias: Annotated[list[str] | None, typer.Option("--alias", help="Another name of the creator.")] = None,
    sha256: Annotated[list[str] | None, typer.Option("--sha256", help="SHA-256 of a picture's file.")] = None,
    pdq: Annotated[list[str] | None, typer.Option("--pdq", help="PDQ hash of a picture.")] = None,
    image: Annotated[
        list[Path] | None, typer.Option("--image", help="A picture's file: its SHA-256 and PDQ hashes are added.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Encoder by which --image is also added as an embedding.")
    ] = None,
    requester: Annotated[str, typer.Option("--requester", help="Who asked.")] = "",
    basis: Annotated[str, typer.Option("--basis", help="On what ground: law, contract, form.")] = "",
    note: Annotated[str, typer.Option("--note", help="Anything else.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Append entries; all of one call, or none. An entry is never changed or taken away."""
    from pipelines.registry import open_registry
    from pipelines.registry.pictures import picture_values

    if alias and not creator:
        raise BadInput("--alias needs --creator")
    values = [(Kind.URL, v) for v in url or []] + [(Kind.URL_PREFIX, v) for v in url_prefix or []]
    values += [(Kind.DOMAIN, v) for v in domain or []] + [(Kind.SHA256, v) for v in sha256 or []]
    values += [(Kind.PDQ, v) for v in pdq or []]
    values += [pair for path in image or [] for pair in picture_values(path, model)]
    drafts = [Draft(kind, value, (), requester, basis, note) for kind, value in values]
    if creator:
        drafts.append(Draft(Kind.CREATOR, creator, tuple(alias or ()), requester, basis, note))
    if not drafts:
        raise BadInput("nothing to add: give --url, --url-prefix, --domain, --creator, --sha256, --pdq or --image")
    with open_registry(registry) as opened:
        appended = opened.append(drafts)
        _print_appended(opened.database.shown, appended.first, appended.last, appended.snapshot.hash, as_json)
    for literal in (address for address in url or [] if "*" in address):
        tell(f"note: {literal[:200]}: --url names one address, in which * stands for itself", stream=sys.stderr)


@registry_app.command("import")
def import_(
    registry: RegistryArgument,
    file: Annotated[Path, typer.Argument(help="CSV with kind,value,aliases,requester,basis,note.")],
    spawning: Annotated[
        Path | None,
        typer.Option(
            "--ask-spawning",
            metavar="CACHE",
            help="FILE holds URLs, one a line: ask Spawning's registry about them "
            f"(key in {environment.SPAWNING_KEY}), keep dated answers in CACHE, and append those that are opted out.",
        ),
    ] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="Another address of Spawning's API.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Append all entries of a CSV file, or none where one line is wrong."""
    from pipelines.registry import open_registry
    from pipelines.registry.csv_files import import_csv
    from pipelines.registry.spawning import opted_out

    with open_registry(registry) as opened:
        # The answers come first: no other writer waits for a service on the network.
        drafts = opted_out(file, spawning, endpoint) if spawning else None
        appended = import_csv(opened, file) if drafts is None else opened.append(drafts)
        _print_appended(opened.database.shown, appended.first, appended.last, appended.snapshot.hash, as_json)


@registry_app.command()
def export(
    registry: RegistryArgument,
    out: Annotated[Path | None, typer.Option("--out", help="CSV file to write; else standard output.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write all entries as CSV; with --json as JSON lines."""
    from pipelines.registry import open_registry
    from pipelines.registry.csv_files import export_csv, export_json

    write = export_json if as_json else export_csv
    with open_registry(registry) as opened:
        if out is None:
            write(opened.entries(), sys.stdout)
            return
        try:
            with _new_file(out) as stream:
                count = write(opened.entries(), stream)
        except FileExistsError:
            raise BadInput(f"{out}: there is a file already; choose another name") from None
        except OSError as error:
            raise BadInput(f"{out}: cannot be written ({error.strerror})") from None
    print(f"{out}: {count} entries", file=sys.stderr)


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """Give a stream whose text appears as `path` when the block ends well, and not at all when it fails or is killed.

    Raises `FileExistsError` where there is a file of that name already, and `OSError`.
    """
    if os.path.lexists(path):
        raise FileExistsError
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@registry_app.command("list")
def list_(
    registry: RegistryArgument,
    since: Annotated[int, typer.Option("--since", min=0, max=_MOST, help="Only entries with a higher number.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=_MOST, help="At most so many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Show entries in the order in which they came."""
    from itertools import islice

    from pipelines.registry import open_registry

    with open_registry(registry) as opened:
        found = list(islice(opened.entries(since), limit))
        snapshot = opened.snapshot()
    if as_json:
        print_json({"seq": snapshot.seq, "hash": snapshot.hash, "entries": [entry_body(entry) for entry in found]})
        return
    for entry in found:
        names = " | ".join((entry.value, *entry.aliases))
        tell(f"{entry.seq:>8}  {stamp(entry.created_at)}  {entry.kind.value:<10}  {names[:120]}  {entry.requester}")
    print(f"{len(found)} of {snapshot.seq} entries, hash {snapshot.hash}")


@registry_app.command()
def verify(
    registry: RegistryArgument,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="A hash that was noted before: tells whether the end was cut off.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the chain of hashes. Exit code 3 when something was changed or taken away."""
    from audit.compliance import Problem
    from pipelines.registry import open_registry

    with open_registry(registry) as opened:
        problems = opened.verify()
        head = opened.snapshot()
        if snapshot is not None and not problems:
            try:
                opened.snapshot_at(snapshot)
            except BadInput as error:
                problems = [Problem("SNAPSHOT_MISSING", str(error))]
    if as_json:
        print_json({"ok": not problems, "seq": head.seq, "hash": head.hash, "problems": [asdict(p) for p in problems]})
        if problems:
            raise typer.Exit(3)
        return
    if problems:
        listed = "; ".join(f"{p.code} {p.detail}" for p in problems[:10])
        more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise GateRefused(f"{opened.database.shown}: {len(problems)} problem(s): {listed}{more}")
    print(f"{opened.database.shown}: {head.seq} entries, chain unbroken\nhash {head.hash}")


@registry_app.command()
def review(
    registry: RegistryArgument,
    number: Annotated[int | None, typer.Option("--id", min=1, max=_MOST, help="Number of the pair to judge.")] = None,
    verdict: Annotated[Judgement | None, typer.Option("--verdict", help="Is it the registered work?")] = None,
    reviewer: Annotated[str, typer.Option("--reviewer", help="Who judges.")] = "",
    note: Annotated[str, typer.Option("--note", help="Why.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Show judged pairs too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the pictures that may look like registered ones, or judge one pair."""
    from pipelines.registry import open_registry
    from pipelines.registry.reviews import judge, reviews

    if (number is None) != (verdict is None):
        raise BadInput("give --id and --verdict together")
    with open_registry(registry) as opened:
        if number is not None and verdict is not None:
            judge(opened, number, verdict, reviewer, note)
        found = [r for r in reviews(opened, pending_only=not every and number is None) if number in (None, r.id)]
    if as_json:
        print_json([_review_body(item) for item in found])
        return
    for item in found:
        said = f"{item.verdict.value} by {item.reviewer}" if item.verdict else "to judge"
        tell(f"{item.id:>6}  entry {item.entry}  cosine {item.cosine:.4f}  sample {item.uid}  {said}")
    print(f"{len(found)} pair(s)", file=sys.stderr)


@registry_app.command()
def grant(
    registry: RegistryArgument,
    key: Annotated[Path, typer.Option("--key", help="Private key that signs (assay keygen).")],
    licensor: Annotated[str, typer.Option("--licensor", help="Who grants.")],
    licensee: Annotated[str, typer.Option("--licensee", help="To whom.")],
    url: Annotated[list[str] | None, typer.Option("--url", help="Address of one picture or page.")] = None,
    url_prefix: Annotated[list[str] | None, typer.Option("--url-prefix", help="Part of a site.")] = None,
    domain: Annotated[list[str] | None, typer.Option("--domain", help="Domain with all its subdomains.")] = None,
    creator: Annotated[list[str] | None, typer.Option("--creator", help="Name of a creator.")] = None,
    sha256: Annotated[list[str] | None, typer.Option("--sha256", help="SHA-256 of a picture's file.")] = None,
    terms: Annotated[str, typer.Option("--terms", help="The licence, or where it stands.")] = "",
    expires: Annotated[str | None, typer.Option("--expires", help="When it ends: 2027-01-31T00:00:00Z.")] = None,
    note: Annotated[str, typer.Option("--note", help="Anything else.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Append a signed licence grant: it overrides opt-outs of what it names, for readers who trust the key."""
    from filters.optout.grants import sign_grant
    from pipelines.registry import open_registry
    from pipelines.run.signing import load_private

    named = ((Kind.URL, url), (Kind.URL_PREFIX, url_prefix), (Kind.DOMAIN, domain), (Kind.CREATOR, creator))
    covers = [(kind, value) for kind, values in (*named, (Kind.SHA256, sha256)) for value in values or []]
    value = sign_grant(
        covers,
        load_private(key),
        licensor=licensor,
        licensee=licensee,
        terms=terms,
        issued_at=datetime.now(timezone.utc),
        expires_at=read_stamp(expires) if expires else None,
    )
    with open_registry(registry) as opened:
        appended = opened.append([Draft(Kind.GRANT, value, (), licensor, "licence", note)])
        _print_appended(opened.database.shown, appended.first, appended.last, appended.snapshot.hash, as_json)


def _print_appended(shown: str, first: int, last: int, digest: str, as_json: bool) -> None:
    if as_json:
        print_json({"first": first, "last": last, "added": last - first + 1, "hash": digest})
    else:
        print(f"{shown}: {last - first + 1} entries added, {first} to {last}\nhash {digest}")


def _review_body(item: Review) -> dict[str, Any]:
    decided = stamp(item.decided_at) if item.decided_at else None
    verdict = item.verdict.value if item.verdict else None
    return {**asdict(item), "queued_at": stamp(item.queued_at), "decided_at": decided, "verdict": verdict}
