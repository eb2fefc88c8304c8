"""embeddings + triplets/<name> -> models/<name>: a siamese head, trained by Ray Train on the cached embeddings.

python jobs/train.py root=runs/wikiart [split.configuration=b80 head.preset=pooled training.loss=triplet]
"""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import torch
from ray.train import (
    Checkpoint,
    CheckpointConfig,
    CheckpointConsistencyMode,
    FailureConfig,
    RunConfig,
    ScalingConfig,
)
from ray.train.torch import TorchTrainer, get_device, prepare_model

from artsim import UserError, models, pipeline
from artsim import training as loop
from artsim.cache import inputs_of, load_bucket, locate, read_triplets, triplets_to_train
from artsim.command import parse_command
from artsim.config import Config, Workers
from artsim.siamese import build_head, save_model
from artsim.store import Store
from artsim.tables import open_root


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    config = command.config
    run = models.claim(config, command.overwrite)
    if run.is_trained:
        print(f"models/{config.model_name}: trained already", flush=True)
        return
    # Ray Train takes one report of a worker at each look at it, every 2 s by default: more than an epoch takes here.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # or what a worker prints is shown twice
    pipeline.connect()
    if "RAY_ADDRESS" not in os.environ and (short := shortage(config)):
        raise UserError(short)
    training = config.training
    path, filesystem = Store(f"{run.folder}/checkpoints").arrow()
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={"config": config, "info": run.info, **_load(config)},
        scaling_config=ScalingConfig(
            num_workers=training.num_workers,
            use_gpu=training.use_gpu,
            resources_per_worker={"CPU": training.num_cpus, "GPU": int(training.use_gpu)},
        ),
        run_config=RunConfig(
            name=run.name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=training.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    result = trainer.fit()
    assert result.checkpoint is not None
    with result.checkpoint.as_directory() as folder:
        history = json.loads((Path(folder) / "checkpoint.json").read_text())["history"]
        Store(run.folder).write("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history).encode())
        models.publish(Path(folder) / "best", run.folder)
    print(f"models/{config.model_name}: {len(history)} epochs, {run.folder}", flush=True)


def shortage(config: Config) -> str | None:
    """Why the cluster cannot hold all training processes at once, which they must be: one sentence, or None."""
    training = config.training
    workers = Workers(num_cpus=training.num_cpus, num_gpus=int(training.use_gpu))
    return pipeline.shortage(f"models/{config.model_name}", workers, training.num_workers)


def _load(config: Config) -> dict[str, Any]:
    """Features as objects that the workers of a machine share, and the pairs of train and val as rows of them."""
    num_buckets = open_root(config.root)
    inputs = ray.put(inputs_of(config, num_buckets))
    load: Any = ray.remote(num_cpus=1, num_returns=2)(load_bucket)
    loaded = [load.remote(inputs, bucket) for bucket in range(num_buckets)]
    keys = ray.get([keys for keys, _ in loaded])
    row_of = {key: row for row, key in enumerate(key for bucket in keys for key in bucket)}
    triplets = read_triplets(config, num_buckets)
    pairs = {split: locate(triplets_to_train(triplets, config, split), row_of).pairs for split in ("train", "val")}
    return {"features": [features for found, (_, features) in zip(keys, loaded, strict=True) if found], "pairs": pairs}


def train_loop(settings: dict[str, Any]) -> None:
    """What each worker does: the same epochs on its share of each batch; rank 0 keeps the checkpoints."""
    config: Config = settings["config"]
    torch.set_num_threads(max(1, int(config.training.num_cpus)))
    pooled, tokens, captions = zip(*ray.get(settings["features"]), strict=True)
    features = loop.Features(
        pooled, tokens if tokens[0] is not None else None, captions if captions[0] is not None else None
    )
    pairs: dict[str, loop.Pairs] = settings["pairs"]
    torch.manual_seed(config.seed)
    head = build_head(config.head, *features.sizes)
    head.set_statistics(loop.statistics(features, np.unique([pairs["train"].anchor, pairs["train"].positive])))
    state = loop.start_training(prepare_model(head.to(get_device())), config.training)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            checkpoint.to_directory(folder)
            loop.load_checkpoint(folder, state)
        while state.epoch < config.training.num_epochs and not state.stopping.done:
            trained = loop.train_epoch(state, features, pairs["train"], config.training, config.seed)
            is_best = state.end_epoch(trained, loop.validate(state, features, pairs["val"], config.training))
            _report(Path(folder), state, settings["info"] if is_best else None)


def _report(folder: Path, state: loop.TrainingState, info: dict[str, Any] | None) -> None:
    """Tell Ray of an epoch that ended; rank 0 hands over the state, and beside it the best head so far."""
    figures = state.history[-1]
    if ray.train.get_context().get_world_rank() > 0:
        ray.train.report(figures)
        return
    loop.save_checkpoint(folder, state)
    if info is not None:
        save_model(folder / "best", state.head, info | {"epoch": state.epoch})
    ray.train.report(figures, checkpoint=Checkpoint.from_directory(folder))
    # The controller notes reports later than they are made: were this process to die first, the epoch would be lost.
    ray.train.get_all_reported_checkpoints(consistency_mode=CheckpointConsistencyMode.COMMITTED)
    print(
        f"epoch {state.epoch}: loss {figures['loss']:.4f}, validation loss {figures['val_loss']:.4f}, "
        f"validation triplet accuracy {figures['val_triplet_accuracy']:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    pipeline.main(main)
