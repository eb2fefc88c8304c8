"""A cluster of two kinds of machines, one of them with a fake GPU: which worker ran on which. Prints JSON.

A program, because a process has one Ray and the tests' own is another.
"""

import json
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import ray
from ray.cluster_utils import Cluster

from artsim.config import Workers
from artsim.pipeline import Step, run, shortage
from artsim.schemas import Batch
from tests.cluster.stages import Shout
from tests.cluster.test_pipeline import captions, command, listing

NUM_ROWS = 60
"""Of a quarter of a second: enough that a worker which starts late finds some left."""
CASES: dict[str, dict[str, Any]] = {
    "labelled": {"min_workers": 1, "num_workers": 3, "num_cpus": 0.5, "node_labels": {"kind": "!gpu"}},
    "halves": {"num_workers": 2, "num_cpus": 0.5, "num_gpus": 0.5},
    "left_open": {},
}


class Where(Shout):
    """Says on which machine and in which process a row was done, and which share of a GPU that held."""

    version: ClassVar[int] = 1

    def __call__(self, batch: Batch) -> Batch:
        done = super().__call__(batch)
        context = ray.get_runtime_context()
        held = context.get_assigned_resources().get("GPU", 0)
        said = json.dumps([context.get_node_id(), os.getpid(), held])
        return done | {"caption": np.array([said] * len(batch["title"]), object)}


def main(folder: Path) -> None:
    small: dict[str, Any] = {"object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=small | {"num_cpus": 0, "include_dashboard": False})
    nodes = {
        cluster.add_node(num_cpus=2, labels={"kind": "cpu"}, **small).node_id: "cpu",
        cluster.add_node(num_cpus=2, num_gpus=1, labels={"kind": "gpu"}, **small).node_id: "gpu",
    }
    cluster.wait_for_nodes()
    os.environ["RAY_ADDRESS"] = cluster.address
    found: dict[str, Any] = {}
    for name, settings in CASES.items():
        root = folder / name
        listing(root, [f"t{row}" for row in range(NUM_ROWS)])
        workers = Workers(**{"num_cpus": 1, "batch_size": 1, "rows_per_part": 1} | settings)
        run(Step("captions", Where, (0.25,), {"_listing": {"title": "title"}}, workers), command(root))
        rows: Counter[str] = Counter()
        processes = defaultdict(set)
        for said in captions(root).values():
            node, process, gpus = json.loads(said)
            rows[nodes[node]] += 1
            processes[f"{nodes[node]} {gpus:g}"].add(process)
        found[name] = {"rows": rows, "workers": {where: len(some) for where, some in processes.items()}}
    found["shortage"] = shortage("captions", Workers(num_gpus=1, node_labels={"kind": "cpu"}))
    found["halves_held"] = shortage("captions", Workers(num_gpus=0.5), at_once=2)
    print(json.dumps(found), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
