"""Assay's side of the download in `benchmarks.peers`: `python -m benchmarks.peers_fetch RECIPE RUN PORT`.

No command may connect to this machine, by design; so this calls the same job with the test network's names.
"""

from __future__ import annotations

import json
import sys

from benchmarks.peer_pictures import HOSTS
from pipelines.engine import Engine
from pipelines.fetch.addresses import Network
from pipelines.jobs.fetch import fetch
from pipelines.run.directory import create_run
from pipelines.run.recipe import load_recipe


def main() -> None:
    """Download the recipe's list; print how many pictures came."""
    recipe, out, port = sys.argv[1:]
    network = Network(dict.fromkeys(HOSTS, ("127.0.0.1", int(port))), frozenset({"127.0.0.1"}))
    run = create_run(out, load_recipe(recipe))
    fetch(run, Engine(), network)
    reasons = [row for table in run.tables("downloads", ["reason"]) for row in table.column("reason").to_pylist()]
    print(json.dumps({"pictures": reasons.count(None)}))


if __name__ == "__main__":
    main()
