"""a table of pairs + artworks -> prompts, generated: versions that exist already, in the place of jobs/generate.py.

python jobs/pairs.py root=runs/wikiart pairs.uri=/data/pairs/metadata.csv pairs.original=original
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.lease import hold
from artsim.log import logger
from artsim.pairs import Paintings, list_pairs
from artsim.resume import replace
from artsim.stages.pair import TakePrompt, TakeVersion
from artsim.tables import Table, open_root
from artsim.tombstones import removed


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    config = command.config
    num_buckets = open_root(config.root)
    tables = [Table(config.root, name, num_buckets) for name in ("_listing", "artworks")]
    listing = tables[0].read_all(("id", "version")).sort_by([("id", "descending")])
    ids, versions = (listing[name].to_pylist() for name in ("id", "version"))
    there = set(tables[1].read_all(("id",))["id"].to_pylist())
    by_version = dict(zip(versions, ids, strict=True))  # of equal pictures, the first id
    paintings = Paintings(set(ids) | removed(config.root), there, by_version)
    rows, left_out = list_pairs(config.pairs, paintings, config.root, pipeline.unpack)
    left = f"{left_out} left out, whose painting is in quarantine or was removed"
    table = Table(config.root, "_pairs", num_buckets)
    with hold(table):  # as long as it is read
        replace(table, rows)
        logger.info(f"pairs: {len(rows)} of {config.pairs.uri}, {left}")
        for step in steps(config):
            pipeline.run(step, command)


def steps(config: Config) -> tuple[pipeline.Step, pipeline.Step]:
    """What fills `prompts` and `generated` from the table of pairs."""
    prompts = pipeline.Step(
        table="prompts",
        stage=TakePrompt,
        arguments=(),
        reads={"_pairs": {"prompt": "prompt"}},
        settings={"pairs": config.pairs},
        workers=config.pairs.workers,
    )
    generated = pipeline.Step(
        table="generated",
        stage=TakeVersion,
        arguments=(config.generate, config.source.max_pixels),
        reads={"_pairs": {"uri": "uri"}},
        settings={"pairs": config.pairs, "size": config.generate.size, "jpeg_quality": config.generate.jpeg_quality},
        workers=config.pairs.workers,
        fetch_bytes=config.source.max_bytes,
        fetch_setting="pairs.uri",
    )
    return prompts, generated


if __name__ == "__main__":
    pipeline.main(main)
