"""What a retraction lets into a dataset gets its latents cached before a training that is under way comes to it."""

import io

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from making import picture, sample, write_recipe, write_tar
from PIL import Image
from tiny import YAML
from training_runs import opened

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.jobs.apply import apply
from pipelines.jobs.retract import Keys
from pipelines.registry.store import create_registry, open_registry
from training.checkpoints import checkpoints
from training.config import parse_config
from training.data.exposure import exposures
from training.run import train


def smaller(data):
    """The same picture with fewer pixels: the duplicate that is dropped."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).resize((72, 60), Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_sample_that_comes_in_while_training_is_trained_on_with_cached_latents(tmp_path):
    copy = {**sample(24, "a copy", creator="copyist"), "s00024.png": smaller(picture(5))}
    write_tar(tmp_path / "in" / "0.tar", *(sample(number, creator=f"name{number}") for number in range(24)), copy)
    registry = tmp_path / "registry.sqlite"
    create_registry(str(registry)).close()
    settings = {"shards": {"samples": 16}, "rights": {"registry": str(registry)}}
    recipe = write_recipe(tmp_path, tmp_path / "in", **settings)
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 0
    came = []

    def retract(line):
        if line.startswith("denoiser 2/"):
            with open_registry(str(registry)) as entries:
                entries.append([Draft(Kind.CREATOR, "name5")])
            came.extend(apply(opened(tmp_path), None, Keys(Ed25519PrivateKey.generate()))["came"])

    config = parse_config(YAML, "c", ["autoencoder.cache=float32", "loop.steps=9", "autoencoder.steps=1"])
    train(config, str(tmp_path / "run"), tmp_path / "model", None, retract)
    (uid,) = came
    assert exposures(checkpoints(tmp_path / "model")[-1][1])[uid] > 0
