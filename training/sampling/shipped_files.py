"""Files of axes and of directions: one that Assay ships, by its name, or the user's own, by its path."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from filters.errors import BadInput
from filters.people_files import read_text_file
from pipelines.run.checked_yaml import checked
from training.config_base import Section

_File = TypeVar("_File", bound=Section)

_MOST_BYTES = 1 << 20


def names_in(folder: Path) -> list[str]:
    """Return the names of the files that Assay ships in a folder."""
    return sorted(path.stem for path in folder.glob("*.json"))


def load_named(model: type[_File], named: str, folder: Path, option: str, what: str) -> _File:
    """Return the file `named` as a `model`: shipped in `folder`, or the user's YAML or JSON at that path.

    `option` is what the name was given to ("--diversify"), `what` what the file is ("direction"). Raises `BadInput`
    with file, line and key.
    """
    shipped = names_in(folder)
    path = folder / f"{named}.json" if named in shipped else Path(named)
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise BadInput(
            f"{option} {named[:100]}: no such {what}; Assay has {', '.join(shipped)}, or name a .yaml of your own"
        )
    return checked(model, read_text_file(path, _MOST_BYTES), str(path), [], what, "docs/generation.md")
