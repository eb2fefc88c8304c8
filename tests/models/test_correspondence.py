"""Where real paintings match, by a real encoder."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from artsim import correspondence
from artsim.config import EmbedConfig, LetterboxConfig, ModelConfig
from artsim.images import encode_jpeg
from artsim.stages import embed_image_stage
from artsim.stages.letterbox import Letterbox
from tests.conftest import shared

pytestmark = pytest.mark.models


def test_versions_and_mirror_images_match_at_their_places_and_unrelated_paintings_hardly() -> None:
    data = shared("data")
    rows = list(csv.DictReader((data / "style_transfer_pairs/metadata.csv").read_text().splitlines()))[::16]
    styled = [data / "style_transfer_pairs" / row["file_name"] for row in rows]
    originals = [data / "paintings" / row["original"] for row in rows]
    mirrored = [encode_jpeg(ImageOps.mirror(Image.open(path).convert("RGB")), 92) for path in styled]
    tokens = _tokens([*map(Path.read_bytes, originals), *map(Path.read_bytes, styled), *mirrored])
    original, version, mirror = np.split(tokens, 3)

    found = [correspondence.match(*pair) for pair in zip(original, version, strict=True)]
    assert np.mean([len(matches) for matches in found]) > 20
    off = [np.subtract(one.first, one.second) for matches in found for one in matches]
    assert np.mean(np.abs(off).max(1) < 1.5 / 7) > 0.98

    found = [correspondence.match(*pair) for pair in zip(version, mirror, strict=True)]
    assert np.mean([len(matches) for matches in found]) > 40
    off = [np.subtract(one.first, (1 - one.second[0], one.second[1])) for matches in found for one in matches]
    assert np.mean(np.abs(off).max(1) < 1.5 / 7) > 0.98

    counts = [len(correspondence.match(a, b)) for at, a in enumerate(original) for b in version[at + 1 :]]
    assert np.mean(counts) < 1


def _tokens(files: list[bytes]) -> np.ndarray:
    boxed = Letterbox(LetterboxConfig(sizes=(768,)), 10**8)({"image": np.array(files, object)})
    config = EmbedConfig(model=ModelConfig(id=str(shared("models/mobilenet_v1_1.0_224"))))
    features = embed_image_stage(config)(config)({"image": boxed["image_768"], "box": boxed["box_768"]})
    assert list(features["error"]) == [None] * len(files)
    tokens: np.ndarray = features["tokens"]
    return tokens
