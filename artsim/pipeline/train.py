"""The seam to Ray Train: a head trained on the cached features of a root, by workers of its own or in this process."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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

from artsim import log, models
from artsim import training as loop
from artsim.batches import Features, Pairs
from artsim.cache import Key, inputs_of, load_bucket, pairs_to_train, read_triplets
from artsim.config import Config
from artsim.siamese import build_head, save_model
from artsim.store import Store
from artsim.tables import open_root


class Loaded(NamedTuple):
    """The features of a root in Ray's shared memory, once for each machine."""

    chunks: list[ray.ObjectRef]
    """cache.Arrays of each bucket that holds a picture"""
    row_of: dict[Key, int]
    """Where a picture lies among the rows of all chunks."""


def features_of(chunks: list[ray.ObjectRef]) -> Features:
    """What was loaded as this process sees it, without a copy."""
    pooled, tokens, captions = zip(*ray.get(chunks), strict=True)
    return Features(pooled, *(column if column[0] is not None else None for column in (tokens, captions)))


def load(config: Config) -> Loaded:
    """Read what a head of these settings looks at, a task for each bucket."""
    num_buckets = open_root(config.root)
    inputs = ray.put(inputs_of(config, num_buckets))
    task: Any = ray.remote(num_cpus=1, num_returns=2)(load_bucket)
    loaded = [task.remote(inputs, bucket) for bucket in range(num_buckets)]
    keys = ray.get([keys for keys, _ in loaded])
    row_of = {key: row for row, key in enumerate(key for bucket in keys for key in bucket)}
    return Loaded([features for found, (_, features) in zip(keys, loaded, strict=True) if found], row_of)


class _LocalTrainer(TorchTrainer):
    """For a Ray that ends with this process: nothing is left to be cleaned up after it.

    Ray's cleaner asks the dashboard for its controller each second, and where there is none it says so each second, and
    may keep the end of a training waiting for 12 s.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()  # type: ignore[misc]  # private
        return [each for each in callbacks if type(each).__name__ != "PlacementGroupCleanerCallback"]


def fit(config: Config, run: models.Run, loaded: Loaded) -> int:
    """Train on the split train, choose the epoch by val, and publish the model; returns the number of epochs.

    Goes on from its last checkpoint where it was killed. Lost workers are replaced.
    """
    training = config.training
    if not training.num_workers:
        task: Any = ray.remote(num_cpus=training.num_cpus, num_gpus=int(training.use_gpu))(fit_here)
        num_epochs: int = ray.get(task.remote(config, run, loaded))
        return num_epochs
    path, filesystem = Store(f"{run.folder}/checkpoints").arrow()
    kind = TorchTrainer if "RAY_ADDRESS" in os.environ else _LocalTrainer
    trainer = kind(
        _in_worker,
        train_loop_config=_settings(config, run, loaded),
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
        return _publish(Path(folder), run)


def fit_here(config: Config, run: models.Run, loaded: Loaded) -> int:
    """The same in this process alone (Ray Train's local mode), for many short runs side by side, each in a task.

    Starts ten seconds faster; keeps no checkpoints: a run that is killed starts anew.
    """
    logging.getLogger("ray.train").setLevel(logging.ERROR)  # or each run tells of its local mode
    with tempfile.TemporaryDirectory() as folder:
        trainer = TorchTrainer(
            partial(_train, folder=Path(folder), say=lambda _: None),
            train_loop_config=_settings(config, run, loaded),
            scaling_config=ScalingConfig(num_workers=0, use_gpu=config.training.use_gpu),
        )
        trainer.fit()
        return _publish(Path(folder), run)


def _settings(config: Config, run: models.Run, loaded: Loaded) -> dict[str, Any]:
    triplets = read_triplets(config, open_root(config.root))
    pairs = {split: pairs_to_train(triplets, config, split, loaded.row_of) for split in ("train", "val")}
    return {"config": config, "info": run.info, "chunks": loaded.chunks, "pairs": pairs, "log": log.fields}


def _publish(folder: Path, run: models.Run) -> int:
    """Put the best model of a checkpoint's folder and its curve in place; returns the number of epochs."""
    history = json.loads((folder / "checkpoint.json").read_text())["history"]
    Store(run.folder).write("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history).encode())
    models.publish(folder / "best", run.folder)
    return len(history)


def _in_worker(settings: dict[str, Any]) -> None:
    # Or all figures of each epoch are printed too: by a logger that is named by its file, not by its module.
    logging.getLogger().setLevel(logging.WARNING)
    log.configure(settings["config"].log_format, **settings["log"])
    with tempfile.TemporaryDirectory() as folder:
        _train(settings, Path(folder), say=partial(log.logger.info, extra={"event": "epoch"}))


def _train(settings: dict[str, Any], folder: Path, say: Callable[[str], None]) -> None:
    """What each worker does: the same epochs on its share of each batch; rank 0 keeps the state in the folder."""
    config: Config = settings["config"]
    torch.set_num_threads(max(1, int(config.training.num_cpus)))
    features = features_of(settings["chunks"])
    pairs: dict[str, Pairs] = settings["pairs"]
    torch.manual_seed(config.seed)
    head = build_head(config.head, *features.sizes)
    head.set_statistics(loop.statistics(features, pairs["train"].pictures(config.training)))
    state = loop.start_training(prepare_model(head.to(get_device())), config.training)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        checkpoint.to_directory(folder)
        loop.load_checkpoint(folder, state)
    while state.epoch < config.training.num_epochs and not state.stopping.done:
        trained = loop.train_epoch(state, features, pairs["train"], config.training, config.seed)
        is_best = state.end_epoch(trained, loop.validate(state, features, pairs["val"], config.training))
        if ray.train.get_context().get_world_rank() > 0:
            ray.train.report(state.history[-1])
        else:
            _report(folder, state, settings["info"] if is_best else None)
            say(_sentence(state.history[-1]))


def _report(folder: Path, state: loop.TrainingState, info: dict[str, Any] | None) -> None:
    """Hand Ray the state after an epoch, and beside it the best head so far."""
    loop.save_checkpoint(folder, state)
    if info is not None:
        save_model(folder / "best", state.head, info | {"epoch": state.epoch})
    ray.train.report(state.history[-1], checkpoint=Checkpoint.from_directory(folder))
    # The controller notes reports later than they are made: were this process to die first, the epoch would be lost.
    ray.train.get_all_reported_checkpoints(consistency_mode=CheckpointConsistencyMode.COMMITTED)


def _sentence(figures: dict[str, float]) -> str:
    accuracy = figures.get("val_triplet_accuracy")
    told = "" if accuracy is None else f", validation triplet accuracy {accuracy:.3f}"
    return f"epoch {figures['epoch'] + 1}: loss {figures['loss']:.4f}, validation loss {figures['val_loss']:.4f}{told}"
