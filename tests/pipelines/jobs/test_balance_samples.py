"""No mix of steps and no odd population ends in a warning, a figure that is no number, or a sample brought back."""

import json
import warnings

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipelines.jobs.decide_balance import balance_samples
from pipelines.jobs.decide_groups import Pairs
from pipelines.run.recipe import Recipe

REGIONS = ["Africa", "Asia", "Europe", "Oceania", "mixed"]
GENDERS = ["feminine", "masculine", "mixed"]
JOBS = ["chef", "dancer", "manager", "nurse"]


def group(random, values: list[str], samples: int, some: float, most: int) -> Pairs:
    """A group of a random part of its values; up to `most` of them a sample."""
    there = sorted(random.permutation(values)[: random.integers(0, len(values) + 1)].tolist())
    found = [
        (row, code)
        for row in range(samples)
        if there and random.random() < some
        for code in sorted(set(random.choice(len(there), size=random.integers(1, most + 1)).tolist()))
    ]
    rows, codes = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return Pairs(tuple(there), rows, codes, samples)


def shares(random, values: list[str]) -> dict[str, float]:
    count = random.integers(1, len(values) + 1)
    drawn = random.dirichlet(np.ones(count + 1))[:count]
    drawn = drawn / drawn.sum() if random.random() < 0.4 else drawn
    return {
        value: min(1.0, float(share)) for value, share in zip(random.permutation(values).tolist(), drawn, strict=False)
    }


def balance(random) -> dict[str, object]:
    found: dict[str, object] = {"cap": int(random.integers(1, 10))}
    if random.random() < 0.3:
        unmatched = "keep" if random.random() < 0.5 else "drop"
        found["concepts"] = {"group": "occupations", "t": float(random.uniform(0.1, 20)), "unmatched": unmatched}
    if random.random() < 0.4:
        keep = float(random.uniform(0.01, 1)) if random.random() < 0.5 else None
        found["temperature"] = {"group": "region", "tau": float(random.random()), "keep": keep}
    if random.random() < 0.6:
        quotas = {"region": {"min": shares(random, REGIONS), "max_drop": float(random.random())}}
        found["quotas"] = quotas | {"gender_terms": {"parity": ["feminine", "masculine"], "max_drop": 1.0}}
    if random.random() < 0.3:
        found["by_group"] = {"region": {"Asia": float(random.uniform(0.001, 1000))}}
    trim, kind = float(random.uniform(1.01, 50)), random.random()
    targets = {"region": shares(random, REGIONS), "gender_terms": shares(random, GENDERS)}
    if kind < 0.4:
        found["rake"] = {"margins": targets, "trim": trim if random.random() < 0.6 else None}
    elif kind < 0.8:
        found["moments"] = {"targets": targets, "labels": ["occupations"], "least": 3, "trim": trim}
    return found


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_any_balance_of_any_population_is_finite_and_only_drops(start):
    done = 0
    for seed in range(start, start + 50):
        random = np.random.default_rng(seed)
        samples = int(random.integers(0, 150))
        body = {"name": "x", "input": {"kind": "folder", "path": "."}, "balance": balance(random)}
        try:
            recipe = Recipe.model_validate(body)
        except ValidationError:
            continue  # a share below a millionth, or one value with a share of 1
        masks = (random.random(samples) < random.choice([0.1, 0.5, 1.0])).astype(np.uint64)
        groups = {
            "region": group(random, REGIONS, samples, 0.6, 1),
            "gender_terms": group(random, GENDERS, samples, 0.4, 1),
            "occupations": group(random, JOBS, samples, 0.4, 2),
        }
        by = random.choice(np.array(["a", "b", None], dtype=object), samples)
        uids = pa.chunked_array([pa.array([f"{row:032x}" for row in range(samples)], pa.string())])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = balance_samples(recipe, uids, by, masks, groups)
        json.dumps(found.statement, allow_nan=False)
        kept = found.masks == 0
        assert (masks[kept] == 0).all()
        assert (found.masks[masks != 0] == masks[masks != 0]).all()
        assert np.isfinite(found.weights).all()
        assert (found.weights[kept] > 0).all()
        assert not kept.any() or found.weights[kept].mean() == pytest.approx(1, abs=1e-3)
        assert found.statement["samples"]["after"] == kept.sum()
        done += 1
    assert done > 25
