"""models/<name> + embeddings + cues + triplets/<name> -> metrics.json and report.html in the model's folder.

python jobs/evaluate.py root=runs/wikiart
"""

from collections.abc import Sequence

from artsim import models, pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.evaluation.gather import gather, judged
from artsim.evaluation.judgement import judge
from artsim.evaluation.outcome import outcome
from artsim.log import logger
from artsim.report import write_report
from artsim.siamese import load_model
from artsim.store import Store
from artsim.tables import TableError


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    config = command.config
    run, store = _trained(config)
    looked_at = judged(config, run)
    if (store.read_json("metrics.json") or {}).get("judged") == looked_at and not command.overwrite:
        logger.info(f"models/{config.model_name}: evaluated already")
        return
    pipeline.connect()
    with models.fetch(run.folder) as folder:
        head, info = load_model(folder)
    gathered = gather(config, run, head, pipeline.by_bucket)
    judgement = judge(config, gathered)
    evaluated = outcome(config, run, info, judgement.metrics | {"judged": looked_at}, gathered.scored)
    for example in evaluated.examples[-1:]:
        for name, image in zip(("painting", "version", "other"), example.images, strict=True):
            store.write(f"examples/{name}.jpg", image)
    store.delete(models.LEARNED)
    for name, learned in judgement.learned.items():
        store.write_json(name, learned)
    store.write("report.html", write_report(evaluated).encode())
    store.write_json("metrics.json", evaluated.metrics)
    logger.info(evaluated.metrics["verdict"])


def _trained(config: Config) -> tuple[models.Run, Store]:
    run = models.claim(config)
    if not run.is_trained:
        raise TableError(f"{run.folder} holds no trained model: run jobs/train.py first")
    return run, Store(run.folder)


if __name__ == "__main__":
    pipeline.main(main)
