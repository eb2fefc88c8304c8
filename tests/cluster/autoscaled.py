"""A cluster that Ray's autoscaler makes and unmakes on this machine: which machines were there when. Prints JSON.

Run in namespaces of its own, where the ports are free and where everything ends with this process. Ray's fake provider
is named as an external one, because the wheel lacks the example file that its own name asks for.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider

from artsim.config import Workers
from artsim.pipeline import Step, connect, run
from tests.cluster.stages import Shout
from tests.cluster.test_pipeline import command, listing

ADDRESS = "127.0.0.1:6379"
MOST = {"cpu": 2, "gpu": 3}
STAGES: dict[str, dict[str, Any]] = {
    "asks for three": {"num_workers": 3, "num_gpus": 1},
    "left open": {"num_gpus": 1},
}
NUM_ROWS = {"asks for three": 24, "left open": 80}
"""Of half a second. Ray Data asks for more every 10 s, if workers were busy."""
IDLE_S = 3
COMMANDS = (
    "initialization",
    "setup",
    "head_setup",
    "worker_setup",
    "head_start_ray",
    "worker_start_ray",
)


def start_head(folder: Path) -> None:
    """A head without cores for work, whose autoscaler adds machines of two kinds."""
    kinds: dict[str, Any] = {
        kind: {
            "resources": {"CPU": 2, "GPU": int(kind == "gpu")},
            "labels": {"kind": kind},
            "node_config": {},
            "min_workers": 0,
            "max_workers": most,
        }
        for kind, most in MOST.items()
    }
    kinds["ray.head.default"] = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    config = {
        "cluster_name": "fake",
        "provider": {
            "type": "external",
            "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
            "gcs_address": ADDRESS,
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
        },
        "available_node_types": kinds,
        "head_node_type": "ray.head.default",
        "max_workers": sum(MOST.values()),
        "idle_timeout_minutes": IDLE_S / 60,
        "cluster_synced_files": [],
        **{f"{name}_commands": [] for name in COMMANDS},
    }
    (folder / "cluster.json").write_text(json.dumps(config))
    environment = {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    }
    host, port = ADDRESS.split(":")
    options = [f"--node-ip-address={host}", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]
    options += [f"--temp-dir={folder}", f"--autoscaling-config={folder}/cluster.json"]
    options += ["--object-store-memory=100000000"]
    ray_command = [str(Path(sys.executable).with_name("ray")), "start", "--head", *options]
    subprocess.run(ray_command, env=os.environ | environment, check=True, stdout=sys.stderr)


class Watch(threading.Thread):
    """Notes which machines there are, whenever that changes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.began = time.monotonic()
        self.changes: list[tuple[float, dict[str, int]]] = []

    def run(self) -> None:
        while True:
            kinds = [node["Labels"].get("kind") for node in ray.nodes() if node["Alive"]]
            now = {kind: kinds.count(kind) for kind in MOST}
            if not self.changes or self.changes[-1][1] != now:
                self.changes.append((self.seconds(), now))
                print(self.changes[-1], file=sys.stderr, flush=True)
            time.sleep(0.25)

    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 1)

    def until_empty(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(self.changes[-1][1].values()) and time.monotonic() < deadline:
            time.sleep(0.25)


def main(folder: Path) -> None:
    start_head(folder)
    os.environ["RAY_ADDRESS"] = ADDRESS
    connect()
    watch = Watch()
    watch.start()
    stages = {}
    for name, settings in STAGES.items():
        root = folder / name.replace(" ", "-")
        listing(root, [f"t{row}" for row in range(NUM_ROWS[name])])
        workers = Workers(**{"batch_size": 2, "rows_per_part": 2} | settings)
        began = watch.seconds()
        done = run(Step("captions", Shout, (0.5,), {"_listing": {"title": "title"}}, workers), command(root))
        stages[name] = {"began": began, "ended": watch.seconds(), "rows": done.rows}
        watch.until_empty(40)
    print(json.dumps({"machines": watch.changes, "stages": stages}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
