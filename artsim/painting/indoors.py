"""Things close by in the made-up paintings: walls, vessels, fruit, flowers, ornament, people who sit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from artsim.painting.scenes import Scene, bezier, rounded


def wall(scene: Scene) -> None:
    """A room's wall with the light falling off, sometimes a curtain."""
    rng, palette = scene.rng, scene.palette
    tone = scene.mix(scene.mix(palette.far, palette.dark, 0.7), palette.land, 0.5)
    side = scene.x if np.cos(scene.habits.light) > 0 else 1 - scene.x
    fall = 0.72 + 0.45 * side - 0.18 * scene.y + 0.07 * scene.noise(2)
    scene.color[:] = tone * fall[..., None]
    scene.angle[:] = 0.8 + 0.5 * scene.noise(1.5)
    if rng.random() < 0.45:
        edge = rng.uniform(0.18, 0.4)
        steps = np.linspace(-0.02, 1.02, 14)
        x = edge + 0.03 * np.sin(steps * 5 + rng.uniform(0, 6)) - 0.08 * steps
        path = np.stack([x if np.cos(scene.habits.light) > 0 else 1 - x, steps], axis=1)
        outer = np.array([[0, 1.02], [0, -0.02]]) if path[0, 0] < 0.5 else np.array([[1, 1.02], [1, -0.02]])
        points = np.concatenate([path, outer]) * [scene.width, scene.height]
        scene.fill(points, scene.mix(palette.accent * 0.7, palette.leaf, 0.8), 0.3, np.pi / 2)
        cloth = scene.label == scene.label.max()
        folds = 1 + 0.24 * scene.habits.modelling * np.sin(scene.x * 70 + 3 * scene.y + scene.noise(2, 0.4))
        scene.color[cloth] *= folds[cloth][:, None]


def cloth(scene: Scene, edge: float) -> None:
    """A cloth that lies on the table and hangs over its front."""
    rng, palette = scene.rng, scene.palette
    left, right = rng.uniform(0.05, 0.3), rng.uniform(0.6, 0.92)
    hem = np.linspace(right, left, 12)
    front = np.stack([hem, 0.93 + 0.05 * np.sin(hem * 30 + rng.uniform(0, 6))], axis=1)
    points = np.concatenate([[[left + 0.08, edge + 0.02], [right - 0.05, edge + 0.02]], front])
    scene.fill(points * [scene.width, scene.height], scene.mix(palette.glow * 0.6 + 0.36, palette.water, 0.4), 0.3, 0.3)
    inside = scene.label == scene.label.max()
    folds = 1 + 0.1 * scene.habits.modelling * scene.noise(5, 0.35)
    scene.color[inside] *= folds[inside][:, None]


def vessel(scene: Scene, x: float, foot: float, height: float = 0.0) -> None:
    """A bottle, jug, vase or bowl turned on the wheel; height in units, 0: chosen."""
    rng, palette = scene.rng, scene.palette
    profiles = (
        (0.26, 0.3, 0.3, 0.28, 0.1, 0.09, 0.1),
        (0.2, 0.34, 0.42, 0.36, 0.2, 0.17, 0.24),
        (0.16, 0.3, 0.4, 0.42, 0.32, 0.2, 0.26),
        (0.24, 0.4, 0.4, 0.3, 0.24, 0.22, 0.3),
    )
    profile = np.array(profiles[(scene.habits.kind + int(rng.integers(2))) % 4])
    tall = height or rng.uniform(0.22, 0.38)
    steps = np.linspace(0, 1, 28)
    half = np.interp(steps, np.linspace(0, 1, 7), profile) * tall * scene.unit
    half = np.convolve(np.pad(half, 3, mode="edge"), np.full(7, 1 / 7), mode="valid")
    base = scene.at(x, foot)
    scene.shade(base, tall * 0.55)
    y = base[1] - steps * tall * scene.unit
    points = np.concatenate([np.stack([base[0] - half, y], 1), np.stack([base[0] + half, y], 1)[::-1]])
    inks = (palette.water, palette.dark * 0.7 + palette.leaf * 0.4, palette.accent, palette.land, palette.sky)
    glaze = scene.mix(inks[int(rng.integers(5))], palette.glow, 0.5)
    scene.fill(points, glaze, 1.5, np.pi / 2)
    scene.fill(scene.oval(np.array([base[0], y[-1]]), half[-1] / scene.unit, 0.018), glaze * 0.5, 0, 0.0)
    side = np.sign(np.cos(scene.habits.light))
    gleam = np.array([base[0] + side * half.max() * 0.45, base[1] - 0.55 * tall * scene.unit])
    if scene.habits.modelling > 0.4:
        scene.fill(scene.oval(gleam, 0.008, 0.04), glaze * 0.3 + 0.7, 0, np.pi / 2)


def fruit(scene: Scene, x: float, y: float) -> None:
    """An apple, a lemon or the like."""
    rng, palette = scene.rng, scene.palette
    inks = (palette.accent, palette.leaf, palette.glow * [1.0, 0.85, 0.4], palette.accent * [1.0, 1.5, 0.9])
    spot, size = scene.at(x, y), rng.uniform(0.038, 0.06)
    skin = np.clip(scene.mix(inks[int(rng.integers(4))], palette.glow, 0.25), 0, 1)
    scene.shade(spot + np.array([0, size * 0.75 * scene.unit]), size * 1.1)
    scene.fill(scene.oval(spot, size, size * rng.uniform(0.8, 1.0), 0, 0.06), skin, 1.5)
    tall = size * scene.unit
    stalk = bezier([spot - [0, 0.8 * tall], spot - [0.1 * tall, tall], spot - [-0.08 * tall, 1.3 * tall]], 6)
    scene.fill(scene.ribbon(stalk, np.full(6, 0.006)), palette.dark, 0, np.pi / 2)
    if scene.habits.modelling > 0.4:
        gleam = spot + np.array([np.cos(scene.habits.light), -0.9]) * 0.4 * size * scene.unit
        scene.fill(scene.oval(gleam, size * 0.16, size * 0.12), skin * 0.3 + 0.7, 0)


def stem(scene: Scene, foot: np.ndarray, head: np.ndarray) -> None:
    """A stem with two leaves."""
    bend = (foot + head) / 2 + scene.rng.uniform(-0.05, 0.05, 2) * scene.unit
    path = bezier([foot, bend, head], 14)
    scene.fill(scene.ribbon(path, np.full(14, 0.008)), scene.mix(scene.palette.leaf, scene.palette.dark, 0.6), 0)
    for share in scene.rng.integers(4, 12, 2):
        leaf(scene, path[share], scene.rng.uniform(-np.pi, 0), 0.05)


def leaf(scene: Scene, foot: np.ndarray, turn: float, size: float) -> None:
    """A pointed leaf that grows in a direction (radians); half its length in units."""
    ahead = np.array([np.cos(turn), np.sin(turn)]) * size * scene.unit
    side = np.array([-ahead[1], ahead[0]]) * scene.rng.uniform(0.35, 0.6)
    tip = foot + 2 * ahead
    edges = [bezier([foot, foot + ahead + side * sign, tip], 9) for sign in (1, -1)]
    ink = scene.mix(scene.palette.leaf, scene.palette.glow * 0.4 + scene.palette.dark * 0.4, 0.7)
    scene.fill(np.concatenate([edges[0], edges[1][::-1]]), ink, 0.6, turn)


def flower(scene: Scene, spot: np.ndarray, size: float) -> None:
    """Petals around a heart; size in units."""
    rng, palette = scene.rng, scene.palette
    inks = (palette.accent, palette.glow * 0.6 + 0.4, palette.sky * 0.6 + palette.accent * 0.4, palette.glow)
    ink = inks[int(rng.integers(4))]
    count = 5 + scene.habits.kind % 4
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(0, 2)
    for turn in turns:
        petal = spot + np.array([np.cos(turn), 0.85 * np.sin(turn)]) * size * 0.62 * scene.unit
        scene.fill(scene.oval(petal, size * 0.55, size * 0.34, turn), scene.mix(ink, palette.glow, 0.45), 0.9, turn)
    scene.fill(scene.oval(spot, size * 0.3, size * 0.26), scene.mix(palette.land, palette.dark, 0.7), 0.8)


def spiral(side: int, size: float) -> np.ndarray:
    """A curl (N, 2) px that starts at the origin and winds inwards to the right (1) or left (-1)."""
    turn = np.linspace(0, 3.2 * np.pi, 26)
    radius = size * (1 - turn / (3.9 * np.pi))
    return np.stack([side * (size - radius * np.cos(turn)), -radius * np.sin(turn)], axis=1)[1:]


def frame(scene: Scene, size: float) -> None:
    """A painted border, in units wide, with a thin line inside."""
    for inset, ink in ((0.0, scene.palette.dark * 0.8 + scene.palette.land * 0.2), (1.6, scene.palette.accent)):
        near, far = inset * size * scene.unit, (inset + (1.0 if not inset else 0.25)) * size * scene.unit
        width, height = scene.width, scene.height
        outer, inner = ([[d, d], [width - d, d], [width - d, height - d], [d, height - d], [d, d]] for d in (near, far))
        scene.fill(np.array(outer + inner[::-1]), ink, 0, 0.0)


class _Pose(NamedTuple):
    """Where a head is, half its height (px), and how it is turned and tilted."""

    face: np.ndarray
    unit: float
    turn: float
    tilt: float

    def place(self, points: Sequence[Sequence[float] | np.ndarray]) -> np.ndarray:
        """From heads to px (N, 2)."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return self.face + np.array(points) @ np.array([[cos, sin], [-sin, cos]]) * self.unit


def sitter(scene: Scene, face: np.ndarray, size: float) -> None:
    """Somebody to the waist, with a head of `size` units half its height."""
    rng, palette = scene.rng, scene.palette
    turn = float(np.sign(np.cos(scene.habits.light)) * rng.uniform(0.03, 0.16))
    pose = _Pose(face, size * scene.unit, turn, rng.normal(0, 0.07))
    skin = np.clip(palette.glow * [0.62, 0.5, 0.42] + palette.accent * 0.2 + 0.13, 0, 0.95)
    hair = scene.mix(palette.dark * 0.9, palette.accent * 0.5 + palette.land * 0.4, 0.9)
    coat = scene.mix(np.stack(palette)[rng.choice([0, 3, 4, 5, 6, 7])], palette.dark, 0.6)
    if rng.random() < 0.6:
        low = rng.uniform(0.6, 1.9)
        side = np.array([[0.85, -0.6], [1.0, 0.3], [0.95, low]])
        back = [*side, [0, low + 0.2], *(side * [-1, 1])[::-1], [0, -1.2]]
        scene.fill(rounded(pose.place(back)), hair, 0.6, np.pi / 2)
    _garment(scene, pose, coat, skin)
    cheek = np.array([[0.45, -1.0], [0.7, -0.3], [0.68, 0.35], [0.42, 0.88]])
    scene.fill(rounded(pose.place([*cheek, [0, 1.12], *(cheek * [-1, 1])[::-1]])), skin, 0.65)
    _features(scene, pose, skin)
    part = rng.uniform(-0.4, 0.4)
    cap = [
        [-0.72, 0.3],
        [-0.88, -0.5],
        [-0.5, -1.2],
        [0.1, -1.3],
        [0.65, -1.1],
        [0.88, -0.45],
        [0.72, 0.3],
        [0.6, -0.4],
    ]
    scene.fill(rounded(pose.place([*cap, [part, -0.85], [-0.62, -0.4]])), hair, 0.7)
    if scene.habits.kind % 3 == 1 and rng.random() < 0.7:
        scene.fill(scene.oval(pose.place([[0, -1.0]])[0], size * 0.8, size * 0.5, pose.tilt), coat * 0.8, 0.7)
        scene.fill(scene.oval(pose.place([[0, -0.72]])[0], size * 1.35, size * 0.24, pose.tilt), coat * 0.7, 0.6)


def _garment(scene: Scene, pose: _Pose, coat: np.ndarray, skin: np.ndarray) -> None:
    rng, upright = scene.rng, pose._replace(tilt=0.0)
    drop = (scene.height - pose.face[1]) / pose.unit + 0.6
    wide = rng.uniform(0.85, 1.1)
    body = [[-2.4, drop], [-2.2, 3.0], [-1.5, 2.05], [-0.5, 1.6], [0.5, 1.6], [1.5, 2.05], [2.2, 3.0], [2.4, drop]]
    scene.fill(rounded(upright.place([[x * wide, y] for x, y in body])), coat, 0.7)
    for side in (-1, 1):
        fold = bezier(list(upright.place([[1.2 * side * wide, 2.7], [1.6 * side, 3.6], [1.35 * side, drop]])), 12)
        scene.fill(scene.ribbon(fold, np.linspace(0.02, 0.14, 12) * pose.unit / scene.unit), coat * 0.66, 0)
    low = 1.95 + 0.8 * rng.random()
    neck = [[-0.42, 0.4], [0.42, 0.4], [0.5, 1.5], [0.75, 1.7], [0.0, low + 0.2], [-0.75, 1.7], [-0.5, 1.5]]
    scene.fill(rounded(upright.place(neck)), skin * 0.86, 0.3)
    kind, trim = int(rng.integers(4)), scene.mix(scene.palette.glow * 0.5 + 0.42, coat, 0.4)
    if kind == 0:
        collar = [[-0.62, 1.35], [0, low], [0.62, 1.35], [1.0, 1.75], [0.1, low + 0.7], [-0.1, low + 0.7], [-1.0, 1.75]]
        scene.fill(upright.place(collar), trim, 0.5)
    elif kind == 1:
        shawl = [[-1.9, 2.2], [-0.7, 1.6], [0, low + 0.1], [0.7, 1.6], [1.9, 2.2], [2.3, 3.4], [0.3, 4.0], [-2.3, 3.4]]
        scene.fill(rounded(upright.place(shawl)), scene.mix(scene.palette.accent, trim, 0.7), 0.7)
    elif kind == 2:
        for bead in np.linspace(-0.55, 0.55, 9):
            spot = upright.place([[bead, low - 0.1 - 1.3 * bead**2]])[0]
            scene.fill(scene.oval(spot, *[0.085 * pose.unit / scene.unit] * 2), trim, 1.0)


def _features(scene: Scene, pose: _Pose, skin: np.ndarray) -> None:
    dark, size, turn = scene.palette.dark * 0.6, pose.unit / scene.unit, pose.turn
    for side in (-1, 1):
        x = 0.3 * side + turn
        socket, eye, pupil = pose.place([[x, -0.1], [x, -0.06], [x + 0.25 * turn, -0.06]])
        scene.fill(scene.oval(socket, size * 0.2, size * 0.13, pose.tilt), skin * 0.8, 0)
        scene.fill(scene.oval(eye, size * 0.13, size * 0.058, pose.tilt), skin * 0.5 + 0.34, 0)
        scene.fill(scene.oval(pupil, size * 0.06, size * 0.06), dark, 0)
        for rise, bend, thick, tone in ((-0.1, -0.15, 0.018, dark), (-0.25, -0.34, 0.03, dark * 0.6 + skin * 0.4)):
            line = pose.place([[x - 0.19, rise + 0.04], [x, bend], [x + 0.19, rise + 0.04]])
            scene.fill(scene.ribbon(bezier(list(line), 8), np.full(8, thick * size)), tone, 0)
    nose = [
        [turn - 0.05, -0.1],
        [turn + 0.04, -0.1],
        [turn * 2 + 0.13, 0.3],
        [turn * 1.8, 0.38],
        [turn * 1.4 - 0.12, 0.3],
    ]
    scene.fill(rounded(pose.place(nose)), skin * 0.88, 0.6)
    lips, lower = pose.place([[turn * 1.2, 0.6], [turn * 1.2, 0.645]])
    red = scene.palette.accent * 0.45 + skin * 0.42
    scene.fill(scene.oval(lower, size * 0.17, size * 0.06, pose.tilt), red, 0.4)
    scene.fill(scene.oval(lips, size * 0.21, size * 0.035, pose.tilt), red * 0.7, 0)
