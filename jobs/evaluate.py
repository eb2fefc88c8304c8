"""models/<name> + embeddings + triplets/<name> -> metrics.json and report.html in the model's folder.

python jobs/evaluate.py root=runs/wikiart
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray

from artsim import evaluation, models, pipeline, tables
from artsim.cache import inputs_of, read_triplets
from artsim.command import Command, parse_command
from artsim.config import Config
from artsim.report import Evaluation, write_report
from artsim.siamese import load_model
from artsim.store import Store
from artsim.tables import Table, TableError, open_root

NUM_EXAMPLES = 6
STAND_INS = {
    "Caption": "Captions: a sentence of measured pixel facts, where BLIP-2 would look at the picture.",
    "WritePrompt": "Prompts: templates dealt out by seed, where Llama-3 would write.",
    "Generate": "Versions: painterly filters by level and approach, where the SDXL Refiner would paint.",
    "EmbedImage": "Features: descriptors of colour, gradient and texture, where CLIP would be the frozen encoder.",
}
"""What each of these stages takes the place of."""


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    run, store = _trained(command)
    if not command.overwrite and (store.read_json("metrics.json") or {}).get("run") == run.name:
        print(f"models/{command.config.model_name}: evaluated already", flush=True)
        return
    pipeline.connect()
    evaluated = _evaluate(command.config, run)
    for name, example in zip(("painting", "version", "other"), evaluated.examples[-1].images, strict=True):
        store.write(f"examples/{name}.jpg", example)
    store.write("report.html", write_report(evaluated).encode())
    store.write_json("metrics.json", evaluated.metrics)
    print(evaluated.metrics["verdict"], flush=True)


def _trained(command: Command) -> tuple[models.Run, Store]:
    run = models.claim(command.config)
    if not run.is_trained:
        raise TableError(f"{run.folder} holds no trained model: run jobs/train.py first")
    return run, Store(run.folder)


def _evaluate(config: Config, run: models.Run) -> Evaluation:
    num_buckets = open_root(config.root)
    splits = Table(config.root, f"splits/{config.split.name}", num_buckets).read_all(("id", "group", "split"))
    split_of, group_of = (
        dict(zip(splits["id"].to_pylist(), splits[name].to_pylist(), strict=True)) for name in ("split", "group")
    )
    with models.fetch(run.folder) as folder:
        head, info = load_model(folder)
    shared = [ray.put(value) for value in (inputs_of(config, num_buckets), head, split_of)]
    embed: Any = ray.remote(num_cpus=1)(evaluation.embed_bucket)
    vectors = evaluation.join(ray.get([embed.remote(*shared, bucket) for bucket in range(num_buckets)]))
    scored = evaluation.Scored(read_triplets(config, num_buckets), vectors, group_of)
    pictures = {name: Table(config.root, name, num_buckets) for name in ("resized", "generated", "prompts")}
    chosen = evaluation.choose(scored, NUM_EXAMPLES, config.seed)
    store, status = Store(run.folder), tables.status(config.root)["tables"]
    history = [json.loads(line) for line in (store.read("metrics.jsonl") or b"").splitlines()]
    return Evaluation(
        metrics=_metrics(config, run, scored, splits.to_pylist())
        | {"num_epochs": len(history), "best_epoch": info["epoch"]},
        history=history,
        similarities=evaluation.histograms(scored),
        examples=evaluation.examples(scored, chosen, pictures, info["embed"]["size"]),
        tables=status,
        quarantine=[row for name in status for row in tables.sample_quarantine(Table(config.root, name, num_buckets))],
        settings=config.model_dump(mode="json"),
        stand_ins=_stand_ins(config.root, num_buckets),
    )


def _stand_ins(root: str, num_buckets: int) -> list[str]:
    """What the tables say of the stages that made them."""
    headers = [Table(root, name, num_buckets).header() for name in ("captions", "prompts", "generated", "embeddings")]
    stages = [header["recipe"]["stage"] for header in headers if header is not None]
    return [STAND_INS[stage] for stage in stages if stage in STAND_INS]


def _metrics(
    config: Config, run: models.Run, scored: evaluation.Scored, splits: list[dict[str, str]]
) -> dict[str, Any]:
    rows, recall = evaluation.figures(scored), evaluation.recalls(scored)
    paintings = Counter(row["split"] for row in splits)
    groups = Counter(split for split, _ in {(row["split"], row["group"]) for row in splits})
    counts = {split: {"paintings": paintings[split], "groups": groups[split]} for split in ("train", "val", "test")}
    compared = scored.where(split="test")  # not every painting has versions
    found = [len(np.unique(numbers[compared])) for numbers in (scored.pairs.anchor, scored.groups)]
    return {
        "model": config.model_name,
        "run": run.name,
        "configuration": config.split.configuration,
        "preset": config.head.preset,
        "loss": config.training.loss,
        "group_by": config.split.group,
        "splits": counts,
        "rows": rows,
        "recall": recall,
        "thesis": evaluation.THESIS,
        **evaluation.verdict(rows, recall, {"paintings": found[0], "groups": found[1]}),
    }


if __name__ == "__main__":
    pipeline.main(main)
