"""source -> model and report: every job that is not done yet, in order.

python jobs/run.py --config jobs/local.yaml source.uri=/path/to/wikiart root=runs/wikiart
"""

import sys
from collections.abc import Sequence

from artsim import pipeline
from artsim.checkpoints import has_text_tower, pin
from artsim.command import parse_command
from artsim.config import Config, ModelConfig, Section
from jobs import (
    caption,
    cue,
    duplicates,
    embed,
    evaluate,
    generate,
    ingest,
    pairs,
    prompt,
    resize,
    split,
    train,
    triplets,
)

STEPS = (
    (ingest, ()),
    (duplicates, ()),
    (resize, ()),
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
    (train, ()),
    (evaluate, ()),
)
WITHOUT_CAPTIONS = tuple(step for step in STEPS if "caption_embeddings" not in "".join(step[1]))
"""For vision models that cannot embed texts."""


def _revisions(config: Config) -> list[str]:
    """A setting for each model that pins it now: a branch that moves meanwhile does not matter to this run."""
    sections = [(name, section) for name, section in config if isinstance(section, Section)]
    models = [(f"{name}.{field}", value) for name, section in sections for field, value in section]
    models = [(path, value) for path, value in models if isinstance(value, ModelConfig) and value.id]
    return [f"{path}.revision={pin(value).revision}" for path, value in models]


def main(argv: Sequence[str] | None = None) -> None:
    given = sys.argv[1:] if argv is None else list(argv)
    config = parse_command(given, __doc__).config
    # Pairs that exist already take the place of what would make them.
    left_out = {prompt, generate} if config.pairs.uri else {pairs}
    pinned = _revisions(config)
    for job, settings in STEPS if has_text_tower(config.embed.model) else WITHOUT_CAPTIONS:
        if job not in left_out:
            job.main([*given, *pinned, *settings])
    print(f"{config.root}/models/{config.model_name}/report.html\n{config.root}/models/{config.model_name}", flush=True)


if __name__ == "__main__":
    pipeline.main(main)
