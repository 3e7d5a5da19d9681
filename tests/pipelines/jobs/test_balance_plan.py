"""The plan of shards holds every kept sample once, in order, in shards that are full but for the last."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.jobs.balance import plan


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 40)), st.integers(1, 15))
def test_every_kept_sample_is_in_exactly_one_shard(kept, size):
    shards = plan(kept, size)
    covered = [(span.part, i) for spans in shards for span in spans for i in range(span.start, span.stop)]
    assert covered == [(part, i) for part in sorted(kept) for i in range(kept[part])]
    lengths = [sum(span.stop - span.start for span in spans) for spans in shards]
    assert all(length == size for length in lengths[:-1])
    assert all(0 < length <= size for length in lengths)
