"""A model that sees 64 real pictures again and again draws them again when it is given their captions."""

import io
import json
import tarfile

import pytest
import torch
from making import write_recipe, write_tar
from PIL import Image

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.encoders.uri import load_encoder
from pipelines.commands.main import invoke
from pipelines.registry.store import create_registry
from training.checkpoints import checkpoints

PICTURES = 64

CONFIG = """
name: overfit
data: {batch: 32, workers: 0, caption_dropout: 0.05, buckets: {resolution: 24, step: 8, max_aspect: 1}}
autoencoder: {kind: pixels}
text: {tokens: 12}
denoiser: {widths: [48, 96], groups: 16, layers: 1, attention_levels: 1, head_width: 32}
objective: {prediction: v, schedule: cosine}
optimiser: {rate: 0.001, warmup: 50}
loop: {steps: 500, ema: 0.99}
checkpoints: {every: 250, keep: 1}
logs: {every: 50, tensorboard: false}
"""


def drawings(corpus, count):
    """Real drawings with captions that differ: a caption and its picture each, colourful and near square."""
    found: dict[str, bytes] = {}
    with tarfile.open(sorted(corpus.glob("*.tar"))[0]) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    for name, data in sorted(files.items()):
        if not name.endswith((".png", ".jpg", ".webp")):
            continue
        caption = files[f"{name.rpartition('.')[0]}.txt"].decode().strip().lower()
        image = Image.open(io.BytesIO(data)).convert("RGB")
        square = max(image.size) < 1.2 * min(image.size)
        if (
            square
            and len(caption) > 4
            and caption not in found
            and len(image.resize((24, 24)).getcolors(600) or range(999)) > 150
        ):
            found[caption] = data
        if len(found) == count:
            break
    return found


@pytest.mark.e2e
@pytest.mark.timeout(3600)
def test_sixty_four_pictures_are_drawn_again(openclipart, tmp_path):
    ensure_torchvision()
    from diffusers import DDIMScheduler, DiffusionPipeline

    chosen = drawings(openclipart, PICTURES)
    assert len(chosen) == PICTURES
    members = [
        {
            f"{at:03d}.png": data,
            f"{at:03d}.txt": caption.encode(),
            f"{at:03d}.json": json.dumps({"licence": "CC0"}).encode(),
        }
        for at, (caption, data) in enumerate(chosen.items())
    ]
    write_tar(tmp_path / "in" / "0.tar", *members)
    create_registry(str(tmp_path / "registry.sqlite")).close()
    rights = {"registry": str(tmp_path / "registry.sqlite")}
    recipe = write_recipe(tmp_path, tmp_path / "in", rights=rights, duplicates=None)
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 0
    (tmp_path / "train.yaml").write_text(CONFIG)
    out = tmp_path / "model"
    arguments = ["train", str(tmp_path / "train.yaml"), "--data", str(tmp_path / "run"), "--out", str(out)]
    assert invoke(arguments) == 0

    path = str(checkpoints(out)[-1][1])
    pipeline = DiffusionPipeline.from_pretrained(path, custom_pipeline=path, trust_remote_code=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    sources = [torch.Generator().manual_seed(at) for at in range(PICTURES)]
    made = pipeline(list(chosen), num_inference_steps=25, guidance_scale=1.5, generator=sources).images

    encoder = load_encoder("builtin:mini")
    small = [Image.open(io.BytesIO(data)).convert("RGB").resize((24, 24)) for data in chosen.values()]
    alike = torch.from_numpy(encoder.encode_images(made) @ encoder.encode_images(small).T)
    first = float((alike.argmax(dim=1) == torch.arange(PICTURES)).float().mean())
    print(f"retrieved top-1 {first:.3f}")
    assert first >= 0.9
