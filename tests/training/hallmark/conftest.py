"""Chains, a real photograph and a register of issued pictures for the hallmark's tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hallmarking import key_of, some_facts
from PIL import Image

from training.hallmark.chains import Chain, development_chain
from training.hallmark.claim import Facts
from training.hallmark.credentials import Sealer
from training.hallmark.keys import SigningKey
from training.hallmark.marking import Hallmark, HallmarkConfig, Marked
from training.hallmark.posthoc import RivaGan
from training.hallmark.registry import HallmarkRegistry, open_register
from training.hallmark.watermark import WatermarkKey

_SPEC = importlib.util.spec_from_file_location(
    "registry_servers", Path(__file__).parents[2] / "pipelines" / "registry" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_SERVERS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_SERVERS)
postgres_server, postgres_url = _SERVERS.postgres_server, _SERVERS.postgres_url


@pytest.fixture(name="facts")
def _facts() -> Facts:
    return some_facts()


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph of 300 x 256 pixels (scikit-image's own, public domain)."""
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the photograph")
    return np.asarray(Image.fromarray(data.chelsea()).crop((60, 20, 360, 276)))


@pytest.fixture(scope="session")
def other_photo() -> np.ndarray:
    """Another photograph of the same size."""
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the photograph")
    return np.asarray(Image.fromarray(data.coffee()).crop((150, 50, 450, 306)))


@pytest.fixture(scope="session")
def chain() -> Chain:
    """Our chain."""
    return development_chain("es256")


@pytest.fixture(scope="session")
def anchors(chain: Chain) -> str:
    """The anchor of our chain."""
    return chain.root.decode()


@pytest.fixture(scope="session")
def signing_key(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    """Our key."""
    return key_of(chain, tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="session")
def posthoc() -> RivaGan:
    """Our watermark."""
    return RivaGan(WatermarkKey(bytes(range(32))), threads=1)


@pytest.fixture(scope="session")
def register_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the register of the issued picture lies."""
    return tmp_path_factory.mktemp("register") / "hallmarks.sqlite"


@pytest.fixture(scope="session")
def register(register_path: Path) -> Iterator[HallmarkRegistry]:
    """The register of the issued picture."""
    with open_register(str(register_path), create=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def issued(signing_key: SigningKey, register: HallmarkRegistry, posthoc: RivaGan, photo: np.ndarray) -> Marked:
    """One PNG with mark, credential and row."""
    return Hallmark(Sealer(signing_key), register, HallmarkConfig(), posthoc).mark(photo, some_facts())


@pytest.fixture(scope="session")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset (`data/run`), a model trained on its pixels, keys, and two pictures marked in the noise.

    Do not change it.
    """
    from tiny import YAML
    from training_runs import make_run

    from pipelines.commands.main import invoke

    folder = tmp_path_factory.mktemp("generation")
    make_run(folder / "data")
    (folder / "train.yaml").write_text(YAML)
    settings = ["autoencoder.kind=pixels", "data.buckets.resolution=64", "loop.steps=2", "checkpoints.every=2"]
    more = [part for one in settings for part in ("--set", one)]
    run, model, keys = (str(folder / name) for name in ("data/run", "model", "keys"))
    assert invoke(["train", str(folder / "train.yaml"), "--data", run, "--out", model, *more]) == 0
    assert invoke(["keys", "init", keys]) == 0
    made = ["generate", model, "--prompt", "a drawing", "--count", "2", "--mark", "noise", "--steps", "4"]
    made += ["--keys", keys, "--out", str(folder / "out"), "--device", "cpu", "--fewer-guards"]
    assert invoke(made) == 0
    return folder
