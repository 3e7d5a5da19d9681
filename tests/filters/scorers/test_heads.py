"""LAION's heads give LAION's numbers, and only on the embeddings that they belong to."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from filters.errors import BadInput
from filters.heads.arithmetic import aesthetic, nsfw_logit, sigmoid, unit
from filters.heads.table import HEADS, Head, head_for
from filters.heads.weights import Weights, digest, load_weights
from filters.scorers import heads as heads_module
from filters.scorers.heads import AestheticScorer, ClipNsfwScorer
from filters.scorers.similarity import SimilarityScorer
from filters.scoring import Batch, Scorer

#: The published file of each head under its name in the folder of test data.
FILES = {
    "laion-v2-l14": "sac+logos+ava1-l14-linearMSE.pth",
    "laion-v2-ava-l14": "ava+logos-l14-linearMSE.pth",
    "laion-v1-l14": "sa_0_4_vit_l_14_linear.pth",
    "laion-v1-b16": "sa_0_4_vit_b_16_linear.pth",
    "laion-v1-b32": "sa_0_4_vit_b_32_linear.pth",
    "laion-nsfw-l14": "clip_autokeras_binary_nsfw.zip",
    "laion-nsfw-b32": "clip_autokeras_nsfw_b32.zip",
}
B32, L14 = "open-clip:ViT-B-32-quickgelu/openai", "open-clip:ViT-L-14/openai"


@pytest.fixture(scope="session")
def heads(shared_data) -> Path:
    folder = shared_data / "laion_heads"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture(scope="session")
def weights_of(heads):
    return lambda name, file="": load_weights(HEADS[name], f"file:{heads / (file or FILES[name])}")


@pytest.fixture(scope="session")
def flickr(shared_data) -> np.ndarray:
    """CLIP ViT-B/32 embeddings of 100 photos."""
    return np.load(shared_data / "clip_b32_reference" / "flickr_img_500x512_f32.npy")[::5]


@pytest.fixture(scope="session")
def cifar(shared_data) -> np.ndarray:
    """The same of 500 photos of 32 x 32 pixels."""
    path = shared_data / "clip_b32_reference" / "cifar10_test0-499_img_500x512.pt"
    return torch.load(path, weights_only=True).float().numpy()


def empty_batch(rows: int) -> Batch:
    return Batch([""] * rows, [""] * rows, [b""] * rows, [None] * rows)


def ratings(heads: Path, encoder: str) -> np.ndarray:
    """LAION's ten embeddings for the ratings 0 to 9."""
    return np.stack([np.load(heads / "rating_embeddings" / f"{encoder}_rating{r}.npy").ravel() for r in range(10)])


@pytest.mark.parametrize("name", FILES)
def test_the_table_names_the_published_files(heads, name):
    path = heads / FILES[name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == HEADS[name].sha256
    assert HEADS[name].url.startswith("https://")
    assert digest(load_weights(HEADS[name], f"file:{path}")) == HEADS[name].weights


@pytest.mark.parametrize(("name", "encoder"), [("laion-nsfw-b32", "b32"), ("laion-nsfw-l14", "l14")])
def test_nsfw_gives_tensorflows_outputs(heads, weights_of, name, encoder):
    with np.load(heads / f"nsfw_head_{encoder}_from_keras.npz") as reference:
        vectors, expected = reference["test_input"], reference["test_output"].astype(np.float64)
        assert tuple(reference["categorical_cols"]) == HEADS[name].lookups
    logit = nsfw_logit(vectors, weights_of(name), HEADS[name].lookups)
    np.testing.assert_allclose(sigmoid(logit), expected, atol=2e-7)
    # TensorFlow computes in float32: at 1e-11 it has three digits.
    np.testing.assert_allclose(logit, np.log(expected) - np.log1p(-expected), atol=3e-3)
    state_dict = weights_of(name, f"nsfw_{encoder}_head.pth")
    # The same numbers in another memory layout: BLAS may add them in another order.
    np.testing.assert_allclose(nsfw_logit(vectors, state_dict, HEADS[name].lookups), logit, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "encoder", "low", "high"),
    [
        ("laion-v1-b32", "vit_b_32", -1.47, 11.01),
        ("laion-v1-l14", "vit_l_14", -2.46, 11.30),
        ("laion-v2-l14", "vit_l_14", 1.66, 5.75),
    ],
)
def test_heads_put_laions_own_ratings_in_order(heads, weights_of, name, encoder, low, high):
    found = aesthetic(ratings(heads, encoder), weights_of(name))
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(found[[0, 9]], [low, high], atol=0.01)


def test_aesthetics_of_real_photos_are_plausible(weights_of, flickr, cifar):
    """Mean 5.57 (sd 0.75) over 100 Flickr photos, 3.74 (0.66) over 500 of 32 x 32 pixels."""
    photos, small = (aesthetic(vectors, weights_of("laion-v1-b32")) for vectors in (flickr, cifar))
    assert photos.mean() == pytest.approx(5.571, abs=1e-3)
    assert photos.std() == pytest.approx(0.750, abs=1e-3)
    assert 3 < photos.min() < photos.max() < 8
    assert small.mean() == pytest.approx(3.735, abs=1e-3)
    assert np.mean(photos[:, None] > small[None]) > 0.95


def test_nsfw_of_real_photos(weights_of, flickr, cifar):
    """3 of 100 Flickr photos and none of 500 CIFAR-10 pictures lie above one half: false alarms, all of them."""
    head = HEADS["laion-nsfw-b32"]
    photos, small = (sigmoid(nsfw_logit(vectors, weights_of(head.name), head.lookups)) for vectors in (flickr, cifar))
    assert (photos > 0.5).sum() == 3
    assert photos.mean() == pytest.approx(0.0366, abs=1e-3)
    assert small.max() < 0.1


def test_v2_is_its_five_layers_one_after_the_other(heads, weights_of):
    """Against torch's own layers in float32, loaded from the published file under its own names."""
    layers = [torch.nn.Linear(a, b) for a, b in ((768, 1024), (1024, 128), (128, 64), (64, 16), (16, 1))]
    model = torch.nn.Sequential()
    for at, layer in zip((0, 2, 4, 6, 7), layers, strict=True):
        model.add_module(str(at), layer)
    state = torch.load(heads / FILES["laion-v2-l14"], map_location="cpu", weights_only=True)
    model.load_state_dict({name.removeprefix("layers."): value for name, value in state.items()})
    vectors = unit(np.random.default_rng(5).standard_normal((64, 768)), 768)
    with torch.no_grad():
        expected = model(torch.from_numpy(vectors).float())[:, 0].numpy()
    np.testing.assert_allclose(aesthetic(vectors, weights_of("laion-v2-l14")), expected, atol=2e-5)


def test_the_scorers_read_stored_embeddings(heads, weights_of, flickr):
    scorer = AestheticScorer(B32, weights=f"file:{heads / FILES['laion-v1-b32']}")
    scorer.load()
    scores = scorer.score_embeddings(empty_batch(100), flickr.astype(np.float16))
    assert scores.schema.equals(scorer.fields)
    # Rounding the embeddings to float16 costs at most 0.002 (measured: 0.0009).
    np.testing.assert_allclose(
        scores["aesthetic"].to_numpy(), aesthetic(flickr, weights_of("laion-v1-b32")), atol=2e-3
    )
    # The length of a vector says nothing.
    longer = scorer.score_embeddings(empty_batch(100), 7 * flickr)["aesthetic"].to_numpy()
    np.testing.assert_allclose(longer, aesthetic(flickr, weights_of("laion-v1-b32")), atol=1e-5)
    assert scorer.score_embeddings(empty_batch(0), flickr[:0]).num_rows == 0
    nsfw = ClipNsfwScorer(B32, weights=f"file:{heads / 'nsfw_b32_head.pth'}")
    nsfw.load()
    found = nsfw.score_embeddings(empty_batch(100), flickr)["nsfw_clip"].to_numpy()
    assert ((found >= 0) & (found <= 1)).all()
    assert nsfw.model_id() == f"laion-nsfw-b32@sha256:{HEADS['laion-nsfw-b32'].weights[:16]}"


def test_is_a_scorer_and_cheap_to_send():
    for scorer in (AestheticScorer(), ClipNsfwScorer(L14)):
        again = pickle.loads(pickle.dumps(scorer))
        assert again == scorer
        assert isinstance(again, Scorer)
        assert [field.name for field in again.fields] == [scorer.name]
    with pytest.raises(RuntimeError, match="not loaded"):
        AestheticScorer("open-clip:ViT-B-16/openai").model_id()


def test_alone_it_encodes_the_pictures_itself(monkeypatch, real_pictures, batch_of):
    """With the encoder of the test machine: no CLIP is here, so only the way of the vectors is checked."""
    encoder = SimilarityScorer("builtin:mini")
    encoder.load()
    batch = batch_of(real_pictures[:3])
    vectors = encoder.score_with_embeddings(batch)[1].image
    width = vectors.shape[1]
    head = Head("own", "aesthetic", (width, 1), ("any",), "", "", "", "")
    weights = Weights(((np.random.default_rng(1).standard_normal((1, width)), np.zeros(1)),))
    monkeypatch.setattr(AestheticScorer, "chosen", lambda self: head)
    monkeypatch.setitem(heads_module._heads, ("own", ""), (weights, "0" * 64))
    found = AestheticScorer("builtin:mini").score(batch)["aesthetic"].to_numpy()
    np.testing.assert_allclose(found, aesthetic(vectors, weights), 1e-5)


@pytest.mark.parametrize(
    ("encoder", "name"),
    [
        ("builtin:mini", ""),
        ("open-clip:ViT-B-32/laion2b_s34b_b79k", ""),
        ("open-clip:ViT-L-14-336/openai", ""),
        ("file:/somewhere/weights.safetensors?arch=ViT-B-32", ""),
        (B32, "laion-v2-l14"),
        ("builtin:mini", "laion-v1-b32"),
    ],
)
def test_a_head_on_another_encoder_is_refused(encoder, name):
    with pytest.raises(BadInput, match="embeddings of") as refused:
        AestheticScorer(encoder, name).load()
    assert "\n" not in str(refused.value)


def test_the_encoders_first_head_is_taken():
    assert head_for("aesthetic", L14).name == "laion-v2-l14"
    assert head_for("aesthetic", L14, "laion-v1-l14").name == "laion-v1-l14"
    assert head_for("aesthetic", "file:/w.pt?arch=ViT-B-16&tag=openai").name == "laion-v1-b16"
    assert head_for("nsfw_clip", B32).name == "laion-nsfw-b32"
    with pytest.raises(BadInput, match="no nsfw_clip head"):
        head_for("nsfw_clip", "open-clip:ViT-B-16/openai")
    with pytest.raises(BadInput, match="known: laion-v2-l14"):
        head_for("aesthetic", L14, "laion-nsfw-l14")


def test_embeddings_of_another_size_or_number_are_refused(heads, flickr):
    scorer = AestheticScorer(B32, weights=f"file:{heads / FILES['laion-v1-b32']}")
    scorer.load()
    with pytest.raises(BadInput, match="512 values"):
        scorer.score_embeddings(empty_batch(100), flickr[:, :384])
    with pytest.raises(ValueError, match="100 embeddings for 99"):
        scorer.score_embeddings(empty_batch(99), flickr)
    with pytest.raises(ValueError, match="zero rows"):
        scorer.score_embeddings(empty_batch(1), np.zeros((1, 512)))


def test_own_weights_must_be_meant(heads, tmp_path):
    head = HEADS["laion-v1-b32"]
    same = torch.load(heads / FILES["laion-v1-b32"], weights_only=True)
    save_file(same, tmp_path / "same.safetensors")
    assert digest(load_weights(head, f"file:{tmp_path / 'same.safetensors'}")) == head.weights
    save_file({name: tensor + 1 for name, tensor in same.items()}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="#sha256=") as refused:
        load_weights(head, f"file:{tmp_path / 'other.safetensors'}")
    checksum = str(refused.value).rpartition("#")[2]
    other = load_weights(head, f"file:{tmp_path / 'other.safetensors'}#{checksum}")
    assert digest(other) != head.weights
    with pytest.raises(BadInput, match="expected 0000"):
        load_weights(head, f"file:{tmp_path / 'other.safetensors'}#sha256={'0' * 64}")


class _Trap:
    def __reduce__(self):
        return print, ("pickled code ran",)


def test_damaged_hostile_and_wrong_files_are_refused(heads, tmp_path, capsys):
    head = HEADS["laion-v1-b32"]
    torch.save({"weight": torch.zeros(1, 512), "bias": _Trap()}, tmp_path / "trap.pth")
    torch.save({"weight": torch.zeros(1, 512)}, tmp_path / "half.pth")
    torch.save({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, tmp_path / "wide.pth")
    torch.save({"weight": torch.full((1, 512), torch.nan), "bias": torch.zeros(1)}, tmp_path / "nan.pth")
    (tmp_path / "noise.pth").write_bytes(b"noise")
    (tmp_path / "noise.zip").write_bytes(b"noise")
    (tmp_path / "head.txt").write_text("")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("m/variables/variables.data-00000-of-00001", b"\0" * 64)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(BadInput, match=path.name) as refused:
            load_weights(head, f"file:{path}")
        assert "\n" not in str(refused.value), path
    with pytest.raises(BadInput, match="not a head of the kind"):
        load_weights(HEADS["laion-nsfw-b32"], f"file:{heads / FILES['laion-v1-b32']}")
    with pytest.raises(BadInput, match="no weights file"):
        load_weights(head, f"file:{tmp_path / 'absent.pth'}")
    for source in ("http://127.0.0.1/x.pth", "/plain/path.pth", "file:/x.pth#md5=1"):
        with pytest.raises(BadInput):
            load_weights(head, source)
    assert "ran" not in capsys.readouterr().out
