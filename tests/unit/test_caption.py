"""Captions say what was painted into the box, and nothing of what lies around it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artsim.config import CaptionConfig
from artsim.images import encode_jpeg
from artsim.stages.caption import Caption

PAINTINGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "paintings"
BOX = (0, 64, 256, 128)


def scene(width: int = 256, height: int = 128) -> np.ndarray:
    """Dark blue with a crimson foot, a bright disc at the upper left and a black one at the upper right."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    pixels = np.full((height, width, 3), (32, 42, 82), np.uint8)
    pixels[y > 0.75] = (190, 40, 52)
    pixels[(x - 0.17) ** 2 + (y - 0.17) ** 2 < 0.02] = (246, 246, 244)
    pixels[(x - 0.83) ** 2 + (y - 0.17) ** 2 < 0.02] = (4, 4, 4)
    return pixels


def square(content: np.ndarray, box: tuple[int, ...], around: int = 0) -> bytes:
    pixels = np.full((256, 256, 3), around, np.uint8)
    left, top, width, height = box
    pixels[top : top + height, left : left + width] = content
    return encode_jpeg(pixels, 95)


def captions(images: Sequence[bytes], boxes: Sequence[tuple[int, ...]]) -> dict[str, np.ndarray]:
    column = np.empty(len(images), object)
    column[:] = images
    return Caption(CaptionConfig())({"image": column, "box": np.array(boxes, np.int32)})


def test_says_what_was_painted() -> None:
    caption = captions([square(scene(), BOX)], [BOX])["caption"][0]
    assert caption.startswith("a dark picture with")
    for fact in ("mostly navy with crimson", "brightest at the upper left", "darkest at the upper right"):
        assert fact in caption.split(", ")


@pytest.mark.parametrize("colour", [(104, 34, 36), (240, 220, 84), (68, 140, 72), (136, 182, 218)])
def test_names_a_plain_colour(colour: tuple[int, int, int]) -> None:
    caption = captions([square(np.full((128, 256, 3), colour, np.uint8), BOX)], [BOX])["caption"][0]
    names = {(104, 34, 36): "maroon", (240, 220, 84): "yellow", (68, 140, 72): "green", (136, 182, 218): "sky blue"}
    assert f"mostly {names[colour]}," in caption
    assert "even throughout" in caption


def test_neither_bars_nor_proportions_speak() -> None:
    tall = (96, 0, 64, 256)
    images = [square(scene(), BOX), square(scene(), BOX, around=255), square(scene(64, 256), tall)]
    wide, in_white, narrow = (caption.split(", ") for caption in captions(images, [BOX, BOX, tall])["caption"])
    assert wide == in_white
    assert len(set(wide) - set(narrow)) <= 1  # resampling may carry one measurement over a limit


def test_a_row_that_does_not_decode_fails_alone() -> None:
    good = square(scene(), BOX)
    result = captions([b"no picture", good, good[:2000]], [BOX] * 3)
    assert [error and error.split(":")[0] for error in result["error"]] == ["corrupt", None, "corrupt"]
    assert result["caption"][0] is None
    assert result["caption"][1] == captions([good], [BOX])["caption"][0]


@pytest.mark.skipif(not PAINTINGS.is_dir(), reason=f"{PAINTINGS} is not there")
def test_different_paintings_get_different_sentences() -> None:
    images, boxes = [], []
    for path in sorted(PAINTINGS.glob("*/*.jpg"))[::4]:
        with Image.open(path) as image:
            image.draft("RGB", (512, 512))
            picture = image.convert("RGB")
        picture.thumbnail((256, 256))
        boxes.append((0, 0, *picture.size))
        images.append(square(np.asarray(picture), boxes[-1]))
    result = captions(images, boxes)["caption"]
    assert len(result) > 50
    assert len(set(result)) > 0.9 * len(result)
