"""What the radical approaches do to a picture in the local stand-in: only some of the composition stays.

A recipe takes a picture (S, S, 3) float32 RGB in 0..1 and gives one that may leave that range a little.
"""

from __future__ import annotations

import cv2
import numpy as np

from artsim.stages import filters, media
from artsim.stages.filters import Colour, luma, mix, rgb
from artsim.stages.media import Draw, Recipe, hand

DARK: Colour = (24, 20, 26)
PARCHMENT: Colour = (232, 216, 178)


def _engraved(picture: np.ndarray, draw: Draw) -> np.ndarray:
    return media.paper(media.engraving(picture, draw.rng, 88), draw.rng, (60, 38, 24), PARCHMENT)


def _fresco(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Faded earth colours on plaster that cracks and falls off in places."""
    rng, side = draw.rng, len(picture)
    faded = filters.tint(media.kuwahara(picture, 0.014), [(96, 66, 52), (196, 150, 104)], 0.8 * draw.strength)
    cracks = media.seams(media.cells(side, rng, 11, 0.5)[0], 0.002)
    plaster = np.clip((filters.noise(rng, side, 9) + 0.5 * filters.noise(rng, side, 40) - 0.85) * 6, 0, 1)
    worn = mix(mix(faded * 0.85 + 0.1, rgb((204, 191, 168)), plaster), 0.25, 0.6 * cracks)
    return worn + 0.05 * rng.standard_normal((side, side, 1), np.float32)


def _daguerreotype(picture: np.ndarray, draw: Draw) -> np.ndarray:
    grey = filters.equalise(filters.blur(luma(picture), 0.004), 0.7)
    plate = filters.ramp(grey, [(26, 18, 16), (118, 84, 60), (226, 206, 176)])
    scratched = plate + 0.10 * draw.rng.standard_normal(plate.shape[:2], np.float32)[..., None]
    return filters.vignette(scratched, 1.4 * draw.strength)


def _printed(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """A woodblock print in a few strong colours."""
    flat = filters.tint(picture, draw.colours, 0.6 * draw.strength)
    return media.woodblock(filters.turn_hue(flat, 0, 1.5), 4, (34, 30, 50))


def _folk(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Flat colours whose darker areas carry a woven pattern."""
    x, y = filters.places(len(picture))
    flat = media.woodblock(filters.turn_hue(picture, draw.rng.uniform(-120, 120), 1.7), 5, DARK)
    weave = np.sin(x * 2 * np.pi * 30) * np.sin(y * 2 * np.pi * 30)
    scales = np.hypot((x * 24) % 1 - 0.5, (y * 24 + 0.5 * np.floor(x * 24) % 1) % 1 - 0.5) % 0.25 < 0.08
    pattern = (weave > 0.35) if draw.rng.random() < 0.5 else scales
    where = pattern * np.clip((0.55 - filters.equalise(luma(picture), 1)) * 8, 0, 1)
    return mix(flat, rgb(draw.colours[1]), where)


def _melted(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Everything below a wavy line runs down; above it, it is twisted."""
    x, y = filters.places(len(picture))
    start = 0.45 + 0.2 * filters.noise(draw.rng, len(picture), 5)
    reach = 0.5 + 0.5 * filters.noise(draw.rng, len(picture), 11)
    sagged = filters.sample(picture, x, y - np.maximum(y - start, 0) * reach * draw.strength * 1.1)
    return filters.turn_hue(filters.swirl(sagged, draw.rng, 0.35 * draw.strength), draw.rng.uniform(-60, 60), 1.3)


def _shuffled(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Doors open in the picture onto other parts of it, upside down or mirrored, in another light."""
    rng, scene = draw.rng, filters.swirl(picture, draw.rng, 0.5 * draw.strength)
    for flip in ((slice(None, None, -1), slice(None)), (slice(None), slice(None, None, -1))):
        inside = filters.turn_hue(filters.window(picture[flip], rng.uniform(0.05, 0.35, 2), 0.6), 160, 1.2)
        door = filters.blob(rng, len(picture), 0.32 * draw.strength)
        rim = np.clip(1 - np.abs(door - 0.5) * 4, 0, 1)
        scene = mix(mix(scene, inside, door), 0.08, 0.8 * rim)
    return filters.tone(scene, 1.0, 1.15)


def _mosaic(picture: np.ndarray, draw: Draw) -> np.ndarray:
    vivid = filters.tone(filters.turn_hue(picture, draw.rng.uniform(-25, 25), 1.6), 0.85, 1.2)
    return media.mosaic(vivid, draw.rng, int(draw.rng.integers(36, 56)), (64, 58, 54))


def _glass(picture: np.ndarray, draw: Draw) -> np.ndarray:
    vivid = filters.turn_hue(picture, draw.rng.uniform(-60, 60), 1.3)
    return media.stained_glass(vivid, draw.rng, int(draw.rng.integers(22, 34)))


def _pencilled(picture: np.ndarray, draw: Draw) -> np.ndarray:
    return media.paper(media.pencil(picture, draw.rng), draw.rng, (44, 42, 50), (240, 234, 222))


def _aquarelle(picture: np.ndarray, draw: Draw) -> np.ndarray:
    wash = media.watercolour(filters.turn_hue(filters.ripple(picture, draw.rng, 0.03, 5), 20, 1.4), draw.rng)
    x, y = filters.places(len(picture))
    bare = np.hypot(x - 0.5, y - 0.5) + 0.16 * filters.noise(draw.rng, len(picture), 7)
    return mix(wash, rgb((247, 242, 232)), np.clip((bare - 0.46) * 9, 0, 1))


def _pointillist(picture: np.ndarray, draw: Draw) -> np.ndarray:
    ground = draw.colours[1]
    return media.dots(filters.tone(filters.turn_hue(picture, 0, 1.7), 0.8), draw.rng, 0.0095, ground)


def _felt(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """One mood: long strokes that bend, in the prompt's colours, out of the dark."""
    rng = draw.rng
    bent = filters.ripple(picture, rng, 0.10 * draw.strength, 3)
    painted = media.strokes(filters.tint(bent, draw.colours, 0.8 * draw.strength), rng, 0.035, 0.16)
    lit = filters.spot_light(filters.tone(painted, 0.9, 1.3), rng, 0.75 * draw.strength)
    return media.impasto(lit, media.flow(bent), rng, draw.strength)


def _storm(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Restless: the picture dragged along its own edges, high in contrast, over drained colours."""
    bent = filters.ripple(picture, draw.rng, 0.12 * draw.strength, 6)
    along = media.flow(bent)
    dragged = media.smear(filters.tint(bent, draw.colours, 0.65 * draw.strength), along, 0.14)
    return filters.vignette(media.impasto(filters.tone(dragged, 0.85, 1.6), along, draw.rng, 1.4 * draw.strength), 1.0)


def _divine(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """A gilded vision: rays and a halo from one place, the rest in the prompt's colours."""
    rng, side = draw.rng, len(picture)
    x, y = filters.places(side)
    centre_x, centre_y = rng.uniform(0.3, 0.7), rng.uniform(0.15, 0.5)
    angle, distance = np.arctan2(y - centre_y, x - centre_x), np.hypot(x - centre_x, y - centre_y)
    rays = (0.5 + 0.5 * np.sin(angle * rng.integers(14, 30) + rng.uniform(0, 6))) * np.exp(-distance * 2.6)
    halo = np.exp(-(((distance - 0.15) / 0.008) ** 2)) + np.exp(-(((distance - 0.175) / 0.003) ** 2))
    twisted = filters.ripple(filters.swirl(picture, rng, 0.15), rng, 0.06 * draw.strength, 4)
    scene = filters.tone(filters.tint(media.kuwahara(twisted, 0.01), draw.colours, 0.65 * draw.strength), 1.2, 1.2)
    light = 0.5 * rays + 0.5 * halo + 0.25 * np.exp(-distance * 7)
    return filters.glow(filters.clip(scene + light[..., None] * np.array([1, 0.8, 0.35])), 0.5)


def _chimera(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """A creature of two halves: one side of the picture mirrored onto the other, scaled skin over it."""
    side = len(picture)
    x, y = filters.places(side)
    axis = draw.rng.uniform(0.4, 0.6)
    fold = axis + np.abs(x - axis) * draw.rng.choice([-1, 1])
    twin = filters.sample(picture, fold, y)
    scene = filters.tint(twin, draw.colours, 0.6 * draw.strength)
    row = np.floor(y * 34)
    scale = np.hypot((x * 26 + 0.5 * (row % 2)) % 1 - 0.5, (y * 34) % 1)
    skin = np.where(np.abs(scale - 0.55) < 0.1, 0.55, 1.0) * (1.12 - 0.2 * scale)
    where = np.clip(filters.noise(draw.rng, side, 4) * 4, 0, 1)
    return filters.glow(scene * (1 + (skin - 1) * where)[..., None].astype(np.float32), draw.strength)


def _neon(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Edges that glow in two colours on the dark, over a grid."""
    grey, side = filters.equalise(luma(picture), 0.6), len(picture)
    edge = np.abs(filters.blur(grey, 0.004) - filters.blur(grey, 0.010))
    edge = np.clip(edge / (np.percentile(edge, 97) + 1e-6), 0, 1) ** 1.5
    light = rgb(draw.colours[1])
    hues = mix(light, light[[2, 0, 1]] * 0.8 + 0.1, np.clip(0.5 + 2 * filters.noise(draw.rng, side, 3), 0, 1))
    lines = (edge[..., None] * hues).astype(np.float32)
    base = (
        np.array([0.03, 0.04, 0.09]) + 0.4 * grey[..., None] ** 2 * hues[::-1] + 0.12 * media.grid(side, 20)[..., None]
    )
    return base * 0.7 + 1.1 * lines + 1.6 * filters.blur(lines, 0.012)


def _circuit(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Blocks of light on a board: the picture as large pixels, with traces between them."""
    side = len(picture)
    across = int(draw.rng.integers(48, 72))
    small = cv2.resize(
        filters.tint(picture, draw.colours, 0.8 * draw.strength), (across, across), interpolation=cv2.INTER_AREA
    )
    blocks = cv2.resize(small, (side, side), interpolation=cv2.INTER_NEAREST)
    x, y = filters.places(side)
    lamp = np.clip(1.25 - 2.2 * np.hypot((x * across) % 1 - 0.5, (y * across) % 1 - 0.5), 0.1, 1)
    tears = filters.noise(draw.rng, side, 30)[:, :1] * (draw.rng.random((side, 1)) > 0.9)
    shifted = filters.sample(blocks * lamp[..., None], x + 0.05 * tears, y)
    return filters.glow(1.35 * shifted, 1.0)


def _near(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """A part of the picture, seen so near that the brushwork shows."""
    side = 1 - draw.strength * draw.rng.uniform(0.5, 0.62)
    part = filters.window(picture, draw.rng.uniform(0.25, 0.75, 2) * (1 - side), side)
    return hand(media.strokes(filters.turn_hue(part, draw.rng.uniform(-50, 50), 1.3), draw.rng, 0.03, 0.12), draw)


def _far(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """The picture small, set into a huge blurred and recoloured echo of itself."""
    side = len(picture)
    echo = filters.turn_hue(filters.window(picture, draw.rng.uniform(0, 0.4, 2), 0.5), draw.rng.uniform(60, 300))
    vast = filters.blur(media.kuwahara(echo, 0.02), 0.012)
    share = draw.rng.uniform(0.5, 0.64)
    size = round(share * side)
    left, top = (draw.rng.uniform(0.2, 0.8, 2) * (side - size)).astype(int)
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    mask = np.zeros((side, side), np.float32)
    mask[top : top + size, left : left + size] = 1
    inner = np.zeros_like(picture)
    inner[top : top + size, left : left + size] = small
    shade = filters.blur(mask, 0.02)
    return mix(vast * (1 - 0.5 * shade[..., None]), inner, filters.blur(mask, 0.002))


def _tiled(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """The motif repeated as a pattern of mirrored tiles, each in a light of its own."""
    x, y = filters.places(len(picture))
    times = 2.0
    tiles = filters.sample(picture, 1 - np.abs((x * times) % 2 - 1), 1 - np.abs((y * times) % 2 - 1))
    turned = filters.turn_hue(tiles, draw.rng.uniform(50, 310), 1.2)
    return hand(mix(tiles, turned, ((x > 0.5) ^ (y > 0.5)).astype(np.float32)), draw)


def _emblem(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Three flat tones, and a disc, ring or diamond in which they are reversed."""
    rng = draw.rng
    x, y = filters.places(len(picture))
    away_x, away_y = np.abs(x - rng.uniform(0.35, 0.65)), np.abs(y - rng.uniform(0.35, 0.65))
    distance = [np.hypot(away_x, away_y), (away_x + away_y) * 0.8, np.maximum(away_x, away_y)][rng.integers(3)]
    grey = filters.equalise(
        luma(media.kuwahara(filters.blur(filters.ripple(picture, rng, 0.05, 4), 0.004), 0.016)), 0.8
    )
    inside = distance < 0.3 * draw.strength + 0.05
    tones = np.floor(np.clip(np.where(inside, 1 - grey, grey), 0, 0.999) * 3) / 2
    flat = filters.ramp(tones, [DARK, *draw.colours, (240, 232, 210)])
    return mix(flat, rgb(draw.colours[0]), np.exp(-(((distance - 0.3 * draw.strength - 0.05) / 0.006) ** 2)))


def _veiled(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """The scene as shadows of two colours with its own pale silhouette laid over it, displaced."""
    shifted = filters.window(picture, draw.rng.uniform(0, 0.3, 2), 0.7)
    base = filters.tint(media.kuwahara(picture, 0.014), draw.colours, draw.strength)
    silhouette = np.clip((0.45 - filters.equalise(filters.blur(luma(shifted), 0.008), 1)) * 12, 0, 1)
    return mix(base, rgb((242, 235, 214)), 0.75 * draw.strength * silhouette)


def _cellular(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Living tissue: soft cells with nuclei and membranes, all of it swaying."""
    rng = draw.rng
    bent = filters.ripple(picture, rng, 0.10 * draw.strength, 5)
    labels, distance = media.cells(len(picture), rng, int(rng.integers(22, 34)), 0.45)
    tissue = mix(bent, media.fill(bent, labels), 0.75) * (1.25 - 9 * distance[..., None])
    membranes = filters.blur(media.seams(labels, 0.003), 0.002)
    grown = mix(tissue, rgb((219, 230, 158)), 0.6 * membranes)
    return filters.ripple(filters.tint(filters.clip(grown), draw.colours, 0.4 * draw.strength), rng, 0.03, 9)


def _rooted(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Contours grown out into veins and grain, like wood or leaves, in greens and browns."""
    rng = draw.rng
    bent = filters.swirl(filters.ripple(picture, rng, 0.09 * draw.strength, 4), rng, 0.12)
    along = media.flow(bent)
    grain = media.smear(rng.standard_normal(bent.shape[:2], np.float32), along, 0.12)
    earth = filters.tint(bent, [(50, 66, 36), (150, 140, 74)], 0.75 * draw.strength)
    return media.smear(earth, along, 0.07) * (1 + 0.28 * grain / (grain.std() + 1e-6))[..., None]


def _mapped(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """A false-colour map of lightness with lines of equal height and a graticule."""
    scales = (cv2.COLORMAP_VIRIDIS, cv2.COLORMAP_INFERNO, cv2.COLORMAP_TURBO, cv2.COLORMAP_OCEAN, cv2.COLORMAP_TWILIGHT)
    height = filters.equalise(filters.blur(luma(picture), 0.008), 0.8)
    false = cv2.applyColorMap((height * 255).astype(np.uint8), int(scales[draw.rng.integers(len(scales))]))[..., ::-1]
    lines = media.contours(height, 9)
    shaded = false.astype(np.float32) / 255 * (1 + 6 * (height - np.roll(height, (2, 2), (0, 1))))[..., None]
    return mix(mix(shaded, 0.06, 0.7 * lines), 0.95, 0.22 * media.grid(len(picture), 8))


def _scanned(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """Stacked traces of lightness, line by line, as an instrument would plot them."""
    side = len(picture)
    height = filters.equalise(filters.blur(luma(picture), 0.010), 0.8)
    ground, ink = [0.2 * level for level in draw.colours[0]], draw.colours[1]
    canvas = np.full(picture.shape, ground, np.uint8)
    x, step = np.arange(side), max(2, side // 64)
    for y in range(step, side + side // 20, step):
        trace = np.stack([x, y - height[min(y, side - 1)] * side * 0.05], -1).round().astype(np.int32)
        cv2.fillPoly(canvas, [np.vstack([trace, [[side, side], [0, side]]]).astype(np.int32)], ground)
        cv2.polylines(canvas, [trace], False, ink, 2, cv2.LINE_AA)
    return mix(canvas.astype(np.float32) / 255, filters.ramp(height, [*draw.colours, (250, 250, 240)]), 0.4)


RECIPES: dict[str, dict[str, Recipe]] = {
    "historical_transposition": {"engrav": _engraved, "wall": _fresco, "photograph": _daguerreotype},
    "cultural_reinterpretation": {"print": _printed, "folk": _folk},
    "surreal_deformation": {"melt": _melted, "door": _shuffled},
    "medium_change": {
        "mosaic": _mosaic,
        "stained": _glass,
        "graphite": _pencilled,
        "watercolour": _aquarelle,
        "dots": _pointillist,
    },
    "emotional_reframing": {"strokes": _felt, "storm": _storm},
    "mythological_reinvention": {"halo": _divine, "creature": _chimera},
    "technological_aesthetics": {"laser": _neon, "lamp": _circuit},
    "scale_change": {"fragment": _near, "miniature": _far, "repeat": _tiled},
    "symbolic_transformation": {"emblem": _emblem, "silhouette": _veiled},
    "organic_reimagining": {"tissue": _cellular, "root": _rooted},
    "scientific_visualisation": {"map": _mapped, "trace": _scanned},
}
"""The recipes of each approach, each under how a word begins that asks for it."""
