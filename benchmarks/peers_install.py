"""Install the tools that `benchmarks.peers` compares with.

    python -m benchmarks.peers_install [FOLDER] [--only NAME]

Each gets an environment of its own, FOLDER/NAME (default: runs/peers), by venv and pip; where the pins of
`constraints-cpu.txt` hold for it, beside a CPU build of torch. What a peer needs beyond what it declares stands here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.metered import ROOT


@dataclass(frozen=True)
class Peer:
    """What pip installs for a peer, and whether the project's pins hold for it, too."""

    packages: tuple[str, ...]
    pinned: bool = True


PEERS = {
    "img2dataset": Peer(("img2dataset",)),
    # it imports pkg_resources; with all pins pip would take one of years ago, without torch's the CUDA build
    "clip-retrieval": Peer(("clip-retrieval>=2.45", "setuptools<81", "torch==2.13.0", "torchvision==0.28.0"), False),
    "imagededup": Peer(("imagededup",)),
    # it pins an older Pillow; its licence is for non-commercial use
    "fastdup": Peer(("fastdup",), pinned=False),
    # its image hash is imagededup's, and it imports aiohttp and ray, which it does not declare
    "py-data-juicer": Peer(("py-data-juicer", "imagededup", "aiohttp", "ray")),
}


def install(name: str, folder: Path) -> None:
    """Make the environment of one peer, or bring it up to date."""
    peer, place = PEERS[name], folder / name
    if not (place / "bin/python").exists():
        venv.create(place, with_pip=True)
    pins = ["-c", str(ROOT / "constraints-cpu.txt")] if peer.pinned else []
    pip = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *pins, *peer.packages], check=True)


def main() -> None:
    """Install what the arguments name; go on after one that cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "runs/peers")
    parser.add_argument("--only", choices=PEERS, action="append")
    options = parser.parse_args()
    failed = []
    for name in options.only or PEERS:
        try:
            install(name, options.folder)
            print(f"{name}: {options.folder / name / 'bin/python'}")
        except subprocess.CalledProcessError as error:
            failed.append(name)
            print(f"{name}: pip ended with {error.returncode}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
