"""resized or generated + splits/<name> -> edited or edited_versions: test pictures as people edit and show them.

python jobs/edit.py root=runs/wikiart edit.table=edited_versions
"""

from collections.abc import Sequence
from functools import partial

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.edited import choose, edits_of, expand_edits
from artsim.stages.edit import Edit
from artsim.stages.edits_framing import Shape
from artsim.tables import Table, open_root


def step_of(config: Config, among: Sequence[str] = ("test",)) -> pipeline.Step:
    """What fills the table that edit.table names; `resized` and `splits/<name>` must be finished.

    `among`: the splits whose paintings are edited.
    """
    size, split = config.embed.size, f"splits/{config.split.name}"
    splits = Table(config.root, split, open_root(config.root)).read_all(("id", "split"))
    chosen = choose(splits, config.edit, config.seed, among)
    pictures = {
        "edited": {"resized": {f"image_{size}": "image", f"box_{size}": "box"}},
        "edited_versions": {"generated": {"image": "image", "box": "box"}},
    }
    return pipeline.Step(
        table=config.edit.table,
        stage=Edit,
        arguments=(config.edit, config.seed, _shapes(config, set(chosen.framed))),
        # The shapes of other paintings are read from resized, so versions too depend on it.
        reads=pictures[config.edit.table] | {split: {}} | ({} if config.edit.table == "edited" else {"resized": {}}),
        settings={"edit": config.edit, "size": size, "seed": config.seed},
        expand=partial(expand_edits, edits=edits_of(chosen, config.edit)),
        workers=config.edit.workers,
        whole=True,
    )


def _shapes(config: Config, paintings: set[str]) -> dict[str, Shape]:
    """Width and height in px of the content of some paintings."""
    box = f"box_{config.embed.size}"
    rows = Table(config.root, "resized", open_root(config.root)).read_all(("id", box)).to_pylist()
    return {row["id"]: (row[box][2], row[box][3]) for row in rows if row["id"] in paintings}


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)
