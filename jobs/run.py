"""source -> model and report: every job that is not done yet, in order.

python jobs/run.py --config jobs/local.yaml source.uri=/path/to/wikiart root=runs/wikiart
"""

import sys
from collections.abc import Sequence

from artsim import pipeline
from artsim.checkpoints import has_text_tower
from artsim.command import parse_command
from jobs import caption, embed, evaluate, generate, ingest, pairs, prompt, resize, split, train, triplets

STEPS = (
    (ingest, ()),
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
    (split, ()),
    (triplets, ()),
    (train, ()),
    (evaluate, ()),
)
WITHOUT_CAPTIONS = tuple(step for step in STEPS if "caption_embeddings" not in "".join(step[1]))
"""For vision models that cannot embed texts."""


def main(argv: Sequence[str] | None = None) -> None:
    given = sys.argv[1:] if argv is None else list(argv)
    config = parse_command(given, __doc__).config
    # Pairs that exist already take the place of what would make them.
    left_out = {prompt, generate} if config.pairs.uri else {pairs}
    for job, settings in STEPS if has_text_tower(config.embed.model) else WITHOUT_CAPTIONS:
        if job not in left_out:
            job.main([*given, *settings])
    print(f"{config.root}/models/{config.model_name}/report.html\n{config.root}/models/{config.model_name}", flush=True)


if __name__ == "__main__":
    pipeline.main(main)
