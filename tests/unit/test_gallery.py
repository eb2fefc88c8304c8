import hashlib
import io
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from artsim.config import GalleryConfig
from artsim.gallery import GENRES, Painting, paint, path_of, plan
from artsim.painting.brushes import ENGINES
from artsim.painting.idioms import IDIOMS, PALETTES
from artsim.painting.subjects import SUBJECTS

SMALL = GalleryConfig(max_side_px=192)
DIGESTS = """
import hashlib
from artsim.config import GalleryConfig
from artsim.gallery import paint
for index in (0, 4, 25, 90_000):
    print(hashlib.sha256(paint(index, GalleryConfig(max_side_px=192)).image).hexdigest())
"""


@pytest.fixture(scope="module")
def paths() -> list[str]:
    return [path_of(index, SMALL) for index in range(2000)]


@pytest.fixture(scope="module")
def paintings() -> list[Painting]:
    return [paint(index, SMALL) for index in range(90)]


def pixels(painting: Painting) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(painting.image)).convert("RGB"))


def test_genres_are_wikiarts() -> None:
    assert len(GENRES) == 27
    assert sum(GENRES.values()) == 81444
    assert set(IDIOMS) == set(GENRES)


def test_idioms_name_things_that_exist() -> None:
    for idiom in IDIOMS.values():
        assert idiom.engine in ENGINES
        assert set(idiom.subjects.split()) <= set(SUBJECTS)
        assert set(idiom.palettes.split()) <= set(PALETTES)


def test_another_process_paints_the_same_bytes() -> None:
    output = subprocess.run([sys.executable, "-c", DIGESTS], capture_output=True, text=True, check=True).stdout
    here = [hashlib.sha256(paint(index, SMALL).image).hexdigest() for index in (0, 4, 25, 90_000)]
    assert output.split() == here


def test_small_gallery_is_a_prefix_and_seed_and_size_count() -> None:
    first = paint(5, SMALL)
    assert paint(5, SMALL.model_copy(update={"num_paintings": 1000})) == first
    assert paint(5, SMALL.model_copy(update={"seed": 1})).image != first.image
    larger = paint(5, SMALL.model_copy(update={"max_side_px": 256}))
    assert larger.path == first.path
    assert larger.image != first.image


def test_paths_are_unique_and_split_into_genre_artist_title(paths: list[str], paintings: list[Painting]) -> None:
    assert len(set(paths)) == len(paths)
    assert [painting.path for painting in paintings] == paths[: len(paintings)]
    for path in paths:
        genre, file = path.split("/")
        artist, title = file.removesuffix(".jpg").split("_")
        assert genre in GENRES
        assert "-" in artist
        assert title.replace("-", "").isalnum()
        assert path.isascii()


def test_paths_stay_unique_past_wikiarts_end() -> None:
    indices = [index + around * 81444 for index in range(100) for around in range(3)]
    assert len({path_of(index, SMALL) for index in indices}) == 300


def test_any_gallery_has_wikiarts_proportions(paths: list[str]) -> None:
    assert {path.split("/")[0] for path in paths[:27]} == set(GENRES)
    for size in (300, 2000):
        counts = Counter(path.split("/")[0] for path in paths[:size])
        for genre, count in GENRES.items():
            assert abs(counts[genre] - count / 81444 * size) < 1.5 + 0.03 * count / 81444 * size, genre


def test_artists_have_a_few_paintings_each_and_one_genre(paths: list[str]) -> None:
    works = Counter(path.split("/")[1].split("_")[0] for path in paths[:300])
    assert 60 <= len(works) <= 90
    assert max(works.values()) >= 3 * np.median(list(works.values()))
    genres = defaultdict(set)
    for path in paths:
        genres[path.split("/")[1].split("_")[0]].add(path.split("/")[0])
    assert all(len(found) == 1 for found in genres.values())


def test_sizes_are_like_wikiarts() -> None:
    sizes = np.array([plan(index, GalleryConfig()).size for index in range(1000)])
    longest, aspect = sizes.max(axis=1), sizes[:, 0] / sizes[:, 1]
    assert longest.max() <= 1600
    assert np.mean((longest >= 1000) & (longest <= 1600)) > 0.7
    assert 0.45 < aspect.min() < 0.65
    assert 1.8 < aspect.max() < 2.3
    assert np.mean((aspect > 0.68) & (aspect < 0.9)) > 0.25
    assert np.mean((aspect > 1.1) & (aspect < 1.47)) > 0.25
    assert len({tuple(size) for size in sizes.tolist()}) > 950


def test_pillow_opens_each_at_its_planned_size(paintings: list[Painting]) -> None:
    for index, painting in enumerate(paintings):
        image = Image.open(io.BytesIO(painting.image))
        image.load()
        assert image.format == "JPEG"
        assert image.size == plan(index, SMALL).size
        assert max(image.size) <= 192
        assert pixels(painting).std() > 8, painting.path  # nothing is blank


def test_artists_keep_their_colours(paintings: list[Painting]) -> None:
    """Two paintings of one artist are nearer in colour than two of one genre by different artists, on average."""
    same, other = [], []
    counts = [np.histogramdd(pixels(painting).reshape(-1, 3), 6, [(0, 256)] * 3)[0].ravel() for painting in paintings]
    roots = [np.sqrt(count / count.sum()) for count in counts]
    authors = [painting.path.rpartition("_")[0] for painting in paintings]  # "Genre/artist"
    for first, second in combinations(range(len(paintings)), 2):
        distance = float(np.linalg.norm(roots[first] - roots[second]))  # Hellinger
        if authors[first] == authors[second]:
            same.append(distance)
        elif authors[first].split("/")[0] == authors[second].split("/")[0]:
            other.append(distance)
    assert min(len(same), len(other)) > 40
    assert np.mean(same) < 0.93 * np.mean(other)
