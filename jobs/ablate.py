"""embeddings -> ablation.json: what each choice of the training recipe is worth, on several splits, with intervals.

python jobs/ablate.py root=runs/wikiart [ablate.num_seeds=5 ablate.choices=[full,thesis]]

Makes splits and triplets of each seed, and trains models/ablation-CHOICE-SEED side by side, one on each core (or GPU,
with training.use_gpu). What is trained already is not trained again.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import ray

from artsim import ablation, models, pipeline
from artsim.cache import read_triplets
from artsim.command import parse_command
from artsim.config import Choice, Config
from artsim.pipeline import train
from artsim.siamese import load_model
from artsim.store import Store
from artsim.tables import Table, open_root
from jobs import split, triplets

Run = tuple[Choice, int]
"""A choice and the number of a seed."""


def main(argv: Sequence[str] | None = None) -> None:
    given = sys.argv[1:] if argv is None else list(argv)
    command = parse_command(given, __doc__)
    config, wanted = command.config, command.config.ablate
    for seed in range(wanted.num_seeds):
        of_seed = [*given, f"split.seed={config.split.seed + seed}"]
        split.main(of_seed)
        triplets.main(of_seed)
    pipeline.connect()
    hits = dict(_run_all(config, command.overwrite))
    found = {choice: [hits[choice, seed] for seed in range(wanted.num_seeds)] for choice in wanted.choices}
    figures = ablation.summarise(found)
    Store(config.root).write_json("ablation.json", {"figures": figures, "settings": config.model_dump(mode="json")})
    print(f"{ablation.table(figures)}\n\n{config.root}/ablation.json", flush=True)


def _run_all(config: Config, overwrite: bool) -> Iterator[tuple[Run, dict[str, ablation.Hits]]]:
    """Train and score each choice on each seed, as many at a time as there are cores or GPUs."""
    wanted, training = config.ablate, config.training
    configs = {
        (choice, seed): ablation.config_of(config, choice, seed)
        for seed in range(wanted.num_seeds)
        for choice in wanted.choices
    }
    # Each preset looks at columns of its own.
    features = {some.head.preset: some for some in configs.values()}
    loaded = {preset: ray.put(train.load(some)) for preset, some in features.items()}
    task: Any = ray.remote(num_cpus=training.num_cpus, num_gpus=int(training.use_gpu))(_run)
    running = {task.remote(some, loaded[some.head.preset], overwrite): run for run, some in configs.items()}
    while running:
        done, _ = ray.wait(list(running))
        hits, words = ray.get(done[0])
        print(words, flush=True)
        yield running.pop(done[0]), hits


def _run(config: Config, loaded: train.Loaded, overwrite: bool) -> tuple[dict[str, ablation.Hits], str]:
    """Train a head, unless that was done, and score it on the test split; also a sentence that says so."""
    began, run, done = time.monotonic(), models.claim(config, overwrite), "trained already"
    if not run.is_trained:
        done = f"{train.fit_here(config, run, loaded)} epochs"
    with models.fetch(run.folder) as folder:
        head, _ = load_model(folder)
    num_buckets = open_root(config.root)
    splits = Table(config.root, f"splits/{config.split.name}", num_buckets).read_all(("id", "group")).to_pylist()
    group_of = {row["id"]: row["group"] for row in splits}
    features, rows = train.features_of(loaded.chunks), read_triplets(config, num_buckets)
    hits = ablation.score(head, features, rows, loaded.row_of, group_of)
    return hits, f"models/{config.model_name}: {done}, {time.monotonic() - began:.1f} s"


if __name__ == "__main__":
    pipeline.main(main)
