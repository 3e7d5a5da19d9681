"""Pictures in a folder with labels in a CSV file, for `assay evaluate watermark` and `assay evaluate nsfw`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filters.errors import BadInput
from filters.evaluation_labels import Labelled


@dataclass(frozen=True)
class Label:
    """One row of the file: a picture's name, whether it has what is looked for, its caption (optional column)."""

    file: str
    positive: bool
    caption: str


def read_labels(path: Path) -> list[Label]:
    """Read `file,label[,caption]` with a header; label 1 = has it, 0 = has it not.

    Raises `BadInput` with the line where the file is anything else, or names a picture twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, strict=True)
            missing = {"file", "label"} - set(rows.fieldnames or ())
            if missing:
                raise BadInput(f"{path}: the first line must name the columns file,label")
            found: dict[str, Label] = {}
            for row in rows:
                label = _label(row, f"{path}, line {rows.line_num}")
                if label.file in found:
                    raise BadInput(f"{path}, line {rows.line_num}: {label.file!r} is labelled twice")
                found[label.file] = label
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not CSV in UTF-8: {error}") from error
    if not found:
        raise BadInput(f"{path} labels no picture")
    return list(found.values())


def _label(row: dict[str, str | None], where: str) -> Label:
    file, label = (row["file"] or "").strip(), (row["label"] or "").strip()
    if not file:
        raise BadInput(f"{where}: no file")
    if label not in ("0", "1"):
        raise BadInput(f"{where}: the label must be 0 or 1, not {label!r}")
    return Label(file, label == "1", row.get("caption") or "")


class LabelledFolder:
    """The labelled pictures of a folder, read one at a time.

    Raises `BadInput` where the folder or a labelled file is missing or lies outside of the folder.
    """

    def __init__(self, folder: Path, labels: list[Label]) -> None:
        if not folder.is_dir():
            raise BadInput(f"no folder at {folder}")
        root = folder.resolve()
        try:
            self._paths = [(root / label.file).resolve() for label in labels]
            outside = [
                label.file for label, path in zip(labels, self._paths, strict=True) if not path.is_relative_to(root)
            ]
            missing = [label.file for label, path in zip(labels, self._paths, strict=True) if not path.is_file()]
        except (OSError, ValueError) as error:  # a name too long, or with a zero byte
            raise BadInput(f"a labelled name is no file name: {error}") from error
        if outside:
            raise BadInput(f"{outside[0]!r} lies outside of {folder}")
        if missing:
            raise BadInput(f"{len(missing)} labelled pictures are not in {folder}, {missing[0]!r} among them")
        self._labels = labels

    def __iter__(self) -> Iterator[Labelled]:
        for label, path in zip(self._labels, self._paths, strict=True):
            try:
                data = path.read_bytes()
            except OSError as error:
                raise BadInput(f"cannot read {path}: {error.strerror}") from error
            yield Labelled(label.file, data, label.positive, label.caption)

    def __len__(self) -> int:
        return len(self._labels)
