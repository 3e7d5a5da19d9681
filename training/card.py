"""The model card of a checkpoint: what it was trained on, by which permission, how well, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filters.reasons import Reason, Stage
from pipelines.run.directory import Run
from pipelines.run.manifest import read_manifest
from training.config import Config


@dataclass(frozen=True)
class Origin:
    """The dataset's part of a card: its content hash, name, counts and licences, from the manifest."""

    dataset: str
    name: str
    samples: int
    kept: int
    dropped: dict[str, int]
    licences: list[str]
    registry: dict[str, Any] | None

    @property
    def honoured(self) -> dict[str, int]:
        """Return the samples that were dropped for rights, by reason."""
        rights = {reason.value for reason in Reason if reason.stage is Stage.RIGHTS}
        return {reason: count for reason, count in self.dropped.items() if reason in rights}


def origin_of(run: Run) -> Origin:
    """Read a finished dataset's part of the card."""
    content = read_manifest(run)["content"]
    counts = content["counts"]
    allowed = run.recipe.licences.allow if run.recipe.licences else []
    return Origin(
        read_manifest(run)["content_hash"],
        content["name"],
        counts["samples"],
        counts["kept"],
        dict(counts["dropped"]),
        list(allowed),
        content.get("registry"),
    )


def facts_of(
    config: Config, origin: Origin, training: Mapping[str, Any], metrics: Mapping[str, float]
) -> dict[str, Any]:
    """Return a checkpoint's facts as `assay.json` holds them.

    `training`: what the loop knows (stage, step, samples, datasets, energy, …); `metrics`: the last row of the log.
    """
    figures = {name: value for name, value in metrics.items() if "/level" not in name}
    return {
        "name": config.name,
        "configuration": config.fingerprint(),
        **training,
        "data": {
            "manifest": origin.dataset,
            "name": origin.name,
            "samples": origin.samples,
            "kept": origin.kept,
            "dropped": origin.dropped,
            "opt_outs_honoured": origin.honoured,
            "licences": origin.licences,
            "registry": origin.registry,
        },
        "metrics": figures,
    }


def card(facts: Mapping[str, Any]) -> str:
    """Return the model card in Markdown for a checkpoint's facts."""
    data = facts["data"]
    honoured = ", ".join(f"{reason} {count}" for reason, count in data["opt_outs_honoured"].items()) or "none found"
    dropped = sum(data["dropped"].values())
    registry = data["registry"]
    consulted = f"entry {registry['seq']} ({registry['hash'][:16]}…)" if registry else "none"
    energy = facts["energy"]
    lines = [
        f"# {facts['name']}: {facts['stage']}, step {facts['step']}\n",
        "Written by `assay train`; the same facts for programs stand in `assay.json`.\n",
        "## Data\n",
        f"- Dataset: {data['name']}, manifest {data['manifest']}",
        f"- Versions trained on: {', '.join(facts['datasets'])}",
        f"- Samples: {data['samples']} read, {data['kept']} kept, {dropped} dropped",
        f"- Dropped for rights: {honoured}",
        f"- Licences allowed: {', '.join(data['licences']) or 'not restricted by the recipe'}",
        f"- Opt-out registry consulted up to: {consulted}",
        "- Which samples this checkpoint has seen, and how often: `exposure.parquet`\n",
        *_loaded_lines(facts),
        *_base_lines(facts),
        "## Training\n",
        f"- Configuration: `training.yaml`, fingerprint {facts['configuration']}",
        f"- Steps: {facts['step']} of {facts['steps']}; samples used: {facts['samples']}; "
        f"trained values: {facts['parameters']}",
        f"- Processes: {facts['processes']}; device: {facts['device']}; precision: {facts['precision']}",
        f"- Time: {facts['seconds']:.0f} s; energy: {energy['kwh']} kWh, {energy['co2_grams']} g CO2 "
        f"({energy['method']})",
        f"- Times that the guard went back to an earlier checkpoint: {facts['rollbacks']}\n",
        "## Figures of the last row of metrics.csv\n",
        "| metric | value |\n| --- | --- |",
        *(f"| {name} | {value:.6g} |" for name, value in sorted(facts["metrics"].items())),
        "",
        "Nothing here was measured on pictures that the training has not seen; `assay evaluate generation` does that "
        "and leaves its figures in `../evaluations/`.",
    ]
    return "\n".join(lines) + "\n"


def _loaded_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the section about an autoencoder that was loaded; nothing where none was."""
    loaded = facts.get("autoencoder")
    if loaded is None:
        return []
    base = loaded["base"]
    lines = ["## Autoencoder\n", f"- Loaded, weights sha256:{loaded['weights']}"]
    if base is None:
        lines.append("- Not from a checkpoint of `assay train`: what it was trained on is not known here")
    else:
        lines += [
            f"- From {base['name']}, step {base['step']}, checkpoint {base['checkpoint']}",
            f"  trained on: {base['data']}, versions {', '.join(base['datasets'])}",
        ]
    return [*lines, ""]


def _base_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the section about the checkpoint that a method began from, and about the method; nothing without one."""
    base = facts.get("base")
    if base is None:
        return []
    lines = ["## Base\n"]
    while base is not None:
        lines += [
            f"- {base['name']}, step {base['step']}, checkpoint {base['checkpoint']}",
            f"  trained on: {base['data']}, versions {', '.join(base['datasets'])}",
        ]
        base = base.get("base")
    method = dict(facts["method"])
    needed = method.pop("needs_base", False)
    lines.append("- Method: " + ", ".join(f"{name} {value}" for name, value in method.items()))
    if needed:
        lines.append("- This checkpoint holds only what was learned on the base, and works on exactly that base")
    return [*lines, ""]
