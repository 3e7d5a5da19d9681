"""Measure the hallmark: `python -m benchmarks.hallmark`; one JSON line a figure.

Carriers are photos under ASSAY_SHARED_DATA, which have 224 x 224 pixels, enlarged to `--size` first; eight of them
(the 21st to the 28th) were looked at while the working size of the mark was chosen, and are left out. What needs a
diffusion model (the mark at sampling, removal by an autoencoder or by generating anew) is in `hallmark_noise`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.hallmark_unmarked import Tally, outputs, places, tally
from filters.decoding import decode
from training.hallmark.chains import development_chain
from training.hallmark.claim import Binding, ClaimConfig, DatasetFacts, Facts, Fingerprint, ModelFacts, definition
from training.hallmark.credentials import MEDIA, Sealer
from training.hallmark.keys import key_from_files
from training.hallmark.posthoc import BITS, SIDE, RivaGan, word_bits
from training.hallmark.reader import read_credential
from training.hallmark.watermark import WatermarkKey

CHOSEN_ON = slice(20, 28)
RATES = (1e-6, 1e-3)

Change = Callable[[Image.Image], Image.Image]


def again(kind: str, quality: int) -> Change:
    """Encode lossily and decode."""

    def change(image: Image.Image) -> Image.Image:
        out = io.BytesIO()
        image.save(out, kind, quality=quality)
        return Image.open(out).convert("RGB")

    return change


def resized(share: float, back: bool) -> Change:
    """Scale both sides."""

    def change(image: Image.Image) -> Image.Image:
        small = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)
        return small.resize(image.size, Image.Resampling.BICUBIC) if back else small

    return change


def cropped(area: float) -> Change:
    """Keep the middle, with that share of the area."""

    def change(image: Image.Image) -> Image.Image:
        x, y = (round(side * (1 - area**0.5) / 2) for side in image.size)
        return image.crop((x, y, image.width - x, image.height - y))

    return change


def noisy(sigma: float) -> Change:
    """Add normal noise, `sigma` in parts of full scale."""

    def change(image: Image.Image) -> Image.Image:
        values = np.asarray(image).astype(np.float64)
        values += np.random.default_rng(0).normal(0, 255 * sigma, values.shape)
        return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))

    return change


def brighter(factor: float) -> Change:
    """Multiply all levels."""
    return lambda image: image.point([min(255, round(value * factor)) for value in range(256)] * 3)


def screenshot(image: Image.Image) -> Image.Image:
    """Scale to a window, cut a border off, change the gamma a little, save as JPEG 80."""
    shown = resized(0.8, False)(image)
    shown = shown.crop((3, 5, shown.width - 4, shown.height - 2))
    shown = shown.point([round(255 * (value / 255) ** 0.95) for value in range(256)] * 3)
    return again("JPEG", 80)(shown)


CHANGES: dict[str, Change] = {
    "clean": lambda image: image,
    "JPEG 90": again("JPEG", 90),
    "JPEG 75": again("JPEG", 75),
    "JPEG 50": again("JPEG", 50),
    "JPEG 25": again("JPEG", 25),
    "WebP 80": again("WEBP", 80),
    "resize 1/2": resized(0.5, False),
    "resize 1/2 and back": resized(0.5, True),
    "crop 90 %": cropped(0.9),
    "crop 75 %": cropped(0.75),
    "rotate 2": lambda image: image.rotate(2, Image.Resampling.BICUBIC),
    "rotate 15": lambda image: image.rotate(15, Image.Resampling.BICUBIC),
    "flip": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "noise 0.02": noisy(0.02),
    "noise 0.05": noisy(0.05),
    "blur 1": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "blur 2": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "brightness 1.3": brighter(1.3),
    "screenshot": screenshot,
}


def say(figure: str, **values: object) -> None:
    """Print one figure."""
    rounded = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in values.items()}
    print(json.dumps({"figure": figure, **rounded}), flush=True)


def photo_paths() -> list[Path]:
    """Return the photos but those that the mark's working size was chosen on."""
    folder = Path(os.environ.get("ASSAY_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    paths = sorted((folder / "flickr8k_sample" / "images").glob("*.jpg"))
    if not paths:
        raise SystemExit(f"no photos under {folder}: set ASSAY_SHARED_DATA")
    del paths[CHOSEN_ON]
    return paths


def photos(count: int, size: int) -> list[Image.Image]:
    """Return photos, evenly spread over the folder, enlarged to squares of `size`."""
    paths = photo_paths()
    chosen = paths[:: max(1, len(paths) // count)][:count]
    return [decode(path.read_bytes()).image.resize((size, size), Image.Resampling.BICUBIC) for path in chosen]


def robustness(images: list[Image.Image], mark: RivaGan, kept: Path | None) -> None:
    """Print one line a change: found at each rate, bits that agree. The table of the issue, without diffusion.

    What each picture gave is appended to `kept`, so that a killed run goes on where it stopped.
    """
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept and kept.exists() else []
    for image in images[len(rows) :]:
        row = one_picture(image, mark)
        rows.append(row)
        if kept:
            with kept.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
    say(
        "posthoc quality",
        pictures=len(rows),
        psnr=statistics.fmean(row["psnr"] for row in rows),
        psnr_least=min(row["psnr"] for row in rows),
        ssim=statistics.fmean(row["ssim"] for row in rows),
        embed_cpu_seconds=statistics.median(row["seconds"] for row in rows),
        detect_cpu_seconds=statistics.median(row["reading"] for row in rows),
    )
    for name in CHANGES:
        chances = np.array([row["changes"][name][0] for row in rows])
        rates = {f"tpr@{rate:.0e}": float((chances <= rate).mean()) for rate in RATES}
        bits = statistics.fmean(row["changes"][name][1] for row in rows)
        say(f"posthoc {name}", pictures=len(rows), **rates, bits=bits)


def one_picture(image: Image.Image, mark: RivaGan) -> dict[str, Any]:
    """Mark one picture, change it in every way, look for the mark: chance and share of right bits of each change."""
    from skimage.metrics import structural_similarity

    before, word = np.asarray(image), mark.new_value()
    start = time.process_time()
    after = mark.embed(before, word)
    seconds = time.process_time() - start
    changes = {}
    for name, change in CHANGES.items():
        changed = np.asarray(change(Image.fromarray(after)))
        start = time.process_time()
        found = mark.detect(changed, min(RATES))
        if name == "clean":
            reading = time.process_time() - start
        right = found.value == word
        upright = np.ascontiguousarray(changed[:, ::-1]) if name == "flip" else changed
        agree = found.matches if right else int(((mark.logits(upright) > 0) == word_bits(word)).sum())
        changes[name] = (found.fpr if right else 1.0, agree / BITS)
    return {
        "psnr": float(10 * np.log10(255**2 / np.mean((after.astype(np.float64) - before) ** 2))),
        "ssim": float(structural_similarity(before, after, channel_axis=2)),
        "seconds": seconds,
        "reading": reading,
        "changes": changes,
    }


def false_positives(tallied: Tally) -> None:
    """Print how often unmarked pictures are taken for marked, over many owners, against the rates that are stated."""
    trials = tallied.owners * tallied.pictures
    for rate in RATES:
        say(
            f"posthoc false positives at {rate:.0e}",
            pictures=tallied.pictures,
            found=tallied.own[rate],
            pictures_times_owners=trials,
            found_by_any_owner=tallied.others[rate],
            expected_at_most=trials * rate,
        )
    say("posthoc outputs of unmarked pictures", bits_apart=tallied.bits_apart)


def made_up_facts() -> Facts:
    """Return what a credential says of a picture of no model and no dataset."""
    return Facts(
        ModelFacts("benchmark", "1", "c" * 64),
        DatasetFacts("benchmark", "d" * 64, "runs/benchmark"),
        "a picture",
        "benchmark",
        datetime.now(timezone.utc),
    )


def made_up_sealer(folder: Path, algorithm: str) -> tuple[Sealer, str]:
    """Return what signs under a fresh chain, whose files go into `folder`, and the chain's root as PEM."""
    chain = development_chain(algorithm)
    (folder / "key.pem").write_bytes(chain.key)
    (folder / "chain.pem").write_bytes(chain.certificates)
    return Sealer(key_from_files(folder / "key.pem", folder / "chain.pem")), chain.root.decode()


def times(images: list[Image.Image], folder: Path) -> None:
    """Print how long signing and reading take, and how many bytes a credential adds.

    Time of the processor, which other work on the machine disturbs less than it does the clock on the wall.
    """
    facts = made_up_facts()
    manifest = definition(
        "0" * 32, facts, (Binding("org.assay-data.rivagan.1", "0" * 8),), Fingerprint("f" * 64, 100), ClaimConfig()
    )
    for algorithm in ("es256", "ps256", "ed25519"):
        sealer, root = made_up_sealer(folder, algorithm)
        for kind, media in MEDIA.items():
            signing, reading, waiting, added = [], [], [], []
            for image in images:
                out = io.BytesIO()
                image.save(out, kind)
                begun, start = time.perf_counter(), time.process_time()
                signed = sealer.seal(out.getvalue(), media, manifest)
                middle = time.process_time()
                assert read_credential(signed.data, root).verdict == "ours"
                reading.append(time.process_time() - middle)
                signing.append(middle - start)
                waiting.append(time.perf_counter() - begun)
                added.append(len(signed.data) - len(out.getvalue()))
            say(
                f"credential {algorithm} {kind}",
                pictures=len(images),
                sign_cpu_ms=1000 * statistics.median(signing),
                verify_cpu_ms=1000 * statistics.median(reading),
                both_wall_ms=1000 * statistics.median(waiting),
                bytes=statistics.median(added),
            )


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50, help="photos that are marked")
    parser.add_argument("--unmarked", type=int, default=5000, help="pictures that are not: photos, then drawings")
    parser.add_argument("--corpus", type=Path, default=Path(".cache/openclipart"), help="the drawings")
    parser.add_argument("--part", default="0/1", help="share of the unmarked that this process looks at, as 0/2")
    parser.add_argument("--owners", type=int, default=5000, help="secrets that each unmarked photo is held against")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--side", type=int, default=SIDE, help="size at which the mark's networks work")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="file that the pictures' results are kept in, to go on from")
    parser.add_argument("--only", choices=("robustness", "false-positives", "times"))
    options = parser.parse_args()
    mark = RivaGan(WatermarkKey(bytes(range(32))), threads=options.threads, side=options.side)
    if options.only in (None, "times"):
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            times(photos(40, options.size), Path(folder))
    if options.only in (None, "robustness"):
        robustness(photos(options.pictures, options.size), mark, options.keep)
    if options.only in (None, "false-positives"):
        number, of = (int(text) for text in options.part.split("/"))
        rows = outputs(places(photo_paths(), options.corpus, options.unmarked), mark, options.keep, (number, of))
        false_positives(tally(rows, mark, options.owners, RATES))


if __name__ == "__main__":
    main()
