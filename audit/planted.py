"""Made corpora with a known effect, to prove an audit: what was planted must be found, and nothing where nothing was.

Each returns a table with samples' and the ledger's columns (`uid`, `caption`, `domain`, `decision`, `reasons`, and
`tone` and `aesthetic` where they play a part). The effects are the known ones of the field: occupations and gender,
regions of the world, a filter that disfavours one region, a trend over tones of skin (by labels).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from scipy import special

from filters.reasons import Reason
from filters.rules import mask, reason_lists

#: Share of feminine captions by occupation: the CEO is a man in 87 %, the nurse a woman in 91 % of them.
GENDER: Mapping[str, float] = {"nurse": 0.91, "CEO": 0.13, "engineer": 0.12, "teacher": 0.68, "lawyer": 0.5}
#: Shares by UN region: Africa 2.3 %, Northern America and Europe together 47 %.
REGIONS: Mapping[str, float] = {
    "Africa": 0.023,
    "Asia": 0.32,
    "Europe": 0.25,
    "Latin America and the Caribbean": 0.147,
    "Northern America": 0.22,
    "Oceania": 0.04,
}
_COUNTRY = {
    "Africa": ("Kenya", "ke"),
    "Asia": ("Japan", "jp"),
    "Europe": ("France", "fr"),
    "Latin America and the Caribbean": ("Brazil", "br"),
    "Northern America": ("Canada", "ca"),
    "Oceania": ("Fiji", "fj"),
}
#: The bound that the made filters set on `aesthetic`, whose mean is 5.2 and standard deviation 0.8.
BOUND = 5.0
TONES = tuple(str(tone) for tone in range(1, 11))


def occupations(n: int, seed: int, feminine: Mapping[str, float] = GENDER) -> pa.Table:
    """Make n captions, each of one occupation and one person, feminine with that occupation's probability."""
    random = np.random.default_rng(seed)
    names = np.array(list(feminine))
    which = random.integers(len(names), size=n)
    is_woman = random.random(n) < np.array(list(feminine.values()))[which]
    words = np.where(is_woman, "a woman", "a man")
    captions = [f"{person} working as {name}" for person, name in zip(words, names[which], strict=True)]
    return _table(captions, [None] * n, np.zeros(n, dtype=bool), {})


def regions(n: int, seed: int, shares: Mapping[str, float] = REGIONS) -> pa.Table:
    """Make n samples whose captions and domains are of a country of each region, with those shares."""
    which, names = _drawn(n, seed, shares)
    return _of_regions(which, names, np.zeros(n, dtype=bool), {})


def disfavoured(n: int, seed: int, shift: float = -0.35, region: str = "Africa") -> pa.Table:
    """Make n samples, as many of every region, and drop those below `BOUND`; one region's scores are shifted.

    With the default shift its pass rate is `normal_pass(shift) / normal_pass(0)` of that of the others.
    """
    which, names = _drawn(n, seed, dict.fromkeys(_COUNTRY, 1 / len(_COUNTRY)))
    scores = np.random.default_rng([seed, 1]).normal(5.2, 0.8, n) + np.where(names[which] == region, shift, 0.0)
    return _of_regions(which, names, scores < BOUND, {"aesthetic": pa.array(scores)})


def toned(n: int, seed: int, step: float = -0.04) -> pa.Table:
    """Make n samples with a label `tone`, 1 to 10; their score falls by `step` a tone; drop those below `BOUND`."""
    random = np.random.default_rng(seed)
    tone = random.integers(10, size=n)
    scores = random.normal(5.2, 0.8, n) + step * tone
    columns = {"aesthetic": pa.array(scores), "tone": pa.array([TONES[i] for i in tone])}
    return _table(["a person"] * n, [None] * n, scores < BOUND, columns)


def null(n: int, seed: int) -> pa.Table:
    """Make n samples in which occupation, gender, region, tone and decision do not depend on each other.

    Regions have the shares of `REGIONS`, half of the people are women, and a tenth of the samples is dropped.
    """
    random = np.random.default_rng(seed)
    jobs = np.array(list(GENDER))[random.integers(len(GENDER), size=n)]
    people = np.where(random.random(n) < 0.5, "a woman", "a man")
    which, names = _drawn(n, seed + 1, REGIONS)
    places = [_COUNTRY[name] for name in names[which]]
    captions = [f"{a} working as {b} in {c[0]}" for a, b, c in zip(people, jobs, places, strict=True)]
    tone = pa.array([TONES[i] for i in random.integers(10, size=n)])
    domains = [f"site.{place[1]}" for place in places]
    return _table(captions, domains, random.random(n) < 0.1, {"tone": tone})


def normal_pass(shift: float) -> float:
    """Return the share of `disfavoured` or `toned` samples that passes at a shift of the score."""
    return float(special.ndtr((5.2 + shift - BOUND) / 0.8))


def _drawn(n: int, seed: int, shares: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    names = np.array(list(shares))
    weights = np.array(list(shares.values()))
    return np.random.default_rng(seed).choice(len(names), size=n, p=weights / weights.sum()), names


def _of_regions(
    which: np.ndarray, names: np.ndarray, dropped: np.ndarray, columns: Mapping[str, pa.Array]
) -> pa.Table:
    places = [_COUNTRY[name] for name in names[which]]
    captions = [f"a street in {country}" for country, _ in places]
    return _table(captions, [f"site.{tld}" for _, tld in places], dropped, columns)


def _table(
    captions: Sequence[str], domains: Sequence[str | None], dropped: np.ndarray, columns: Mapping[str, pa.Array]
) -> pa.Table:
    masks = np.where(dropped, mask(Reason.LOW_AESTHETIC), np.uint64(0))
    return pa.table(
        {
            "uid": pa.array([f"{i:032x}" for i in range(len(captions))]),
            "caption": pa.array(captions, pa.string()),
            "domain": pa.array(domains, pa.string()),
            "decision": pa.array(np.where(dropped, "dropped", "kept")),
            "reasons": reason_lists(masks),
            **columns,
        }
    )
