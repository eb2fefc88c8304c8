"""What a trained head must beat: cues and frozen features as unit vectors, so that every similarity is a dot product.

Shapes: n pictures, m of the training set, D features. Whatever is learned from pictures is learned from the m.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SCORERS = {
    "model": "Trained head",
    "thesis_head": "The thesis’s head and loss",
    "random_head": "Random head",
    "frozen": "Frozen",
    "frozen_centred": "Frozen, mean removed",
    "frozen_whitened": "Frozen, whitened",
    "style": "Style statistics",
    "colours": "Colour histogram",
    "phash": "Perceptual hash",
    "bars": "Bars only",
}
"""All scorers, and what people call them."""
FROZEN = ("frozen", "frozen_centred", "frozen_whitened")
"""What the frozen encoder knows by itself."""
_THINNEST = 4096
"""Largest ratio of sides, of a painting of 1 px in the largest square."""
_TINY = 1e-12


def bars(aspect: np.ndarray) -> np.ndarray:
    """Width over height (n,) as angles on a half circle, (n, 2) float64: near ratios have great products.

    The angle grows with the logarithm, so wide and tall count alike. Ratios 1% apart differ by 2e-6, which float32
    would round.
    """
    angle = np.log(aspect.astype(np.float64)) / np.log(_THINNEST) * (np.pi / 2)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def colours(histogram: np.ndarray) -> np.ndarray:
    """Colour histograms (n, D) of `cues`; the product is the Bhattacharyya coefficient."""
    return _unit(histogram)


def signs(phash: Sequence[str]) -> np.ndarray:
    """Perceptual hashes, 16 hexadecimal digits each, as (n, 64) signs: the product is 1 - bits that differ / 32."""
    digests = b"".join(bytes.fromhex(text) for text in phash)
    bits = np.unpackbits(np.frombuffer(digests, np.uint8)).reshape(len(phash), 64)
    return ((2.0 * bits - 1) / 8).astype(np.float32)


def frozen(pooled: np.ndarray) -> np.ndarray:
    """The encoder's own features (n, D), whose product is their cosine."""
    return _unit(pooled)


def centred(train: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """Features (n, D) without the mean of those of the training set (m, D), which all pictures share."""
    return _unit(pooled - train.mean(0, dtype=np.float64))


def style(train: np.ndarray, early: np.ndarray) -> np.ndarray:
    """Channel statistics (n, D), each in deviations from its mean over the training set (m, D)."""
    mean, deviation = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    moves = deviation > 1e-6 * np.abs(mean) + _TINY  # what does not vary says nothing, and would divide by nought
    return _unit((early - mean) * np.where(moves, 1 / np.where(moves, deviation, 1), 0))


def whitened(train: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """Features (n, D) without mean and correlations of the training set (m, D).

    The covariance is shrunk towards a multiple of the identity (Ledoit and Wolf 2004), so it may be inverted and few
    pictures do no harm, m < D too.
    """
    mean = train.mean(0, dtype=np.float64)
    values, axes = np.linalg.eigh(shrunk_covariance(train - mean))
    return _unit((pooled - mean) @ (axes / np.sqrt(np.maximum(values, _TINY))))


def shrunk_covariance(rows: np.ndarray) -> np.ndarray:
    """Covariance (D, D) of rows (m, D) without their mean, shrunk as by Ledoit and Wolf (2004, lemmas 3.2-3.4)."""
    num_rows, size = rows.shape
    covariance = rows.T @ rows / num_rows
    level, squares = np.trace(covariance) / size, (covariance**2).sum()
    spread = squares - size * level**2
    error = (np.square((rows**2).sum(1)).sum() / num_rows - squares) / num_rows
    share = min(1.0, error / spread) if spread > 0 else 1.0
    shrunk: np.ndarray = (1 - share) * covariance + share * level * np.eye(size)
    return shrunk


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1 as float32; a row of zeros stays one."""
    vectors: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
    return vectors.astype(np.float32)
