"""`assay evaluate dedup`: recall and precision of duplicate detection on a folder whose groups are known."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer

from filters.decoding import Undecodable, decode
from filters.duplicates_likeness import Bounds
from filters.errors import BadInput
from filters.evaluation_dedup import Figures, evaluate_pairs
from filters.scoring import Picture

#: Pictures that are decoded and hashed together.
_BATCH = 32


def dedup(
    images: Annotated[Path, typer.Option("--images", help="Folder of the pictures.")],
    truth: Annotated[Path, typer.Option("--truth", help="CSV: file,group; pictures of one group are duplicates.")],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Recipe whose duplicates section and model are measured.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=0, help="CPU threads of the encoder; 0: all.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")] = False,
) -> None:
    """Recall and precision of pairs, by method and of all methods together."""
    bounds, model = settings(recipe)
    labels = read_truth(truth)
    table, vectors, groups, failed = measured(images, labels, model if bounds.cosine is not None else None, threads)

    from pipelines.jobs.dedup_columns import features_of, hashes_of

    found = evaluate_pairs(features_of(hashes_of(table), vectors, bounds), bounds, groups)
    result = figures(found, len(groups), len(set(groups.tolist())), failed)
    if as_json:
        typer.echo(json.dumps({**result, "bounds": vars(bounds), "model": model if vectors is not None else None}))
        return
    typer.echo(
        f"{result['pictures']} pictures in {result['groups']} groups, {result['pairs']} true pairs; failed: {failed}"
    )
    for name, row in [*result["by_method"].items(), ("together", result)]:
        words = "  ".join(f"{key} {_shown(row[key])}" for key in ("recall", "precision", "f1"))
        typer.echo(f"{name:>13}  {words}")


def _shown(value: float | None) -> str:
    return "    –" if value is None else f"{value:.3f}"


def settings(recipe: Path | None) -> tuple[Bounds, str]:
    """Return the bounds and the encoder of a recipe, or the defaults. Raises `BadInput`."""
    from pipelines.run.recipe import Similarity, load_recipe
    from pipelines.run.recipe_duplicates import Duplicates

    if recipe is None:
        return Duplicates().bounds(), Similarity().model
    loaded = load_recipe(recipe)
    if loaded.duplicates is None:
        raise BadInput(f"{recipe}: duplicates is null, so there is nothing to measure")
    return loaded.duplicates.bounds(), loaded.similarity.model


def figures(found: dict[str, Figures], pictures: int, groups: int, failed: int) -> dict[str, Any]:
    """Return what `--json` prints of the counted pairs."""
    rows = {
        name: {"recall": row.recall, "precision": row.precision, "f1": row.f1, "found": row.found}
        for name, row in found.items()
    }
    whole = rows.pop("all")
    return {
        **whole,
        "pictures": pictures,
        "groups": groups,
        "pairs": found["all"].true,
        "failed": failed,
        "by_method": rows,
    }


def read_truth(path: Path) -> dict[str, str]:
    """Read `file,group` with a header: group by file. Raises `BadInput` with the line where it is anything else."""
    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, strict=True)
            if {"file", "group"} - set(rows.fieldnames or ()):
                raise BadInput(f"{path}: the first line must name the columns file,group")
            for row in rows:
                file, group = (row["file"] or "").strip(), (row["group"] or "").strip()
                where = f"{path}, line {rows.line_num}"
                if not file or not group:
                    raise BadInput(f"{where}: no {'group' if file else 'file'}")
                if file in found:
                    raise BadInput(f"{where}: {file!r} stands twice")
                found[file] = group
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not CSV in UTF-8: {error}") from error
    if not found:
        raise BadInput(f"{path} names no picture")
    return found


def measured(
    folder: Path, labels: dict[str, str], model: str | None, threads: int
) -> tuple[pa.Table, np.ndarray | None, np.ndarray, int]:
    """Hash (and with a `model` embed) the pictures; return columns, vectors, groups and how many failed.

    Raises `BadInput` where the folder or a named file is missing or lies outside of the folder.
    """
    from filters.encoders.uri import load_encoder
    from filters.scorers.colours import layouts
    from filters.scorers.hashes import phashes
    from filters.scorers.pdq import pdq_hash
    from filters.scorers.pixels import pixel_hash

    encoder = load_encoder(model, threads) if model else None
    rows: list[dict[str, Any]] = []
    vectors, groups, failed = [], [], 0
    items = list(_paths(folder, labels).items())
    for start in range(0, len(items), _BATCH):
        pictures: list[Picture] = []
        for name, path in items[start : start + _BATCH]:
            try:
                data = path.read_bytes()
                picture = decode(data)
            except OSError as error:
                raise BadInput(f"cannot read {path}: {error.strerror}") from error
            except Undecodable:
                failed += 1
                continue
            pdq, quality = pdq_hash(picture.image)
            digests = {"sha256": hashlib.sha256(data).digest(), "pixels": pixel_hash(picture.image)}
            rows.append({**digests, "pdq": pdq, "pdq_quality": quality})
            pictures.append(picture)
            groups.append(labels[name])
        looks = layouts(pictures)
        for row, code, look in zip(rows[len(rows) - len(pictures) :], phashes(pictures), looks, strict=True):
            row["phash"], row["colours"] = int(code), look.tobytes()
        if encoder is not None and pictures:
            vectors.append(np.asarray(encoder.encode_images([p.image for p in pictures]), dtype=np.float16))
    if not rows:
        raise BadInput(f"none of the {len(items)} pictures could be decoded")
    types = [(name, pa.binary()) for name in ("sha256", "pixels", "pdq", "colours")]
    table = pa.Table.from_pylist(rows, schema=pa.schema([*types, ("pdq_quality", pa.int16()), ("phash", pa.uint64())]))
    return table, np.concatenate(vectors) if vectors else None, np.array(groups), failed


def _paths(folder: Path, labels: dict[str, str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise BadInput(f"no folder at {folder}")
    root = folder.resolve()
    try:
        found = {name: (root / name).resolve() for name in labels}
        outside = [name for name, path in found.items() if not path.is_relative_to(root)]
        missing = [name for name, path in found.items() if not path.is_file()]
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte
        raise BadInput(f"a named file is no file name: {error}") from error
    if outside:
        raise BadInput(f"{outside[0]!r} lies outside of {folder}")
    if missing:
        raise BadInput(f"{len(missing)} pictures are not in {folder}, {missing[0]!r} among them")
    return found
