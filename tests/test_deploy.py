"""What is under deploy/ is whole and of one piece with the rest: it parses, versions agree, Beam knows its options."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FLINK = ROOT / "deploy" / "flink"
MANIFESTS = sorted(FLINK.glob("*.yaml"))


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def containers(kind):
    """All containers of the objects of one kind, by name."""
    every = [document for path in MANIFESTS for document in documents(path) if document["kind"] == kind]
    return {c["name"]: c for document in every for c in document["spec"]["template"]["spec"]["containers"]}


def pinned(package):
    return re.search(rf"^{package}==(\S+)$", (ROOT / "constraints-cpu.txt").read_text(), re.MULTILINE).group(1)


@pytest.fixture(scope="module")
def arguments():
    return containers("Job")["driver"]["args"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_parse_and_name_what_they_are(path):
    found = documents(path)
    assert found
    for document in found:
        assert {"apiVersion", "kind", "metadata"} <= set(document)


def test_what_a_pod_mounts_is_defined_and_selectors_match_labels():
    for path in MANIFESTS:
        for document in documents(path):
            if "template" not in document.get("spec", {}):
                continue
            pod = document["spec"]["template"]
            volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
            mounts = {m["name"] for c in pod["spec"]["containers"] for m in c.get("volumeMounts", [])}
            assert mounts == volumes
            wanted = document["spec"].get("selector", {}).get("matchLabels", {})
            assert wanted.items() <= pod.get("metadata", {}).get("labels", {}).items()


def test_what_the_pods_ask_for_by_name_is_in_a_manifest_or_made_by_the_guide():
    texts = {path.name: path.read_text() for path in MANIFESTS}
    wanted = set(re.findall(r"(?:configMap: {name|secretRef: {name|claimName): ([\w-]+)}", " ".join(texts.values())))
    defined = {document["metadata"]["name"] for path in MANIFESTS for document in documents(path)}
    guide = (ROOT / "docs" / "clusters.md").read_text()
    made = set(re.findall(r"kubectl create (?:configmap|secret generic) ([\w-]+) ", guide))
    assert wanted == {"assay-flink", "assay-recipes", "assay-storage", "assay-jars"}
    assert wanted <= defined | made
    assert {name for name in texts if f"deploy/flink/{name}" in guide} == set(texts)


def test_the_image_takes_models_from_a_folder_that_is_there():
    container = (FLINK / "Containerfile.worker").read_text()
    (source,) = re.findall(r"^COPY (\S+) /models$", container, re.MULTILINE)
    assert (ROOT / source / "README.md").is_file()


def test_beam_is_of_one_version_everywhere():
    beam = pinned("apache-beam")
    container = (FLINK / "Containerfile.worker").read_text()
    assert set(re.findall(r"BEAM=(\S+)", container)) == {beam}
    jar = next(a for a in containers("Job")["driver"]["args"] if a.startswith("--flink_job_server_jar="))
    assert jar.endswith(f"-job-server-{beam}.jar")


def test_the_container_copies_every_package_that_there_is():
    copied = set(re.findall(r"^COPY (\w+) \1$", (FLINK / "Containerfile.worker").read_text(), re.MULTILINE))
    assert copied == {"filters", "audit", "pipelines", "training", "dashboards"}


def test_beam_knows_every_option_of_the_job(arguments):
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions

    from pipelines.beam_options import unknown_words

    own = ("--out=", "--runner=")
    options = [a for a in arguments if a.startswith("--") and not a.startswith(own)]
    assert len(options) >= 7
    assert unknown_words(options) == []
    assert unknown_words([*options, "--paralelism=2"]) == ["--paralelism=2"]
    version = PipelineOptions(options).view_as(FlinkRunnerOptions).flink_version
    assert f"flink-{version}-job-server" in " ".join(options)
    images = [c["image"] for c in containers("Deployment").values() if c["image"].startswith("flink:")]
    assert images == [f"flink:{version}-java17"] * 2


def test_slots_workers_and_parallelism_agree(arguments):
    words = dict(a.removeprefix("--").split("=", 1) for a in arguments if "=" in a)
    configuration = yaml.safe_load(documents(FLINK / "flink-config.yaml")[0]["data"]["config.yaml"])
    slots = configuration["taskmanager.numberOfTaskSlots"]
    managers = next(
        document
        for document in documents(FLINK / "session-cluster.yaml")
        if document["kind"] == "Deployment" and document["metadata"]["name"] == "assay-taskmanager"
    )
    assert int(words["sdk_worker_parallelism"]) == slots
    assert int(words["parallelism"]) == slots * managers["spec"]["replicas"]
    workers = containers("Deployment")["workers"]
    cores = next(int(entry["value"]) for entry in workers["env"] if entry["name"] == "ASSAY_CORES")
    assert cores * slots == int(workers["resources"]["limits"]["cpu"])


def test_addresses_and_ports_agree(arguments):
    configuration = yaml.safe_load(documents(FLINK / "flink-config.yaml")[0]["data"]["config.yaml"])
    service = next(d for d in documents(FLINK / "session-cluster.yaml") if d["kind"] == "Service")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert configuration["jobmanager.rpc.address"] == service["metadata"]["name"]
    assert ports == {
        "rpc": configuration["jobmanager.rpc.port"],
        "blob": configuration["blob.server.port"],
        "rest": configuration["rest.port"],
    }
    assert f"--flink_master=http://{service['metadata']['name']}:{ports['rest']}" in arguments
    pool = containers("Deployment")["workers"]["ports"][0]["containerPort"]
    assert f"--environment_config=localhost:{pool}" in arguments


def test_beam_or_assay_knows_every_option_that_the_guide_names():
    from apache_beam.options.pipeline_options import PipelineOptions

    text = (ROOT / "docs" / "clusters.md").read_text()
    commands = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "--runner" in block]
    assert len(commands) == 3
    own = {"--runner", "--out", "--recipe", "--accelerator", "--service_port"}
    named = set(re.findall(r"(?<![-\w])--[a-z_]+", " ".join(commands))) - own
    known = {f"--{name}" for name in PipelineOptions([]).get_all_options()}
    assert named - known == set()
