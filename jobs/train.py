"""embeddings + triplets/<name> -> models/<name>: a siamese head, trained by Ray Train on the cached embeddings.

python jobs/train.py root=runs/wikiart [split.configuration=b80 head.preset=pooled training.loss=triplet]
"""

import os
from collections.abc import Sequence

from artsim import UserError, models, pipeline
from artsim.command import parse_command
from artsim.config import Config, Workers
from artsim.log import logger
from artsim.pipeline import train


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    config = command.config
    run = models.claim(config, command.overwrite)
    if run.is_trained:
        logger.info(f"models/{config.model_name}: trained already")
        return
    # Ray Train takes one report of a worker at each look at it, every 2 s by default: more than an epoch takes here.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # or what a worker prints is shown twice
    pipeline.connect()
    if "RAY_ADDRESS" not in os.environ and (short := shortage(config)):
        raise UserError(short)
    num_epochs = train.fit(config, run, train.load(config))
    logger.info(f"models/{config.model_name}: {num_epochs} epochs, {run.folder}")


def shortage(config: Config) -> str | None:
    """Why the cluster cannot hold all training processes at once, which they must be: one sentence, or None."""
    training = config.training
    workers = Workers(num_cpus=training.num_cpus, num_gpus=int(training.use_gpu))
    return pipeline.shortage(f"models/{config.model_name}", workers, max(1, training.num_workers))


if __name__ == "__main__":
    pipeline.main(main)
