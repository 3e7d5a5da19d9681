"""A few photos of our own choice with captions of our own, for choices that drawings cannot decide.

    python scripts/train_mini/photos.py --folder FOLDER

The 53 photos come from Debian's packages of desktop backgrounds, from scikit-image and from scikit-learn; none of
them is in this project. `photos.json` holds their captions, which were written before any result was seen. Nothing
is trained on them. The packages are fetched into FOLDER where they are not there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from filters.encoders.uri import load_encoder  # noqa: E402
from filters.evaluation import evaluate_retrieval  # noqa: E402

#: Photos are brought to about this size: the largest are 20 million pixels.
_SIZE = (500, 400)

_DATA = {"scikit-image": ("skimage", "data"), "scikit-learn": ("sklearn", "datasets/images")}


def photos(folder: Path) -> dict[str, Path]:
    """Return the file of each photo of `photos.json`, its package unpacked into `folder` if it is not there."""
    names = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    for package in {name.split("/")[0] for name in names} - set(_DATA):
        if not (folder / package).is_dir():
            subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
            (deb,) = folder.glob(f"{package}_*.deb")
            subprocess.run(["dpkg", "-x", str(deb), str(folder / package)], check=True)
    return {name: _file(folder, name) for name in names}


def _file(folder: Path, name: str) -> Path:
    package, _, rest = name.partition("/")
    if package not in _DATA:
        return folder / name
    module, inside = _DATA[package]
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed")
    (found,) = (Path(spec.origin).parent / inside).glob(rest if "." in rest else f"{rest}.[pj][np]g")
    return found


def small(path: Path) -> Image.Image:
    """Return a photo as RGB, decoded at a fraction of its size where it is large."""
    image = Image.open(path)
    image.draft("RGB", _SIZE)
    return image.convert("RGB")


def main() -> None:
    """Print how well the shipped encoder finds the photos by their captions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="keeps the unpacked packages")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    captions = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    pictures = {name: small(path) for name, path in photos(folder.resolve()).items()}
    print(evaluate_retrieval(load_encoder("builtin:mini"), pictures, {name: [captions[name]] for name in captions}))


if __name__ == "__main__":
    main()
