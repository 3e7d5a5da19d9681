"""Colours tell apart what a grey hash takes for one picture, but not a picture from its grey or brighter copy."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from filters.duplicates import Codes, cluster, joined, searches
from filters.duplicates_colours import UNKNOWN, agree, coarse, turned_layouts
from filters.duplicates_likeness import Bounds, Features, Likeness
from filters.duplicates_turns import ITSELF, TRIED, TURNS, turned
from filters.evaluation_dedup import within_bound
from filters.scorers.colours import layouts
from filters.scorers.pdq import dihedral_hashes
from filters.scoring import Picture

BOUND = 36.0


def looks(*images):
    """Coarse layouts of pictures."""
    return coarse(layouts([Picture(image) for image in images]).reshape(-1, 48), np.ones(len(images), bool))


def stripes(*colours):
    image = Image.new("RGB", (1, len(colours)))
    image.putdata(colours)
    return image.resize((90, 60), Image.Resampling.NEAREST)


def noise(seed=1):
    small = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((200, 160), Image.Resampling.BICUBIC)


def agrees(one, other):
    a, b = looks(one), looks(other)
    assert agree(a, b, BOUND)[0] == agree(b, a, BOUND)[0]
    return bool(agree(a, b, BOUND)[0])


def test_flags_of_other_colours_do_not_agree():
    poland, monaco, greenland = (
        stripes(*p) for p in ([(255,) * 3, (220, 20, 60)], [(255,) * 3, (0, 60, 220)], [(255,) * 3, (40, 150, 60)])
    )
    assert agrees(poland, poland)
    assert not agrees(poland, monaco)
    assert not agrees(poland, greenland)
    assert not agrees(stripes((0,) * 3), stripes((255,) * 3))


def test_grey_brighter_and_re_encoded_copies_agree():
    image = noise()
    grey = image.convert("L").convert("RGB")
    assert agrees(image, grey)
    assert agrees(image, ImageEnhance.Brightness(image).enhance(1.3))
    assert agrees(image, image.resize((77, 61), Image.Resampling.LANCZOS))
    # another grey picture is no grey copy
    assert not agrees(image, noise(2).convert("L").convert("RGB"))


def test_what_has_no_layout_agrees_with_everything():
    some = coarse(np.zeros((2, 48), np.int8), np.array([False, True]))
    assert (some[0] == UNKNOWN).all()
    assert agree(some[:1], looks(stripes((255, 0, 0))), BOUND).all()


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_layout_is_that_of_the_picture_whose_hash_is_turned_alike(turn):
    image = noise()
    variants = [image.transpose(way) if way is not None else image for way in (None, *Image.Transpose)]
    own, _ = dihedral_hashes(image)
    wanted = turned(np.frombuffer(own[0], np.uint64).reshape(1, 4), turn)
    hashes = np.frombuffer(b"".join(dihedral_hashes(v)[0][0] for v in variants), np.uint64).reshape(-1, 4)
    nearest = variants[int(np.bitwise_count(hashes ^ wanted).sum(axis=1).argmin())]
    assert np.abs(turned_layouts(looks(image), turn).astype(int) - looks(nearest)).max() <= 1


def made(count=160):
    """Hashes in families of few bits, many of them equal, with layouts of a few colours; some have none."""
    random = np.random.default_rng(5)
    codes = random.integers(0, 2**64, (12, 4), dtype=np.uint64)[random.integers(0, 12, count)]
    codes[:, 1] ^= np.uint64(1) << random.integers(0, 3, count, dtype=np.uint64)
    half = random.random(count) < 0.5
    codes[half] = turned(codes[half], (0, 0, 1))
    palette = np.zeros((6, 4, 4, 3), np.int8)
    palette[1:4, :, :, 1] = np.array([40, 60, 90])[:, None, None]
    palette[4, :, :2, 2] = palette[5, :, 2:, 2] = 80  # each other's mirror picture
    colours = coarse(palette[random.integers(0, 6, count)].reshape(count, 48), random.random(count) < 0.9)
    return codes, colours


@pytest.mark.parametrize("since", [0, 90])
@pytest.mark.parametrize(("radius", "turns"), [(0, (ITSELF,)), (2, (ITSELF,)), (2, TRIED)])
def test_the_search_joins_what_comparing_every_pair_joins(since, radius, turns):
    codes, colours = made()
    count, every = len(codes), TURNS if turns == TRIED else (ITSELF,)
    a, b = np.triu_indices(count, 1)

    def near(turn):
        bits = np.bitwise_count(turned(codes, turn)[a] ^ codes[b]).sum(axis=1)
        return (bits <= radius) & agree(turned_layouts(colours, turn)[a], colours[b], BOUND)

    plain = near(ITSELF)
    want = plain if turns == (ITSELF,) else np.any([near(turn) for turn in every[1:]], axis=0) & ~plain
    coded = Codes.of(codes, np.ones(count, bool), colours, BOUND)
    found = joined(search.run(coded, radius)[0] for search in searches(coded, radius, since, turns))
    pairs = set(zip(found.a.tolist(), found.b.tolist(), strict=True))
    truth = {pair for pair in zip(a[want].tolist(), b[want].tolist(), strict=True) if pair[1] >= since}
    assert pairs <= truth
    assert truth
    if not since and turns == (ITSELF,):
        # equal hashes of equal colours are stars, so components and not pairs are the same
        graph = np.zeros((count, count), bool)
        graph[a[want], b[want]] = True
        rows = joined([coded.star(), found])
        labels, again = cluster(count, [rows]), cluster(count, [joined([edges_of(a[want], b[want])])])
        assert labels.tolist() == again.tolist()
    likeness = Likeness(features(codes, colours), Bounds(False, None, radius, turns == TRIED, None, BOUND))
    assert (likeness.explain(found.a, found.b)[0] >= 0).all()


def edges_of(a, b):
    from filters.duplicates import Edges

    return Edges.of(a, b, np.zeros(len(a)))


def features(codes, colours):
    none, count = np.full(len(codes), -1), len(codes)
    phash = (np.zeros((count, 1), np.uint64), np.zeros(count, bool))
    return Features(none, none, *phash, codes, np.ones(count, bool), np.zeros((0, 1), np.float16), none, colours)


@pytest.mark.parametrize("dihedral", [False, True])
def test_the_choice_and_the_evaluation_judge_as_the_search(dihedral):
    codes, colours = made(60)
    bounds = Bounds(False, None, 2, dihedral, None, BOUND)
    some, rows = features(codes, colours), np.arange(60)
    method = "pdq_dihedral" if dihedral else "pdq"
    table = within_bound(some, bounds, method, rows, rows)
    judged = np.stack([Likeness(some, bounds).near(row, rows) for row in rows])
    assert (table == judged).all()
    off = Bounds(False, None, 2, dihedral, None, None)
    assert within_bound(some, off, method, rows, rows).sum() > table.sum() > 60
