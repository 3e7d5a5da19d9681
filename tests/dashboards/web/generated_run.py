"""A run, a model really trained on it, pictures really made and signed, and an evaluation that is made up.

Needs torch and diffusers.
"""

import json
import sys
from pathlib import Path

from run_making import make_run as plain_run
from run_making import sample_rows

_TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_TESTS / place) for place in ("training", "training/data", "pipelines")]

EVIL = "<script>alert(1)</script>\u202e"


def make_generated(folder):
    """Fill `folder` with `runs` (run, model, out with two marked pictures, plain) and `keys`; returns `runs`."""
    from tiny import YAML
    from training_runs import make_run

    from pipelines.commands.main import invoke

    data = folder / "runs"
    make_run(data)
    (data / "recipe.yaml").unlink()  # else the folder itself would be a run
    (folder / "train.yaml").write_text(YAML)
    settings = ["autoencoder.kind=pixels", "data.buckets.resolution=64", "loop.steps=2", "checkpoints.every=2"]
    more = [part for one in settings for part in ("--set", one)]
    run, model, keys = str(data / "run"), str(data / "model"), str(folder / "keys")
    assert invoke(["train", str(folder / "train.yaml"), "--data", run, "--out", model, *more]) == 0
    assert invoke(["keys", "init", keys]) == 0
    made = ["generate", model, "--prompt", "a drawing", "--count", "2", "--mark", "noise", "--steps", "4"]
    made += ["--keys", keys, "--out", str(data / "out"), "--device", "cpu", "--fewer-guards"]
    assert invoke(made) == 0
    log = {"code": "NSFW", "detail": EVIL, "final": True, "file": "p00000-s9.png"}
    (data / "out" / "refused.jsonl").write_text(json.dumps(log) + "\nnot json\n")
    plain_run(data / "plain", sample_rows(30, seed=6))
    evaluate(data)
    return data


def evaluate(data):
    """Write an evaluation of figures made up, with pairs of a real sample and of one that is gone."""
    from pipelines.run.directory import open_run

    uid = open_run(str(data / "run")).table("samples", 0, ["uid"]).column("uid")[0].as_py()
    none = {"why": "made up <b>"}
    figure = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 40}
    pair = {"set": "prompts", "prompt": EVIL, "seed": 3, "hash_uid": uid, "bits": 12, "ratio": 0.1}
    pairs = [{**pair, "by": [], "embedding_uid": "f" * 32}, {**pair, "by": ["hash"], "embedding_uid": uid}]
    facts = json.loads((data / "model" / "step-00000002" / "assay.json").read_text())
    body = {
        "version": 1,
        "subject": {
            **{"name": EVIL, "step": 2, "checkpoint": facts["checkpoint"], "dataset": facts["datasets"][-1]},
            **{"samples": 8, "seen": 8, "unseen": 0, "basis": "none", "leaked": 0, "gone": 0},
        },
        "asked": {
            **{"seed": 0, "pictures": 4, "scheduler": "ddim", "steps": 4, "guidance": 1.0, "width": 64, "height": 64},
            **{"prompts": "x", "prompts_sha256": "0" * 64, "features": "y", "encoder": "z", "compared": 8},
        },
        "loss": none,
        "frechet": none,
        "manifold": none,
        "prompt_fit": {
            **dict.fromkeys(("matched", "shuffled", "difference", "real_matched", "real_difference"), figure),
            "auc": None,
        },
        "memorisation": {
            **{"basis": "b", "rate": 0.01, "bits_bound": 20, "ratio_bound": 0.1, "baseline": 8, "p": 1.0},
            **{"baseline_flagged": figure, "flagged": figure, "flagged_training_captions": none, "too_plain": 0},
            "pairs": pairs,
        },
        "outputs": [],
        "limits": [EVIL],
    }
    folder = data / "model" / "evaluations" / "step-00000002-x"
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(body))
