"""The plan of shards holds every kept sample once, in order, in shards that are full but for the last."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.jobs.balance import plan, shard_name, shard_rows
from pipelines.jobs.lists import ARTEFACT, forget
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.storage import Store


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 40)), st.integers(1, 15))
def test_every_kept_sample_is_in_exactly_one_shard(kept, size):
    shards = plan(kept, size)
    covered = [(span.part, i) for spans in shards for span in spans for i in range(span.start, span.stop)]
    assert covered == [(part, i) for part in sorted(kept) for i in range(kept[part])]
    lengths = [sum(span.stop - span.start for span in spans) for spans in shards]
    assert all(length == size for length in lengths[:-1])
    assert all(0 < length <= size for length in lengths)


def test_runs_of_more_than_99_999_shards_and_list_slices_are_read_whole(tmp_path):
    store = Store(str(tmp_path))
    for index in (7, 10_000, 100_000, 100_001, 1_000_000):
        PartWriter(store, shard_name(index), "x").commit(index)
    assert list(shard_rows(Run(store, None))) == [7, 10_000, 100_000, 100_001, 1_000_000]
    for index in (7, 99_999, 100_000, 123_456):
        store.write(part_name(ARTEFACT, index), b"")
    forget(Run(store, None), 100_000)
    assert sorted(store.list(ARTEFACT)) == [part_name(ARTEFACT, 7), part_name(ARTEFACT, 99_999)]
