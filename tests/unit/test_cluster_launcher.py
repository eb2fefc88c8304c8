"""The cluster launcher's files: Ray takes them, EC2 would, and the stages of jobs/full.yaml find a place."""

from typing import Any

import botocore.session
import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from artsim.command import FULL_PROFILE, load_config
from tests.conftest import REPOSITORY
from tests.unit.test_cluster_kuberay import all_workers, container, pods

CLOUDS = ("aws", "gcp")


def written(cloud: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "cluster" / f"{cloud}.yaml").read_text())
    return found


def prepared(tree: dict[str, Any]) -> dict[str, Any]:
    """As `ray up` fills a file with defaults and validates it."""
    found: dict[str, Any] = prepare_config(tree)
    validate_config(found)
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_ray_takes_the_file_and_refuses_a_misspelt_one(cloud: str) -> None:
    assert prepared(written(cloud))["provider"]["type"] == cloud
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute'"):
        prepared(written(cloud) | {"idle_timeout_minute": 5})


@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_default_command_is_left_that_installs_another_ray(cloud: str) -> None:
    tree = prepared(written(cloud))
    commands = [line for name, lines in tree.items() if name.endswith("_commands") for line in lines]
    assert [line for line in commands if "ray-wheels" in line or "pip install -U" in line] == []
    assert "ray-wheels" in str(prepared({name: value for name, value in written(cloud).items() if "setup" not in name}))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_image_is_the_manifests_and_the_token_is_asked_for(cloud: str) -> None:
    tree = prepared(written(cloud))
    assert {tree["docker"]["image"]} == {container(pod)["image"] for _, _, pod in pods("rayjob")}
    assert "--env RAY_AUTH_MODE=token" in tree["docker"]["run_options"]
    assert "/home/ray/.ray/auth_token" in tree["file_mounts"]
    (head,) = [line for line in tree["head_start_ray_commands"] if "--head" in line]
    assert "--dashboard-host=127.0.0.1" in head


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_stage_finds_machines_and_none_lies_on_the_head(cloud: str) -> None:
    tree, config = prepared(written(cloud)), load_config(FULL_PROFILE)
    kinds = tree["available_node_types"]
    assert kinds[tree["head_node_type"]]["resources"] == {"CPU": 0}
    assert tree["max_workers"] == sum(kind["max_workers"] for kind in kinds.values())
    wanted = {name: {"CPU": each.num_cpus, "GPU": each.num_gpus} for name, each in all_workers(config).items()}
    wanted["training"] = {"CPU": config.training.num_cpus, "GPU": int(config.training.use_gpu)}
    for name, need in wanted.items():
        fitting = [
            kind
            for kind in kinds.values()
            if kind["max_workers"] and all(kind["resources"].get(what, 0) >= count for what, count in need.items())
        ]
        assert fitting, name


def test_ec2_knows_every_setting_of_a_machine() -> None:
    """Ray hands them on without a look; this is the API's own description."""
    client = botocore.session.get_session().get_service_model("ec2")
    request = client.operation_model("RunInstances").input_shape
    validator = botocore.validate.ParamValidator()
    for name, kind in written("aws")["available_node_types"].items():
        report = validator.validate({"MinCount": 1, "MaxCount": 1} | kind["node_config"], request)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"
    wrong = validator.validate({"MinCount": 1, "MaxCount": 1, "InstanceTyp": "m7i.xlarge"}, request)
    assert wrong.has_errors()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_only_machines_that_are_called_spot_are_spot(cloud: str) -> None:
    for name, kind in written(cloud)["available_node_types"].items():
        node = kind["node_config"]
        preemptible = any(each.get("preemptible") for each in node.get("scheduling", ()))
        assert (preemptible or "InstanceMarketOptions" in node) == name.endswith("-spot")
