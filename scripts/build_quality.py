"""Fit the weights of the technical-quality score (filters/scorers/quality_weights.json).

    python -m scripts.build_quality [--corpus FOLDER] [--out FILE] [--measures FILE.npz]

Pictures, all from packages of Debian 12 and of the Python registry, none of them shipped:
  drawings  openclipart (public domain), artists of the splits `fit` and, for choosing, `choose`
  photos    lomiri-wallpapers-16.04 and -20.04 (CC0-1.0, CC-BY-4.0, CC-BY-SA-3.0 and -4.0), scikit-image (astronaut,
            rocket: public domain; coffee, chelsea, camera, brick, grass, gravel: CC0), scikit-learn (china, flower:
            CC-BY-2.0), mate-backgrounds and plasma-workspace-wallpapers (GPL-2+); several crops of each at the sizes
            at which pictures are trained on
The 500 Flickr8k photos of the evaluation had no part in this, neither in the fit nor in any choice.

Each picture is damaged in five ways at two strengths each. The model learns to tell originals from copies, and in
each family to put less damage above more. The same inputs give the same weights but for the last bits.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import random
import tarfile
import tempfile
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from filters.decoding import Undecodable, decode
from filters.degradations import blurred, compressed, exposed, noisy
from filters.scorers.quality_features import features
from pipelines.sources.debian import find_packages, unpack
from pipelines.sources.openclipart import write_corpus

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "filters" / "scorers" / "quality_weights.json"
PACKAGES = ("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "mate-backgrounds", "plasma-workspace-wallpapers")

#: Wallpapers that are no photos.
DRAWN = ("Painting-Colors", "umang", "Infinite", "analogpattern", "Fossa")
#: The photos among Plasma's.
PLASMA = ("BytheWater", "ColdRipple", "ColorfulCups", "DarkestHour", "EveningGlow", "FallenLeaf", "Grey", "Kite")
PLASMA += ("OneStandsOut", "Path", "summer_1am")
SCIKIT_IMAGE = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket")

#: Percent of openclipart's artists, by a hash of the name: fit, choose, test.
SPLITS = {"fit": (0, 60), "choose": (60, 75), "test": (75, 100)}
DRAWINGS, CROPS = 3200, 30

#: Where the seeds of the photos start; those of the drawings start at 0.
PHOTO_SEED = 650
HIDDEN, DECAY, JITTER, STEPS, SEED = 24, 1e-3, 0.1, 500, 11

#: Over-exposure counts three times: it is the hardest to tell from a picture that is meant to be bright.
EMPHASIS = (1.0,) * 9 + (3.0, 3.0)

#: Damage, kind by kind: the weakest and the strongest that is learnt from.
RANGES = {"blur": (0.7, 4.0), "jpeg": (40, 5), "noise": (6.0, 45.0), "under": (0.8, 3.0), "over": (0.8, 3.0)}


def drawings(split: str, limit: int, corpus: Path = ROOT / ".cache" / "openclipart") -> list[bytes]:
    """Return files of openclipart by artists of one split, always the same ones."""
    write_corpus(corpus)
    low, high = SPLITS[split]
    found = []
    for shard in sorted(corpus.glob("*.tar")):
        with tarfile.open(shard) as tar:
            held = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
        for name in held:
            if name.endswith(".png"):
                artist = json.loads(held[name[:-4] + ".json"]).get("creator") or name
                if low <= int(hashlib.sha256(artist.encode()).hexdigest(), 16) % 100 < high:
                    found.append((hashlib.sha256(name.encode()).hexdigest(), held[name]))
    return [data for _, data in sorted(found)[:limit]]


def photo_files(folder: Path) -> list[Path]:
    """Return the photos' files, wallpapers unpacked into `folder`."""
    for package in find_packages(PACKAGES):
        unpack(package, folder / package.name)
    lomiri = [path for name in PACKAGES[:2] for path in sorted(folder.glob(f"{name}/usr/share/backgrounds/**/*.jpg"))]
    files = [path for path in lomiri if path.is_file() and not path.name.startswith(DRAWN)]
    for name, inside in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise SystemExit("needs scikit-image and scikit-learn: pip install scikit-image scikit-learn")
        pictures = sorted((Path(spec.origin).parent / inside).glob("*.[jp][pn]g"))
        files += [path for path in pictures if name == "sklearn" or path.stem in SCIKIT_IMAGE]
    files += sorted(folder.glob("mate-backgrounds/usr/share/backgrounds/mate/nature/*.jpg"))
    plasma = folder / "plasma-workspace-wallpapers" / "usr" / "share" / "wallpapers"
    files += [plasma / name / "contents" / "images" / "2560x1600.jpg" for name in PLASMA]
    return files


def drawing(data: bytes, seed: int) -> list[Image.Image]:
    """Return the drawing, every other time as the JPEG that the web would have."""
    chance = random.Random(seed)
    try:
        image = decode(data).image
    except Undecodable:
        return []
    if min(image.size) < 64:
        return []
    return [compressed(image, chance.randint(80, 95)) if chance.random() < 0.5 else image]


def crops(path: Path, seed: int) -> Iterator[Image.Image]:
    """Yield parts of a photo, scaled, squeezed and compressed as such pictures come."""
    chance = random.Random(seed)
    with Image.open(path) as opened:
        photo = opened.convert("RGB")
    photo.thumbnail((2400, 2400), Image.Resampling.LANCZOS)
    for _ in range(CROPS):
        width = chance.choice([160, 224, 224, 224, 256, 320, 400, 512, 700])
        height = int(width * chance.uniform(0.65, 1.5)) if chance.random() < 0.6 else width
        share = max(chance.uniform(0.25, 1), min(1, width / photo.width), min(1, height / photo.height))
        size = int(photo.width * share), int(photo.height * share)
        left, top = (chance.randint(0, whole - part) for whole, part in zip(photo.size, size, strict=True))
        kind = chance.choice([Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR])
        crop = photo.crop((left, top, left + size[0], top + size[1])).resize((width, height), kind)
        if chance.random() < 0.7:
            crop = compressed(crop, chance.randint(75, 96))
        yield exposed(crop, chance.uniform(-0.4, 0.4)) if chance.random() < 0.4 else crop


def family(image: Image.Image, seed: int) -> list[Image.Image]:
    """Return the picture and ten damaged copies: each kind weaker, then stronger."""
    chance = random.Random(seed)
    copies = [image]
    for kind, (weakest, strongest) in RANGES.items():
        first, second = sorted((chance.random(), chance.random()))
        for at in (first, max(second, min(1.0, first + 0.3))):
            strength = weakest * (strongest / weakest) ** at
            copy = {
                "blur": lambda value: blurred(image, value),
                "jpeg": lambda value: compressed(image, int(value)),
                "noise": lambda value: noisy(image, value, seed),
                "under": lambda value: exposed(image, -value),
                "over": lambda value: exposed(image, value),
            }[kind](strength)
            # Damage is often followed by a good JPEG.
            again = kind != "jpeg" and chance.random() < 0.4
            copies.append(compressed(copy, chance.randint(85, 95)) if again else copy)
    return copies


def measured(job: tuple[bytes | Path, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return measures (families, 11, n) and what each copy differs from its original, of 255 (families, 11)."""
    source, seed = job
    rows, changes = [], []
    pictures = drawing(source, seed) if isinstance(source, bytes) else crops(source, seed)
    for at, image in enumerate(pictures):
        copies = family(image, 1000 * seed + at)
        rows.append([list(features(copy).values()) for copy in copies])
        base = np.asarray(image, np.float32)
        changes.append([float(np.abs(np.asarray(copy, np.float32) - base).mean()) for copy in copies])
    return np.array(rows), np.array(changes)


def fit(rows: np.ndarray, changes: np.ndarray, names: list[str]) -> dict[str, object]:
    """Fit one hidden layer to measures (families, 11, n); copies that hardly differ have no part."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    flat = rows.reshape(-1, rows.shape[2])
    centre, scale = flat.mean(axis=0), flat.std(axis=0) + 1e-6
    x = torch.from_numpy(np.clip((rows - centre) / scale, -4, 4)).float()
    counts = changes >= 1
    # More light on a dark picture that clips nothing is no damage.
    clipped, middle = (rows[:, :, names.index(name)] for name in ("clipped", "level_50"))
    counts[:, 9:] &= (clipped[:, 9:] > clipped[:, :1] + 0.01) | (middle[:, :1] > 0.4)
    differs = torch.from_numpy(counts).float() * torch.tensor(EMPHASIS)
    hidden = (torch.randn(x.shape[2], HIDDEN) / x.shape[2] ** 0.5).requires_grad_()
    output = (torch.randn(HIDDEN) / HIDDEN**0.5).requires_grad_()
    hidden_bias, bias = torch.zeros(HIDDEN, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam([hidden, hidden_bias, output, bias], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    weaker, stronger = [1, 3, 5, 7, 9], [2, 4, 6, 8, 10]
    for _ in range(STEPS):
        # No two pictures measure quite alike, and 4,000 are few.
        shaken = x + JITTER * torch.randn_like(x)
        odds = torch.tanh(shaken @ hidden + hidden_bias) @ output + bias
        # Original above copy; less damage above more; and originals above 0, copies below it, both counting alike.
        ranked = (F.softplus(odds[:, 1:] - odds[:, :1]) * differs[:, 1:]).sum() / differs[:, 1:].sum()
        order = torch.minimum(differs[:, weaker], differs[:, stronger])
        ordered = (F.softplus(odds[:, stronger] - odds[:, weaker]) * order).sum() / order.sum()
        told = F.softplus(-odds[:, 0]).mean() + (F.softplus(odds[:, 1:]) * differs[:, 1:]).sum() / differs[:, 1:].sum()
        loss = ranked + 0.3 * ordered + 0.3 * told + DECAY * (hidden.square().sum() + output.square().sum())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return {
        "names": names,
        "centre": _rounded(centre),
        "scale": _rounded(scale),
        "hidden": _rounded(hidden.detach().numpy()),
        "hidden_bias": _rounded(hidden_bias.detach().numpy()),
        "output": _rounded(output.detach().numpy()),
        "bias": round(bias.item(), 5),
    }


def _rounded(values: np.ndarray) -> list[object]:
    rounded: list[object] = np.round(values.astype(np.float64), 5).tolist()
    return rounded


def main() -> None:
    """Measure the pictures, fit, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=ROOT / ".cache" / "openclipart")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--measures", type=Path, help="keep the measures here, and read them where they are")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    names = list(features(Image.new("RGB", (64, 64))))
    if arguments.measures and arguments.measures.is_file():
        with np.load(arguments.measures) as held:
            rows, changes = held["rows"], held["changes"]
    else:
        with tempfile.TemporaryDirectory() as folder, Pool(arguments.processes) as pool:
            jobs: list[tuple[bytes | Path, int]] = []
            jobs += [(data, seed) for seed, data in enumerate(drawings("fit", DRAWINGS, arguments.corpus))]
            jobs += [(path, seed) for seed, path in enumerate(photo_files(Path(folder)), PHOTO_SEED)]
            found = [part for part in pool.imap(measured, jobs, chunksize=2) if len(part[0])]
        rows, changes = (np.concatenate([part[at] for part in found]) for at in (0, 1))
        if arguments.measures:
            np.savez(arguments.measures, rows=rows, changes=changes)
    fitted = fit(rows, changes, names)
    arguments.out.write_text(json.dumps(fitted, indent=1) + "\n", "utf-8")
    print(f"{len(rows)} pictures, {rows.shape[2]} measures: {arguments.out}")


if __name__ == "__main__":
    main()
