"""pictures or captions -> embeddings: the frozen features that the siamese head is trained on.

python jobs/embed.py root=runs/wikiart embed.table=generated_embeddings
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.checkpoints import pinned
from artsim.command import parse_command
from artsim.config import Config
from artsim.stages import embed_caption_stage, embed_image_stage


def step_of(config: Config) -> pipeline.Step:
    """What fills the table that embed.table names."""
    embed, size, table = pinned(config.embed), config.embed.size, config.embed.table
    reads = {
        "embeddings": {"resized": {f"image_{size}": "image", f"box_{size}": "box"}},
        "generated_embeddings": {"generated": {"image": "image", "box": "box"}},
        "caption_embeddings": {"captions": {"caption": "caption"}},
        "generated_caption_embeddings": {"generated_captions": {"caption": "caption"}},
        "edited_embeddings": {"edited": {"image": "image", "box": "box"}},
        "edited_version_embeddings": {"edited_versions": {"image": "image", "box": "box"}},
    }
    return pipeline.Step(
        table=table,
        stage=embed_caption_stage(embed) if "caption" in table else embed_image_stage(embed),
        arguments=(embed,),
        reads=reads[table],
        settings={"embed": embed},
        workers=config.embed.workers,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)
