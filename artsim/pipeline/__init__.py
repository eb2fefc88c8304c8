"""The one seam to Ray: a stage over tables into a table, streaming through Ray Data, exact after any kill."""

from artsim.pipeline.cluster import by_bucket, connect, each_bucket, num_workers, options, shortage
from artsim.pipeline.job import Summary, begin, main, run, unpack
from artsim.step import Step

__all__ = [
    "Step",
    "Summary",
    "begin",
    "by_bucket",
    "connect",
    "each_bucket",
    "main",
    "num_workers",
    "options",
    "run",
    "shortage",
    "unpack",
]
