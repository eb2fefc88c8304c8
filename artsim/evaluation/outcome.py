"""Everything that the report tells of a run, gathered from its folder and its root."""

from __future__ import annotations

import json
from typing import Any

from artsim import tables
from artsim.config import Config
from artsim.evaluation.examples import choose, examples, histograms, wrong_searches
from artsim.evaluation.triplets import Scored
from artsim.models import Run
from artsim.report import Evaluation
from artsim.store import Store
from artsim.tables import Table, open_root

STAND_INS = {
    "Caption": "Captions: a sentence of measured pixel facts, where BLIP-2 would look at the picture.",
    "WritePrompt": "Prompts: templates dealt out by seed, where Llama-3 would write.",
    "Generate": "Versions: painterly filters by level and approach, where the SDXL Refiner would paint.",
    "EmbedImage": "Features: descriptors of colour, gradient and texture, where CLIP would be the frozen encoder.",
}
"""What each of these stages takes the place of."""


def outcome(config: Config, run: Run, info: dict[str, Any], metrics: dict[str, Any], scored: Scored) -> Evaluation:
    """What report.html is written from; `info` is what the model knows of itself, `metrics` its figures."""
    num_buckets = open_root(config.root)
    pictures = {name: Table(config.root, name, num_buckets) for name in ("resized", "generated", "prompts")}
    num_examples = config.evaluation.num_examples
    # The last are drawn blindly, and the last of all becomes the model's example.
    chosen = [*wrong_searches(scored, num_examples), *choose(scored, num_examples, config.seed)]
    history = [json.loads(line) for line in (Store(run.folder).read("metrics.jsonl") or b"").splitlines()]
    status = tables.status(config.root)["tables"]
    training: dict[str, Any] = {
        "model": config.model_name,
        "run": run.name,
        "preset": config.head.preset,
        "loss": config.training.loss,
    }
    training |= {"num_epochs": len(history), "best_epoch": info["epoch"]}
    return Evaluation(
        metrics=training | metrics,
        history=history,
        similarities=histograms(scored),
        examples=examples(scored, chosen, pictures, info["embed"]["size"]),
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
