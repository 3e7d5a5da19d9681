"""The samples are those that the manifest names, in files that have the hashes that it states; buckets fit them."""

import json
import shutil
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from training_runs import opened, restate, shards_of

from filters.errors import BadInput
from pipelines.run.parts import read_table
from training.config_data import Buckets, Data
from training.data.buckets import assign, bucket_sizes
from training.data.samples import ShardSet


def test_columns_and_places_are_those_of_sidecars_and_tars(cleared):
    shards, run = shards_of(cleared), opened(cleared)
    assert len(shards) == 60
    assert np.diff(shards.starts).tolist() == [16, 16, 16, 12]
    row = 0
    for name in shards.shards:
        table = read_table(run.store, f"{name}.parquet").to_pylist()
        with tarfile.open(cleared / "run" / f"{name}.tar") as archive:
            for stated in table:
                sample = shards.sample(row)
                assert (sample.uid, sample.key, sample.caption) == (stated["uid"], stated["key"], stated["caption"])
                assert (sample.shard, sample.weight) == (name, stated["weight"])
                assert (sample.width, sample.height) == (stated["width_upright"], stated["height_upright"])
                member = archive.getmember(f"{sample.key}.png")
                assert (shards.offset[row], shards.size[row]) == (member.offset_data, member.size)
                assert bytes(shards.sha256[row]).hex() == stated["sha256"]
                row += 1
    assert shards.find(shards.words[[7, 3]]).tolist() == [7, 3]


def test_the_index_is_kept_and_made_again_where_it_is_broken_or_of_another_tar(own):
    folder = own / "run" / "offsets"
    shutil.rmtree(folder, ignore_errors=True)
    wanted = shards_of(own).offset.tolist()
    files = sorted(folder.iterdir())
    assert len(files) == 4
    times = [file.stat().st_mtime_ns for file in files]
    assert shards_of(own).offset.tolist() == wanted
    assert [file.stat().st_mtime_ns for file in files] == times
    files[0].write_bytes(b"no parquet")
    table = pq.read_table(files[1])
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, "sha256": "00" * 32}), files[1])
    assert shards_of(own).offset.tolist() == wanted


def test_a_changed_shard_is_refused_also_after_it_was_indexed(own):
    shards_of(own)
    tar = own / "run" / "shards" / "shard-00001.tar"
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.write_bytes(data)
    with pytest.raises(BadInput, match=r"shard-00001.tar: not the shard that the manifest names"):
        shards_of(own)
    tar.unlink()
    with pytest.raises(BadInput, match=r"shard-00001.tar: no such shard"):
        shards_of(own)


def test_a_changed_sidecar_is_refused(own):
    sidecar = own / "run" / "shards" / "shard-00002.parquet"
    pq.write_table(pq.read_table(sidecar).slice(1), sidecar)
    with pytest.raises(BadInput, match=r"shard-00002.parquet: not the sidecar"):
        shards_of(own)


@pytest.mark.parametrize("weight", [float("nan"), -1.0, 0.0])
def test_impossible_weights_are_refused(own, weight):
    for number in range(4):
        name = f"shards/shard-{number:05d}.parquet"
        table = pq.read_table(own / "run" / name)
        at = table.schema.get_field_index("weight")
        values = np.full(table.num_rows, weight, np.float32)
        pq.write_table(table.set_column(at, table.schema.field(at), [values]), own / "run" / name)
        restate(own / "run", name)
    with pytest.raises(BadInput, match="weights are finite"):
        shards_of(own)


def test_sizes_come_from_the_samples_where_the_sidecar_has_none(own):
    wanted = shards_of(own)
    for number in range(4):
        name = f"shards/shard-{number:05d}.parquet"
        table = pq.read_table(own / "run" / name).drop_columns(["width_upright", "height_upright"])
        pq.write_table(table, own / "run" / name)
        restate(own / "run", name)
    found = shards_of(own)
    assert (found.width == wanted.width).all()
    assert (found.height == wanted.height).all()


def test_an_unfinished_run_and_one_without_samples_are_refused(own):
    manifest = own / "run" / "manifest.json"
    body = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**body, "content": {**body["content"], "shards": []}}))
    with pytest.raises(BadInput, match="hold no sample"):
        shards_of(own)
    manifest.unlink()
    with pytest.raises(BadInput, match="not finished"):
        ShardSet.open(opened(own))


@pytest.mark.parametrize(("resolution", "step", "aspect"), [(64, 8, 2), (512, 64, 2), (1024, 64, 4), (256, 8, 1)])
def test_buckets_have_the_square_s_area_at_most_and_the_aspects_asked_for(resolution, step, aspect):
    sizes = bucket_sizes(Buckets(resolution=resolution, step=step, max_aspect=aspect))
    assert (resolution, resolution) in sizes
    assert len(set(sizes)) == len(sizes)
    for width, height in sizes:
        assert width % step == height % step == 0
        assert 0.6 * resolution**2 <= width * height <= resolution**2
        assert max(width, height) <= aspect * min(width, height)
        assert (height, width) in sizes
    assert (len(sizes) == 1) == (aspect == 1)


def test_a_picture_gets_the_bucket_of_the_nearest_aspect():
    sizes = bucket_sizes(Buckets(resolution=512, step=64))
    width = np.array([1000, 500, 1000, 3000, 10, 640])
    height = np.array([1000, 1000, 500, 100, 1, 480])
    chosen = [sizes[at] for at in assign(width, height, sizes)]
    for w, h, (bw, bh) in zip(width, height, chosen, strict=True):
        nearest = min(abs(np.log(w / h) - np.log(bucket[0] / bucket[1])) for bucket in sizes)
        assert abs(np.log(w / h) - np.log(bw / bh)) <= nearest + 1e-9
    assert chosen[0] == (512, 512)
    # of two buckets with one aspect the larger one
    assert assign(np.array([5]), np.array([5]), [(64, 64), (128, 128)]).tolist() == [1]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"buckets": {"step": 7}}, "step must be one of"),
        ({"buckets": {"resolution": 60}}, "multiple of step"),
        ({"buckets": {"sizes": [[64, 60]]}}, "multiples of 8"),
        ({"buckets": {"sizes": [[64, 64], [64, 64]]}}, "stands twice"),
        ({"shuffle_shards": 99}, "cached_shards"),
        ({"batch": 0}, "greater than or equal to 1"),
        ({"bacth": 3}, "Extra inputs"),
    ],
)
def test_impossible_configurations_are_refused(body, said):
    with pytest.raises(ValueError, match=said):
        Data.model_validate(body)
