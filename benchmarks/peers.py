"""Assay beside other tools, end to end: `python -m benchmarks.peers --NAME-python PYTHON ...`; one JSON line a figure.

Each peer runs in an environment of its own, whose interpreter is given by option (`--img2dataset-python`, ...); one
that is not given is named as not measured. Both sides are whole commands on the same pictures, in turns, who goes
first changing from round to round; processor time is that of all their processes. `times` is theirs over ours, so
above 1 Assay is ahead. Both start up once a run; `times_without_start` takes away what each side needs for 16
pictures, so it is what a large set would tend to. `--only NAME` measures one peer, `--full` larger sets.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.metered import ROOT, Usage, metered
from benchmarks.peer_pictures import HOSTS, Pictures, Server, make_pictures, write_list
from benchmarks.score_inputs import default_images, made_weights

#: Pictures of the run that stands for starting up.
START = 16
ARCH = "ViT-B-32"
#: Data-Juicer's operators and Assay's rules of the same meaning: sides in pixels, shape, text, equal pHash.
OPERATORS = (
    {"image_shape_filter": {"min_width": 48, "min_height": 48}},
    {"image_aspect_ratio_filter": {"min_ratio": 0.25, "max_ratio": 4.0}},
    {"text_length_filter": {"min_len": 3, "max_len": 500}},
    {"image_deduplicator": {"method": "phash"}},
)
RULES = {"min_side": {"low": 48}, "aspect_ratio": {"high": 4}, "caption_characters": {"low": 3, "high": 500}}
NO_LIKENESS = {"pdq_distance": None, "colour_distance": None, "confirm_distance": None}
_CHILD = str(Path(__file__).with_name("peers_child.py"))
_ASSAY = [sys.executable, "-c", "import sys; from pipelines.commands.main import main; sys.exit(main())"]


class Failed(RuntimeError):
    """A side ended with an error; its text is the end of what it said."""

    def __init__(self, side: str, text: str) -> None:
        super().__init__(text)
        self.side = side


@dataclass(frozen=True)
class Job:
    """What one comparison does: each side's command for a set and a fresh folder, and what it tells of its work."""

    peer: str
    figure: str
    ours: Callable[[Pictures, Path], list[str]]
    theirs: Callable[[str, Pictures, Path], list[str]]
    pictures: tuple[int, int]
    note: str


def recipe(folder: Path, **content: object) -> list[str]:
    """Write a recipe; return the command that does all of it."""
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"version": 1, "name": "peers", **content}))
    return [*_ASSAY, "run", str(path), "--out", str(folder / "run"), "--json"]


def from_files(pictures: Pictures) -> dict[str, str]:
    """Return a recipe's input of the set's files."""
    return {"kind": "folder", "path": str(pictures.files)}


def jobs(server: Callable[[Pictures], int], weights: Path) -> list[Job]:
    """Return every comparison. `server` returns the port at which a set is served."""

    def fetch_ours(pictures: Pictures, folder: Path) -> list[str]:
        path = folder / "recipe.yaml"
        rows = write_list(folder / "list.csv", pictures, HOSTS)
        fetch = {"contact": "benchmark, nobody@example.org", "delay_s": 0, "per_host": 4, "connections": 64}
        body = {"version": 1, "name": "peers", "input": {"kind": "url", "path": str(rows)}, "fetch": fetch}
        path.write_text(json.dumps(body))
        port = str(server(pictures))
        return [sys.executable, "-m", "benchmarks.peers_fetch", str(path), str(folder / "run"), port]

    def fetch_theirs(python: str, pictures: Pictures, folder: Path) -> list[str]:
        rows = write_list(folder / "list.csv", pictures, (f"127.0.0.1:{server(pictures)}",))
        return [python, _CHILD, "img2dataset", str(rows), str(folder / "out"), "1", "as they are"]

    def embed_ours(pictures: Pictures, folder: Path) -> list[str]:
        similarity = {"model": f"file:{weights}?arch={ARCH}"}
        source = {"kind": "webdataset", "path": str(pictures.shards)}
        return recipe(folder, input=source, scorers=["size", "similarity"], similarity=similarity, rules={})

    def embed_theirs(python: str, pictures: Pictures, folder: Path) -> list[str]:
        tars = f"{pictures.shards}/{{00000..{len(list(pictures.shards.iterdir())) - 1:05d}}}.tar"
        script = str(Path(__file__).with_name("clip_retrieval_child.py"))
        return [python, script, tars, "jpg", str(weights), ARCH, str(pictures.each)]

    def phash_ours(pictures: Pictures, folder: Path) -> list[str]:
        near = {"exact": True, "phash_distance": 4, **NO_LIKENESS}
        return recipe(
            folder,
            input=from_files(pictures),
            scorers=["size", "hashes"],
            rules={},
            duplicates=near,
            thumbnails=False,  # the peer makes none
        )

    def phash_theirs(python: str, pictures: Pictures, folder: Path) -> list[str]:
        return [python, _CHILD, "imagededup", str(pictures.files), "2", "4"]

    def likeness_ours(pictures: Pictures, folder: Path) -> list[str]:
        scorers = ["size", "hashes", "pdq", "colours"]
        return recipe(folder, input=from_files(pictures), scorers=scorers, rules={})

    def likeness_theirs(python: str, pictures: Pictures, folder: Path) -> list[str]:
        return [python, _CHILD, "fastdup", str(pictures.files), str(folder / "out"), "2"]

    def recipe_ours(pictures: Pictures, folder: Path) -> list[str]:
        scorers, same = ["size", "hashes", "caption"], {"exact": True, "phash_distance": 0, **NO_LIKENESS}
        return recipe(folder, input=from_files(pictures), scorers=scorers, rules=RULES, duplicates=same)

    def recipe_theirs(python: str, pictures: Pictures, folder: Path) -> list[str]:
        arguments = [str(pictures.rows), str(folder / "out"), "2", json.dumps(OPERATORS)]
        return [python, _CHILD, "py-data-juicer", *arguments]

    return [
        Job(
            "img2dataset",
            "download",
            fetch_ours,
            fetch_theirs,
            (300, 2000),
            "files as they came, 64 at once, one process each; Assay asks 40 hosts for their policies first",
        ),
        Job(
            "clip-retrieval",
            "embeddings",
            embed_ours,
            embed_theirs,
            (96, 500),
            "ViT-B/32 of random weights, float32; theirs with batches of 32 and 2 loading workers",
        ),
        Job(
            "imagededup",
            "duplicates by pHash",
            phash_ours,
            phash_theirs,
            (300, 2000),
            "within 4 of 64 bits; theirs in 2 processes; ours writes a ledger, shards and a report too, no thumbnails",
        ),
        Job(
            "fastdup",
            "duplicates by likeness",
            likeness_ours,
            likeness_theirs,
            (300, 2000),
            "each by its defaults: fastdup's embedding, Assay's pHash, PDQ and colours; fastdup's licence is for "
            "non-commercial use, its telemetry is off",
        ),
        Job(
            "py-data-juicer",
            "recipe",
            recipe_ours,
            recipe_theirs,
            (300, 2000),
            "sides, shape, text length, equal pHash; theirs in 2 processes and without a reason for what it dropped",
        ),
    ]


def version(python: Path | None, package: str) -> tuple[str | None, str]:
    """Return a peer's version, or None and why it cannot be measured."""
    if python is None:
        return None, f"not installed: no --{package}-python with the package {package}"
    probe = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    try:
        done = subprocess.run([str(python), "-c", probe, package], capture_output=True, text=True)
    except OSError as error:
        return None, f"not installed: {python} cannot be run ({error.strerror})"
    if done.returncode:
        return None, f"not installed: {python} has no package {package}"
    return done.stdout.strip(), ""


def counted(usage: Usage) -> dict[str, object]:
    """Return the counts that a side printed: its last JSON line, or for `assay run` what it kept and dropped."""
    text = usage.output.strip()
    whole = text[text.find("{") :] if text.startswith("{\n") else text.splitlines()[-1]
    found: dict[str, object] = json.loads(whole)
    if "content_hash" in found:
        return {key: found[key] for key in ("samples", "kept", "dropped") if key in found}
    return {key: value for key, value in found.items() if not isinstance(value, float)}


def one(side: str, command: Sequence[str], folder: Path) -> Usage:
    """Run a side; raise `Failed` with the end of what it said where it fails.

    One that has printed its result and is aborted while its process ends has done its work; that is counted.
    """
    usage = metered(command, folder / "said")
    if usage.status and not (usage.status == -signal.SIGABRT and usage.output.strip()):
        raise Failed(side, f"exit {usage.status}: {(usage.errors.strip() or usage.output.strip())[-400:]}")
    return usage


def compare(job: Job, python: str, sets: tuple[Pictures, Pictures], rounds: int, work: Path) -> dict[str, object]:
    """Return a comparison's figures: one run of each side over the small set, `rounds` over the large one."""
    taken: dict[tuple[str, int], list[Usage]] = {}
    ended_badly = 0
    for turn in range(rounds + 1):
        size = min(turn, 1)
        for side in ("ours", "theirs") if turn % 2 else ("theirs", "ours"):
            folder = work / f"{job.peer}-{side}-{turn}"
            folder.mkdir()
            pictures = sets[size]
            command = job.ours(pictures, folder) if side == "ours" else job.theirs(python, pictures, folder)
            usage = one(side, command, folder)
            ended_badly += usage.status != 0
            taken.setdefault((side, size), []).append(usage)
    figures: dict[str, object] = {"pictures": sets[1].count, "rounds": rounds}
    for kind in ("cpu", "wall"):
        start = {side: getattr(taken[side, 0][0], kind) for side in ("ours", "theirs")}
        ours, theirs = ([getattr(usage, kind) for usage in taken[side, 1]] for side in ("ours", "theirs"))
        figures |= ratios(kind, ours, theirs)
        more = {side: statistics.median(values) - start[side] for side, values in (("ours", ours), ("theirs", theirs))}
        # below half a second the difference of two runs is noise
        clear = min(more.values()) > 0.5
        figures[f"{kind}_times_without_start"] = round(more["theirs"] / more["ours"], 2) if clear else None
        figures[f"{kind}_seconds"] = {"ours": rounded(ours), "theirs": rounded(theirs), "start": rounded(start)}
    figures["aborted_at_exit"] = ended_badly
    figures["peak_mb"] = {side: round(max(u.peak_mb for u in taken[side, 1])) for side in ("ours", "theirs")}
    figures["counts"] = {side: counted(taken[side, 1][-1]) for side in ("ours", "theirs")}
    return figures


def rounded(values: object) -> object:
    """Round seconds to hundredths."""
    if isinstance(values, dict):
        return {name: round(value, 2) for name, value in values.items()}
    assert isinstance(values, list)
    return [round(value, 2) for value in values]


def ratios(kind: str, ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Return theirs over ours, round by round: median, lowest and highest."""
    found = [b / a for a, b in zip(ours, theirs, strict=True)]
    parts = {"": statistics.median(found), "_lowest": min(found), "_highest": max(found)}
    return {f"{kind}_times{name}": round(value, 2) for name, value in parts.items()}


def main() -> None:
    """Measure and print."""
    names = [job.peer for job in jobs(lambda _: 0, Path())]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of shards or pictures; default: the openclipart corpus")
    parser.add_argument("--only", choices=names, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, help="pictures of each set; default: by peer")
    parser.add_argument("--full", action="store_true", help="2,000 pictures (embeddings: 500)")
    parser.add_argument(
        "--peers", type=Path, default=ROOT / "runs/peers", help="folder of environments: NAME/bin/python for each peer"
    )
    for name in names:
        parser.add_argument(f"--{name}-python", type=Path, help=f"interpreter that has the package {name}")
    options = parser.parse_args()
    if options.rounds < 1 or (options.pictures is not None and options.pictures <= START):
        parser.error(f"--rounds must be 1 or more, --pictures more than {START}")
    command = " ".join(["python -m benchmarks.peers", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="assay-peers-") as scratch, ExitStack() as stack:
        measure(options, Path(scratch), stack, command)


def measure(options: argparse.Namespace, work: Path, stack: ExitStack, command: str) -> None:
    """Compare with each peer that was asked for and is there."""
    sets: dict[int, Pictures] = {}
    servers: dict[int, Server] = {}

    def of(count: int) -> Pictures:
        if count not in sets:
            sets[count] = make_pictures(options.images or default_images(), work / f"set-{count}", count)
        return sets[count]

    def port(pictures: Pictures) -> int:
        if pictures.count not in servers:
            servers[pictures.count] = stack.enter_context(Server(pictures.files))
        return servers[pictures.count].port

    weights = work / "weights.safetensors"
    for job in jobs(port, weights):
        if options.only and job.peer not in options.only:
            continue
        python = getattr(options, f"{job.peer.replace('-', '_')}_python")
        if python is None and options.peers is not None:
            python = options.peers / job.peer / "bin/python"
        # not resolved: an environment's interpreter is a link that must stay one
        python = None if python is None else python.absolute()
        found, why = version(python, job.peer)
        line: dict[str, object] = {
            "figure": f"{job.figure} beside {job.peer}",
            "peer": f"{job.peer} {found or ''}".strip(),
        }
        if found is None:
            line |= {"skipped": why}
        else:
            if job.peer == "clip-retrieval" and not weights.exists():
                made_weights(ARCH, weights)
            count = options.pictures or job.pictures[options.full]
            try:
                line |= compare(job, str(python), (of(START), of(count)), options.rounds, work)
            except Failed as error:
                # a peer that does not work here is not measured; Assay's own failure is one
                line |= {"failed" if error.side == "ours" else "skipped": f"{error.side} failed: {error}"}
        print(json.dumps({**line, "note": job.note, "command": command}), flush=True)


if __name__ == "__main__":
    main()
