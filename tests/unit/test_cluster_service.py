"""The scorer on KubeRay: its Serve configuration, its keys, its size."""

from pathlib import PurePosixPath
from typing import Any

import yaml
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema

from serve.settings import ServiceConfig
from tests.conftest import REPOSITORY
from tests.unit.test_cluster_kuberay import capacity, container, manifest, objects, pods

SETTINGS = REPOSITORY / "serve" / "scorer.yaml"


def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(manifest("rayservice")["spec"]["serveConfigV2"])
    return found


def application(tree: dict[str, Any]) -> dict[str, Any]:
    (found,) = tree["applications"]
    return dict(found)


def test_ray_takes_the_serve_configuration() -> None:
    (served,) = ServeDeploySchema.model_validate(config()).applications
    deployments = {each.name: each for each in served.deployments}
    assert served.route_prefix == "/"
    scaling = AutoscalingConfig.model_validate(deployments["Encoder"].autoscaling_config)
    assert 1 <= scaling.min_replicas < (scaling.max_replicas or 1)
    given = application(config())["deployments"][1]["autoscaling_config"]
    assert given.keys() <= AutoscalingConfig.model_fields.keys()  # Ray passes over what it does not know


def test_it_is_the_project_s_application() -> None:
    ours, theirs = application(config()), application(yaml.safe_load(SETTINGS.read_text()))
    for name in ("name", "route_prefix", "import_path"):
        assert ours[name] == theirs[name]
    ServiceConfig.model_validate(ours["args"])
    assert {each["name"] for each in ours["deployments"]} <= {each["name"] for each in theirs["deployments"]}


def test_the_imported_function_is_there() -> None:
    module, _, name = application(config())["import_path"].partition(":")
    file = REPOSITORY / f"{module.replace('.', '/')}.py"
    assert f"\ndef {name}(" in file.read_text()


def test_the_port_is_open_on_every_pod_and_the_keys_lie_where_the_scorer_looks() -> None:
    tree, secrets = config(), objects("secrets.yaml")
    keys = PurePosixPath(application(tree)["args"]["keys"])
    for _, _, pod in pods("rayservice"):
        ports = {port["name"]: port["containerPort"] for port in container(pod)["ports"]}
        assert ports["serve"] == tree["http_options"]["port"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container(pod)["volumeMounts"]}
        (secret,) = [each["secret"] for each in pod["volumes"] if each["name"] == mounts[str(keys.parent)]]
        assert keys.name in secrets["Secret", secret["secretName"]]["stringData"]


def test_an_upgrade_leaves_nobody_waiting() -> None:
    spec = manifest("rayservice")["spec"]
    assert spec["upgradeStrategy"] == {"type": "NewCluster"}
    assert spec["rayClusterDeletionDelaySeconds"] >= 60  # for requests in flight


def test_all_replicas_find_a_place_on_the_machines_that_may_come() -> None:
    free = [machine["CPU"] for count, machine in capacity("rayservice") for _ in range(count)]
    replicas = []
    for each in application(config())["deployments"]:
        most = each["autoscaling_config"]["max_replicas"] if "autoscaling_config" in each else each["num_replicas"]
        # What one Encoder takes is said in the application's args.
        options = each.get("ray_actor_options", application(config())["args"])
        replicas += [options["num_cpus"]] * most
    for wanted in sorted(replicas, reverse=True):
        at = next((at for at, room in enumerate(free) if room >= wanted), None)
        assert at is not None, f"{wanted} CPUs"
        free[at] -= wanted
