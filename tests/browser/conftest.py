"""A real browser on the real command over two small runs. Skipped, with the reason, where there is no browser."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[1]
sys.path[:0] = [
    str(Path(__file__).parent),
    *(str(_TESTS / place) for place in ("dashboards", "dashboards/web", "pipelines")),
]

from run_making import make_run, sample_rows  # noqa: E402
from small_run import MAIN, make_small_run  # noqa: E402
from watching import Watch  # noqa: E402

from scripts.screenshots import wait_for  # noqa: E402

HOSTILE = '<script>alert(1)</script> "onload=x \u202eevil\u202c \x07 &amp; {{ 7*7 }} <img src=x onerror=alert(2)>'

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


def hostile_caption(i):
    """Captions of the run `made`: its first samples are what no page may fall for."""
    return {5: HOSTILE, 6: "x" * 1_000_000 + " end", 7: "שלום \u200f" + "drawing", 8: "a\0b\0"}.get(i, f"Drawing {i}")


def chromium():
    """Where Debian's Chromium is, else None."""
    named = os.environ.get("ASSAY_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def root(driven, tmp_path_factory):
    """A folder of two runs: `drawings` by the real command, `made` with hostile captions and NSFW pictures."""
    pytest.importorskip("fastapi", reason="the dashboard extra is not installed")
    folder = tmp_path_factory.mktemp("work")
    runs = folder / "runs"
    runs.mkdir()
    make_small_run(folder, runs / "drawings")
    rows = sample_rows(600, caption=hostile_caption, domain=lambda i: f"host{i % 5}.example")
    make_run(runs / "made", rows, part_rows=250)
    return runs


@pytest.fixture(scope="session")
def address(root, tmp_path_factory):
    """The address of a real `assay serve` over both runs, which are indexed."""
    with serving(root, tmp_path_factory.mktemp("cache"), ("drawings", "made")) as found:
        yield found


@contextmanager
def serving(root, cache, runs, *options):
    """Serve `root` by the real command until the block ends; yields its address when `runs` are indexed."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", MAIN, "serve", str(root), "--port", "0", *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            found = server.stdout.readline().strip().rstrip("/")
            assert found.startswith("http://127.0.0.1:"), found
            for run in runs:
                wait_for(f"{found}/api/runs/{run}/funnel", 120)
            yield found
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


@pytest.fixture(scope="session")
def driven():
    """The package that drives a browser; where it or the browser is not installed, the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (assay-data[dev])")
    if chromium() is None:
        pytest.skip("no Chromium (apt-get install chromium, or name one in ASSAY_CHROMIUM)")
    return playwright


@pytest.fixture(scope="module")
def browser(driven):
    """One Chromium for the tests of a file: until it is closed, no other test of its process can use asyncio."""
    with driven.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory):
    """Where screenshots are kept: `$ASSAY_ARTEFACTS`, else pytest's own folder."""
    named = os.environ.get("ASSAY_ARTEFACTS")
    folder = Path(named) / "browser" if named else tmp_path_factory.mktemp("browser")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def context(browser, address):
    """A browser's profile of its own, on the dashboard's address."""
    with browser.new_context(base_url=address, viewport={"width": 1360, "height": 900}) as found:
        found.set_default_timeout(60_000)
        yield found


@pytest.fixture(scope="session")
def serve():
    """`serving`, for tests that serve another folder."""
    return serving


@pytest.fixture
def watch(address):
    """What goes wrong on the test's page; the test fails with it at its end."""
    found = Watch(address)
    yield found
    assert not found.wrong, "\n".join(found.wrong)
    assert found.requests, "the page was never asked for"


@pytest.fixture
def page(context, watch, artefacts, request):
    """A watched page; a screenshot of its end is kept."""
    found = watch.attach(context.new_page())
    yield found
    found.screenshot(path=artefacts / f"{re.sub(r'[^a-z0-9]+', '-', request.node.name.lower())[:100]}.png")


@pytest.fixture
def settle(page):
    """Do something that makes htmx exchange a part of the page, and wait until it has."""

    def wait(action):
        # a promise, since the policy forbids what `wait_for_function` would evaluate
        page.evaluate(
            "() => { window.__settled = new Promise((done, failed) => {"
            "document.addEventListener('htmx:after:settle', done, {once: true}); setTimeout(failed, 60000); }); }"
        )
        action()
        page.evaluate("async () => { await window.__settled }")

    return wait
