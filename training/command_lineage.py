"""`assay lineage`: a picture's, checkpoint's or sample's way. `assay attribution`: whom a checkpoint owes what."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from filters.terminal import tell
from pipelines.commands.common import JsonOption, print_json
from training.hallmark.command_verify import (
    KeyOption,
    ModelOption,
    RegistryOption,
    TrustOption,
    WordsOption,
)

_UID = re.compile(r"[0-9a-fA-F]{32}")

RunOption = Annotated[str, typer.Option("--run", metavar="RUN", help="Run directory of the dataset.")]
PoolOption = Annotated[str, typer.Option("--pool", metavar="AMOUNT", help="What is shared out, for example 1000.00.")]
RuleOption = Annotated[
    str,
    typer.Option("--rule", help="exposure: by how often works were trained on; works: by how many works were."),
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Creators to print; --json prints all.")]


def lineage(
    what: Annotated[
        str,
        typer.Argument(metavar="FILE|CHECKPOINT|UID", help="A picture, a checkpoint or training's folder, or a uid."),
    ],
    run: RunOption,
    trust: TrustOption = None,
    registry: RegistryOption = None,
    watermark_key: KeyOption = None,
    words: WordsOption = 4,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell where a picture, a checkpoint or a sample comes from, and where it went.

    A picture leads to checkpoint, dataset, shards, recipe, rules and registry, and to the opt-outs applied since;
    where its credential is gone, through its mark or its likeness. Exit code 3: the way is lost.
    """
    from filters.errors import BadInput
    from pipelines.run.directory import open_run
    from training.data.lineage import trace

    path, opened = Path(what), open_run(run)
    if not path.exists():
        if not _UID.fullmatch(what.strip()):
            raise BadInput(f"{what[:200]}: no such file or folder, and no uid (32 hex digits)")
        found = trace(opened, what)
        print_json(found) if as_json else tell(*_words(found))
        return

    from training.checkpoints import newest
    from training.hallmark.against import Against, read_picture, verifier_of
    from training.picture_lineage import checkpoint_lineage, picture_lineage
    from training.picture_lineage import words as lines_of

    if path.is_dir():
        found = checkpoint_lineage(newest(path), opened)
    else:
        with ExitStack() as stack:
            verifier = verifier_of(Against(trust, registry, watermark_key, words, model), stack)
            found = picture_lineage(verifier.verify(what, read_picture(path)), opened)
    print_json(found) if as_json else tell(*lines_of(found))
    if not found["found"]:
        raise typer.Exit(3)


def attribution(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint of assay train, or a training's folder.")
    ],
    pool: PoolOption,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Run directory of the dataset, where it was moved.")
    ] = None,
    rule: RuleOption = "exposure",
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Tell what a checkpoint has seen of each creator, and the creator's share of a pool of compensation."""
    from filters.errors import BadInput
    from pipelines.run.directory import open_run
    from training.checkpoints import newest, verified_facts
    from training.data.attribution import RULES, attribute
    from training.data.exposure import load_exposure

    checkpoint = newest(checkpoint)
    identity = str(verified_facts(checkpoint)["checkpoint"])
    exposure = load_exposure(checkpoint)
    urls = sorted({view.url for view in exposure.views.values()})
    if run is None and len(urls) != 1:
        raise BadInput(f"{checkpoint}: trained on the runs {', '.join(urls) or 'none'}; name one with --run")
    shares = attribute(open_run(run or urls[0]), exposure, pool, rule)
    total = sum(share.exposures for share in shares)
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "creator": share.creator or None,
                "works": share.works,
                "exposures": share.exposures,
                "share": share.exposures / total if rule == "exposure" else share.works / _works(shares),
                "amount": str(share.amount),
            }
            for share in shares
        ]
        body = {"checkpoint": str(checkpoint), "sha256": identity, "rule": rule}
        body["pool"] = str(sum(share.amount for share in shares))
        print_json({**body, "rule_in_words": RULES[rule], "exposures": total, "creators": rows})
        return
    works = f"{_works(shares):,} works by {len(shares):,} creators"
    print(f"{checkpoint} ({identity[:16]}…): {total:,} exposures to {works}")
    print(f"pool {sum(share.amount for share in shares)}, shared out {RULES[rule]}")
    for share in shares[:limit]:
        creator = share.creator or "(no creator stated)"
        tell(f"{share.amount:>14}  {share.exposures:>9,} exposures  {share.works:>7,} works  {creator}")
    if len(shares) > limit:
        rest = shares[limit:]
        print(f"{sum(share.amount for share in rest):>14}  {len(rest):,} more creators; --limit, or --json")


def _works(shares: list[Any]) -> int:
    return sum(share.works for share in shares)


def _words(found: dict[str, Any]) -> list[str]:
    """Return the lines of a trace."""
    sample, decision = found["sample"], found["decision"]
    lines = [f"{found['uid']}  {sample['caption']!r}"]
    stated = [f"{name} {sample[name]}" for name in ("creator", "licence", "url", "page_url") if sample[name]]
    lines.append(f"  from      {sample['shard']} record {sample['key']}" + "".join(f"; {text}" for text in stated))
    reasons = ", ".join(decision["reasons"]) or "no reason against it"
    lines.append(f"  decision  {decision['decision']}: {reasons}")
    if decision["duplicate_of"]:
        lines.append(f"            a duplicate of {decision['duplicate_of']}")
    lines.append(f"  shard     {decision['shard'] or 'none'}")
    lines += [f"  version   {version}" for version in found["versions"]] or ["  version   in none that was shipped"]
    for retraction in found["retractions"]:
        entries = ", ".join(str(entry) for entry in retraction["entries"])
        lines.append(f"  taken out {retraction['at']}, by entry {entries} of the registry")
    for seen in found["checkpoints"]:
        times = "unknown: its exposure log is gone" if seen["exposures"] is None else f"{seen['exposures']} time(s)"
        lines.append(f"  seen      {times} by {seen['path']} ({seen['checkpoint'][:16]}…, {seen['finished_at']})")
    if not found["checkpoints"]:
        lines.append("  seen      by no checkpoint that is recorded")
    return lines
