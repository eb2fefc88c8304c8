"""models/<name> + embeddings + artworks -> models/<name>/index: what finds the paintings nearest to a picture.

python jobs/index.py root=runs/wikiart [training.name=wide index.max_exact=100000]

The model is taken as it is, and may be older than the tables: paintings that came later are found too.
"""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from artsim import UserError, models, pipeline
from artsim.command import Command, parse_command
from artsim.index import IndexBrokenError, read_info
from artsim.indexing import Builder, Sources, embed_bucket, sample_bucket, settings_of
from artsim.log import logger
from artsim.siamese import Head, load_model
from artsim.store import Store
from artsim.tables import TableError, open_root


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    config, began = command.config, time.monotonic()
    name = f"models/{config.model_name}"
    with models.fetch(f"{config.root}/{name}") as folder:
        head, info = load_model(folder)
    if head.config.caption_fusion:
        raise UserError(f"{name}: was trained with caption_fusion, and a picture to search with has no caption")
    sources = Sources.of(config.root, head, open_root(config.root))
    models.check_made_with(info, sources.embeddings.table)
    settings = settings_of(config.index, sources.num_rows, head.sizes.pooled_size)
    made_from = {"recipe": info["fingerprint"], "inputs": sources.digests}
    if _is_there(command, settings | made_from):
        logger.info(f"{name}/{models.INDEX}: indexed already")
        return
    pipeline.connect()
    with Builder(settings, sources.num_rows) as builder:
        _fill(builder, sources, head)
        if Sources.of(config.root, head, sources.embeddings.table.num_buckets).digests != sources.digests:
            raise TableError(f"{name}: its tables changed while they were indexed: start again")
        made = builder.publish(_folder(command), **made_from)
    kind = "exact" if made.is_exact else made.factory
    size, seconds = sum(made.num_bytes.values()) / 1e6, time.monotonic() - began
    logger.info(f"{name}/{models.INDEX}: {made.num_rows} paintings, {kind}, {size:.1f} MB, {seconds:.1f} s")


def _folder(command: Command) -> str:
    return f"{command.config.root}/models/{command.config.model_name}/{models.INDEX}"


def _is_there(command: Command, wanted: dict[str, object]) -> bool:
    """Whether the index was made with these settings and from these tables."""
    if command.overwrite:
        return False
    try:
        info = read_info(Store(_folder(command), "model"))
    except IndexBrokenError:
        return False
    return info is not None and all(getattr(info, name) == value for name, value in wanted.items())


def _fill(builder: Builder, sources: Sources, head: Head) -> None:
    """Add the paintings of all buckets, in their order; only a few buckets are in memory at a time."""
    each = partial(pipeline.each_bucket, num_buckets=sources.embeddings.table.num_buckets)
    if builder.share_sampled:
        builder.train(np.concatenate(list(each(sample_bucket, arguments=(sources, head, builder.share_sampled)))))
    for facts, vectors in each(embed_bucket, arguments=(sources, head)):
        builder.add(facts, vectors)


if __name__ == "__main__":
    pipeline.main(main)
