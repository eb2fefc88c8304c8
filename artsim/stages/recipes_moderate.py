"""What the moderate approaches do to a picture in the local stand-in: subject and composition stay.

A recipe takes a picture (S, S, 3) float32 RGB in 0..1 and gives one that may leave that range a little.
"""

from __future__ import annotations

import cv2
import numpy as np

from artsim.stages import filters, media
from artsim.stages.filters import mix, rgb
from artsim.stages.media import Draw, Recipe, hand


def _recoloured(picture: np.ndarray, draw: Draw) -> np.ndarray:
    return hand(filters.tint(picture, draw.colours, min(1, 1.9 * draw.strength)), draw)


def _turned(picture: np.ndarray, draw: Draw) -> np.ndarray:
    degrees = draw.rng.choice([-1, 1]) * draw.rng.uniform(110, 400) * draw.strength
    return hand(filters.turn_hue(picture, float(degrees), 0.95), draw)


def _side_lit(picture: np.ndarray, draw: Draw) -> np.ndarray:
    return filters.glow(filters.slant_light(picture, draw.rng, 1.7 * draw.strength), draw.strength)


def _lamp_lit(picture: np.ndarray, draw: Draw) -> np.ndarray:
    return filters.glow(filters.spot_light(picture, draw.rng, 2 * draw.strength), 1.2 * draw.strength)


def _dusk(picture: np.ndarray, draw: Draw) -> np.ndarray:
    cool = filters.tint(filters.tone(picture, 1 + 2 * draw.strength), [(36, 44, 96), (150, 120, 160)], 0.6)
    return filters.glow(cool, 2 * draw.strength)


def _brushed(picture: np.ndarray, draw: Draw) -> np.ndarray:
    painted = media.strokes(picture, draw.rng, 0.045 * draw.strength, 0.16 * draw.strength)
    return media.impasto(painted, media.flow(picture), draw.rng, draw.strength)


def _washed(picture: np.ndarray, draw: Draw) -> np.ndarray:
    return media.watercolour(picture, draw.rng)


def _stippled(picture: np.ndarray, draw: Draw) -> np.ndarray:
    return media.dots(picture, draw.rng, 0.018 * draw.strength, (226, 214, 184))


def _inked(picture: np.ndarray, draw: Draw) -> np.ndarray:
    drawing = media.pencil(picture, draw.rng)[..., None]
    wash = filters.turn_hue(filters.tone(media.kuwahara(picture, 0.014), 0.6), 0, 0.7)
    return wash * (1 - 2.4 * draw.strength * (1 - drawing))


def _fog(picture: np.ndarray, draw: Draw) -> np.ndarray:
    _, y = filters.places(len(picture))
    veil = np.clip(2.2 * draw.strength * (0.85 - 0.5 * y + 0.35 * filters.noise(draw.rng, len(picture), 4)), 0, 0.85)
    return mix(filters.blur(picture, 0.003), rgb((204, 209, 217)), veil)


def _snow(picture: np.ndarray, draw: Draw) -> np.ndarray:
    pale = filters.tint(filters.tone(picture, 0.8), [(110, 126, 156), (224, 230, 238)], 1.5 * draw.strength)
    flakes = draw.rng.random(picture.shape[:2], np.float32) > 1 - 0.006 * draw.strength
    size = max(3, len(picture) // 160)
    fall = cv2.dilate(flakes.astype(np.float32), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return mix(pale, 0.97, 0.85 * filters.blur(fall, 0.0015))


def _rain(picture: np.ndarray, draw: Draw) -> np.ndarray:
    drops = (draw.rng.random(picture.shape[:2], np.float32) > 0.992).astype(np.float32)
    slope = np.full(picture.shape[:2], draw.rng.uniform(-0.4, 0.4), np.float32)
    streaks = media.smear(drops, (slope, np.ones_like(slope)), 0.08)
    grey = filters.turn_hue(filters.tone(picture, 1.25), 0, 1 - draw.strength)
    return mix(grey * np.array([0.92, 0.97, 1.05], np.float32), rgb((204, 219, 235)), np.clip(streaks * 7, 0, 0.6))


def _season(picture: np.ndarray, draw: Draw) -> np.ndarray:
    season = [[(94, 44, 30), (206, 128, 46)], [(54, 84, 44), (214, 206, 110)], [(86, 60, 92), (240, 190, 196)]]
    return hand(filters.tint(picture, season[draw.rng.integers(len(season))], 1.9 * draw.strength), draw)


def _embellished(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Clusters of blossoms in the prompt's lighter colour, scattered where the row's generator likes."""
    canvas = np.ascontiguousarray((hand(picture, draw) * 255).clip(0, 255).astype(np.uint8))
    side = len(canvas)
    for centre in draw.rng.uniform(0.05, 0.95, (round(30 * draw.strength), 2)) * side:
        count = int(draw.rng.integers(8, 26))
        at = centre + draw.rng.normal(0, 0.035 * side, (count, 2))
        sizes = draw.rng.uniform(0.003, 0.011, count) * side
        for place, size in zip(at.astype(int).tolist(), sizes.tolist(), strict=True):
            colour = np.clip(np.array(draw.colours[1]) + draw.rng.normal(0, 22, 3), 0, 255).tolist()
            cv2.circle(canvas, place, max(2, round(size)), colour, -1, cv2.LINE_AA)
            cv2.circle(canvas, place, max(1, round(size / 3)), (250, 236, 180), -1, cv2.LINE_AA)
    return canvas.astype(np.float32) / 255


def _patched(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Parts of the picture repainted in other colours and another light."""
    turned = filters.turn_hue(picture, draw.rng.choice([-1, 1]) * draw.rng.uniform(80, 300) * draw.strength)
    other = filters.tone(turned, draw.rng.choice([0.65, 1.4]))
    where = np.clip(0.3 + filters.noise(draw.rng, len(picture), 3) * 2, 0, 1)
    return hand(mix(picture, other, where), draw)


RECIPES: dict[str, dict[str, Recipe]] = {
    "palette": {"palette": _recoloured, "shift": _turned},
    "light": {"side": _side_lit, "lamp": _lamp_lit, "evening": _dusk},
    "technique": {"brush": _brushed, "wash": _washed, "touches": _stippled, "ink": _inked},
    "weather": {"mist": _fog, "snow": _snow, "rain": _rain, "season": _season},
    "details": {"blossom": _embellished, "repaint": _patched},
}
"""The recipes of each approach, each under how a word begins that asks for it."""
