"""One small input, the recipe over it and a run that nothing harmed, which every harmed one must equal."""

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "pipelines", HERE.parent / "pipelines" / "fetch"):
    sys.path.insert(0, str(folder))

from harm import Done, command  # noqa: E402
from making import COLOURS, picture, sample, write_recipe, write_tar  # noqa: E402
from many_hosts import Reply, Server  # noqa: E402
from url_runs import QUICK, write_list  # noqa: E402


class Whole(NamedTuple):
    """The run that nothing harmed: its recipe, folder, what the command said, and the server that it asks."""

    recipe: Path
    folder: Path
    done: Done
    server: Server | None = None

    @property
    def hosts(self):
        return self.server.names()

    @property
    def content_hash(self):
        return self.done.json["content_hash"]


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Whole:
    """Two shards with kept pictures, duplicates, corrupt ones and a balance that drops."""
    folder = tmp_path_factory.mktemp("whole")
    for shard in range(2):
        rows = [sample(10 * shard + i) for i in range(9)]
        rows.append(sample(3, key=f"again-{shard}"))
        rows.append({f"bad-{shard}.png": b"\x89PNG\r\n\x1a\n" + bytes(30), f"bad-{shard}.txt": b"a bad one"})
        write_tar(folder / "in" / f"{shard}.tar", *rows)
    recipe = write_recipe(folder, folder / "in", shards={"samples": 5}, balance={"by": "creator", "cap": 4})
    watched = folder / "run"
    done = command(folder / "say", "run", recipe, "--out", watched, "--runner", "plain", "--json", watched=watched)
    assert done.code == 0, done.err
    assert done.json["balanced"]
    assert len(done.changes) > 50
    return Whole(recipe, watched, done)


@pytest.fixture(scope="session")
def listed(tmp_path_factory):
    """A run with every stage: a list of addresses, an opt-out registry, models, groups, gates and a balance."""
    folder = tmp_path_factory.mktemp("listed")
    registry = folder / "optouts.sqlite"
    assert command(folder / "say", "optout", "init", registry).code == 0
    assert command(folder / "say", "optout", "add", registry, "--creator", "artist 2", "--requester", "he").code == 0
    pictures = {n: Reply(body=picture(8 if n == 20 else n), delay=0.02) for n in range(36)}
    hosts = {f"h{host}.test": {f"/{n}.png": pictures[n] for n in range(host, 36, 3)} for host in range(3)}
    hosts["h1.test"]["/robots.txt"] = Reply(body=b"User-agent: *\nDisallow: /4.png")
    things = ("tree", "boat", "house", "horse", "lamp", "river")
    rows = [
        {
            "url": f"http://h{n % 3}.test/{n}.png",
            "caption": f"a {COLOURS[n // 6]} {things[n % 6]}",  # the calibration takes equal words for no mismatch
            "creator": f"artist {n % 5}",
        }
        for n in range(36)
    ]
    recipe = write_recipe(
        folder,
        write_list(folder / "list.csv", rows),
        "url",
        fetch={**QUICK, "deadline_s": 20, "policy_deadline_s": 20, "connect_s": 20, "rows_per_part": 4},
        scorers=["size", "hashes", "caption", "technical", "similarity"],
        rights={"registry": str(registry)},
        audit={"groups": {"creator": {"kind": "creator"}}},
        gates={"named": {"coverage": {"group": "creator", "min": 0.5}}},
        shards={"samples": 6},
        balance={"by": "creator", "cap": 4},
    )
    with Server(hosts) as server:
        words = ("run", recipe, "--out", folder / "run", "--runner", "plain", "--json")
        done = command(folder / "say", *words, hosts=server.names())
        assert done.code == 0, done.err
        assert done.json["balanced"]
        assert {"OPTED_OUT", "REGISTRY_OPT_OUT", "EXACT_DUPLICATE", "BALANCE_CAP"} <= set(done.json["dropped"])
        yield Whole(recipe, folder / "run", done, server)
