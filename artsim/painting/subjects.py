"""Subjects of the made-up paintings: each function lays one out in a scene, by the painter's palette and habits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from artsim.painting import indoors, outdoors
from artsim.painting.scenes import Scene, bezier


def landscape(scene: Scene) -> None:
    """Hills behind fields, with trees, and often a river, a path or a few houses."""
    horizon = scene.habits.horizon + scene.rng.uniform(-0.05, 0.05)
    outdoors.sky(scene, horizon)
    outdoors.ridges(scene, horizon)
    outdoors.furrows(scene, horizon)
    if scene.rng.random() < 0.65:
        outdoors.winding(scene, horizon)
    if scene.rng.random() < 0.45:
        outdoors.hamlet(scene, horizon)
    count = 2 + round(9 * scene.habits.density * scene.rng.uniform(0.6, 1.2))
    for depth in np.sort(scene.rng.uniform(0.02, 0.75, count)):
        outdoors.tree(scene, scene.rng.uniform(-0.02, 1.02), horizon + (1 - horizon) * depth, 0.05 + 0.30 * depth)


def woods(scene: Scene) -> None:
    """Trunks before a bright distance."""
    palette, rng = scene.palette, scene.rng
    ground = 0.72 + rng.uniform(-0.08, 0.08)
    haze = scene.noise(5)[..., None]
    scene.color[:] = palette.leaf + (palette.glow - palette.leaf) * np.clip(0.45 + 0.22 * haze, 0, 1)
    scene.angle[:] = np.pi / 2
    scene.glow(rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.5), 0.25, 0.6)
    scene.below(ground + 0.02 * scene.curve(4), (palette.land + palette.glow) / 2, palette.land * 0.6)
    for depth in np.sort(rng.uniform(0, 1, 9 + round(14 * scene.habits.density))):
        foot = scene.at(rng.uniform(-0.02, 1.02), ground + 0.02 + 0.26 * depth)
        top = foot + np.array([rng.uniform(-0.05, 0.05) * scene.unit, -1.3 * scene.height])
        bark = palette.far + (scene.mix(palette.dark, palette.accent, 0.3) - palette.far) * (0.3 + 0.7 * depth)
        widths = np.linspace(1, 0.7, 12) * (0.014 + 0.05 * depth**1.5)
        scene.fill(
            scene.ribbon(bezier([foot, (foot + top) / 2 + np.array([0.012 * scene.unit, 0]), top], 12), widths),
            bark,
            0.9,
            np.pi / 2,
        )
        scene.shade(foot, 0.03 + 0.08 * depth)
    for _ in range(60):
        spot = scene.at(rng.uniform(0, 1), rng.uniform(-0.02, 0.3) * rng.uniform(0.2, 1.1))
        wide, high = rng.uniform(0.02, 0.06, 2)
        blob = scene.oval(spot, wide, high, 0, 0.4)
        scene.fill(blob, scene.mix(palette.leaf, palette.glow, 0.7), 0.5)


def sea(scene: Scene) -> None:
    """Water under a wide sky, with sails, or with cliffs and a heavy swell."""
    rng, palette = scene.rng, scene.palette
    horizon = float(np.clip(scene.habits.horizon + rng.uniform(-0.08, 0.08), 0.3, 0.72))
    sun = rng.uniform(0.15, 0.85)
    outdoors.sky(scene, horizon, sun)
    if rng.random() < 0.5:
        scene.below(horizon - 0.03 - 0.05 * np.abs(scene.curve(3)), palette.far, palette.far * 0.9)
    flat = np.full(scene.width, horizon, np.float32)
    scene.below(flat, palette.water * 0.6 + palette.glow * 0.4, palette.water * 0.62 + palette.dark * 0.2)
    outdoors.ripples(scene, horizon, sun)
    swell = scene.habits.density > 0.55
    for depth in np.linspace(0.12, 0.95, 6) if swell else ():
        outdoors.wave(scene, horizon, depth)
    for depth in np.sort(rng.uniform(0.04, 0.5, 1 + round(3 * rng.random()))):
        outdoors.boat(scene, rng.uniform(0.08, 0.92), horizon + (1 - horizon) * depth, 0.06 + 0.22 * depth)
    if rng.random() < 0.4:
        outdoors.cliff(scene, horizon)


def town(scene: Scene) -> None:
    """Rows of houses along a street or a canal, a tower behind them."""
    rng, palette = scene.rng, scene.palette
    ground = float(np.clip(scene.habits.horizon + 0.22 + rng.uniform(-0.04, 0.04), 0.58, 0.82))
    outdoors.sky(scene, ground - 0.15)
    outdoors.tower(scene, rng.uniform(0.2, 0.8), ground - 0.05, rng.uniform(0.35, 0.5))
    for row, (size, haze) in enumerate(((0.55, 0.55), (0.8, 0.3), (1.0, 0.0))):
        if row == 1 and rng.random() < 0.4:
            continue
        x = rng.uniform(-0.12, 0)
        while x < 1:
            width = rng.uniform(0.09, 0.17) * size * (1.2 - 0.4 * scene.habits.density)
            if row < 2 or abs(x + width / 2 - 0.5) > 0.16:
                outdoors.house(scene, (x, ground - 0.1 * (1 - size)), (width, rng.uniform(0.2, 0.36) * size), haze)
            x += width * rng.uniform(0.92, 1.05)
    level = np.full(scene.width, ground, np.float32)
    if rng.random() < 0.5:
        outdoors.mirror(scene, ground)
    else:
        scene.below(level, scene.mix(palette.land, palette.glow), palette.land * 0.7)
        outdoors.people(scene, ground)


def still_life(scene: Scene) -> None:
    """Vessels and fruit on a table with a cloth."""
    rng, palette = scene.rng, scene.palette
    edge = 0.62 + rng.uniform(-0.06, 0.06)
    indoors.wall(scene)
    line = np.full(scene.width, edge, np.float32)
    scene.below(line, scene.mix(palette.land, palette.accent, 0.3), palette.land * 0.55)
    indoors.cloth(scene, edge)
    spots = np.linspace(0.2, 0.8, 3 + round(2 * scene.habits.density)) + rng.uniform(-0.04, 0.04)
    for x in rng.permutation(spots)[: 2 + round(2 * rng.random())]:
        indoors.vessel(scene, x, edge + rng.uniform(0.06, 0.12))
    for y in np.sort(rng.uniform(edge + 0.11, 0.9, 4 + round(6 * scene.habits.density))):
        indoors.fruit(scene, np.clip(rng.normal(0.5, 0.2), 0.08, 0.92), y)


def flowers(scene: Scene) -> None:
    """A bunch of flowers in a vase, or flowers that grow from the ground."""
    rng, palette = scene.rng, scene.palette
    indoors.wall(scene)
    edge = 0.8 + rng.uniform(-0.04, 0.04)
    scene.below(
        np.full(scene.width, edge, np.float32), scene.mix(palette.land, palette.accent, 0.4), palette.land * 0.6
    )
    foot = scene.at(0.5 + rng.uniform(-0.06, 0.06), edge + 0.06)
    indoors.vessel(scene, foot[0] / scene.width, edge + 0.07, height=0.3)
    mouth = foot - [0, 0.27 * scene.unit]
    heads = []
    for _ in range(12 + round(16 * scene.habits.density)):
        turn, reach = rng.uniform(-np.pi * 0.98, -0.02), np.sqrt(rng.uniform(0.02, 1))
        heads.append(mouth + np.array([0.3 * np.cos(turn), 0.07 + 0.44 * np.sin(turn)]) * reach * scene.unit)
    for head in heads:
        indoors.stem(scene, mouth + np.array([rng.uniform(-0.02, 0.02) * scene.unit, 0.012 * scene.unit]), head)
    for head in sorted(heads, key=lambda place: float(place[1])):
        indoors.flower(scene, head, rng.uniform(0.035, 0.062))


def figure(scene: Scene) -> None:
    """Somebody, or two, to the waist, before a wall or a view."""
    rng, palette = scene.rng, scene.palette
    if rng.random() < 0.4:
        outdoors.sky(scene, 0.55)
        outdoors.ridges(scene, 0.55)
        scene.below(0.62 + 0.02 * scene.curve(3), palette.land, palette.land * 0.6)
    else:
        indoors.wall(scene)
    pair = rng.random() < (0.6 if scene.width > scene.height else 0.15)
    for x in (0.31, 0.68) if pair else (0.5,):
        face = scene.at(x + rng.uniform(-0.06, 0.06), 0.36 + rng.uniform(-0.03, 0.05))
        indoors.sitter(scene, face, rng.uniform(0.095, 0.125) if pair else rng.uniform(0.12, 0.16))


def fields(scene: Scene) -> None:
    """Soft rectangles, one above the other."""
    rng = scene.rng
    inks = rng.permutation(np.stack(scene.palette))
    scene.color[:] = inks[0]
    cuts = np.sort(rng.dirichlet(np.full(2 + round(2 * scene.habits.density), 4.0)).cumsum()) * 0.9 + 0.05
    top = 0.05
    for number, bottom in enumerate(cuts):
        left = 0.06 + rng.uniform(-0.015, 0.015)
        sides = np.minimum(scene.x - left, 1 - left - scene.x) * scene.width
        ends = np.minimum(scene.y - top - 0.012, bottom - 0.012 - scene.y) * scene.height
        rim = np.minimum(sides, ends) + 3 * scene.noise(9)
        cover = 1 / (1 + np.exp(-np.clip(rim / (0.007 * scene.unit), -30, 30)))
        ink = inks[1 + number % 6] * (1 + 0.07 * scene.noise(3)[..., None])
        scene.color += (0.93 * cover)[..., None] * (ink - scene.color)
        top = bottom


def vines(scene: Scene) -> None:
    """Whiplash stems with leaves and blossoms before a great halo, in a frame."""
    rng, palette = scene.rng, scene.palette
    scene.color[:] = palette.sky + scene.y[..., None] * (palette.glow - palette.sky)
    middle = scene.at(0.5 + rng.uniform(-0.12, 0.12), rng.uniform(0.3, 0.5))
    for ring, ink in ((0.36, palette.far), (0.33, palette.glow), (0.25, scene.mix(palette.glow, palette.accent))):
        scene.fill(scene.oval(middle, ring, ring), ink, 0)
    heads = []
    for x in np.linspace(0.08, 0.92, 5 + round(5 * scene.habits.density)) + rng.uniform(-0.04, 0.04):
        side, top = (1 if x < 0.5 else -1), rng.uniform(0.12, 0.6)
        path = bezier(
            [scene.at(x, 1.02), scene.at(x - 0.3 * side, top + 0.2), scene.at(x + 0.1 * side, top - 0.25)], 20
        )
        curl = path[-1] + indoors.spiral(side, 0.09 * scene.unit)
        line = np.concatenate([path, curl])
        scene.fill(
            scene.ribbon(line, np.linspace(0.02, 0.007, len(line))), scene.mix(palette.leaf, palette.dark, 0.6), 0
        )
        heads.append(line[-1])
        for at in rng.integers(4, 19, 4):
            indoors.leaf(scene, path[at], rng.uniform(-np.pi, 0), 0.07)
    for head in heads:
        indoors.flower(scene, head, rng.uniform(0.05, 0.085))
    indoors.frame(scene, 0.028)


def geometry(scene: Scene) -> None:
    """Few plain forms on a plain ground."""
    rng, palette = scene.rng, scene.palette
    dark = rng.random() < 0.25
    scene.color[:] = palette.dark if dark else palette.glow * 0.35 + 0.6
    inks = [palette.accent, palette.sky, palette.water, palette.land, palette.glow if dark else palette.dark]
    inks = [inks[at] for at in rng.permutation(5)]
    forms = (_bands, _rings, _blocks, _lattice, _wedge)
    forms[(scene.habits.kind + int(rng.integers(2))) % 5](
        scene, inks, 2 + round(4 * scene.habits.density * rng.uniform(0.5, 1.2))
    )


def _bands(scene: Scene, inks: list[np.ndarray], count: int) -> None:
    """Parallel bars in one or two colours."""
    upright, lean = scene.habits.kind % 2, scene.rng.choice([0.0, 0.0, 0.12])
    for number in range(count):
        share, half = 0.1 + 0.8 * (number + 0.5) / count, scene.rng.uniform(0.15, 0.36) / count
        box = [
            [share - half + lean, 0.1],
            [share + half + lean, 0.1],
            [share + half - lean, 0.9],
            [share - half - lean, 0.9],
        ]
        points = np.array(box) if upright else np.array(box)[:, ::-1]
        scene.fill(points * [scene.width, scene.height], inks[number % 2], 0)


def _rings(scene: Scene, inks: list[np.ndarray], count: int) -> None:
    """A disc, or discs within each other, not always in the middle."""
    middle = scene.at(*(0.5 + scene.rng.choice([0.0, 0.0, 0.16, -0.16], 2)))
    drop = scene.rng.choice([0, 0, 0.013]) * scene.unit
    for number in range(max(1, count - 1)):
        size = 0.38 * (1 - number / max(1, count - 1))
        scene.fill(scene.oval(middle + np.array([0, number * drop]), size, size), inks[number % 2], 0)


def _blocks(scene: Scene, inks: list[np.ndarray], count: int) -> None:
    """Rectangles that overlap."""
    for number in range(count):
        left, top = near = scene.rng.uniform(0.08, 0.65, 2)
        right, bottom = np.minimum(near + scene.rng.uniform(0.12, 0.45, 2), 0.93)
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        scene.fill(corners * [scene.width, scene.height], inks[number % 5], 0)


def _lattice(scene: Scene, inks: list[np.ndarray], count: int) -> None:
    """Squares or dots in rows and columns, one of them in another colour."""
    rows, cols = count + 1, max(2, round((count + 1) * scene.width / scene.height))
    odd, size = int(scene.rng.integers(rows * cols)), 0.3 * scene.height / rows / scene.unit
    for cell in range(rows * cols):
        spot = scene.at(0.07 + 0.86 * (cell % cols + 0.5) / cols, 0.07 + 0.86 * (cell // cols + 0.5) / rows)
        corner = size * scene.unit * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        shape = spot + corner if scene.habits.kind % 2 else scene.oval(spot, size, size)
        scene.fill(shape, inks[int(cell == odd)], 0)


def _wedge(scene: Scene, inks: list[np.ndarray], count: int) -> None:
    """One or two large slanting planes."""
    for number in range(1 + count % 2):
        cuts = scene.rng.uniform(0.15, 0.85, 2)
        side = 1.05 if (number + scene.habits.kind) % 2 else -0.05
        points = np.array([[side, -0.05], [cuts[0], -0.05], [cuts[1], 1.05], [side, 1.05]])
        scene.fill(points * [scene.width, scene.height], inks[number], 0)


def gesture(scene: Scene) -> None:
    """Patches of colour with great sweeps of the arm across them."""
    rng, inks = scene.rng, np.stack(scene.palette)
    scene.color[:] = inks[1] * 0.7 + 0.25
    scene.angle[:] = scene.noise(2) * 0.9 + scene.habits.light
    for _ in range(8 + round(14 * scene.habits.density)):
        spot = scene.at(*np.clip(rng.normal(0.5, 0.26, 2), 0, 1))
        ink = inks[int(rng.integers(8))]
        wide, high, turn = rng.uniform((0.06, 0.06, 0), (0.25, 0.25, 3))
        scene.fill(scene.oval(spot, wide, high, turn, 0.5), ink, 0)


def thrown(scene: Scene) -> None:
    """Paint dripped and flung over the whole ground."""
    scene.color[:] = scene.palette.glow * 0.5 + 0.35
    scene.color += 0.03 * scene.noise(4)[..., None]


SUBJECTS: dict[str, Callable[[Scene], None]] = {
    "landscape": landscape,
    "woods": woods,
    "sea": sea,
    "town": town,
    "still_life": still_life,
    "flowers": flowers,
    "figure": figure,
    "vines": vines,
    "fields": fields,
    "geometry": geometry,
    "gesture": gesture,
    "thrown": thrown,
}
