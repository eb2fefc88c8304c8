"""Baselines against scikit-learn, ImageHash and plain arithmetic."""

import imagehash
import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler

from artsim import baselines

RNG = np.random.default_rng(0)
TRAIN, ROWS = (
    RNG.normal(2, 1, (n, 12)).astype(np.float32) @ RNG.normal(0, 1, (12, 12)).astype(np.float32) for n in (80, 9)
)


def test_the_nearer_two_ratios_the_greater_the_product() -> None:
    aspect = np.exp(np.linspace(np.log(1 / 4096), np.log(4096), 501)).astype(np.float32)
    vectors = baselines.bars(aspect)
    assert (vectors.dtype, vectors.shape) == (np.float64, (501, 2))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-12)
    apart = np.abs(np.log(aspect[:, None].astype(float)) - np.log(aspect.astype(float))).ravel()
    product = (vectors @ vectors.T).ravel()
    order = np.argsort(apart, kind="stable")
    assert (np.diff(product[order])[np.diff(apart[order]) > 1e-5] < 0).all()
    near = baselines.bars(np.array([1.5, 1.501, 1.502]))
    assert near[0] @ near[1] > near[0] @ near[2]


def test_products_of_hashes_count_bits() -> None:
    texts = [f"{value:016x}" for value in RNG.integers(0, 2**63, 7, np.uint64)]
    hashes = [imagehash.hex_to_hash(text) for text in texts]
    expected = [[1 - (one - other) / 32 for other in hashes] for one in hashes]
    vectors = baselines.signs(texts)
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-6)


def test_frozen_centred_and_standardised_features_are_scikit_learns() -> None:
    mean = TRAIN.mean(0)
    for vectors, expected in (
        (baselines.frozen(ROWS), ROWS),
        (baselines.colours(ROWS), ROWS),
        (baselines.centred(TRAIN, ROWS), ROWS - mean),
        (baselines.style(TRAIN, ROWS), StandardScaler().fit(TRAIN).transform(ROWS)),
    ):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(vectors @ vectors.T, cosine_similarity(expected), atol=1e-5)


def test_numbers_that_never_vary_say_nothing() -> None:
    train, rows = (np.hstack([part, np.full((len(part), 1), 0.1, np.float32)]) for part in (TRAIN, ROWS))
    rows[0, -1] = 5
    np.testing.assert_allclose(baselines.style(train, rows)[:, :-1], baselines.style(TRAIN, ROWS), atol=1e-6)


@pytest.mark.parametrize("num_rows", [6, 80, 2000])
def test_the_covariance_is_shrunk_as_scikit_learn_does(num_rows: int) -> None:
    """Also of fewer rows than features."""
    rows = RNG.normal(0, 1, (num_rows, 30)) @ RNG.normal(0, 1, (30, 30))
    rows -= rows.mean(0)
    expected, share = ledoit_wolf(rows, assume_centered=True)
    assert 0 < share < 1
    np.testing.assert_allclose(baselines.shrunk_covariance(rows), expected, rtol=1e-9, atol=1e-9)


def test_whitening_takes_correlations_away() -> None:
    mixed = RNG.normal(0, 1, (40_000, 8)) @ RNG.normal(0, 1, (8, 8)) + 3
    vectors = baselines.whitened(mixed, mixed)
    np.testing.assert_allclose(np.cov(vectors.T) * 8, np.eye(8), atol=0.1)
    inverse = np.linalg.inv(ledoit_wolf(mixed)[0])  # cosines in Mahalanobis's metric
    rows = mixed[:20] - mixed.mean(0)
    products = rows @ inverse @ rows.T
    lengths = np.sqrt(np.diag(products))
    np.testing.assert_allclose(vectors[:20] @ vectors[:20].T, products / np.outer(lengths, lengths), atol=1e-4)


def test_few_pictures_and_none_that_differ_do_no_harm() -> None:
    few = baselines.whitened(TRAIN[:3], ROWS)
    np.testing.assert_allclose(np.linalg.norm(few, axis=1), 1, atol=1e-6)
    assert np.isfinite(baselines.whitened(np.ones((5, 12), np.float32), ROWS)).all()
    assert not baselines.centred(TRAIN[:1], TRAIN[:1]).any()
