"""source -> model and report: every job that is not done yet, in order.

python jobs/run.py --config jobs/local.yaml source.uri=/path/to/wikiart root=runs/wikiart
"""

import sys
from collections.abc import Sequence
from types import ModuleType

from artsim import models, pipeline
from artsim.ablation import SETTINGS
from artsim.checkpoints import has_text_tower, pin
from artsim.command import parse_command
from artsim.config import Config, ModelConfig, Section
from artsim.log import logger
from artsim.tables import Table, TableError, open_root
from jobs import (
    caption,
    cue,
    duplicates,
    edit,
    embed,
    evaluate,
    generate,
    index,
    ingest,
    pairs,
    prompt,
    resize,
    split,
    thumbnail,
    train,
    triplets,
)

STEPS = (
    (ingest, ()),
    (duplicates, ()),
    (resize, ()),
    (thumbnail, ()),
    (caption, ("caption.table=captions",)),
    (prompt, ()),
    (generate, ()),
    (pairs, ()),
    (caption, ("caption.table=generated_captions",)),
    (embed, ("embed.table=embeddings",)),
    (embed, ("embed.table=generated_embeddings",)),
    (embed, ("embed.table=caption_embeddings",)),
    (embed, ("embed.table=generated_caption_embeddings",)),
    (cue, ("cues.table=cues",)),
    (cue, ("cues.table=generated_cues",)),
    (split, ()),
    (triplets, ()),
    (edit, ("edit.table=edited",)),
    (edit, ("edit.table=edited_versions",)),
    (embed, ("embed.table=edited_embeddings",)),
    (embed, ("embed.table=edited_version_embeddings",)),
    (cue, ("cues.table=edited_cues",)),
    (train, ()),
    (evaluate, ()),
    (index, ()),
)
WITHOUT_CAPTIONS = tuple(step for step in STEPS if "caption_embeddings" not in "".join(step[1]))
"""For vision models that cannot embed texts."""


def _revisions(config: Config) -> list[str]:
    """A setting for each model that pins it now: a branch that moves meanwhile does not matter to this run."""
    sections = [(name, section) for name, section in config if isinstance(section, Section)]
    found = [(f"{name}.{field}", value) for name, section in sections for field, value in section]
    found = [(path, value) for path, value in found if isinstance(value, ModelConfig) and value.id]
    return [f"{path}.revision={pin(value).revision}" for path, value in found]


def _as_thesis(config: Config) -> list[str]:
    """The settings of a model that is trained beside, with the thesis's head and loss: the figure to beat."""
    changed = [
        (f"{section}.{name}", value) for section, some in SETTINGS["thesis"].items() for name, value in some.items()
    ]
    genres = set(Table(config.root, "artworks", open_root(config.root)).read_all(("genre",))["genre"].to_pylist())
    tier = [] if len(genres - {None, ""}) > 1 else ["training.tier=any"]  # of one genre there is no other
    name = f"training.name={config.model_name}{models.THESIS}"
    return [name, "training.num_workers=0", *(f"{path}={value}" for path, value in changed), *tier]


def _may_edit(config: Config, job: ModuleType) -> bool:
    """Whether pictures are to be edited, and the root holds those of no other split: there is room for one's."""
    if not (config.edit.num_paintings or config.edit.num_framed):
        return False
    header = Table(config.root, "edited", open_root(config.root)).header()
    if header is None or f"splits/{config.split.name}" in header["recipe"]["inputs"]:
        return True
    if job is edit:
        logger.info(f"{config.root} holds edited pictures of another split: none are made for {config.split.name}")
    return False


def main(argv: Sequence[str] | None = None) -> None:
    given = sys.argv[1:] if argv is None else list(argv)
    config = parse_command(given, __doc__).config
    # Pairs that exist already take the place of what would make them.
    left_out = {prompt, generate} if config.pairs.uri else {pairs}
    if config.head.caption_fusion:  # nobody searches with a picture and its caption
        left_out.add(index)
    pinned = _revisions(config)
    for job, settings in STEPS if has_text_tower(config.embed.model) else WITHOUT_CAPTIONS:
        if job in left_out or ("edited" in "".join(settings) and not _may_edit(config, job)):
            continue
        job.main([*given, *pinned, *settings])
        if job is train:
            try:
                train.main([*given, *pinned, *_as_thesis(config)])
            except TableError as error:  # a baseline, without which the rest goes on
                logger.info(f"the thesis's head is left out: {error}")
    model = f"{config.root}/models/{config.model_name}"
    logger.info(f"{model}/report.html", extra={"event": "report"})
    logger.info(model, extra={"event": "model"})


if __name__ == "__main__":
    pipeline.main(main)
