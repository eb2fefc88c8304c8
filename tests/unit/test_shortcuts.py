"""What bars and files give away: the figures against scikit-learn, and the framings with the real stages."""

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from artsim.config import FRAMINGS, EditConfig, EmbedConfig
from artsim.images import encode_jpeg
from artsim.metrics import triplet_accuracy
from artsim.shortcuts import Similarities, file_cues, framings
from artsim.stages.edit import Edit
from artsim.stages.embed import EmbedImage

NUM = 60
SHIFTS = (1, 7, 13)


def objects(values: list[object]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.fixture(scope="module")
def embedded() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By framing: vectors (NUM, 512) of paintings of many proportions, and of versions of the same contents."""
    rng, squares, boxes = np.random.default_rng(0), [], []
    for ratio in 2 ** rng.uniform(-1.3, 1.3, NUM):
        width, height = round(256 * min(1, ratio)), round(256 * min(1, 1 / ratio))
        left, top = (256 - width) // 2, (256 - height) // 2
        square = np.zeros((256, 256, 3), np.uint8)
        field = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        square[top : top + height, left : left + width] = field
        squares.append(encode_jpeg(square, 95))
        boxes.append((left, top, width, height))
    ids = [f"Genre/artist_{row}" for row in range(NUM)]
    edit = Edit(EditConfig(size=256), 0, {name: box[2:] for name, box in zip(ids, boxes, strict=True)})
    embed = EmbedImage(EmbedConfig(tokens=False))
    found = {}
    for framing in FRAMINGS:
        batch = {
            "id": objects(ids),
            "edit": objects([framing] * NUM),
            "image": objects(squares),
            "box": np.array(boxes),
        }
        version = {"level": objects(["radical"] * NUM), "variant": np.zeros(NUM, np.int32)}
        pair = [embed(edit(rows))["pooled"] for rows in (batch, batch | version)]
        found[framing] = tuple(_unit(pooled - pair[0].mean(0)) for pooled in pair)
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scored(vectors: tuple[np.ndarray, np.ndarray]) -> Similarities:
    """Each painting against its version, and against those of some others."""
    similarity = vectors[0] @ vectors[1].T
    anchor = np.repeat(np.arange(NUM), len(SHIFTS))
    return similarity[anchor, anchor], similarity[anchor, (anchor + np.tile(SHIFTS, NUM)) % NUM]


def test_noise_says_nothing_when_bars_are_cropped_and_much_when_they_are_kept(
    embedded: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    names = ("noise-bars-cropped", "noise-bars-kept")
    groups = np.repeat(np.arange(NUM), len(SHIFTS))
    cropped, kept = framings({name: scored(embedded[name]) for name in names}, groups)
    low, high = cropped["auc_interval"]
    assert low <= 0.5 <= high
    assert cropped["chance"]
    assert high - low < 0.2, "so wide that it would hold anything"
    assert kept["auc_interval"][0] > 0.7
    assert not kept["chance"]


def test_grain_that_is_stretched_with_its_picture_still_tells_of_proportions(
    embedded: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    """A known limit of squashing, less than what bars tell: reports must show it."""
    groups = np.repeat(np.arange(NUM), len(SHIFTS))
    grain, bars = framings({name: scored(embedded[name]) for name in ("grain-bars-cropped", "noise-bars-kept")}, groups)
    assert grain["auc_interval"][0] > 0.5
    assert grain["auc"] < bars["auc"]


def test_bars_of_others_give_less_away(embedded: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    groups = np.repeat(np.arange(NUM), len(SHIFTS))
    kept, swapped = framings({name: scored(embedded[name]) for name in ("bars-kept", "bars-swapped")}, groups)
    assert swapped["auc"] < kept["auc"]


def test_figures_are_scikit_learns_and_gains_are_paired() -> None:
    rng, n = np.random.default_rng(1), 300
    groups = rng.integers(0, 40, n)
    negative = rng.normal(0, 1, n)
    pairs = {"cropped": (rng.normal(1, 1, n), negative), "bars-kept": (rng.normal(1.8, 1, n), negative)}
    rows = framings(pairs, groups)
    truth = np.repeat([1, 0], n)
    for row in rows:
        positive, negative = pairs[row["framing"]]
        assert row["auc"] == pytest.approx(roc_auc_score(truth, np.concatenate([positive, negative])))
        assert row["triplet_accuracy"] == triplet_accuracy(positive, negative)
        for name in ("auc", "triplet_accuracy"):
            low, high = row[f"{name}_interval"]
            assert low < row[name] < high
        assert (row["n"], row["num_groups"]) == (n, 40)
    assert "auc_gain" not in rows[0]
    assert rows[1]["auc_gain"] == pytest.approx(rows[1]["auc"] - rows[0]["auc"])
    assert rows[1]["auc_gain_interval"][0] > 0
    same = framings({"cropped": pairs["cropped"], "bars-kept": pairs["cropped"]}, groups)[1]
    assert same["auc_gain_interval"] == (0, 0)


def test_properties_of_files_tell_what_they_tell() -> None:
    rng, n = np.random.default_rng(2), 200
    num_bytes = rng.normal(100, 10, n)
    unknown = np.full(n, np.nan)
    quality = np.where(np.arange(n) < 150, 95.0, np.nan)
    cues = file_cues(
        {"num_bytes": num_bytes, "jpeg_quality": quality, "nothing": unknown},
        {"num_bytes": rng.normal(80, 10, n), "jpeg_quality": np.full(n, 95.0), "nothing": unknown},
        np.arange(n),
    )
    size, jpeg, nothing = cues
    assert size["auc"] == pytest.approx(1 - size["tells"])
    assert size["tells"] == pytest.approx(0.92, abs=0.04)  # of normals two deviations apart: Phi(sqrt 2)
    assert size["median_painting"] > size["median_version"]
    assert (jpeg["n"], jpeg["missing"], jpeg["auc"], jpeg["auc_interval"]) == (150, 50, 0.5, (0.5, 0.5))
    assert nothing == {"cue": "nothing", "n": 0, "missing": n}
