"""A real Flink cluster reads our configuration; with Beam's job-server jar it makes the same dataset."""

import os
import zipfile

import pytest
from beam_services import beam_services
from flink_cluster import SLOTS, deployed, flink_cluster, flink_home, missing
from test_portable import content_hash, small_recipe

from filters.errors import BadInput
from pipelines.commands.canary import Canary
from pipelines.commands.doctor_cluster import cluster_checks
from pipelines.engine import Engine
from pipelines.portable import cancel_on_flink, flink_answer

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

#: Beam's jar that carries jobs to Flink, from Maven Central; not in any Python package.
JAR = os.environ.get("ASSAY_FLINK_JAR", "")


@pytest.fixture(scope="module")
def flink(tmp_path_factory):
    with flink_cluster(tmp_path_factory.mktemp("flink")) as found:
        yield found


def test_every_key_of_the_configuration_is_one_that_flink_knows():
    (jar,) = (flink_home() / "lib").glob("flink-dist-*.jar")
    with zipfile.ZipFile(jar) as archive:
        names = [n for n in archive.namelist() if n.startswith("org/apache/flink/configuration/") and "Options" in n]
        known = b"".join(archive.read(name) for name in names)
    assert [key for key in deployed() if key.encode() not in known] == []
    assert b"cluster.evenly-spread-out-slots" not in known


@pytest.mark.faults
def test_the_doctor_sees_a_real_cluster(flink):
    options = (f"--flink_master={flink.rest}", "--flink_job_server_jar=/none/beam.jar")
    checks = {c["name"]: c for c in cluster_checks(Engine("FlinkRunner", options), Canary(None), None, 60)}
    assert checks["options"]["ok"]
    assert checks["flink"]["ok"]
    assert f"1 TaskManagers, {SLOTS} slots" in checks["flink"]["detail"]
    assert "flink version" not in checks
    assert not checks["flink jar"]["ok"]


@pytest.mark.faults
def test_the_address_that_cancels_a_job_is_one_that_flink_has(flink):
    """No job runs: Flink says that it knows none of that id (404), not that it knows no such method (405)."""
    assert cancel_on_flink(flink.rest, "assay-none") == []
    with pytest.raises(BadInput, match=r"mode=cancel: HTTP status 404"):
        flink_answer(flink.rest, "/jobs/" + "ab" * 16 + "?mode=cancel", "PATCH")
    with pytest.raises(BadInput, match=r"HTTP status 404"):  # what Beam 2.77 asks for
        flink_answer(flink.rest, "/v1/" + "ab" * 16 + "/stop", "POST")


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not JAR, reason="ASSAY_FLINK_JAR names no beam-runners-flink-2.2-job-server jar")
def test_every_stage_makes_the_same_dataset_on_flink(flink, tmp_path):
    recipe = small_recipe(tmp_path)
    expected = content_hash(recipe, tmp_path / "local")
    with beam_services(tmp_path) as services:
        options = [
            f"--flink_master={flink.rest}",
            f"--flink_job_server_jar={JAR}",
            "--flink_submit_uber_jar",
            "--environment_type=EXTERNAL",
            f"--environment_config={services.pool}",
            f"--parallelism={SLOTS}",
        ]
        assert content_hash(recipe, tmp_path / "flink", "--runner", "FlinkRunner", *options) == expected
