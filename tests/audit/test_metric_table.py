"""Every metric that a finding has is explained in the table that the documentation is made from."""

from audit import planted
from audit.assemble import sections
from audit.findings import NEGLIGIBLE
from audit.groups import Assigner, Group, un_population
from audit.groups.buckets import bucketed
from audit.metric_table import METRICS
from audit.questions import RESAMPLED, Asked, Questions
from audit.tally import Tally, tally

REGION = Group("region", "place")
GENDER = Group("gender_terms", "terms", lexicon="gender_terms")
JOBS = Group("occupations", "terms", lexicon="occupations", overlap="each")
TONE = Group("tone", "column", column="tone")


def test_the_table_has_every_metric_and_no_bound_is_of_an_unknown_one():
    groups = (REGION, GENDER, JOBS, TONE)
    asked = Questions(
        groups,
        {"region": un_population()},
        (Asked("occupations", "gender_terms", "feminine", "masculine"),),
        (("region", "gender_terms"),),
        (("occupations", "region"),),
        resample="domain",
    )
    table = planted.null(4000, 1)
    buckets = bucketed(RESAMPLED, [None] * 4000, table.column("uid").to_pylist())
    total = Tally(tally(table, [*Assigner(groups).assign(table), buckets], asked.pairs()))
    found = sections(total, asked)
    used = {item.metric for section in found for item in section.findings}
    assert used <= set(METRICS)
    assert set(METRICS) - used == {"skew", "ndkl", "unread_captions"}
    assert set(NEGLIGIBLE) - set(METRICS) == {"npmi"}
    # values of one sample alone: samples without a key stand in buckets of their own
    assert len(set(buckets.codes.tolist())) > 150
