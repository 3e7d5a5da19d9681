"""Take the pictures of the README: four pages of a run's dashboard, by the real command and a real browser.

    python scripts/screenshots.py runs [--run demo] [--out docs/images]

Needs playwright and Chromium (Debian: `apt-get install chromium`; or name one in ASSAY_CHROMIUM). The same run gives
pages of the same content; pixels differ between versions of the browser and fonts.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image

#: What is shown, by the name of the picture: an address below the run.
SHOTS = {
    "funnel": "funnel",
    "samples": "samples?decision=kept&sort=similarity&order=desc",
    "thresholds": "thresholds?rule=similarity&group=region&low.similarity=0.3",
    "search": "search?creator=Nicu+Buculei",
}

#: Size of the window in CSS pixels, and the most bytes of one picture.
WIDTH, HEIGHT, MOST_BYTES = 1280, 800, 300_000

_MAIN = "from pipelines.commands.main import main; main()"
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


def small_png(data: bytes, most: int = MOST_BYTES) -> bytes:
    """Return the PNG, in fewer colours above `most` bytes. Raises `ValueError` where 64 do not do."""
    for colours in (0, 256, 128, 64):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        buffer = io.BytesIO()
        (image.quantize(colours, dither=Image.Dither.NONE) if colours else image).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= most:
            return buffer.getvalue()
    raise ValueError(f"a screenshot has {buffer.tell():,} bytes in 64 colours; at most {most:,} are wanted")


def wait_for(url: str, seconds: float = 300) -> None:
    """Wait until the run's index is made. Raises `HTTPError` where the run cannot be shown."""
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60):
                return
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > until:
                raise
            time.sleep(0.5)


def take(address: str, run: str, out: Path, browser_path: str) -> None:
    """Write one PNG a page to `out`. Raises `ValueError` for a page that is not shown."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=_ARGUMENTS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        for name, place in SHOTS.items():
            answer = page.goto(f"{address}/runs/{run}/{place}", wait_until="networkidle", timeout=120_000)
            if answer is None or answer.status != 200:
                raise ValueError(f"{place}: the page was answered with {answer and answer.status}")
            data = small_png(page.screenshot())
            (out / f"{name}.png").write_bytes(data)
            print(f"{out / name}.png: {len(data):,} bytes")
        browser.close()


def main() -> None:
    """Serve the runs, take the pictures, stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of runs")
    parser.add_argument("--run", default="demo", help="the run that is shown")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    given = parser.parse_args()
    browser = os.environ.get("ASSAY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium: apt-get install chromium, or name one in ASSAY_CHROMIUM")
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-c", _MAIN, "serve", str(given.runs), "--port", "0"]
        environment = {**os.environ, "XDG_CACHE_HOME": cache}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
            try:
                assert server.stdout is not None
                address = server.stdout.readline().strip().rstrip("/")
                if not address:
                    sys.exit("assay serve did not start")
                wait_for(f"{address}/api/runs/{given.run}/funnel")
                take(address, given.run, given.out, browser)
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(30)


if __name__ == "__main__":
    main()
