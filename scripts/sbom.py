"""Write Assay's bill of materials, CycloneDX 1.6 as JSON: `python scripts/sbom.py runs/sbom.cdx.json`.

It names what is installed here and Assay asks for, directly or not: versions, licences, who needs whom. Tools that
only developers use are left out. The models of a run stand in its own documents (`assay export`).
"""

from __future__ import annotations

import sys
import uuid
from importlib import metadata
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "assay-data"

#: What a user may ask for; `dev` and `export` are others' tools and readers.
EXTRAS = ("", "train", "dashboard", "onnx", "s3", "postgres", "train-mini")


def asked_for(name: str, extras: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the packages that an installed one asks for on this machine, with the extras asked of them."""
    found: dict[str, set[str]] = {}
    for text in metadata.requires(name) or []:
        wanted = Requirement(text)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            found.setdefault(canonicalize_name(wanted.name), {""}).update(wanted.extras)
    return {package: tuple(sorted(more)) for package, more in found.items()}


def installed() -> dict[str, list[str]]:
    """Return each package that Assay needs and that is here, with the packages it needs itself."""
    needs: dict[str, set[str]] = {}
    waiting, seen = [(ROOT, EXTRAS)], set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            asked = asked_for(name, extras)
        except metadata.PackageNotFoundError:  # an extra that is not installed here
            continue
        needs.setdefault(name, set()).update(asked)
        waiting += asked.items()
    return {name: sorted(asked & needs.keys()) for name, asked in sorted(needs.items())}


def component(name: str) -> Component:
    """Return a package as CycloneDX names it, its licence as its makers state it."""
    about = metadata.metadata(name)
    version = metadata.version(name)
    stated = about.get("License-Expression") or next(
        (line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License :: ")),
        (about.get("License") or "not stated").strip().splitlines()[0][:100],
    )
    address = PackageURL("pypi", None, name, version)
    kind = ComponentType.APPLICATION if name == ROOT else ComponentType.LIBRARY
    return Component(
        name=name,
        version=version,
        type=kind,
        purl=address,
        bom_ref=str(address),
        licenses=[DisjunctiveLicense(name=stated)],
    )


def bill() -> str:
    """Return the bill as checked JSON."""
    needs = installed()
    parts = {name: component(name) for name in needs}
    # the same packages give the same number
    number = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(part.bom_ref.value or "" for part in parts.values()))
    bom = Bom(serial_number=number, components=[part for name, part in parts.items() if name != ROOT])
    bom.metadata.component = parts[ROOT]
    for name, asked in needs.items():
        bom.register_dependency(parts[name], [parts[other] for other in asked])
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        raise SystemExit(f"the bill is not valid: {wrong}")
    return text


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(bill() + "\n")
    print(f"{target}: {len(installed())} packages")
