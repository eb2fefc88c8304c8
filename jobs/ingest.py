"""source -> artworks: one row for each painting that the source holds, measured and hashed.

python jobs/ingest.py source.uri=/path/to/wikiart root=runs/wikiart

Parquet files with pictures in them are copied to tars below `<root>/_source` first, each once, as they cannot be read
picture by picture.
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.lease import hold
from artsim.resume import replace
from artsim.sources import list_source
from artsim.stages.measure import Measure
from artsim.tables import Table, create_root
from artsim.tombstones import without_removed


def step_of(config: Config) -> pipeline.Step:
    """What fills `artworks` from the list of the source's files."""
    columns = ("uri", "genre", "artist", "title", "subset")
    return pipeline.Step(
        table="artworks",
        stage=Measure,
        arguments=(config.source.max_pixels,),
        reads={"_listing": {name: name for name in columns}},
        settings={"source": config.source},
        workers=config.source.workers,
        fetch_bytes=config.source.max_bytes,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    config = command.config
    rows = without_removed(config.root, list_source(config.source, config.root, pipeline.unpack))
    listing = Table(config.root, "_listing", create_root(config.root, config.num_buckets))
    with hold(listing):  # as long as it is read
        replace(listing, rows)
        pipeline.run(step_of(config), command)


if __name__ == "__main__":
    pipeline.main(main)
