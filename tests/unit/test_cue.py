"""Cues beside a picture's likeness, against Pillow, ImageHash and pixels whose colours are known."""

import io

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from artsim.config import CuesConfig
from artsim.images import encode_jpeg, letterbox
from artsim.stages.cue import MeasureCues, colour_histogram, jpeg_quality
from artsim.stages.measure import Measure
from tests.conftest import shared


def picture(seed: int, width: int = 300, height: int = 200) -> Image.Image:
    """A smooth field of colours."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)


def measured(*rows: tuple[bytes | None, tuple[int, ...]]) -> dict[str, np.ndarray]:
    images = np.empty(len(rows), object)
    images[:] = [data for data, _ in rows]
    batch = {"image": images, "box": np.array([box for _, box in rows], np.int32)}
    for column in batch.values():
        column.setflags(write=False)
    return MeasureCues(CuesConfig())(batch)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_file_frame_and_hash() -> None:
    square, box = letterbox(picture(0), 256)
    data = encode_jpeg(square, 95)
    done = measured((data, box), (png(square), box), (encode_jpeg(square, 60), (0, 0, 256, 256)))
    assert list(done["error"]) == [None] * 3
    assert done["num_bytes"].tolist()[0] == len(data)
    assert done["jpeg_quality"].tolist() == [95, None, 60]
    np.testing.assert_allclose(done["aspect"], [256 / 171, 256 / 171, 1])
    left, top, width, height = box
    content = Image.open(io.BytesIO(data)).crop((left, top, left + width, top + height))
    assert done["phash"][0] == str(imagehash.phash(content))
    assert done["phash"][2] != done["phash"][0]  # there the bars belong to it
    assert [done[name].dtype for name in ("num_bytes", "aspect", "histogram")] == [np.int64, np.float32, np.float32]


def test_phashes_of_contents_are_those_of_the_files() -> None:
    paths = sorted(shared("data/paintings").rglob("*.jpg"))[::30]
    files = [path.read_bytes() for path in paths]
    column = np.empty(len(files), object)
    column[:] = files
    known = Measure(120_000_000)({"image": column})["phash"]
    boxed = [letterbox(Image.open(io.BytesIO(file)).convert("RGB"), 768) for file in files]
    found = measured(*((encode_jpeg(square, 95), box) for square, box in boxed))["phash"]
    bits = [imagehash.hex_to_hash(one) - imagehash.hex_to_hash(other) for one, other in zip(known, found, strict=True)]
    assert max(bits) <= 4
    assert np.mean(bits) < 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_quality_that_pillow_writes_is_found_again(mode: str) -> None:
    wanted, found = range(1, 101), []
    for quality in wanted:
        buffer = io.BytesIO()
        picture(1, 32, 32).convert(mode).save(buffer, "JPEG", quality=quality)
        found.append(jpeg_quality(buffer.getvalue()))
    assert found == list(wanted)


def test_tables_of_ones_own_count_as_what_is_coarse_alike() -> None:
    buffer = io.BytesIO()
    known = Image.open(io.BytesIO(encode_jpeg(picture(1), 80))).quantization  # type: ignore[attr-defined]
    tables = {index: [value + 1 for value in table] for index, table in known.items()}
    picture(1).save(buffer, "JPEG", qtables=tables)
    assert 70 < (jpeg_quality(buffer.getvalue()) or 0) < 80


def test_shares_of_known_colours() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    histogram = colour_histogram(pixels).reshape(5, 7, 7).astype(float) ** 2
    assert histogram[0, 3, 3] == pytest.approx(0.5, abs=1e-3)  # black
    assert histogram[4, 3, 3] == pytest.approx(0.5, abs=1e-3)  # white
    red = colour_histogram(np.full((9, 9, 3), (255, 0, 0), np.uint8)).reshape(5, 7, 7).astype(float) ** 2
    # sRGB's red is L 53.24, a 80.09, b 67.20 (D65): a share of 0.13 in the bin of L 75, all in the last of a and b.
    assert red[2, 6, 6] == pytest.approx(1 - 3.24 / 25, abs=2e-3)
    assert red[3, 6, 6] == pytest.approx(3.24 / 25, abs=2e-3)


def test_a_histogram_has_length_one_and_forgets_places() -> None:
    pixels = np.asarray(picture(4, 64, 64))
    one, other = colour_histogram(pixels), colour_histogram(pixels[::-1, ::-1])
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(one, other, atol=1e-6)
    near = colour_histogram(np.clip(pixels.astype(int) + 2, 0, 255).astype(np.uint8))
    far = colour_histogram(pixels // 4)
    assert one @ near > 0.99 > one @ far + 0.1
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[..., 0]
    lightness = (one.reshape(5, 49).astype(float) ** 2).sum(1) @ np.linspace(0, 100, 5)
    assert lightness == pytest.approx(float(lab.mean()), abs=0.1)  # linear shares keep the mean


def test_rows_that_cannot_be_read_say_why() -> None:
    data, box = encode_jpeg(picture(3), 95), (0, 0, 300, 200)
    done = measured((b"", box), (None, box), (b"nothing", box), (data[:2000], box), (data, (9, 0, 300, 9)), (data, box))
    reasons = [error and error.split(":")[0] for error in done["error"]]
    assert reasons == ["empty", "empty", "not_an_image", "truncated", "corrupt", None]
    assert list(done["phash"][:5]) == [None] * 5
