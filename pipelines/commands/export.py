"""`assay export`: the documents that law and users ask for, from a finished run."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filters.errors import BadInput, GateRefused
from filters.terminal import tell
from pipelines.commands.common import JsonOption, RunArgument, print_json

if TYPE_CHECKING:
    from audit.documents.form import Document
    from pipelines.run.directory import Run

ALL = "all"
STANDARD_OUT = "-"

#: What `pipelines.run.storage` calls a file that is being written: by its process, then by its name.
_UNFINISHED = re.compile(r"\.tmp-(\d+)-[0-9a-f]{8}-(.+)", re.DOTALL)

FormatOption = Annotated[
    str,
    typer.Option(
        "--format", help="croissant, eu-summary, ab2013, cyclonedx, spdx, datasheet, or all (into the folder --out)."
    ),
]
OutOption = Annotated[
    str,
    typer.Option(
        "--out", help="File to write, folder for all, or - for standard output. FILE.json: eu-summary as JSON."
    ),
]
ProviderOption = Annotated[
    Path | None,
    typer.Option("--provider", help="YAML file with the provider's facts, in place of the recipe's section."),
]
RegistryOption = Annotated[
    str | None,
    typer.Option("--registry", help="Opt-out registry to check against; else the one that the recipe names."),
]
DespiteOption = Annotated[
    bool,
    typer.Option("--despite-check", help="Export what assay check refuses; every document says first what is wrong."),
]


def export(
    run: RunArgument,
    format_name: FormatOption,
    out: OutOption = STANDARD_OUT,
    provider: ProviderOption = None,
    registry: RegistryOption = None,
    despite_check: DespiteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write documents about a finished dataset. What nothing states is marked in them, and listed.

    Exit code 3 where `assay check` refuses the dataset, or a gate failed that nobody has waived.
    """
    from audit.documents.formats import FORMATS

    if format_name != ALL and format_name not in FORMATS:
        raise BadInput(f"--format {format_name}: is none of {', '.join(FORMATS)}, {ALL}")
    if out == STANDARD_OUT and (format_name == ALL or as_json):
        what = "--format all" if format_name == ALL else "--json"
        raise BadInput(f"{what} needs --out: documents and results cannot share standard output")
    documents = _documents(run, format_name, out, provider, registry, despite_check)
    written = [_write(documents[0], out)] if format_name != ALL else [_write(d, _inside(out, d)) for d in documents]
    _tell(documents if format_name == ALL else documents[:1], written, as_json)


def _documents(
    url: str, format_name: str, out: str, provider: Path | None, registry: str | None, despite_check: bool
) -> list[Document]:
    """Check the dataset, gather its facts and make the documents. Raises `BadInput` and `GateRefused`."""
    from audit.documents.formats import FORMATS
    from pipelines.jobs.check import check, described
    from pipelines.run.directory import open_run
    from pipelines.run.facts import gather, trusted_manifest
    from pipelines.run.recipe_provider import read_provider

    opened = open_run(url)
    body = trusted_manifest(opened)
    given = read_provider(provider).facts() if provider else None
    problems = check(opened, registry).problems
    if problems and not despite_check:
        raise GateRefused(f"{url}: not exported: {described(problems)}; --despite-check exports it all the same")
    facts = gather(opened, _agent(body["content"]), tuple(problems), given, provider.name if provider else "recipe")
    wanted = FORMATS if format_name == ALL else {format_name: FORMATS[format_name]}
    prefix = shard_prefix(opened, out, format_name)
    documents = [document for form in wanted.values() for document in form.make(facts, prefix)]
    if format_name != ALL and out.endswith(".json"):
        # a format that can be written as text or as JSON follows the name of the file
        documents.sort(key=lambda document: not document.name.endswith(".json"))
    return documents


def _agent(content: dict[str, Any]) -> str:
    """Return the user agent under which the run downloaded; empty where it downloaded nothing."""
    from filters import __version__
    from pipelines.fetch.client import user_agent

    fetch = content["recipe"].get("fetch")
    if not fetch:
        return ""
    return user_agent(fetch["contact"]).replace(f"/{__version__} ", f"/{content['versions']['assay']} ", 1)


def shard_prefix(run: Run, out: str, format_name: str) -> str:
    """Return what leads from a document at `out` to the run's folder; "" where it lies in it, or is printed.

    Relative, so that no document holds a path of this machine.
    """
    if out == STANDARD_OUT or not run.store.local:
        return ""
    folder = Path(out) if format_name == ALL else Path(out).parent
    way = os.path.relpath(Path(run.store.root).resolve(), folder.resolve())
    return "" if way == "." else Path(way).as_posix()


def _inside(folder: str, document: Document) -> str:
    return str(Path(folder) / document.name)


def _write(document: Document, out: str) -> str:
    """Write one document; return where. Raises `BadInput` where that cannot be written."""
    from pipelines.run.storage import Store

    if out == STANDARD_OUT:
        sys.stdout.buffer.write(document.data)
        sys.stdout.buffer.flush()
        return out
    path = Path(out)
    if "://" in out:
        raise BadInput(f"--out {out}: documents are written to local files; name one")
    if path.is_dir():
        raise BadInput(f"--out {out}: is a folder; name a file in it")
    try:
        Store(str(path.absolute().parent)).write(path.name, document.data)
        _sweep(path)
    except OSError as error:
        raise BadInput(f"--out {out}: cannot be written ({error.strerror or error})") from None
    return out


def _sweep(document: Path) -> None:
    """Delete what a killed export of the same document has left beside it. What is still being written stays."""
    for path in document.absolute().parent.glob(".tmp-*"):
        found = _UNFINISHED.fullmatch(path.name)
        if found and found[2] == document.name and not _running(int(found[1])):
            path.unlink(missing_ok=True)


def _running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's
        return True
    return True


def _tell(documents: list[Document], written: list[str], as_json: bool) -> None:
    """Say what was written and what is missing, the latter on standard error."""
    if as_json:
        print_json(
            {
                "documents": [
                    {
                        "file": where,
                        "bytes": len(document.data),
                        "missing": [{"field": m.field, "from": m.where, "why": m.why} for m in document.missing],
                    }
                    for document, where in zip(documents, written, strict=True)
                ]
            }
        )
        return
    for document, where in zip(documents, written, strict=True):
        if where != STANDARD_OUT:
            print(f"{where}: {len(document.data):,} bytes, {len(document.missing)} fields left open")
        for item in document.missing:
            tell(f"  not stated: {item.field}: {item.why or item.where}", stream=sys.stderr)
