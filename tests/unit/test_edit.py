"""Edits: each does what its name says and nothing else, by seed, key and edit alone."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from artsim.config import EDITS, FRAMINGS, STRENGTHS, EditConfig
from artsim.images import crop_box, decode_jpeg, encode_jpeg, letterbox
from artsim.stages.edit import Edit
from artsim.stages.edits_framing import FRAMES
from artsim.stages.edits_pixels import PIXELS
from artsim.stages.edits_scenes import SCENES, collage

KINDS = PIXELS | SCENES
SHAPES = {"Genre/a_wide": (768, 300), "Genre/b_tall": (420, 768), "Genre/c_square": (768, 768)}
RNG = np.random.default_rng


def scene(width: int = 220, height: int = 160, seed: int = 0) -> np.ndarray:
    """A smooth coloured field with shapes on it, muted enough that no edit clips it (H, W, 3) uint8."""
    rng = RNG(seed)
    picture = cv2.resize(rng.integers(70, 180, (5, 5, 3), np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    for _ in range(25):
        x, y, radius = rng.integers(0, (width, height, 30)).tolist()
        colour = rng.integers(70, 180, 3).tolist()
        cv2.ellipse(picture, (x, y), (radius + 3, radius // 2 + 3), float(y), 0, 360, colour, -1, cv2.LINE_AA)
    return picture


def do(edit: str, picture: np.ndarray, seed: int = 0) -> np.ndarray:
    kind, _, strength = edit.partition("-")
    return KINDS[kind](picture, int(strength or 0), RNG(seed))


def objects(*values: object) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def batch_of(rows: list[tuple[str, str]], **columns: np.ndarray) -> dict[str, np.ndarray]:
    """Rows (painting, edit), each painting a scene of its shape in a square of 256 px."""
    squares = {
        painting: letterbox(Image.fromarray(scene(*shape, seed=ord(painting[6]))), 256)
        for painting, shape in SHAPES.items()
    }
    images = objects(*(encode_jpeg(squares[painting][0], 95) for painting, _ in rows))
    boxes = np.array([squares[painting][1] for painting, _ in rows], np.int32)
    keys = {"id": objects(*(row[0] for row in rows)), "edit": objects(*(row[1] for row in rows))}
    batch = keys | {"image": images, "box": boxes} | columns
    for column in batch.values():
        column.flags.writeable = False
    return batch


def stage(seed: int = 0, size: int = 128) -> Edit:
    return Edit(EditConfig(size=size), seed, SHAPES)


def luma(picture: np.ndarray) -> np.ndarray:
    return picture @ np.array([0.299, 0.587, 0.114])


def test_every_edit_that_the_settings_know_is_there() -> None:
    assert set(STRENGTHS) == {*KINDS, "collage"}
    assert set(FRAMINGS) == set(FRAMES)
    with pytest.raises(ValueError, match=r"jpeg-31.*one of crop-90"):
        EditConfig(edits=("jpeg-30", "jpeg-31"))
    with pytest.raises(ValueError, match="only once"):
        EditConfig(framings=("bars-kept", "bars-kept"))


def test_every_row_has_a_square_and_a_box_inside_it() -> None:
    rows = [(painting, edit) for painting in SHAPES for edit in (*EDITS, *FRAMINGS)]
    batch = batch_of(rows)
    out = stage()(batch)
    assert set(out["error"]) == {None}
    assert out["box"].dtype == np.int32
    for (painting, edit), data, box in zip(rows, out["image"], out["box"], strict=True):
        square, (left, top, width, height) = decode_jpeg(data), box
        assert square.shape == (128, 128, 3), edit
        assert min(left, top) >= 0, edit
        assert min(width, height) >= 1, edit
        assert max(left + width, top + height) <= 128, edit
        assert max(width, height) == 128, (painting, edit)


@pytest.mark.parametrize("shape", [(1, 768), (768, 3), (5, 4)])
def test_no_picture_is_too_thin(shape: tuple[int, int]) -> None:
    square, box = np.zeros((768, 768, 3), np.uint8), (7, 0, *shape)
    crop_box(square, box)[:] = 130
    edits = (*EDITS, *FRAMINGS)
    batch = {"id": objects(*["a"] * len(edits)), "edit": objects(*edits)}
    batch |= {"image": objects(*[encode_jpeg(square, 95)] * len(edits)), "box": np.array([box] * len(edits))}
    out = stage()(batch)
    assert set(out["error"]) == {None}
    assert (out["box"][:, 2:] >= 1).all()


def test_rows_depend_on_seed_key_and_edit_alone() -> None:
    rows = [(painting, edit) for painting in SHAPES for edit in (*EDITS, *FRAMINGS)]
    batch = batch_of(rows)
    together = stage()(batch)
    order = RNG(1).permutation(len(rows))
    mixed = stage()({name: column[order] for name, column in batch.items()})
    alone = stage()({name: column[-3:-2] for name, column in batch.items()})
    np.testing.assert_array_equal(together["image"][order], mixed["image"])
    np.testing.assert_array_equal(together["box"][order], mixed["box"])
    assert alone["image"][0] == together["image"][-3]
    drawn = [at for at, (_, edit) in enumerate(rows) if edit.startswith(("noise", "crop", "shuffle", "collage"))]
    other = stage(seed=1)({name: column[drawn] for name, column in batch.items()})
    assert all(a != b for a, b in zip(other["image"], together["image"][drawn], strict=True))


def test_versions_of_one_painting_are_edited_each_by_itself() -> None:
    rows = [("Genre/a_wide", "noise-bars-cropped")] * 3
    level, variant = objects("moderate", "radical", "radical"), np.array([0, 0, 1], np.int32)
    out = stage()(batch_of(rows, level=level, variant=variant))
    assert len(set(out["image"])) == 3
    assert len({tuple(box) for box in out["box"]}) == 1


def test_what_does_not_decode_is_told_and_the_others_go_on() -> None:
    rows = [("Genre/a_wide", "flip"), ("Genre/b_tall", "flip"), ("Genre/b_tall", "flip")]
    batch = batch_of(rows)
    images = batch["image"].copy()
    images[1] = b"no picture"
    out = stage()(batch | {"image": images})
    assert [error and error.split(":")[0] for error in out["error"]] == [None, "corrupt", None]
    assert out["image"][1] is None
    assert out["image"][2] is not None


def test_a_crop_is_a_part_of_the_picture() -> None:
    picture = scene()
    for percent in (90, 75, 50):
        part = do(f"crop-{percent}", picture)
        assert part.shape[:2] == (round(160 * percent / 100), round(220 * percent / 100))
        assert cv2.matchTemplate(picture, part, cv2.TM_SQDIFF).min() == 0
    assert len({do("crop-50", picture, seed).tobytes() for seed in range(5)}) == 5


def test_jpeg_is_what_pillow_saves() -> None:
    picture, buffer = scene(), io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=30)
    np.testing.assert_array_equal(do("jpeg-30", picture), np.asarray(Image.open(buffer)))


def test_blur_is_scipys() -> None:
    picture = scene()
    expected = gaussian_filter(picture.astype(float), (2.2, 2.2, 0), mode="mirror")
    assert np.abs(do("blur-10", picture) - expected).max() < 2


@pytest.mark.parametrize("deviation", STRENGTHS["noise"])
def test_noise_is_normal_white_and_different_in_each_channel(deviation: int) -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    added = do(f"noise-{deviation}", grey).astype(float) - 128
    assert added.std() == pytest.approx(deviation, rel=0.03)
    assert abs(added.mean()) < 0.02 * deviation
    near = (added[1:], added[:-1]), (added[..., :1], added[..., 1:2])
    assert all(abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02 for a, b in near)


def test_greyscale_is_pillows() -> None:
    picture = scene()
    grey = do("greyscale", picture)
    assert np.abs(grey[..., 0].astype(int) - np.asarray(Image.fromarray(picture).convert("L"))).max() <= 1
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize("degrees", STRENGTHS["hue"])
def test_hue_turns_colours_and_leaves_lightness(degrees: int) -> None:
    picture = scene()
    turned = do(f"hue-{degrees}", picture)
    assert np.abs(luma(turned) - luma(picture)).max() < 1.5
    yiq = np.array([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    before, after = (complex(1, 0) * (p @ yiq[0]) + 1j * (p @ yiq[1]) for p in (picture / 1.0, turned / 1.0))
    colourful = np.abs(before) > 20
    angles = np.abs(np.degrees(np.angle(after[colourful] / before[colourful])))
    assert np.median(angles) == pytest.approx(degrees, abs=2)


def test_flip_is_pillows() -> None:
    expected = Image.fromarray(scene()).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    np.testing.assert_array_equal(do("flip", scene()), np.asarray(expected))


def test_a_right_angle_is_pillows() -> None:
    both = {Image.fromarray(scene()).rotate(angle, expand=True).tobytes() for angle in (90, -90)}
    assert {do("rotate-90", scene(), seed).tobytes() for seed in range(8)} == both


@pytest.mark.parametrize("degrees", [2, 5, 10])
def test_a_small_turn_turns_by_that_much_and_leaves_no_corner_empty(degrees: int) -> None:
    assert (do(f"rotate-{degrees}", np.full((90, 200, 3), 255, np.uint8)) == 255).all()
    line = cv2.line(np.zeros((200, 200, 3), np.uint8), (0, 100), (199, 100), (255, 255, 255), 3)
    found = set()
    for seed in range(8):
        y, x = np.nonzero(do(f"rotate-{degrees}", line, seed)[..., 0] > 128)
        found.add(round(np.degrees(np.arctan(np.polyfit(x, y, 1)[0]))))
    assert found == {degrees, -degrees}


@pytest.mark.parametrize("percent", STRENGTHS["perspective"])
def test_the_far_edge_is_shorter_and_a_wall_is_around(percent: int) -> None:
    red = np.full((300, 400, 3), (255, 0, 0), np.uint8)
    kinds = set()
    for seed in range(12):
        seen = (do(f"perspective-{percent}", red, seed) == (255, 0, 0)).all(2)
        edges = {"top": seen[1], "bottom": seen[-2], "left": seen[:, 1], "right": seen[:, -2]}
        lengths = {name: edge.sum() for name, edge in edges.items()}
        pairs = ("top", "bottom", 400), ("left", "right", 300)
        for a, b, whole in pairs:
            near, far = max(lengths[a], lengths[b]), min(lengths[a], lengths[b])
            if near > 0.97 * whole and far > 0.5 * whole:
                assert far / near == pytest.approx(1 - percent / 100, abs=0.03)
                kinds.add(min((a, b), key=lengths.__getitem__))
    assert len(kinds) >= 3


def test_a_frame_goes_around_and_covers_nothing() -> None:
    picture = scene()
    framed = do("frame-10", picture)
    assert framed.shape == (160 + 32, 220 + 32, 3)
    np.testing.assert_array_equal(framed[16:-16, 16:-16], picture)
    assert framed[:16].std() > 1
    assert len({do("frame-10", picture, seed)[0, 0].tobytes() for seed in range(12)}) >= 3


@pytest.mark.parametrize("percent", STRENGTHS["watermark"])
def test_a_watermark_whitens_a_part_of_the_picture_by_its_share(percent: int) -> None:
    picture = scene()
    share = (do(f"watermark-{percent}", picture).astype(float) - picture) / (255.0 - picture)
    assert share.min() > -0.01
    assert share.max() == pytest.approx(percent / 100, abs=0.01)
    marked = share > percent / 300
    assert 0.05 < marked.mean() < 0.35
    quarters = [
        marked[rows, columns].mean()
        for rows in (slice(80), slice(80, 160))
        for columns in (slice(110), slice(110, 220))
    ]
    assert min(quarters) > 0.02


@pytest.mark.parametrize("percent", STRENGTHS["screenshot"])
def test_a_screenshot_shows_the_whole_picture_smaller(percent: int) -> None:
    picture = scene(448, 330)
    screen = do(f"screenshot-{percent}", picture)
    assert screen.shape == (280, 448, 3)
    expected = (280 - 2 * (448 // 40) - 280 // 9) * percent / 100

    def misfit(height: int) -> float:
        widths = int(448 * height / 330), int(448 * height / 330) + 1
        shown = [cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) for width in widths]
        return min(float(cv2.matchTemplate(screen, each, cv2.TM_SQDIFF_NORMED).min()) for each in shown)

    heights = range(round(expected) - 9, round(expected) + 10, 3)
    assert min(heights, key=misfit) == pytest.approx(expected, abs=1)
    assert misfit(round(expected)) < 0.001


def test_a_collage_has_the_picture_in_a_quarter_and_others_beside_it() -> None:
    picture, others = scene(), [scene(300, 80, 1), scene(60, 90, 2), scene(200, 200, 3)]
    small = cv2.resize(picture, (110, 80), interpolation=cv2.INTER_AREA)
    places = set()
    for seed in range(16):
        four = collage(picture, others, RNG(seed))
        assert four.shape == picture.shape
        quarters = [four[top : top + 80, left : left + 110] for top in (0, 80) for left in (0, 110)]
        same = [np.array_equal(quarter, small) for quarter in quarters]
        assert sum(same) == 1
        assert len({quarter.tobytes() for quarter in quarters}) == 4
        places.add(same.index(True))
    assert places == {0, 1, 2, 3}


@pytest.mark.parametrize("grid", STRENGTHS["shuffle"])
def test_shuffling_keeps_every_patch_and_none_in_its_place(grid: int) -> None:
    picture = scene(160, 240)

    def patches(array: np.ndarray) -> list[bytes]:
        return [part.tobytes() for row in np.split(array, grid) for part in np.split(row, grid, axis=1)]

    before, after = patches(picture), patches(do(f"shuffle-{grid}", picture))
    assert sorted(before) == sorted(after)
    assert not any(a == b for a, b in zip(before, after, strict=True))


def test_another_style_moves_colours_and_leaves_things_where_they_are() -> None:
    def alike(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(*(gaussian_filter(luma(array), 4).ravel() for array in (a, b)))[0, 1])

    for seed in range(4):
        picture = scene(448, 330, seed)
        half, whole = (do(f"restyle-{percent}", picture, seed) for percent in (50, 100))
        assert alike(picture, half) > alike(picture, whole) > 0.8
        assert abs(alike(scene(448, 330, seed + 9), whole)) < 0.5
        lab = [cv2.cvtColor(array, cv2.COLOR_RGB2LAB).astype(float) for array in (picture, half, whole)]
        moved = [np.hypot(*np.moveaxis(after - lab[0], 2, 0)[1:]).mean() for after in lab[1:]]
        assert moved[1] > 1.5 * moved[0] > 10
        assert np.corrcoef(lab[0][..., 1].ravel(), lab[2][..., 1].ravel())[0, 1] < 0.5


def test_kept_bars_are_the_pictures_own_and_swapped_ones_anothers() -> None:
    content, swapped = scene(128, 64), (50, 100)
    kept, box = FRAMES["bars-kept"](content, 128, swapped, RNG(0))
    assert box == (0, 0, 128, 128)
    np.testing.assert_array_equal(kept[32:96], content)
    assert not kept[:32].any()
    assert not kept[96:].any()
    other, box = FRAMES["bars-swapped"](content, 128, swapped, RNG(0))
    assert box == (0, 0, 128, 128)
    assert not other[:, :32].any()
    assert not other[:, 96:].any()
    back = cv2.resize(other[:, 32:96], (128, 64), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(back.ravel(), content.ravel())[0, 1] > 0.9


def test_noise_lies_in_the_true_box_and_knows_nothing_of_the_picture() -> None:
    content = scene(128, 64)
    for name, shown in (("noise-bars-cropped", (0, 32, 128, 64)), ("noise-bars-kept", (0, 0, 128, 128))):
        (first, box), (second, _) = (FRAMES[name](content, 128, (50, 100), RNG(seed)) for seed in (0, 1))
        assert box == shown
        assert not first[:32].any()
        assert not first[96:].any()
        inside = first[32:96].astype(float)
        assert inside.mean() == pytest.approx(127.5, abs=8)
        assert inside.std() > 40
        assert abs(np.corrcoef(inside.ravel(), second[32:96].ravel())[0, 1]) < 0.1  # 24 x 24 x 3 draws: 0.024
        assert abs(np.corrcoef(inside.ravel(), content.ravel())[0, 1]) < 0.1


def test_grain_is_drawn_pixel_by_pixel() -> None:
    grain, box = FRAMES["grain-bars-cropped"](scene(128, 64), 128, (50, 100), RNG(0))
    assert box == (0, 32, 128, 64)
    assert not grain[:32].any()
    inside = grain[32:96].astype(float)
    assert inside.std() == pytest.approx(73.9, abs=2)  # of 0 to 255, evenly
    assert abs(np.corrcoef(inside[1:].ravel(), inside[:-1].ravel())[0, 1]) < 0.03


def test_noise_is_the_same_whatever_the_proportions_once_it_is_squashed() -> None:
    shown = []
    for shape in ((128, 64), (64, 128), (128, 128)):
        square, box = FRAMES["noise-bars-cropped"](scene(*shape), 128, (50, 100), RNG(3))
        shown.append(cv2.resize(crop_box(square, box), (64, 64), interpolation=cv2.INTER_AREA).ravel())
    assert np.corrcoef(shown).min() > 0.9


def test_swapped_bars_are_those_of_another_painting() -> None:
    edits = [("Genre/a_wide", "bars-swapped"), ("Genre/b_tall", "bars-swapped"), ("Genre/c_square", "bars-swapped")]
    shapes = {(128, 50): "Genre/a_wide", (70, 128): "Genre/b_tall", (128, 128): "Genre/c_square"}
    for seed in range(6):
        out = stage(seed)(batch_of(edits))
        for (painting, _), data in zip(edits, out["image"], strict=True):
            lit = decode_jpeg(data).max(2) > 40
            shape = int(lit.any(0).sum()), int(lit.any(1).sum())
            near = min(shapes, key=lambda known: abs(known[0] - shape[0]) + abs(known[1] - shape[1]))
            assert shapes[near] != painting
    alone = Edit(EditConfig(size=128), 0, {"Genre/a_wide": SHAPES["Genre/a_wide"]})(batch_of(edits[:1]))
    assert (decode_jpeg(alone["image"][0]).max(2) > 40).any(1).sum() == pytest.approx(50, abs=2)
