"""Paintings made by code, for when no data is at hand: WikiArt's genres, artists with a hand of their own."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from artsim.config import GalleryConfig
from artsim.painting.brushes import ENGINES, Brush
from artsim.painting.idioms import IDIOMS, PALETTES, Idiom
from artsim.painting.scenes import Habits, Palette, Scene
from artsim.painting.subjects import SUBJECTS
from artsim.schemas import row_seed

# Paintings in each of the 27 style folders of the WikiArt data set (github.com/cs-chan/ArtGAN), 81,444 in all, as
# listed in github.com/sunayana-981/LinearStyleTransfer, analysis_results/analysis_report.md.
GENRES: dict[str, int] = {
    "Abstract_Expressionism": 2782,
    "Action_painting": 98,
    "Analytical_Cubism": 110,
    "Art_Nouveau_Modern": 4334,
    "Baroque": 4240,
    "Color_Field_Painting": 1615,
    "Contemporary_Realism": 481,
    "Cubism": 2235,
    "Early_Renaissance": 1391,
    "Expressionism": 6736,
    "Fauvism": 934,
    "High_Renaissance": 1343,
    "Impressionism": 13060,
    "Mannerism_Late_Renaissance": 1279,
    "Minimalism": 1337,
    "Naive_Art_Primitivism": 2405,
    "New_Realism": 314,
    "Northern_Renaissance": 2552,
    "Pointillism": 513,
    "Pop_Art": 1483,
    "Post_Impressionism": 6450,
    "Realism": 10733,
    "Rococo": 2089,
    "Romanticism": 7019,
    "Symbolism": 4528,
    "Synthetic_Cubism": 216,
    "Ukiyo_e": 1167,
}

MAX_WORK_SIDE_PX = 800  # brushes work at this size; larger paintings are scaled up before the canvas's grain is laid on


class Painting(NamedTuple):
    """One painting of the gallery."""

    path: str  # "Genre/artist_title.jpg", below the gallery
    image: bytes  # JPEG


class Hand(NamedTuple):
    """How one artist paints."""

    name: str
    brush: Brush
    colors: np.ndarray  # (8, 3), in Palette's order
    habits: Habits
    subjects: tuple[str, ...]
    moods: tuple[str, ...]


class Plan(NamedTuple):
    """Everything about a painting that can be known before it is painted."""

    genre: str
    hand: Hand
    subject: str
    mood: str
    title: str
    size: tuple[int, int]  # width, height, px


class Mood(NamedTuple):
    """What a kind of light or season does to all colours."""

    tone: tuple[float, float, float]  # red, green and blue are multiplied by it
    grey: float  # share of the colour that is lost
    share: float  # how often painters choose it; they sum to 1


MOODS = {
    "noon": Mood((1.0, 1.0, 1.0), 0.0, 0.22),
    "morning": Mood((1.03, 1.0, 0.96), 0.1, 0.15),
    "summer": Mood((1.04, 1.02, 0.92), 0.0, 0.18),
    "evening": Mood((1.08, 0.88, 0.74), 0.0, 0.14),
    "dusk": Mood((0.74, 0.66, 0.84), 0.05, 0.06),
    "night": Mood((0.52, 0.58, 0.8), 0.1, 0.04),
    "rain": Mood((0.84, 0.88, 0.92), 0.5, 0.06),
    "autumn": Mood((1.02, 0.95, 0.86), 0.0, 0.09),
    "winter": Mood((1.0, 1.02, 1.05), 0.25, 0.06),
}
OUTDOORS = ("landscape", "woods", "sea", "town")
TITLES = {
    "landscape": "hills-near-{place} fields-at-{place} the-valley-of-{place} trees-at-{place} the-land-around-{place}",
    "woods": "woods-of-{place} the-edge-of-the-forest clearing-near-{place} trunks undergrowth-at-{place}",
    "sea": "boats-off-{place} the-bay-of-{place} sails open-water the-coast-at-{place}",
    "town": "houses-in-{place} view-of-{place} the-old-quarter rooftops-of-{place} a-corner-of-{place}",
    "still_life": "still-life-with-fruit the-kitchen-table still-life-with-jug table-with-a-cloth the-white-cloth",
    "flowers": "flowers-in-a-vase bouquet garden-flowers a-bunch-from-{place} flowers-on-a-table",
    "vines": "the-garden-panel irises decorative-panel spring-poster vines-and-blossoms",
    "figure": "portrait-of-{person} {person}-seated head-of-{person} {person}-of-{place} self-portrait",
    "fields": "untitled two-fields stacked-colours field the-weight-of-colour",
    "geometry": "untitled arrangement bars-and-ground plain-forms interval",
    "gesture": "untitled movement composition the-{place}-series weather-inside",
    "thrown": "number untitled web rhythm all-over",
}
PLACES = "arvenne lavarre ostermere castelbruno quillon vaudreuse hallowick montfaire brennhavn solvany"
PEOPLE = "elise marta anselm tobias irena felix odile berta lukas clara jonas mathilde"
FIRST = (
    "adela anselm aurel benedikt bruna casimir celia corentin dorothea edvin elio emeric fabia ferran gisela hanno "
    "idris ilse jorun katja leander livia magnus marit nestor noemi odo ottilie pascoe quirin rainer rosalba "
    "severin sidonie tamsin tancred ulrika valentin wenzel ysolde"
)
LAST = (
    "alder brint castar dorn esker falc grimm harv istr jorv kels lorr",
    "brook mere aldi ansky hoven quet strand oux",
)
EAST_FIRST = ("aki haru kiyo masa nobu shige toyo yori", "mine tomo hisa zane")
EAST_LAST = ("asa kita mina taka yone", "gase mori nuki shiro")


@lru_cache(maxsize=1)
def _deal() -> tuple[np.ndarray, np.ndarray]:
    """Genre of each of 81,444 paintings and its number within the genre, such that any gallery has WikiArt's shares.

    Adams's method of apportionment: it rounds up, so that the first 27 paintings are one of each genre.
    """
    counts = np.array(list(GENRES.values()))
    genre = np.repeat(np.arange(len(counts)), counts)
    number = np.concatenate([np.arange(count) for count in counts])
    order = np.argsort(number / counts[genre], kind="stable")
    return genre[order], number[order]


def _artist_of(genre: str, number: int, seed: int) -> int:
    """Which of its genre's artists made the genre's painting `number`: a few make many, and new ones keep coming."""
    known, before = (1 + int(0.6 * count**0.6) if count >= 0 else 0 for count in (number, number - 1))
    if known > before:
        return before
    share = np.random.default_rng(row_seed(seed, "author", genre, number)).random()
    return int(known * share**1.2)


def _name(genre: str, number: int, seed: int) -> str:
    """An invented name that no other artist of the gallery has."""
    first, last = (_join(EAST_FIRST), _join(EAST_LAST)) if genre == "Ukiyo_e" else (FIRST.split(), _join(LAST))
    genres = 1 if genre == "Ukiyo_e" else len(GENRES)
    size = len(first) * len(last)
    place = number * genres + list(GENRES).index(genre) % genres
    around, at = divmod(place, size)
    at = (at * 1237 + row_seed(seed, "names")) % size  # 1237 is prime to both sizes: each name once
    return f"{first[at % len(first)]}-{last[at // len(first)]}" + (f"-{around + 1}" if around else "")


def _join(syllables: tuple[str, str]) -> list[str]:
    return [first + second for second in syllables[1].split() for first in syllables[0].split()]


@lru_cache(maxsize=1024)
def hand_of(genre: str, number: int, seed: int) -> Hand:
    """The artist `number` of a genre: palette, touch and composition."""
    idiom = IDIOMS[genre]
    rng = np.random.default_rng(row_seed(seed, "artist", genre, number))
    brush = idiom.brush
    brush = brush._replace(
        length=brush.length * math.exp(rng.normal(0, 0.3)),
        width=brush.width * math.exp(rng.normal(0, 0.25)),
        broken=brush.broken * rng.uniform(0.6, 1.3),
        relief=brush.relief * rng.uniform(0.7, 1.2),
        line=brush.line * rng.uniform(0.75, 1.15),
        tilt=brush.tilt * float(rng.choice([-1.5, -0.6, 0.6, 1.5])),
        curl=brush.curl * rng.uniform(0.4, 1.5),
        gloom=min(1.0, brush.gloom * rng.uniform(0.7, 1.25)),
    )
    habits = Habits(
        horizon=rng.uniform(0.32, 0.62),
        light=-math.pi / 2 + float(rng.choice([-1, 1])) * rng.uniform(0.5, 1.2),
        density=rng.uniform(0.1, 1),
        kind=int(rng.integers(24)),
        modelling=float(np.clip(idiom.modelling * rng.uniform(0.8, 1.15), 0, 1)),
    )
    subjects = rng.permutation(idiom.subjects.split())[:4]
    shares = [mood.share for mood in MOODS.values()]
    moods = rng.choice(list(MOODS), 3, replace=False, p=shares)
    return Hand(_name(genre, number, seed), brush, _mixed(idiom, number, rng), habits, tuple(subjects), tuple(moods))


def _mixed(idiom: Idiom, number: int, rng: np.random.Generator) -> np.ndarray:
    """The artist's colours (8, 3): a palette of the genre, tinged with another, turned in hue, more or less pure."""
    names = idiom.palettes.split()
    first, second = (_parse(PALETTES[names[at % len(names)]]) for at in (number, number + 1 + rng.integers(len(names))))
    colors = first + rng.uniform(0, 0.25) * (second - first)
    turn, axis = rng.normal(0, 0.12), np.full(3, 3**-0.5)
    colors = colors * np.cos(turn) + np.cross(axis, colors) * np.sin(turn)
    colors += (colors.mean(axis=1) * (1 - np.cos(turn)))[:, None]
    grey = colors.mean(axis=1, keepdims=True)
    return np.clip((grey + (colors - grey) * rng.uniform(0.8, 1.2)) ** rng.uniform(0.85, 1.15), 0.02, 1)


def _parse(text: str) -> np.ndarray:
    return np.array([list(bytes.fromhex(word)) for word in text.split()]) / 255


def plan(index: int, config: GalleryConfig) -> Plan:
    """What the index-th painting will be; cheap."""
    genres, numbers = _deal()
    around, at = divmod(index, len(genres))
    genre = list(GENRES)[genres[at]]
    number = int(numbers[at]) + around * GENRES[genre]
    rng = np.random.default_rng(row_seed(config.seed, "plan", index))
    hand = hand_of(genre, _artist_of(genre, number, config.seed), config.seed)
    subject, mood = str(rng.choice(hand.subjects)), str(rng.choice(hand.moods))
    words = str(rng.choice(TITLES[subject].split())).format(
        place=rng.choice(PLACES.split()), person=rng.choice(PEOPLE.split())
    )
    title = f"{mood}-{words}-{number + 1}" if subject in OUTDOORS else f"{words}-{number + 1}"
    return Plan(genre, hand, subject, mood, title, _size(subject, config.max_side_px, rng))


def path_of(index: int, config: GalleryConfig) -> str:
    """Path of the index-th painting below the gallery, without painting it."""
    planned = plan(index, config)
    return f"{planned.genre}/{planned.hand.name}_{planned.title}.jpg"


def _size(subject: str, max_side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Width and height, px: most longest sides are 1000 to 1600, most formats near 4:5 or 5:4, as in WikiArt."""
    longest = 1250 * math.exp(rng.normal(0, 0.22))
    if longest > max_side:
        longest = max_side * (1 - 0.25 * rng.random())
    upright = {"figure": 0.92, "vines": 0.9, "flowers": 0.85, "woods": 0.5, "landscape": 0.1, "sea": 0.06, "town": 0.3}
    ratio = 0.78 * math.exp(rng.normal(0, 0.1) - (rng.exponential(0.25) if rng.random() < 0.15 else 0))
    if rng.random() < 0.08:
        ratio = 1 - 0.08 * rng.random()
    ratio = max(ratio, 0.46 if subject in ("landscape", "sea") else 0.55)
    sides = (longest * ratio, longest) if rng.random() < upright.get(subject, 0.45) else (longest, longest * ratio)
    return max(32, round(sides[0])), max(32, round(sides[1]))


def paint(index: int, config: GalleryConfig) -> Painting:
    """The index-th painting of the gallery, by seed, max_side_px and index alone: a small gallery begins a large one.

    The same bytes in every process with the same builds of NumPy and OpenCV; any index from 0 works.
    """
    planned = plan(index, config)
    hand, (width, height) = planned.hand, planned.size
    rng = np.random.default_rng(row_seed(config.seed, "paint", index))
    scale = min(1.0, MAX_WORK_SIDE_PX / max(width, height))
    small = (round(width * scale), round(height * scale))
    scene = Scene(small, _palette(planned, rng), hand.habits, rng)
    SUBJECTS[planned.subject](scene)
    image = ENGINES[IDIOMS[planned.genre].engine](scene, hand.brush)
    encoded = _finish(image, IDIOMS[planned.genre], scene, (width, height))
    return Painting(f"{planned.genre}/{hand.name}_{planned.title}.jpg", encoded)


def _palette(planned: Plan, rng: np.random.Generator) -> Palette:
    """The artist's colours in this painting's light."""
    colors = planned.hand.colors + rng.normal(0, 0.015, (8, 3))
    if planned.subject in OUTDOORS:
        mood = MOODS[planned.mood]
        colors += mood.grey * (colors.mean(axis=1, keepdims=True) - colors)
        if planned.mood == "winter":
            colors[3:5] += 0.55 * (np.array([0.93, 0.94, 0.98]) - colors[3:5])
        if planned.mood == "autumn":
            colors[4] += 0.6 * (colors[7] * 0.6 + colors[3] * 0.4 - colors[4])
        if planned.mood in ("evening", "dusk"):
            colors[1] += 0.35 * (colors[7] - colors[1])
        colors = colors * mood.tone
    return Palette(*np.clip(colors, 0.02, 1).astype(np.float32))


def _finish(image: np.ndarray, idiom: Idiom, scene: Scene, size: tuple[int, int]) -> bytes:
    """Varnish, a light fall-off to the corners, the canvas's weave; then JPEG."""
    corner = ((scene.x - 0.5) ** 2 + (scene.y - 0.5) ** 2)[..., None]
    image = image * (1 - 0.22 * corner) * (1 - idiom.varnish * np.array([0.03, 0.10, 0.24], np.float32))
    pixels = cv2.resize(np.clip(image * 255, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_CUBIC)
    side = 256
    weave = np.sin(np.arange(side) * np.pi / 2)[:, None] * np.sin(np.arange(side) * np.pi / 2 + 0.8)[None, :]
    tile = 5 * idiom.grain * weave + (2 + 5 * idiom.grain) * scene.rng.standard_normal((side, side))
    times = (-(-size[1] // side), -(-size[0] // side))
    grain = np.tile(tile.astype(np.int16), times)[: size[1], : size[0]]
    pixels = cv2.add(pixels, cv2.merge([grain] * 3), dtype=cv2.CV_8U)
    done, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return encoded.tobytes()
