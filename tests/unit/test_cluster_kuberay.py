"""KubeRay's manifests: valid, and what they name is in the project and large enough for its stages."""

import copy
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.constants import AUTOSCALER_METRIC_PORT
from ray.dashboard.consts import DASHBOARD_METRIC_PORT

from artsim.checkpoints import CACHE
from artsim.command import FULL_PROFILE, parse_command
from artsim.config import Config, Section, Workers
from tests.conftest import REPOSITORY, shared

FOLDER = REPOSITORY / "cluster" / "kuberay"
KINDS = {"rayjob": "rayClusterSpec", "rayservice": "rayClusterConfig", "raycluster": ""}
APP = PurePosixPath("/app")
HOME = PurePosixPath("/home/ray")


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return found


def cluster_of(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifest(name)["spec"]
    return spec[KINDS[name]] if KINDS[name] else spec


def pods(name: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name of the group, the group, and its pod's spec; the head's first."""
    cluster = cluster_of(name)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group.get("groupName", "head"), group, group["template"]["spec"]


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    return dict(found)


def objects(*files: str) -> dict[tuple[str, str], dict[str, Any]]:
    documents = [each for file in files for each in yaml.safe_load_all((FOLDER / file).read_text())]
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def closed(schema: Any) -> Any:
    """The schema with every key refused that it does not name, as an API server does with strict validation."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        inner.setdefault("additionalProperties", False)
    return inner


def mistakes(name: str, tree: dict[str, Any]) -> list[str]:
    schema = closed(json.loads(shared(f"kuberay/{name}.v1.schema.json").read_text()))
    return [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(tree)
    ]


@pytest.mark.parametrize("name", KINDS)
def test_a_manifest_is_valid_and_no_key_of_it_is_unknown(name: str) -> None:
    tree = manifest(name)
    assert (tree["apiVersion"], tree["kind"].lower()) == ("ray.io/v1", name)
    assert mistakes(name, tree) == []
    wrong = copy.deepcopy(tree)
    groups = (wrong["spec"][KINDS[name]] if KINDS[name] else wrong["spec"])["workerGroupSpecs"]
    groups[0]["maxReplica"] = groups[0].pop("maxReplicas")
    groups[0]["template"]["spec"]["containers"][0]["volumeMount"] = []
    groups[0]["rayStartParams"]["num-cpus"] = 4
    assert len(mistakes(name, wrong)) == 4  # two unknown, one missing, one no string


def job_config() -> Config:
    words = shlex.split(manifest("rayjob")["spec"]["entrypoint"])
    assert words[:2] == ["python", str(APP / "jobs/run.py")]
    local = [str(REPOSITORY / PurePosixPath(word).relative_to(APP)) if word.startswith("/") else word for word in words]
    assert Path(local[1]).is_file()
    assert local[2:4] == ["--config", str(FULL_PROFILE)]
    command = parse_command(local[2:], None)
    assert not command.overwrite  # every try would begin anew
    return command.config


def test_the_job_s_settings_are_good_and_a_failed_try_is_followed_by_another() -> None:
    config, spec = job_config(), manifest("rayjob")["spec"]
    assert config.root.startswith("s3://")
    assert config.source.uri.startswith("s3://")
    assert spec["backoffLimit"] >= 1
    assert spec["shutdownAfterJobFinishes"]


def capacity(name: str) -> list[tuple[int, dict[str, float]]]:
    """Machines of each group at most, and what Ray counts on one."""
    found = []
    for _, group, pod in pods(name):
        limits = container(pod)["resources"]["limits"]
        cpus = float(group["rayStartParams"].get("num-cpus", limits["cpu"]))
        assert cpus <= float(limits["cpu"]) + 1 or cpus == 0
        found.append((group.get("maxReplicas", 1), {"CPU": cpus, "GPU": float(limits.get("nvidia.com/gpu", 0))}))
    return found


def places(name: str, num_cpus: float, num_gpus: float) -> int:
    """Workers that need so much which a cluster can hold when it is as large as it may grow."""
    wanted = {"CPU": num_cpus, "GPU": num_gpus}
    each = [
        (count, min(int(machine[what] / need) for what, need in wanted.items() if need))
        for count, machine in capacity(name)
    ]
    return sum(count * room for count, room in each)


def all_workers(section: Section, path: str = "") -> dict[str, Workers]:
    found = {}
    for name, value in section:
        if isinstance(value, Workers):
            found[path] = value
        elif isinstance(value, Section):
            found |= all_workers(value, name)
    return found


def test_every_worker_that_the_job_asks_for_finds_a_place() -> None:
    config = job_config()
    wanted = {name: (each.num_cpus, each.num_gpus, each.num_workers) for name, each in all_workers(config).items()}
    training = config.training
    wanted["training"] = (training.num_cpus, float(training.use_gpu), max(1, training.num_workers))
    assert {name for name, (_, gpus, _) in wanted.items() if gpus} == {
        "caption",
        "prompt",
        "generate",
        "embed",
        "training",
    }
    short = {name: each for name, each in wanted.items() if places("rayjob", *each[:2]) < max(1, each[2])}
    assert not short


def test_stages_that_fill_the_cluster_say_how_many_workers_they_want() -> None:
    """The cluster begins without machines: what is left open would begin with one worker."""
    workers = all_workers(job_config())
    heavy = ("source", "letterbox", "caption", "prompt", "generate", "embed", "cues", "edit")
    assert [name for name in heavy if not workers[name].num_workers] == []


def test_one_gpu_of_the_job_holds_two_workers_that_embed() -> None:
    embed = job_config().embed.workers
    (machine,) = {tuple(sorted(machine.items())) for _, machine in capacity("rayjob") if machine["GPU"]}
    assert dict(machine)["CPU"] >= 2 * embed.num_cpus
    assert dict(machine)["GPU"] >= 2 * embed.num_gpus


@pytest.mark.parametrize("name", KINDS)
def test_images_and_ray_are_those_of_the_project(name: str) -> None:
    project = (REPOSITORY / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.+)"$', project, re.MULTILINE)
    (ray,) = re.findall(r"^ray==(\S+)$", (REPOSITORY / "cluster/requirements-gpu.txt").read_text(), re.MULTILINE)
    assert cluster_of(name)["rayVersion"] == ray
    images = {container(pod)["image"] for _, _, pod in pods(name)}
    assert images == {f"registry.example.com/artsim:{version}-gpu"}


@pytest.mark.parametrize("name", KINDS)
def test_what_pods_refer_to_is_there(name: str) -> None:
    there = objects("setup.yaml", "secrets.yaml")
    space = manifest(name)["metadata"]["namespace"]
    assert {each["metadata"].get("namespace", space) for each in there.values()} == {space}
    for _, _, pod in pods(name):
        assert ("ServiceAccount", pod["serviceAccountName"]) in there
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container(pod)["volumeMounts"]} == volumes.keys()
        for volume in volumes.values():
            if "secret" in volume:
                assert ("Secret", volume["secret"]["secretName"]) in there
            else:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there
        for variable in container(pod)["env"]:
            if "valueFrom" in variable:
                key = variable["valueFrom"]["secretKeyRef"]
                assert key["key"] in there["Secret", key["name"]]["stringData"]


@pytest.mark.parametrize("name", KINDS)
def test_models_are_kept_on_the_volume(name: str) -> None:
    ours = HOME / PurePosixPath(CACHE.relative_to(Path.home()).as_posix())
    for _, _, pod in pods(name):
        (mounted,) = [each["mountPath"] for each in container(pod)["volumeMounts"] if each["name"] == "model-cache"]
        assert ours.is_relative_to(mounted)
        assert (HOME / ".cache/huggingface").is_relative_to(mounted)


@pytest.mark.parametrize("name", KINDS)
def test_who_may_be_lost_and_who_may_not(name: str) -> None:
    for group, spec, pod in pods(name):
        tolerated = {each["key"] for each in pod.get("tolerations", ())}
        gpus = container(pod)["resources"]["limits"].get("nvidia.com/gpu")
        selected = pod.get("nodeSelector", {}).get("eks.amazonaws.com/capacityType") == "SPOT"
        assert ("spot" in tolerated) == selected == group.endswith("-spot")
        assert ("nvidia.com/gpu" in tolerated) == bool(gpus)
        if group == "head":
            assert spec["rayStartParams"]["num-cpus"] == "0"


@pytest.mark.parametrize("name", KINDS)
def test_the_cluster_asks_for_a_token_and_grows_by_itself(name: str) -> None:
    cluster = cluster_of(name)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"]
    assert cluster["autoscalerOptions"]["version"] == "v2"
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_prometheus_finds_a_port_on_every_pod() -> None:
    endpoints = objects("setup.yaml")["PodMonitor", "artsim"]["spec"]["podMetricsEndpoints"]
    every, *of_heads = [endpoint["port"] for endpoint in endpoints]
    for name in KINDS:
        for group, _, pod in pods(name):
            ports = {port["name"]: port["containerPort"] for port in container(pod)["ports"]}
            assert ports[every] == 8080  # --metrics-export-port, as KubeRay sets it
            if group == "head":
                assert [ports[port] for port in of_heads] == [AUTOSCALER_METRIC_PORT, DASHBOARD_METRIC_PORT]


def own_metrics() -> set[str]:
    """What Ray exports of our own metrics; counters end in _total, histograms in _bucket."""
    ends = {"Counter": "_total", "Gauge": "", "Histogram": "_bucket"}
    text = "".join((REPOSITORY / folder / "measures.py").read_text() for folder in ("artsim/pipeline", "serve"))
    found = re.findall(r'(Counter|Gauge|Histogram)\(\s*"(artsim_[a-z_]+)"', text)
    return {f"ray_{name}{ends[kind]}" for kind, name in found}


def test_grafana_asks_for_metrics_that_ray_or_we_have() -> None:
    dashboard = json.loads((REPOSITORY / "cluster" / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for expression in asked for name in re.findall(r"\bray_[a-z_]+(?=\{)", expression)}
    assert len(names) >= len(dashboard["panels"])
    folder = Path(ray.__file__).parent / "dashboard"
    known = {word for file in folder.rglob("*.py") for word in re.findall(r"[a-z_]+", file.read_text())}
    assert [name for name in names - own_metrics() if not {name, name.removeprefix("ray_")} & known] == []
    assert {name for name in own_metrics() if name.startswith(("ray_artsim_rows", "ray_artsim_retries"))} <= names
    assert all('ray_io_cluster=~"$cluster"' in expression for expression in asked)


def test_no_secret_lies_in_a_file() -> None:
    for secret in objects("secrets.yaml").values():
        assert {value.strip() for value in secret["stringData"].values()} == {"REPLACE_ME"}
    for file in (REPOSITORY / "cluster").rglob("*"):
        if file.is_file():
            assert not re.findall(r"AKIA[0-9A-Z]{16}|\bhf_[A-Za-z]{30}|AWS_SECRET_ACCESS_KEY", file.read_text()), file
