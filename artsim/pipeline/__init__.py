"""The one seam to Ray: a stage over tables into a table, streaming through Ray Data, exact after any kill."""

import os

# What each of Ray's processes says, or says of each epoch, and no user can act on. Ray reads this when it is imported.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "Set ray log level from environment|Checkpoint successfully created")

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
