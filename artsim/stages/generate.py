"""The local stand-in for image-to-image generation: painterly filters, one recipe per approach."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import cv2
import numpy as np

from artsim.config import GenerateConfig, Level
from artsim.images import crop_box, decode_jpeg, encode_jpeg
from artsim.schemas import Batch, row_seed
from artsim.stages import filters, recipes_moderate, recipes_radical
from artsim.stages.filters import Colour
from artsim.stages.media import Draw, Recipe

RECIPES: dict[Level, dict[str, dict[str, Recipe]]] = {
    "moderate": recipes_moderate.RECIPES,
    "radical": recipes_radical.RECIPES,
}
"""The recipes of each level and approach, each under how a word begins that asks for it."""

_READ = ("level", "approach", "prompt", "box")
CANVAS = 5 / 6  # side of the square canvas, as a share of the picture's square: as many pixels as a usual content box
COLOURS: dict[str, Colour] = {
    "black": (28, 26, 30),
    "white": (240, 240, 236),
    "ivory": (236, 226, 198),
    "gold": (222, 176, 60),
    "amber": (232, 156, 44),
    "ochre": (190, 138, 60),
    "orange": (230, 120, 44),
    "rust": (164, 76, 42),
    "sepia": (112, 80, 52),
    "crimson": (184, 34, 50),
    "scarlet": (214, 52, 40),
    "rose": (222, 130, 146),
    "magenta": (204, 44, 140),
    "plum": (92, 48, 92),
    "violet": (126, 84, 178),
    "indigo": (48, 44, 110),
    "navy": (28, 42, 88),
    "cobalt": (40, 84, 176),
    "cyan": (50, 190, 220),
    "teal": (28, 118, 122),
    "turquoise": (70, 186, 176),
    "emerald": (34, 140, 92),
    "moss": (98, 118, 58),
    "silver": (178, 184, 190),
}


class Generate:
    """Paint a version of each picture with filters: the approach chooses the recipe, the row's seed all the rest.

    Of the prompt it understands the words in RECIPES, which choose among an approach's recipes, and the
    colours in COLOURS, which choose the palette. The content is painted on a square canvas of one size and squashed
    back into its box, so that no stroke or grid tells the box's proportions.

    Reads  id, level, variant, approach, prompt (B,); image (B,) JPEG bytes, a square of config.size; box (B, 4) int32.
    Adds   seed (B,) int64; image (B,) JPEG bytes of the same square, black outside the box; `corrupt: ...` in error
           and None as image where nothing decodes. Raises KeyError for an approach that has no recipe.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: GenerateConfig, seed: int) -> None:
        cv2.setNumThreads(1)  # a worker has one core; results do not depend on it
        self.config = config
        self.seed = seed

    def __call__(self, batch: Batch) -> Batch:
        keys = zip(batch["id"], batch["level"], batch["variant"], strict=True)
        seeds = np.array([row_seed(self.seed, *key, "generate") for key in keys], np.int64)
        images, errors = np.full(len(seeds), None, object), np.full(len(seeds), None, object)
        for row, seed in enumerate(seeds):
            try:
                square = decode_jpeg(batch["image"][row])
            except OSError as error:
                errors[row] = f"corrupt: {error}"
            else:
                version = self._paint(square, {name: batch[name][row] for name in _READ}, int(seed))
                images[row] = encode_jpeg(version, self.config.jpeg_quality)
        return batch | {"seed": seeds, "image": images, "error": errors}

    def _paint(self, square: np.ndarray, row: dict[str, Any], seed: int) -> np.ndarray:
        """A version of a square (S, S, 3) uint8 RGB, changed inside the row's box only."""
        rng = np.random.default_rng(seed)
        recipe = _choose(row["level"], row["approach"], row["prompt"], rng)
        draw = Draw(rng, self.config.strength(row["level"]), _palette(row["prompt"], rng))
        side = round(self.config.size * CANVAS)
        canvas = cv2.resize(crop_box(square, row["box"]), (side, side), interpolation=cv2.INTER_AREA)
        painted = filters.clip(recipe(_redraw(np.float32(1 / 255) * canvas, draw), draw))
        version = np.zeros_like(square)
        box = crop_box(version, row["box"])
        box[:] = cv2.resize((painted * 255).round().astype(np.uint8), box.shape[1::-1], interpolation=cv2.INTER_AREA)
        return version


def _choose(level: Level, approach: str, prompt: str, rng: np.random.Generator) -> Recipe:
    """The recipe of an approach whose word comes first in the prompt; any of them where none does."""
    recipes = RECIPES[level][approach]
    any_of_them = list(recipes)[rng.integers(len(recipes))]
    found = re.search(rf"\b({'|'.join(recipes)})", prompt.lower())
    return recipes[found[1] if found else any_of_them]


def _palette(prompt: str, rng: np.random.Generator) -> list[Colour]:
    """Two colours, dark one first: the first that the prompt names, or else any."""
    named = [COLOURS[word] for word in re.findall(r"\w+", prompt.lower()) if word in COLOURS][:2]
    others = [list(COLOURS.values())[k] for k in rng.choice(len(COLOURS), 2, replace=False)]
    return sorted([*named, *others][:2], key=sum)


def _redraw(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Nothing is drawn twice at quite the same place: a small change of view and of every contour."""
    seen = filters.reframe(picture, draw.rng, 0.16 * draw.strength)
    return filters.ripple(seen, draw.rng, 0.035 * draw.strength, 4)
