"""`assay verify`: whose a picture is, whether it was changed, and the way back to the dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filters.environment import HALLMARKS, TRUST, WATERMARK_KEY
from filters.errors import BadInput
from filters.terminal import printable
from pipelines.commands.common import JsonOption, print_json
from training.hallmark.against import Against

if TYPE_CHECKING:
    from training.hallmark.verify import Report

#: Endings of the files that are looked at in a folder.
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".avif"}

TrustOption = Annotated[
    Path | None, typer.Option("--trust", help=f"Certificates (PEM) of our own issuers; else ${TRUST}.")
]
RegistryOption = Annotated[
    str | None,
    typer.Option("--registry", help=f"Register of issued hallmarks: file or URL; else ${HALLMARKS}."),
]
KeyOption = Annotated[
    Path | None, typer.Option("--watermark-key", help=f"Secret of our marks; else ${WATERMARK_KEY}.")
]
WordsOption = Annotated[int, typer.Option("--words", help="Size of the pool of words that pictures are marked with.")]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="CHECKPOINT", help="Look for the mark in the noise too; needs the training packages."
    ),
]


def verify(
    files: Annotated[list[str], typer.Argument(metavar="FILE|DIR…", help="Pictures, or folders of them.")],
    trust: TrustOption = None,
    registry: RegistryOption = None,
    watermark_key: KeyOption = None,
    words: WordsOption = 4,
    model: ModelOption = None,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Dataset in which the credential's dataset and checkpoint are looked up."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check credential, watermark and origin of pictures. Exit code 0: all are ours and intact; 3: one is not."""
    from contextlib import ExitStack

    from training.hallmark.against import read_picture, verifier_of

    paths = list(_pictures(files))
    with ExitStack() as stack:
        verifier = verifier_of(Against(trust, registry, watermark_key, words, model, run), stack)
        reports = []
        for path in paths:
            report = verifier.verify(str(path), read_picture(path))
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
    verdict = "ok" if report.ok else "NOT OK"
    lines = [f"{report.file}: {verdict}: credential {report.credential.verdict}; mark {mark}"]
    lines += [
        f"  mark {one.algorithm}: {one.value}; an unmarked picture does this with probability {one.fpr:.1e}"
        for one in report.detections
        if one.found
    ]
    lines += [f"  problem: {problem}" for problem in report.problems]
    if report.claim is not None:
        lines.append(f"  picture {report.claim.id} of {report.claim.created_at}")
        lines.append(
            f"  dataset {report.claim.dataset_name} sha256:{report.claim.dataset} {report.claim.location}".rstrip()
        )
        lines.append(f"  model {report.claim.model}, checkpoint sha256:{report.claim.checkpoint}")
        for part in report.claim.parts:
            lines.append(f"  with model {part.model}, checkpoint sha256:{part.checkpoint}")
            lines.append(f"    of dataset {part.dataset_name} sha256:{part.dataset}")
    lines += [f"  note: {note}" for note in report.notes]
    return "\n".join(printable(line) for line in lines)


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
