"""Sub-scores against plain loops, on features whose answers are known, and the evidence on real paintings."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from artsim.config import EmbedConfig
from artsim.images import encode_jpeg
from artsim.stages.cue import colour_histogram
from artsim.stages.embed import EmbedImage
from artsim.subscores import EXPECTED, NAMES, Pictures, Subscores, arrangement, deviation, evidence
from tests.conftest import shared

RNG = np.random.default_rng(0)


def made_up(num_pictures: int, grid: int = 4) -> Pictures:
    """Features without a meaning, of correlated numbers."""
    mix = np.random.default_rng(1).normal(0, 1, (10, 10))
    pooled, early, histogram = (RNG.normal(1, 1, (num_pictures, 10)) @ mix for _ in range(3))
    tokens = RNG.normal(1, 1, (num_pictures, grid * grid, 10)) @ mix
    return Pictures(*(column.astype(np.float32) for column in (pooled, tokens, early, histogram)))


def changed(pictures: Pictures, **columns: np.ndarray) -> Pictures:
    return pictures._replace(**columns)


def test_a_picture_is_wholly_like_itself_and_scores_are_cosines() -> None:
    train, pictures, others = made_up(300), made_up(8), made_up(8)
    subscores = Subscores.fit(train)
    for name, vectors in subscores.vectors(pictures).items():
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6, err_msg=name)
    scores = subscores.scores(pictures, others)
    assert set(scores) == set(NAMES)
    one, other = (part.pooled - train.pooled.mean(0) for part in (pictures, others))
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(scores["semantics"], cosines, atol=1e-5)


def test_each_score_looks_at_its_own_features() -> None:
    subscores, pictures, others = Subscores.fit(made_up(300)), made_up(8), made_up(8)
    for name, columns in (
        ("composition", ("tokens",)),
        ("style", ("early", "histogram")),
        ("semantics", ("pooled",)),
    ):
        mixed = changed(pictures, **{column: getattr(others, column) for column in columns})
        for other, values in subscores.scores(pictures, mixed).items():
            assert (values < 0.99).all() if other == name else np.allclose(values, 1, atol=1e-6), (name, other)


def test_channel_statistics_are_whitened_as_scikit_learn_does() -> None:
    """On equal colours, style is the cosine of what PCA leaves, in deviations."""
    train, pictures, others = made_up(300), made_up(8), made_up(8)
    scores = Subscores.fit(train).scores(pictures, changed(others, histogram=pictures.histogram))["style"]
    scale = train.early.std(0)
    pca = PCA(whiten=True).fit(train.early / scale)
    one, other = (pca.transform(part.early / scale) for part in (pictures, others))
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    np.testing.assert_allclose(scores, 0.7 + 0.3 * cosines, atol=1e-4)


def test_the_arrangement_by_plain_loops() -> None:
    tokens, axes = made_up(2, grid=5).tokens, RNG.normal(0, 1, (10, 2))
    found = arrangement(tokens, axes)
    for row, picture in enumerate(tokens):
        cells = (picture @ axes).reshape(5, 5, 2)
        smooth = np.zeros_like(cells)
        for y in range(5):
            for x in range(5):
                around = [
                    cells[min(max(y + dy, 0), 4), min(max(x + dx, 0), 4)] for dy in (-1, 0, 1) for dx in (-1, 0, 1)
                ]
                smooth[y, x] = np.mean(around, axis=0)
        places = (smooth - smooth.mean((0, 1))).reshape(25, 2)
        products = np.array([places[one] @ places[other] for one in range(25) for other in range(one, 25)])
        products -= products.mean()
        parts = [(0.75, places.ravel()), (0.25, products)]
        expected = np.concatenate([share**0.5 * part / np.linalg.norm(part) for share, part in parts])
        np.testing.assert_allclose(found[row], expected, atol=1e-4)


def test_percentiles_and_what_is_kept_go_through_json() -> None:
    subscores, pictures, others = Subscores.fit(made_up(300)), made_up(500), made_up(500)
    apart = subscores.scores(pictures, others)
    calibrated = subscores.calibrated(apart).kept(("style", "semantics"))
    back = Subscores.from_json(calibrated.to_json())
    assert back.names == ("style", "semantics")
    assert set(back.scores(pictures, others)) == {"style", "semantics"}
    shares = back.percentiles(
        {name: np.array([values.min() - 1, np.median(values), 1]) for name, values in apart.items()}
    )
    for name in back.names:
        np.testing.assert_allclose(shares[name], [0, 50, 100], atol=0.5)
        np.testing.assert_allclose(back.scores(pictures, others)[name], apart[name], atol=1e-6)
    assert Subscores.from_json(subscores.to_json()).unrelated is None


def test_one_deviation_is_that_of_an_even_mix() -> None:
    unrelated = RNG.normal(0.2, 0.1, 100_000)
    mix = np.concatenate([unrelated, np.ones_like(unrelated)])
    assert deviation(unrelated) == pytest.approx(mix.std(), rel=1e-6)


def test_the_evidence_counts_in_deviations_and_names_what_fails() -> None:
    subscores, pictures, others = Subscores.fit(made_up(300)), made_up(40), made_up(40)
    unrelated = made_up(400), made_up(400)
    edits = {
        "flip": (pictures, changed(pictures, tokens=others.tokens)),
        "hue-60": (pictures, changed(pictures, early=others.early, pooled=others.pooled)),
        "same_artist": (pictures, others),
        "blur": (pictures, others),
    }
    found = evidence(subscores, edits, unrelated)
    rows = {(row["edit"], row["score"]): row for row in found["matrix"]}
    assert len(rows) == 12
    apart = subscores.scores(*unrelated)["composition"]
    falls = 1 - subscores.scores(pictures, others)["composition"]
    unit = np.concatenate([apart, np.ones(len(apart))]).std()
    row = rows["flip", "composition"]
    assert (row["n"], row["wanted"], row["holds"]) == (40, "reacts", True)
    assert row["fall"] == pytest.approx(falls.mean() / unit, rel=1e-5)
    half = 1.96 * falls.std(ddof=1) / unit / 40**0.5
    np.testing.assert_allclose(row["interval"], [row["fall"] - half, row["fall"] + half], rtol=1e-4)
    assert rows["flip", "style"]["fall"] == pytest.approx(0, abs=1e-5)
    assert {name: rows["same_artist", name]["wanted"] for name in NAMES} == {
        **dict.fromkeys(EXPECTED["same_artist"], "reacts"),
        "style": "quieter",
    }
    assert rows["blur", "style"]["holds"] is rows["blur", "style"]["wanted"] is None
    assert rows["hue-60", "semantics"]["holds"] is False  # it moved, and hue is no matter of meaning
    assert "hue-60" in found["fails"]["semantics"]
    assert "composition" in found["passes"]
    assert set(found["passes"]) | set(found["fails"]) == set(NAMES)


def features(pixels: list[np.ndarray]) -> Pictures:
    images = np.empty(len(pixels), object)
    images[:] = [encode_jpeg(cv2.resize(picture, (224, 224), interpolation=cv2.INTER_AREA), 95) for picture in pixels]
    found = EmbedImage(EmbedConfig())({"image": images, "box": np.tile([0, 0, 224, 224], (len(pixels), 1))})
    histogram = np.stack([colour_histogram(picture) for picture in pixels])
    return Pictures(found["pooled"], found["tokens"], found["early"], histogram)


def opened(paths: list[Path]) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def turned(picture: np.ndarray) -> np.ndarray:
    """Hues moved by 60 degrees."""
    hsv = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 60) % 360
    return (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).round().astype(np.uint8)


def shuffled(picture: np.ndarray, seed: int) -> np.ndarray:
    """Sixteen parts that change places."""
    side = picture.shape[0] // 4
    parts = picture[: 4 * side, : 4 * side].reshape(4, side, 4, side, 3).swapaxes(1, 2).reshape(16, side, side, 3)
    parts = parts[np.random.default_rng(seed).permutation(16)]
    return parts.reshape(4, 4, side, side, 3).swapaxes(1, 2).reshape(4 * side, 4 * side, 3)


def test_on_real_paintings_composition_and_style_mean_what_they_say() -> None:
    """Measured with descriptors; their pooled features know where things are, so what they call semantics fails."""
    paths = sorted(shared("data/wikiart_224").rglob("*.jpg"))
    subscores = Subscores.fit(features(opened(paths[::8])))
    pictures = opened(paths[4::40])
    before = features(pictures)
    edits = {
        "flip": (before, features([np.ascontiguousarray(picture[:, ::-1]) for picture in pictures])),
        "shuffle": (before, features([shuffled(picture, seed) for seed, picture in enumerate(pictures)])),
        "hue-60": (before, features([turned(picture) for picture in pictures])),
    }
    one, other = np.triu_indices(len(pictures), 5)  # neighbours on the list may be by one hand
    found = evidence(subscores, edits, (before.take(one), before.take(other)))
    falls = {(row["edit"], row["score"]): row["fall"] for row in found["matrix"]}
    print(falls)
    assert found["passes"] == ["composition", "style"]
    assert {"flip", "shuffle"} <= set(found["fails"]["semantics"])
