"""Things that stand outdoors in the made-up paintings: skies, hills, trees, houses, water, boats."""

from __future__ import annotations

import numpy as np

from artsim.painting.scenes import Scene, bezier


def sky(scene: Scene, horizon: float, sun: float | None = None) -> None:
    """A sky that grows lighter towards the horizon, with clouds and a low light."""
    rng, palette = scene.rng, scene.palette
    height = np.clip(scene.y / horizon, 0, 1)[..., None] ** 1.3
    scene.color[:] = palette.sky + height * (palette.glow - palette.sky) * 0.85
    clouds = scene.noise(2.2, stretch=2.2, octaves=4)
    cover = np.clip((clouds - rng.uniform(-0.4, 0.8)) * 1.3, 0, 1)[..., None] * 0.8
    lit = np.clip(0.55 + 0.5 * (clouds - np.roll(clouds, round(0.03 * scene.unit), axis=0)), 0, 1)[..., None]
    puff = palette.far * 0.55 + palette.sky * 0.45
    scene.color += cover * (puff + lit * (palette.glow * 1.05 - puff) - scene.color)
    scene.angle[:] = 0.5 * contour_angle(clouds)
    place = rng.uniform(0.15, 0.85) if sun is None else sun
    scene.glow(place, horizon * 0.7, 0.22, 0.55)
    if rng.random() < 0.45:
        disc = scene.oval(scene.at(place, horizon * rng.uniform(0.3, 0.75)), 0.035, 0.035)
        scene.fill(disc, palette.glow * 0.8 + 0.2, 0)


def contour_angle(field: np.ndarray) -> np.ndarray:
    """How the contour lines of a smooth field run, radians about the horizontal, (H, W)."""
    down, right = np.gradient(field)
    return np.arctan2(-right * 40, 1 + np.abs(down) * 40).astype(np.float32)


def ridges(scene: Scene, horizon: float) -> None:
    """Hills or mountains, paler the farther they are."""
    rng, palette = scene.rng, scene.palette
    count, steep = 2 + int(rng.integers(3)), 0.05 + 0.13 * ((scene.habits.kind * 0.37) % 1)
    for number in range(count):
        share = (number + 0.5) / count
        line = horizon - (1 - share) * (0.05 + steep) + steep * (1.1 - share) * scene.curve(2 + number, 5) * 0.6
        tone = palette.far + (palette.leaf * 0.6 + palette.land * 0.3 - palette.far) * share
        scene.below(np.minimum(line, horizon + 0.01), tone, tone * 0.55 + palette.glow * 0.4)


def furrows(scene: Scene, horizon: float) -> None:
    """Ground in perspective, with patches and rows that run to a point on the horizon."""
    rng, palette = scene.rng, scene.palette
    line = (horizon + 0.012 * scene.curve(2)).astype(np.float32)
    scene.below(line, palette.land * 0.8 + palette.glow * 0.2, palette.land * 0.85)
    depth = np.maximum(scene.y - horizon, 0.012)
    across = (scene.x - rng.uniform(0.2, 0.8)) / (depth + 0.1)
    rows = 0.5 + 0.5 * np.sin(across * rng.uniform(9, 18) + 1.5 * scene.noise(2))
    patches = np.clip(0.5 + 0.6 * scene.noise(2.5, stretch=3.5), 0, 1)
    ground = scene.label == scene.label.max()
    tint = palette.leaf + (palette.land * 1.05 - palette.leaf) * patches[..., None]
    tint = tint * (0.86 + 0.22 * rows[..., None] * np.clip(depth * 3, 0, 1)[..., None])
    scene.color[ground] = (0.25 * scene.color + 0.75 * tint)[ground]
    _tufts(scene, horizon)
    lead = np.arctan2(np.ones_like(across), across).astype(np.float32)
    scene.angle[ground] = lead[ground]


def _tufts(scene: Scene, horizon: float) -> None:
    if scene.habits.modelling < 0.3:
        return
    rng, palette = scene.rng, scene.palette
    depth = np.sort(rng.uniform(0.05, 1, 500 + round(900 * scene.habits.density))) ** 0.7
    places = np.stack([rng.uniform(0, scene.width, len(depth)), (horizon + (1 - horizon) * depth) * scene.height], 1)
    inks = np.stack([palette.leaf * 0.7, palette.land * 1.1, palette.leaf * 0.6 + palette.glow * 0.4, palette.leaf])
    blooms = np.concatenate([inks, [palette.accent * 0.6 + palette.glow * 0.4]])
    scene.specks(places, 0.002 + 0.006 * depth, blooms[rng.integers(4 + scene.habits.kind % 2, size=len(depth))])


def winding(scene: Scene, horizon: float) -> None:
    """A river or a path that comes nearer in bends."""
    rng, palette = scene.rng, scene.palette
    bends, phase, size = rng.uniform(3, 6), rng.uniform(0, 6), rng.uniform(0.12, 0.3)
    steps = np.linspace(0, 1, 40)
    x = rng.uniform(0.3, 0.7) + size * np.sin(bends * steps**0.6 + phase) * (0.3 + 0.7 * steps)
    path = np.stack([x * scene.width, (horizon + 0.015 + (1.03 - horizon) * steps**1.6) * scene.height], axis=1)
    river = rng.random() < 0.6
    tone = palette.water * 0.55 + palette.glow * 0.45 if river else palette.glow * 0.6 + palette.land * 0.35
    scene.fill(scene.ribbon(path, 0.012 + 0.28 * steps**1.7), tone, 0.35, 0.0 if river else None)


def tree(scene: Scene, x: float, foot: float, size: float) -> None:
    """A tree of the kind that this painter likes: round, poplar, fir or pine on a bare trunk; size in units."""
    rng, palette = scene.rng, scene.palette
    base, kind = scene.at(x, foot), scene.habits.kind % 4
    size *= rng.uniform(0.8, 1.25)
    scene.shade(base, size * 0.42)
    crown = base - [0, size * (0.62, 0.9, 0.8, 0.85)[kind] * scene.unit]
    bend = np.array([rng.uniform(-0.1, 0.1), -0.4]) * size * scene.unit
    stem = bezier([base, base + bend, crown], 8)
    scene.fill(scene.ribbon(stem, np.linspace(0.085, 0.04, 8) * size), palette.dark, 0.6, np.pi / 2)
    deep, bright = palette.leaf * 0.55 + palette.dark * 0.15, palette.leaf * 0.7 + palette.glow * 0.35
    spots, light = _in_crown(scene, 12, kind)
    for spot, share in zip(crown + spots * size * scene.unit, light, strict=True):
        leaf = scene.mix(deep, bright, 0.2 + 0.7 * share)
        radius = size * rng.uniform(0.11, 0.18)
        scene.fill(scene.oval(spot, radius, radius * (1.5 if kind == 1 else 0.8), 0, 0.35), leaf, 0.4)
    if scene.habits.modelling > 0.3:
        spots, light = _in_crown(scene, round(60 + 700 * size), kind)
        share = np.clip(light + rng.normal(0, 0.2, len(light)), 0, 1)[:, None]
        sizes = rng.uniform(0.004, 0.008, len(light)) + 0.018 * size
        scene.specks(crown + spots * 1.25 * size * scene.unit, sizes, deep + share * (bright - deep))


def _in_crown(scene: Scene, count: int, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in the crown of a tree of size 1, about its middle (count, 2), and the light at each, 0..1 (count,)."""
    turn, reach = scene.rng.uniform(0, 2 * np.pi, count), np.sqrt(scene.rng.uniform(0, 1, count))
    right, down = np.cos(turn) * reach, np.sin(turn) * reach
    width, height = ((0.34, 0.28), (0.1, 0.55), (0.3, 0.5), (0.38, 0.12))[kind]
    places = np.stack([right * width * ((1.1 + down) / 2 if kind == 2 else 1.0), down * height], axis=1)
    return places, np.clip(0.5 - 0.45 * down + 0.35 * right * np.cos(scene.habits.light), 0, 1)


def hamlet(scene: Scene, horizon: float) -> None:
    """A few small houses together."""
    middle = scene.rng.uniform(0.15, 0.8)
    for _ in range(2 + round(3 * scene.habits.density)):
        size = scene.rng.uniform(0.05, 0.1)
        spot = (middle + scene.rng.uniform(-0.14, 0.14), horizon + scene.rng.uniform(0.03, 0.09))
        house(scene, spot, (size, size * scene.rng.uniform(0.6, 0.9)), 0.25)


def house(scene: Scene, corner: tuple[float, float], size: tuple[float, float], haze: float) -> None:
    """A house whose lower left corner stands at a place; size is width as a share, height in units."""
    rng, palette = scene.rng, scene.palette
    left, bottom = scene.at(*corner)
    width, height = size[0] * scene.width, size[1] * scene.unit
    wall = scene.mix(scene.mix(palette.glow, palette.land, 0.8), palette.accent, 0.4)
    wall = wall + (palette.far - wall) * haze
    roof = scene.mix(palette.accent * 0.8, palette.dark, 0.7) * (1 - haze) + palette.far * haze * 0.9
    top, right = bottom - height, left + width
    scene.fill(np.array([[left, bottom], [left, top], [right, top], [right, bottom]]), wall, 0, np.pi / 2)
    dim = np.array([[right - width * 0.3, bottom], [right - width * 0.3, top], [right, top], [right, bottom]])
    scene.fill(dim if np.cos(scene.habits.light) < 0 else dim - [width * 0.7, 0], wall * 0.8, 0, np.pi / 2)
    peak, lean = top - width * rng.uniform(0.25, 0.5), width * 0.07
    scene.fill(np.array([[left - lean, top], [left + width / 2, peak], [right + lean, top]]), roof, 0, 0.0)
    cols, rows = max(1, round(width / (0.045 * scene.unit))), max(1, round(height / (0.085 * scene.unit)))
    pane = palette.dark * 0.7 + palette.far * (0.2 + 0.5 * haze)
    for row in range(rows):
        for col in range(cols):
            spot = np.array([left + width * (col + 0.5) / cols, top + height * (row + 0.55) / (rows + 0.15)])
            tone = palette.glow if rng.random() < 0.12 else pane
            half = np.array([0.2 * width / cols, 0.26 * height / rows])
            scene.fill(spot + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), tone, 0, np.pi / 2)


def tower(scene: Scene, x: float, foot: float, height: float) -> None:
    """A church tower or a dome in the distance; height in units."""
    tone = scene.palette.far * 0.8 + scene.palette.dark * 0.15
    base, up, half = scene.at(x, foot), height * scene.unit, 0.045 * scene.unit
    block = np.array([[-half, 0], [-half, -up * 0.6], [half, -up * 0.6], [half, 0]])
    scene.fill(base + block, tone, 0.5, np.pi / 2)
    if scene.habits.kind % 2:
        scene.fill(scene.oval(base - [0, up * 0.62], 0.075, 0.1), tone * 0.95 + 0.03, 1.0)
    roof = np.array([[-half * 1.2, -up * 0.6], [0, -up], [half * 1.2, -up * 0.6]])
    scene.fill(base + roof, tone * 0.85, 0.3, np.pi / 2)


def mirror(scene: Scene, level: float) -> None:
    """Still water below a level that mirrors what stands above it."""
    row = round(level * scene.height)
    rows = min(scene.height - row, row)
    upside = scene.color[row - rows : row][::-1]
    sway = (scene.noise(9, stretch=5)[row : row + rows] * np.linspace(1, 9, rows)[:, None]).astype(int)
    cols = np.clip(np.arange(scene.width) + sway, 0, scene.width - 1)
    image = np.take_along_axis(upside, cols[..., None], axis=1) * 0.72 + scene.palette.water * 0.22
    water = scene.palette.water * 0.8
    scene.below(np.full(scene.width, level, np.float32), water, water * 0.7)
    scene.color[row : row + rows] = image
    scene.angle[row:] = 0


def people(scene: Scene, ground: float) -> None:
    """Small passers-by with their shadows."""
    for _ in range(2 + round(7 * scene.habits.density)):
        depth = scene.rng.uniform(0.1, 0.8)
        size, foot = 0.05 + 0.1 * depth, scene.at(scene.rng.uniform(0.05, 0.95), ground + (1 - ground) * depth)
        scene.shade(foot, size * 0.4)
        coat = scene.mix(scene.palette.dark, scene.palette.accent, 1.0)
        scene.fill(scene.oval(foot - [0, size * 0.45 * scene.unit], size * 0.16, size * 0.46), coat, 0.8)
        scene.fill(scene.oval(foot - [0, size * scene.unit], size * 0.1, size * 0.12), scene.palette.glow * 0.8, 0.6)


def ripples(scene: Scene, horizon: float, sun: float) -> None:
    """Small waves that flatten with distance, and the light's path on them."""
    palette = scene.palette
    row = round(horizon * scene.height)
    depth = np.maximum(scene.y[row:] - horizon, 0.004)
    period = np.log(depth + 0.03) * 22
    chop = np.sin(period + 2.2 * scene.noise(5, stretch=3)[row:]) * 0.6 + 0.5 * scene.noise(14, stretch=6)[row:]
    water = scene.color[row:]
    crest = np.clip(chop - 0.35, 0, 1)[..., None] * 0.55
    water += crest * (palette.glow - water)
    water *= 1 + 0.13 * np.clip(chop, -1, 0)[..., None]
    path = np.exp(-(((scene.x - sun) / (0.05 + 0.22 * depth)) ** 2)) * np.clip(chop + 0.4, 0, 1) * 0.75
    water += path[..., None] * (palette.glow * 1.08 - water)
    scene.angle[row:] = 0.25 * chop


def wave(scene: Scene, horizon: float, depth: float) -> None:
    """One long wave with foam on its back."""
    palette, size = scene.palette, 0.03 + 0.12 * depth
    middle = horizon + (1 - horizon) * depth
    swing = np.abs(np.sin(np.linspace(0, scene.rng.uniform(4, 9), scene.width) + scene.rng.uniform(0, 6)))
    line = (middle - size * swing**0.7 + 0.02 * size * scene.curve(14)).astype(np.float32)
    foam = 0.35 * size * (0.3 + np.abs(scene.curve(16))) * swing**2
    crest = palette.water * (0.95 - 0.25 * depth) + 0.05
    scene.below(line - foam, palette.glow * 0.45 + 0.5, palette.glow * 0.6 + 0.3)
    scene.below(line, crest, palette.water * 0.45 + palette.dark * 0.3, 0.0)


def boat(scene: Scene, x: float, y: float, size: float) -> None:
    """A sailing boat; size in units."""
    rng, palette = scene.rng, scene.palette
    foot, reach = scene.at(x, y), size * scene.unit
    scene.shade(foot + np.array([0, 0.06 * reach]), size * 0.6)
    hull = np.array([[-0.5, -0.1], [0.55, -0.14], [0.38, 0.08], [-0.36, 0.08]]) * reach
    scene.fill(foot + hull, scene.mix(palette.dark, palette.accent, 0.7), 0.6, 0.0)
    sail = scene.mix(palette.glow * 0.7 + 0.28, palette.accent, 0.5)
    flip = -1 if scene.habits.kind % 2 else 1
    top = 1.0 + rng.uniform(0, 0.4)
    main = bezier([np.array([0.02, -0.14]), np.array([0.62, -0.4]), np.array([0.02, -top])], 10)
    scene.fill(foot + main * [flip * reach, reach], sail, 0.8, np.pi / 2)
    jib = np.array([[-0.05, -0.16], [-0.5, -0.18], [-0.03, -top * 0.85]])
    scene.fill(foot + jib * [flip * reach, reach], sail * 0.87, 0.4, np.pi / 2)


def cliff(scene: Scene, horizon: float) -> None:
    """Rocks that rise at one side."""
    rng, palette = scene.rng, scene.palette
    side = scene.x[0] if rng.random() < 0.5 else 1 - scene.x[0]
    height, reach = rng.uniform(0.15, 0.4), rng.uniform(0.2, 0.45)
    steps = np.clip((reach - side) / reach, 0, 1) ** 0.5
    line = (horizon + 0.24 - (height + 0.24) * steps + 0.05 * scene.curve(7) * (steps > 0)).astype(np.float32)
    line[side > reach] = 1.1
    scene.below(line, palette.far * 0.4 + palette.land * 0.45, palette.dark * 0.8, np.pi / 3)
    rock = scene.label == scene.label.max()
    scene.color[rock] *= (1 + 0.2 * scene.noise(8, 0.5))[rock][:, None]
