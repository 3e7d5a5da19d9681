"""One batch: what a scorer has computed is not computed again, and what a score rests on comes out with it."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from making import picture

from filters.reasons import Reason
from filters.registry import COSTLY, HEADS, SCORERS
from filters.rules import Rule
from filters.scorers.nsfw import NsfwScorer
from filters.scorers.size import SizeScorer
from filters.scoring import Evidence, EvidenceScorer
from pipelines.jobs.score import evidence_table
from pipelines.jobs.scoring import AFTER_OTHERS, Raw, Scored, score_batch
from pipelines.run.schema import EVIDENCE


@dataclass(frozen=True)
class Onlooker:
    """A scorer in the place of `nudity` that keeps what it is told, and finds one thing in every wide picture."""

    told: list[dict[str, pa.Array]] = field(default_factory=list)
    name: str = "nudity"
    version: str = "1"
    fields: pa.Schema = field(default_factory=lambda: pa.schema([pa.field("nsfw_parts", pa.float32())]))

    def load(self) -> None: ...

    def model_id(self) -> str:
        return "onlooker"

    def score(self, batch):
        return self.score_with_evidence(batch, {})[0]

    def score_with_evidence(self, batch, known):
        self.told.append(known)
        found = [[Evidence("wide", None, 0.5, (0, 0, p.width, p.height))] * (p.width > 90) for p in batch.pictures]
        return pa.record_batch([pa.array([len(f) for f in found], pa.float32())], schema=self.fields), found


def raw(count: int) -> Raw:
    data = [picture(seed, (64 + 8 * seed, 80)) for seed in range(count)]
    samples = pa.table({"width": pa.array([64 + 8 * seed for seed in range(count)], pa.int32())})
    return Raw(list(range(10, 10 + count)), [f"u{at}" for at in range(count)], ["a thing"] * count, data, samples)


def test_a_later_scorer_gets_the_columns_of_earlier_ones_whatever_the_recipes_order():
    onlooker = Onlooker()
    scored = score_batch([onlooker, NsfwScorer(threads=1), SizeScorer()], raw(5), 10**6, thumbnails=False)
    (known,) = onlooker.told
    assert known["nsfw"].equals(scored.columns["nsfw"].column("nsfw"))
    assert set(SizeScorer().fields.names) <= set(known)


def test_with_a_cascade_it_gets_those_of_the_living_rows():
    onlooker = Onlooker()
    nsfw = score_batch([NsfwScorer(threads=1)], raw(6), 10**6, thumbnails=False).columns["nsfw"]["nsfw"].to_numpy()
    rules = [Rule("nsfw", "nsfw", Reason.NSFW, high=float(np.sort(nsfw)[2]))]
    scored = score_batch([onlooker, NsfwScorer(threads=1)], raw(6), 10**6, rules, thumbnails=False)
    (known,) = onlooker.told
    np.testing.assert_array_equal(known["nsfw"].to_numpy(), nsfw[nsfw <= np.sort(nsfw)[2]])
    assert scored.columns["nudity"].column("nsfw_parts").null_count == 3
    assert set(scored.evidence) == {10 + at for at in range(6) if nsfw[at] <= np.sort(nsfw)[2] and 64 + 8 * at > 90}


def test_evidence_stands_by_row_and_in_the_stated_schema():
    scored = score_batch([Onlooker()], raw(6), 10**6, thumbnails=False)
    assert sorted(scored.evidence) == [14, 15]
    table = evidence_table([f"u{at - 10:02d}" for at in range(20)], [Scored(), scored])
    assert table.schema.equals(EVIDENCE, check_metadata=True)
    assert table.column("uid").to_pylist() == ["u04", "u05"]
    assert table.column("box").to_pylist() == [[0, 0, 96, 80], [0, 0, 104, 80]]
    assert table.column("scorer").to_pylist() == ["nudity", "nudity"]
    assert evidence_table([], []).schema.equals(EVIDENCE, check_metadata=True)


def test_only_costly_scorers_give_evidence_or_lean_on_others():
    assert AFTER_OTHERS <= COSTLY
    assert AFTER_OTHERS >= HEADS
    # `complete` runs all costly scorers again on its rows, and replaces their evidence as a whole.
    assert {name for name in SCORERS if hasattr(SCORERS[name], "score_with_evidence")} == {"nudity", "watermark"}
    assert isinstance(SCORERS["watermark"](), EvidenceScorer)
    assert not isinstance(SizeScorer(), EvidenceScorer)


@pytest.mark.parametrize("name", ["nudity", "watermark"])
def test_scorers_of_evidence_are_pickled_small(name):
    import pickle

    assert len(pickle.dumps(SCORERS[name]())) < 500
