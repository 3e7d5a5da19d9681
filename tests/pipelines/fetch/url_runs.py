"""Makes runs over lists that name the hosts of a test server."""

import csv
import json
from pathlib import Path

from pipelines.engine import PLAIN, Engine
from pipelines.run.directory import Run, create_run
from pipelines.run.recipe import load_recipe

ENGINE = Engine(PLAIN)

#: Settings that make failures quick.
QUICK = {
    "contact": "tests, ops@example.org",
    "delay_s": 0,
    "per_host": 4,
    "deadline_s": 1.2,
    "policy_deadline_s": 1.2,
    "connect_s": 1,
    "redirects": 3,
    "retries": 2,
    "backoff_s": 0.05,
    "max_retry_after_s": 2,
    "max_crawl_delay_s": 0.3,
}


def write_list(path: Path, rows: list[dict[str, str]]) -> Path:
    """A CSV list of those rows."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def url_run(folder: Path, path: Path, out: str = "run", **fetch: object) -> Run:
    """A new run over a list."""
    body = {
        "version": 1,
        "name": "urls",
        "input": {"kind": "url", "path": str(path)},
        "limits": {"max_failures": 1.0, "max_image_bytes": 1 << 20},
        "scorers": ["size"],
        "duplicates": None,
        "fetch": {**QUICK, **fetch},
    }
    recipe = folder / f"{out}.yaml"
    recipe.write_text(json.dumps(body))
    return create_run(str(folder / out), load_recipe(recipe))
