"""settings + a sample of the source -> what a run will take: rows, worker-hours, time and storage of each stage.

python jobs/plan.py --config jobs/full.yaml source.uri=s3://bucket/wikiart root=s3://bucket/art

Refuses, before anything starts, what no machine of the cluster can hold. Then every stage runs on a few paintings, in
a worker with the resources that the settings give it; loading its model does not count. Nothing is left behind.
"""

import io
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

import ray

from artsim import UserError, pipeline
from artsim.cache import inputs_of
from artsim.checkpoints import has_text_tower
from artsim.command import Command, parse_command
from artsim.config import Config, Workers
from artsim.edited import num_edits
from artsim.planning import COPIES_OF_WEIGHTS, HEADER, HeadRates, Plan, duration, head_rates, size, stage_rate
from artsim.sources import count_paintings
from artsim.step import Step
from artsim.store import Store
from jobs import (
    caption,
    cue,
    duplicates,
    edit,
    embed,
    generate,
    ingest,
    prompt,
    resize,
    split,
    thumbnail,
    train,
    triplets,
)

Make = tuple[Callable[[Config], Step], str, str]
"""What makes a step, its section of the settings, and the table if the section has a choice."""
STEPS: tuple[Make, ...] = (
    (ingest.step_of, "source", ""),
    (resize.step_of, "letterbox", ""),
    (thumbnail.step_of, "thumbnails", ""),
    (caption.step_of, "caption", "captions"),
    (prompt.step_of, "prompt", ""),
    (generate.step_of, "generate", ""),
    (caption.step_of, "caption", "generated_captions"),
    (embed.step_of, "embed", "embeddings"),
    (embed.step_of, "embed", "generated_embeddings"),
    (cue.step_of, "cues", "cues"),
    (cue.step_of, "cues", "generated_cues"),
)
OF_CAPTIONS: tuple[Make, ...] = (
    (embed.step_of, "embed", "caption_embeddings"),
    (embed.step_of, "embed", "generated_caption_embeddings"),
)
OF_WHOLE_TABLES: tuple[Make, ...] = (
    (duplicates.step_of, "duplicates", ""),
    (split.step_of, "split", ""),
    (triplets.step_of, "triplets", ""),
)
OF_EDITS: tuple[Make, ...] = (
    # A sample may have no test painting.
    (partial(edit.step_of, among=("train", "val", "test")), "edit", "edited"),
    (partial(edit.step_of, among=("train", "val", "test")), "edit", "edited_versions"),
    (embed.step_of, "embed", "edited_embeddings"),
    (embed.step_of, "embed", "edited_version_embeddings"),
    (cue.step_of, "cues", "edited_cues"),
)
"""Steps that cannot be told before the tables that they read are there."""
NUM_EDITED = 2
"""Paintings of the sample that are edited and framed: each has some fifty rows."""


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    config = command.config
    pipeline.connect()
    steps = STEPS + (OF_CAPTIONS if has_text_tower(config.embed.model) else ())
    needed = [(step.table, step.workers) for step in (_step(config, *each) for each in steps)]
    needed += [("duplicates", config.duplicates.workers), ("splits", config.split.workers)]
    needed += [("triplets", config.triplets.workers), ("edited", config.edit.workers)]
    shortages = [pipeline.shortage(table, workers) for table, workers in needed]
    if short := [message for message in (*shortages, train.shortage(config)) if message]:
        raise UserError("\n".join(short))
    num_paintings = count_paintings(config.source)  # source.limit included
    scale = num_paintings / min(num_paintings, config.plan.num_paintings)
    print(HEADER)
    plans: list[Plan] = []
    with _sample(config, [*(sys.argv[1:] if argv is None else argv)]) as sample:
        for each in steps + OF_WHOLE_TABLES:
            plans.append(_plan(_step(sample.config, *each), sample, scale))
            print(plans[-1], flush=True)
        for each in OF_EDITS:
            step = _step(sample.config, *each)
            if growth := _growth(config, sample.config, step.table, num_paintings):
                plans.append(_plan(step, sample, growth))
                print(plans[-1], flush=True)
        for plan in _training(sample.config, {plan.table: plan.rows for plan in plans}):
            plans.append(plan)
            print(plan, flush=True)
    hours, gigabytes = sum(plan.hours for plan in plans), sum(plan.gigabytes for plan in plans)
    print(f"{num_paintings:,} paintings: {duration(hours)} one stage after the other, {size(gigabytes)}")


def _step(config: Config, step_of: Callable[[Config], Step], section: str, table: str) -> Step:
    if table:
        chosen = getattr(config, section).model_copy(update={"table": table})
        config = config.model_copy(update={section: chosen})
    return step_of(config)


@contextmanager
def _sample(config: Config, given: list[str]) -> Iterator[Command]:
    """The tables of a few paintings below a root of their own, which is gone afterwards."""
    root = f"{config.root}/_plan-{uuid.uuid4().hex[:8]}"
    limit = min(config.source.limit or config.plan.num_paintings, config.plan.num_paintings)
    settings = [*given, f"root={root}", f"source.limit={limit}", "num_buckets=1", "max_failure_rate=1"]
    settings += [
        f"edit.{name}={min(NUM_EDITED, getattr(config.edit, name))}" for name in ("num_paintings", "num_framed")
    ]
    try:
        with redirect_stdout(io.StringIO()):
            ingest.main(settings)
        yield parse_command(settings, __doc__)
    finally:
        Store(root).delete([""])


def _plan(step: Step, sample: Command, scale: float) -> Plan:
    """Fill a step's table for the sample, then time its stage on the same rows once more; scale is of the rows."""
    with redirect_stdout(io.StringIO()):
        summary = pipeline.run(step, sample)
    work, _ = pipeline.begin(step, sample)
    return Plan(
        table=step.table,
        rows=round((summary.rows + summary.quarantined) * scale),
        rows_per_s=_measured(stage_rate, pipeline.options(step.workers), step, work),
        num_workers=pipeline.num_workers(step.workers),
        num_gpus=step.workers.num_gpus,
        gigabytes=work.table.store.num_bytes() * scale / 1e9,
    )


def _growth(config: Config, sample: Config, table: str, num_paintings: int) -> float:
    """How many times the sample's rows a table of edited pictures has; 0 if it has none.

    Of the sample some paintings of any split are edited, of all at most so many as the settings say, of the test split.
    """
    name = "edited_versions" if "version" in table else "edited"
    of_sample, of_all = (each.edit.model_copy(update={"table": name}) for each in (sample, config))
    rows = num_edits(of_all, round(num_paintings * config.split.shares["test"]))
    return rows / max(1, num_edits(of_sample, sample.source.limit))


def _measured(measure: Callable[..., Any], options: dict[str, Any], *arguments: Any) -> Any:
    """What a measurement says in a worker with these resources."""
    # max_calls: its process ends with the task and leaves the card to the next stage.
    remote: Any = ray.remote(**options, max_calls=1)(measure)
    return ray.get(remote.remote(*arguments))


def _training(config: Config, rows: dict[str, int]) -> tuple[Plan, Plan]:
    """What training takes if no epoch is left out, and the evaluation of what was not trained on."""
    training, inputs = config.training, inputs_of(config, num_buckets=1)
    num_gpus, device = int(training.use_gpu), "cuda" if training.use_gpu else "cpu"
    held = {"num_cpus": training.num_cpus, "num_gpus": num_gpus}
    rates: HeadRates = _measured(head_rates, held, config, inputs, device)
    share = config.split.shares["train"]
    pairs = round(rows["generated"] * share) * training.num_epochs
    gigabytes = COPIES_OF_WEIGHTS * rates.num_bytes / 1e9
    pictures = round((rows["embeddings"] + rows["generated_embeddings"]) * (1 - share))
    name, num_cores = f"models/{config.model_name}", pipeline.num_workers(Workers())
    return (
        Plan(name, pairs, rates.pairs_per_s, max(1, training.num_workers), num_gpus, gigabytes),
        Plan(f"{name}/report.html", pictures, rates.pictures_per_s, num_cores, num_gpus=0, gigabytes=0.0),
    )


if __name__ == "__main__":
    pipeline.main(main)
