"""`assay verify`: whose a picture is, whether it was changed, and the way back to the dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filters.errors import BadInput
from pipelines.commands.common import JsonOption, print_json

if TYPE_CHECKING:
    from pipelines.run.directory import Run
    from training.hallmark.posthoc import RivaGan
    from training.hallmark.verify import Report

#: Environment variables that name what files are held against.
TRUST_VARIABLE, KEY_VARIABLE, REGISTRY_VARIABLE = "ASSAY_TRUST", "ASSAY_WATERMARK_KEY", "ASSAY_HALLMARKS"

#: Endings of the files that are looked at in a folder.
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".avif"}

#: Most bytes of one file that are read.
_MAX_BYTES = 1 << 30


def verify(
    files: Annotated[list[str], typer.Argument(metavar="FILE|DIR…", help="Pictures, or folders of them.")],
    trust: Annotated[
        Path | None, typer.Option("--trust", help=f"Certificates (PEM) of our own issuers; else ${TRUST_VARIABLE}.")
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option("--registry", help=f"Register of issued hallmarks: file or URL; else ${REGISTRY_VARIABLE}."),
    ] = None,
    watermark_key: Annotated[
        Path | None, typer.Option("--watermark-key", help=f"Secret of our marks; else ${KEY_VARIABLE}.")
    ] = None,
    words: Annotated[
        int, typer.Option("--words", help="Size of the pool of words that pictures are marked with.")
    ] = 4,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Dataset in which the credential's dataset and checkpoint are looked up."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check credential, watermark and origin of pictures. Exit code 0: all are ours and intact; 3: one is not."""
    from contextlib import ExitStack

    from training.hallmark.registry import open_register
    from training.hallmark.verify import Verifier

    paths = list(_pictures(files))
    with ExitStack() as stack:
        url = registry or os.environ.get(REGISTRY_VARIABLE)
        verifier = Verifier(
            anchors=_anchors(trust),
            detectors=_detectors(watermark_key, words),
            registry=stack.enter_context(open_register(url)) if url else None,
            run=_run(run),
        )
        reports = []
        for path in paths:
            report = verifier.verify(str(path), _read(path))
            reports.append(report)
            if not as_json:
                print(_line(report))
    if as_json:
        print_json([report.as_json() for report in reports])
    if not all(report.ok for report in reports):
        raise typer.Exit(3)


def _line(report: Report) -> str:
    """Return a report as text: one line of verdict, then what there is to say, indented."""
    found = report.detection
    mark = "not looked for" if found is None else ("found" if found.found else "not found")
    chance = f" (an unmarked picture does this with probability {found.fpr:.1e})" if found and found.found else ""
    verdict = "ok" if report.ok else "NOT OK"
    lines = [f"{report.file}: {verdict}: credential {report.credential.verdict}; mark {mark}{chance}"]
    lines += [f"  problem: {problem}" for problem in report.problems]
    if report.claim is not None:
        lines.append(f"  picture {report.claim.id} of {report.claim.created_at}")
        lines.append(
            f"  dataset {report.claim.dataset_name} sha256:{report.claim.dataset} {report.claim.location}".rstrip()
        )
        lines.append(f"  model {report.claim.model}, checkpoint sha256:{report.claim.checkpoint}")
    lines += [f"  note: {note}" for note in report.notes]
    return "\n".join(_printable(line) for line in lines)


def _printable(line: str) -> str:
    """Return the line without control characters: names come from files of others."""
    return "".join(character if character.isprintable() else "\ufffd" for character in line)


def _pictures(names: list[str]) -> Iterator[Path]:
    """Yield the files that were named, and the pictures in folders that were, in order of their names.

    In folders, what starts with a dot is left out: a killed `assay generate` may leave a half-written `.tmp-` file.
    """
    for name in names:
        path = Path(name)
        if path.is_dir():
            there = (one for one in path.rglob("[!.]*") if one.suffix.lower() in _SUFFIXES)
            found = sorted(one for one in there if one.is_file())
            if not found:
                raise BadInput(f"{path}: no pictures in this folder")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise BadInput(f"{path}: no such file")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInput(f"{path}: larger than 1 GiB")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None


def _anchors(trust: Path | None) -> str:
    """Return the certificates of our issuers, empty where none are named."""
    from cryptography import x509

    named = trust or (Path(os.environ[TRUST_VARIABLE]) if os.environ.get(TRUST_VARIABLE) else None)
    if named is None:
        return ""
    data = _read(named)
    try:
        x509.load_pem_x509_certificates(data)
        return data.decode()
    except (ValueError, UnicodeDecodeError):
        raise BadInput(f"{named}: no certificates in PEM form") from None


def _detectors(key: Path | None, words: int) -> list[RivaGan]:
    """Return the detectors of our marks that need no model."""
    from training.hallmark.posthoc import RivaGan
    from training.hallmark.watermark import read_key_file

    named = key or (Path(os.environ[KEY_VARIABLE]) if os.environ.get(KEY_VARIABLE) else None)
    if named is None:
        return []
    try:
        return [RivaGan(read_key_file(named), words)]
    except ValueError as error:
        raise BadInput(f"--words: {error}") from None


def _run(name: str | None) -> Run | None:
    if name is None:
        return None
    from pipelines.run.directory import open_run

    return open_run(name)
