"""CLIP and BLIP-2 with a few thousand random weights and real tokenizers, written in a second or two."""

from pathlib import Path

from artsim.random_weights import random_blip2, random_clip


def tiny_clip(folder: Path, image_size: int = 64) -> Path:
    """A CLIP with both towers: patches of 16 px, 32 numbers a patch, 24 in common, 24 text positions."""
    return random_clip(folder, tiny=True, image_size=image_size)


def tiny_blip2(folder: Path) -> Path:
    """A BLIP-2 with OPT: pictures of 56 px, 4 query tokens; a caption ends with a line break, as the real one's."""
    return random_blip2(folder, tiny=True)
