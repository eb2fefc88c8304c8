"""The local stand-in for the language model: what to make of a painting, by the rules of the two levels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from artsim.config import LEVELS, Level, PromptConfig
from artsim.prompts import approach_of, has_name, shorten, split_clauses
from artsim.schemas import Batch, row_seed


class Texts(NamedTuple):
    """What an approach asks for: one lead is drawn, then two of the touches. `{dark}` and `{light}` are colours."""

    leads: tuple[str, ...]
    touches: tuple[str, ...]


TEXTS: dict[Level, dict[str, Texts]] = {
    "moderate": {
        "palette": Texts(
            (
                "the same scene in a palette of {dark} and {light}",
                "a new palette of {dark} and {light} over the same composition",
                "the same scene, each colour shifted to another",
            ),
            (
                "harmonised pigments",
                "restrained saturation",
                "subtle glazes",
                "clean colour contrasts",
                "layered paint",
            ),
        ),
        "light": Texts(
            (
                "the same scene in low evening light",
                "the same subject lit from one side",
                "the composition kept, under a single warm lamp",
            ),
            ("soft shadows", "glowing highlights", "gentle haze", "long shadows across the ground", "luminous air"),
        ),
        "technique": Texts(
            (
                "the same composition in loose, visible brushwork",
                "the same scene as a painting of small separate touches",
                "the same drawing laid down in thin transparent washes",
                "the same subject with inked contours and flat shading",
            ),
            ("rich paint texture", "broken edges", "canvas showing through", "confident handling", "dry accents"),
        ),
        "weather": Texts(
            (
                "the same scene on a misty morning",
                "the same scene during a light snowfall",
                "the same scene in steady rain",
                "the same scene as the season turns",
            ),
            ("damp air", "muted distance", "wet reflections", "drifting cloud", "a chill in the light"),
        ),
        "details": Texts(
            (
                "the same scene with small {light} blossoms added",
                "the same subject, minor details altered in {light}",
                "the composition kept, its background repainted in {dark} and {light}",
            ),
            ("fine ornaments", "secondary objects rearranged", "delicate foliage", "small figures in the distance"),
        ),
    },
    "radical": {
        "historical_transposition": Texts(
            (
                "the scene moved centuries back, engraved in sepia on parchment",
                "the scene as a worn wall painting from antiquity",
                "the scene as an early photograph on a metal plate",
            ),
            ("period costume", "aged surface", "archival stains", "cracks and losses", "faded earth pigments"),
        ),
        "cultural_reinterpretation": Texts(
            (
                "the scene retold as a woodblock print in {dark} and {light}",
                "the scene rewoven as a folk textile with {light} ornament",
                "the scene in the ornament of a distant culture, {dark} and {light}",
            ),
            ("woven patterns", "bold flat colour", "decorative borders", "stylised figures", "strong contours"),
        ),
        "surreal_deformation": Texts(
            (
                "a dream in which the scene melts and folds into itself",
                "the scene with impossible perspective and doors onto other places",
                "gravity fails and every form bends",
            ),
            ("liquid outlines", "uncanny calm", "shifted scale", "floating fragments", "twisted space"),
        ),
        "medium_change": Texts(
            (
                "the scene rebuilt as a mosaic of stone and glass",
                "the scene as a stained glass window with the sun behind it",
                "the scene as a graphite drawing on heavy paper",
                "the scene in wet watercolour that runs at the edges",
                "the scene in thousands of dots of pure colour",
            ),
            ("material texture", "visible craft", "irregular edges", "handmade surface", "close raking light"),
        ),
        "emotional_reframing": Texts(
            (
                "the scene overcome by grief, in long strokes of {dark} and {light}",
                "the scene in a storm of feeling, {dark} against {light}",
                "dread in {dark}, one last gleam of {light}",
            ),
            ("agitated brushwork", "heavy shadow", "distorted contours", "raw contrast", "breathless movement"),
        ),
        "mythological_reinvention": Texts(
            (
                "the scene as a legend of gods, a halo of {light} over {dark}",
                "an unknown creature takes the place of the subject, {dark} and {light}",
                "the scene as a forgotten myth, {light} rays breaking through {dark}",
            ),
            ("radiant light", "ritual symmetry", "scaled skin", "celestial fire", "monumental calm"),
        ),
        "technological_aesthetics": Texts(
            (
                "the scene as a circuit of {light} light on a {dark} board",
                "the scene traced by {light} laser lines over a {dark} grid",
                "the scene shown on a wall of {dark} and {light} lamps",
            ),
            ("glowing edges", "scan lines", "fine mesh", "signal noise", "sharp digital light"),
        ),
        "scale_change": Texts(
            (
                "one fragment of the scene enlarged to fill the view",
                "the scene as a miniature in an immense space",
                "the scene repeated as a pattern of itself",
            ),
            ("extreme close-up", "vast emptiness", "mirrored forms", "enormous brush marks", "shallow focus"),
        ),
        "symbolic_transformation": Texts(
            (
                "the scene reduced to an emblem in {dark} and {light}",
                "the subject replaced by a symbol, {light} on {dark}",
                "silhouettes stand for the figures, {dark} over {light}",
            ),
            ("flat heraldic shapes", "a single sign at the centre", "inverted light", "stark clarity", "empty ground"),
        ),
        "organic_reimagining": Texts(
            (
                "the scene grown from roots, bark and grain",
                "the scene as living tissue under a lens, {dark} and {light}",
                "every form turns into leaf, vein and shell",
            ),
            ("branching veins", "soft membranes", "slow growth", "cell-like patterns", "moist surfaces"),
        ),
        "scientific_visualisation": Texts(
            (
                "the scene as a false-colour map with lines of equal height",
                "the scene plotted as stacked traces, {light} on {dark}",
                "the scene as measured data, every tone a reading",
            ),
            ("contour lines", "fine graticule", "calibrated colour scale", "instrument precision", "annotated layers"),
        ),
    },
}
PAIRS = (
    *(("navy", "gold"), ("indigo", "amber"), ("teal", "rose"), ("plum", "ivory"), ("rust", "turquoise")),
    *(("emerald", "ivory"), ("crimson", "silver"), ("cobalt", "orange"), ("violet", "ochre"), ("moss", "rose")),
    *(("black", "scarlet"), ("navy", "cyan"), ("indigo", "magenta"), ("sepia", "gold"), ("teal", "amber")),
)
"""A dark and a light colour that go together."""

NUM_FACTS = 7  # clauses of the caption that a prompt repeats, at most
_READ = ("id", "level", "variant", "genre", "artist", "title", "caption")


class WritePrompt:
    """Write what to make of a painting: one approach per prompt, dealt out evenly, around what the caption says.

    Texts are our own, chosen by the row's seed. A clause of the caption that names the artist or the title is left out.

    Reads  id, level, variant, genre, artist, title, caption (B,); genre, artist and title may be None.
    Adds   approach, prompt (B,) str, clauses parted by commas; num_tokens (B,) int32, which counts words and
           punctuation marks: a stand-in for a tokenizer's count, which is higher where words are rare.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: PromptConfig, seed: int) -> None:
        self.config = config
        self.seed = seed

    def __call__(self, batch: Batch) -> Batch:
        written = [self._write({name: batch[name][row] for name in _READ}) for row in range(len(batch["id"]))]
        approaches, prompts = np.empty(len(written), object), np.empty(len(written), object)
        approaches[:], prompts[:] = [one[0] for one in written], [one[1] for one in written]
        num_tokens = np.array([count_tokens(prompt) for prompt in prompts], np.int32)
        return batch | {"approach": approaches, "prompt": prompts, "num_tokens": num_tokens}

    def _write(self, row: dict[str, Any]) -> tuple[str, str]:
        """Approach and prompt of one row."""
        row_id, level, variant, genre = row["id"], row["level"], row["variant"], row["genre"]
        approach = approach_of(self.seed, row_id, level, variant)
        rng = np.random.default_rng(row_seed(self.seed, row_id, level, variant, "prompt"))
        texts = TEXTS[level][approach]
        dark, light = PAIRS[rng.integers(len(PAIRS))]
        lead = str(rng.choice(texts.leads)).format(dark=dark, light=light)
        manner = [f"in the manner of {genre.replace('_', ' ')}"] if genre else []
        told = split_clauses(row["caption"])[:NUM_FACTS]
        facts = [clause for clause in told if not has_name(clause, row["artist"], row["title"])]
        touches = [str(touch) for touch in rng.choice(texts.touches, 2, replace=False)]
        return approach, shorten(
            [lead, *facts[:1], *manner, *touches, *facts[1:]], self.config.max_tokens, count_tokens
        )


def expand(ids: Sequence[str], config: PromptConfig, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which rows each painting gets: index into ids (B,) int64, and level (B,) object and variant (B,) int32.

    With `levels="share"` a painting has one level, moderate with the probability `moderate_share`.
    """
    rows = [
        (index, level, variant)
        for index, row_id in enumerate(ids)
        for level in _levels(row_id, config, seed)
        for variant in range(config.num_variants)
    ]
    levels = np.array([level for _, level, _ in rows], object)
    variants = np.array([variant for _, _, variant in rows], np.int32)
    return np.array([index for index, _, _ in rows], np.int64), {"level": levels, "variant": variants}


def count_tokens(text: str) -> int:
    """Words and punctuation marks of a text, standing in for a tokenizer."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def _levels(row_id: str, config: PromptConfig, seed: int) -> tuple[Level, ...]:
    if config.levels == "both":
        return LEVELS
    draw = row_seed(seed, row_id, "level") / 2**63
    return ("moderate",) if draw < config.moderate_share else ("radical",)
