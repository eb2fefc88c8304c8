"""How often each chunk of rows was begun, so that what ends its worker again and again is told from bad luck."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

MAX_TRIES = 2
"""Times that a chunk may end the process that does it, before its rows are tried one by one."""

Chunk = tuple[int, int, int]
"""Plan, bucket and start of a chunk's first piece."""


class Tries:
    """Chunks that were begun and not ended, and on which machines.

    A machine that is lost takes its workers with it, and none of their chunks is to blame: such tries do not count.
    """

    def __init__(self) -> None:
        self._begun: dict[Chunk, list[str]] = {}

    def begin(self, chunk: Chunk, machine: str) -> bool:
        """Whether a chunk may be done; not if it has ended its worker MAX_TRIES times."""
        before = self._begun.setdefault(chunk, [])
        if len(before) >= MAX_TRIES:
            alive = alive_machines()
            before[:] = [where for where in before if where in alive]
        if len(before) >= MAX_TRIES:
            return False
        before.append(machine)
        return True

    def end(self, chunk: Chunk) -> None:
        """Forget a chunk that is done."""
        self._begun.pop(chunk, None)

    def begin_anew(self) -> None:
        """Forget all chunks: those of the next stream have the same names."""
        self._begun.clear()


def count_tries() -> Any:
    """An actor that counts for one stream at a time, on the driver's machine, which takes all with it when it is lost.

    A call of the stream before that comes late costs a chunk one try more, or one less.
    """
    context = ray.get_runtime_context()
    actor = _counter(context.get_node_id(), context.get_job_id())
    ray.get(actor.begin_anew.remote())
    return actor


@lru_cache(maxsize=1)  # each table would wait a second for another process
def _counter(machine: str, job: str) -> Any:
    """This driver's actor; another Ray, or another connection to it, has another machine or job id."""
    here = NodeAffinitySchedulingStrategy(machine, soft=False)
    # A call that a bad link cut off is made again; what an actor knew that was killed is forgotten, and counted anew.
    options = {"num_cpus": 0, "scheduling_strategy": here, "max_restarts": -1, "max_task_retries": -1}
    return ray.remote(Tries).options(**options).remote()


def alive_machines() -> set[str]:
    """Ids of the machines that the cluster holds."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}
