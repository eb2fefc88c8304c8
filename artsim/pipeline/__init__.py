"""The one seam to Ray: a stage over tables into a table, streaming through Ray Data, exact after any kill."""

import os

# Each of its processes would say so, and no user can act on it. Ray reads this when it is imported.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "Set ray log level from environment variable")

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
