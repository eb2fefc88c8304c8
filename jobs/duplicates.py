"""artworks -> duplicates: which paintings are the same file, or look the same, and the components that they form.

python jobs/duplicates.py root=runs/wikiart
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.duplicates import FindDuplicates
from artsim.tables import Table, open_root


def step_of(config: Config) -> pipeline.Step:
    """What fills `duplicates`; `artworks` must be finished."""
    artworks = Table(config.root, "artworks", open_root(config.root))
    return pipeline.Step(
        table="duplicates",
        stage=FindDuplicates,
        arguments=(config.duplicates, artworks.read_all(("id", "artist", "sha256", "phash"))),
        reads={"artworks": {}},
        settings={"duplicates": config.duplicates},
        workers=config.duplicates.workers,
        whole=True,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)
