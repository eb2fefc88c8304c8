"""Mutual nearest patches of tokens and of real pictures, and their drawing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from artsim.config import EmbedConfig, LetterboxConfig
from artsim.correspondence import Match, draw, match, to_json
from artsim.stages.embed import EmbedImage
from artsim.stages.letterbox import Letterbox

GRID = 7


def random_tokens(seed: int, size: int = 80) -> np.ndarray:
    return (5 + np.random.default_rng(seed).normal(size=(GRID * GRID, size))).astype(np.float16)


def on_grid(tokens: np.ndarray) -> np.ndarray:
    return tokens.reshape(GRID, GRID, -1)


def picture(seed: int) -> Image.Image:
    """Soft shapes of many colours, 420 x 294 px."""
    pixels = np.random.default_rng(seed).integers(0, 256, (14, 20, 3), np.uint8)
    return Image.fromarray(pixels).resize((420, 294), Image.Resampling.NEAREST).filter(ImageFilter.GaussianBlur(4))


def tokens_of(*images: Image.Image | bytes) -> np.ndarray:
    files = []
    for image in images:
        file = io.BytesIO()
        if isinstance(image, Image.Image):
            image.save(file, "PNG")
        files.append(image if isinstance(image, bytes) else file.getvalue())
    boxed = Letterbox(LetterboxConfig(sizes=(256,)), 10**7)({"image": np.array([*files, None], object)[:-1]})
    features = EmbedImage(EmbedConfig())({"image": boxed["image_256"], "box": boxed["box_256"]})
    assert list(features["error"]) == [None] * len(files)
    return features["tokens"]


def test_a_picture_matches_itself_patch_by_patch() -> None:
    for tokens in (random_tokens(0), tokens_of(picture(0))[0]):
        found = match(tokens, tokens)
        assert {one.first for one in found} == {((at % 7 + 0.5) / 7, (at // 7 + 0.5) / 7) for at in range(49)}
        assert all(one.first == one.second and one.similarity == pytest.approx(1) for one in found)


def test_a_change_of_palette_and_strength_of_the_whole_picture_changes_nothing() -> None:
    tokens = random_tokens(0).astype(np.float32)
    found = match(tokens, 1.5 * tokens + np.linspace(-4, 4, 80))
    assert len(found) == 49
    assert all(one.first == one.second for one in found)


def test_a_mirrored_picture_matches_mirrored_places() -> None:
    tokens = random_tokens(1)
    found = match(tokens, on_grid(tokens)[:, ::-1].reshape(tokens.shape))
    assert len(found) == 49
    assert all(one.second == pytest.approx((1 - one.first[0], one.first[1])) for one in found)
    assert len({one.first for one in found}) == len({one.second for one in found}) == 49


def test_a_part_that_was_moved_is_found_where_it_went() -> None:
    first, second = random_tokens(2), random_tokens(3)
    on_grid(second)[0:3, 0:3] = on_grid(first)[4:7, 3:6]
    found = match(first, second)
    moved = [one for one in found if one.similarity > 0.8]
    assert len(moved) == 9
    for one in moved:
        assert one.first == pytest.approx((one.second[0] + 3 / 7, one.second[1] + 4 / 7))
    assert found[:9] == moved  # strongest first


def test_unrelated_pictures_hardly_match() -> None:
    counts = [len(match(random_tokens(seed), random_tokens(1000 + seed))) for seed in range(100)]
    assert np.mean(counts) < 2
    tokens = tokens_of(*map(picture, range(12)))
    counts = [len(match(tokens[a], tokens[b])) for a in range(12) for b in range(a)]
    assert np.mean(counts) < 1


def test_even_canvas_matches_nothing() -> None:
    rng = np.random.default_rng(0)
    canvas = [Image.new("RGB", (420, 294), colour) for colour in ("ivory", "lightblue", "black")]
    canvas += [Image.fromarray((220 + rng.normal(0, 3, (294, 420, 3))).astype(np.uint8)) for _ in range(2)]
    tokens = tokens_of(*canvas, picture(0))
    assert [match(a, b) for a in tokens[:5] for b in tokens[:5]].count([]) >= 23  # noise matches itself
    assert all(match(blank, tokens[5]) == [] for blank in tokens[:5])

    half = random_tokens(4)
    on_grid(half)[:, 3:] = half[0]
    found = match(half, half)
    assert {one.first[0] < 3 / 7 for one in found} == {True}
    assert len(found) >= 18


def test_a_picture_on_its_side_matches_in_upright_fractions() -> None:
    image = picture(5)
    exif = Image.Exif()
    exif[274] = 6  # turn it by 90 degrees, clockwise, to see it upright
    file = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", quality=95, exif=exif)
    found = match(*tokens_of(image, file.getvalue()))
    assert len(found) > 40
    assert all(one.first == one.second for one in found)


def test_programs_get_fractions_and_the_grid() -> None:
    found = [Match((0.5 / 7, 3.5 / 7), (1.5 / 7, 3.5 / 7), 0.81234567)]
    assert to_json(found, 49) == {
        "matches": [{"first": [0.0714, 0.5], "second": [0.2143, 0.5], "similarity": 0.8123}],
        "grid": 7,
    }
    assert to_json([], 196) == {"matches": [], "grid": 14}


@pytest.mark.parametrize(
    ("first", "second", "width", "height"),
    [
        ((300, 200), (200, 300), 1600, 693),  # (1600 - 96) / (3/2 + 2/3)
        ((100, 100), (4000, 4000), 1600, 752),
        ((100, 400), (100, 400), 596, 1000),  # tall ones end at 1000 px
    ],
)
def test_a_drawing_holds_both_at_one_height(
    first: tuple[int, int], second: tuple[int, int], width: int, height: int
) -> None:
    sheet = draw(Image.new("RGB", first, (200, 0, 0)), Image.new("L", second, 90), [])
    assert sheet.mode == "RGB"
    assert sheet.width == pytest.approx(width, abs=2)
    assert sheet.height == pytest.approx(height + 120, abs=2)
    pixels = np.asarray(sheet)
    red, grey = (pixels == (200, 0, 0)).all(2), (pixels == 90).all(2)
    assert red.any(1).sum() == grey.any(1).sum() == pytest.approx(height, abs=1)
    assert red.any(0).sum() == pytest.approx(height * first[0] / first[1], abs=2)
    assert grey.any(0).sum() == pytest.approx(height * second[0] / second[1], abs=2)


def test_dots_lie_on_the_matched_places_in_colours_of_their_similarity() -> None:
    black = Image.new("RGB", (100, 100))
    sheet = draw(black, black, [Match((0.25, 0.5), (0.75, 0.1), 1.0), Match((0.5, 0.9), (0.5, 0.9), 0.0)])
    side = 752
    places = {
        (32 + 0.25 * side, 32 + 0.5 * side): (253, 231, 37),  # viridis's ends
        (64 + side + 0.75 * side, 32 + 0.1 * side): (253, 231, 37),
        (32 + 0.5 * side, 32 + 0.9 * side): (68, 1, 84),
        (64 + side + 0.5 * side, 32 + 0.9 * side): (68, 1, 84),
    }
    for (x, y), colour in places.items():
        assert sheet.getpixel((round(x), round(y))) == colour
    assert draw(black, black, []).getpixel((32 + side // 4, 32 + side // 2)) == (0, 0, 0)
