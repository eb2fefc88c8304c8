"""The stage Letterbox: its rows, its failures, and the thesis's pixels from plain Pillow."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.Image import Resampling

from artsim.config import LetterboxConfig
from artsim.images import crop_box, decode, decode_jpeg, letterbox
from artsim.stages.letterbox import Letterbox, torch_lanczos
from tests.conftest import shared

MAX_PIXELS = 1_000_000


def jpeg(width: int, height: int) -> bytes:
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    buffer = io.BytesIO()
    Image.fromarray(np.stack([across, down, 255 - across], axis=2).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def batch_of(*files: bytes) -> dict[str, np.ndarray]:
    images = np.empty(len(files), object)
    images[:] = files
    images.setflags(write=False)
    return {"id": np.array([str(row) for row in range(len(files))], object), "image": images}


def test_failed_rows_stay_between_the_others() -> None:
    batch = batch_of(jpeg(300, 200), b"<html>", jpeg(2000, 600), jpeg(50, 100), b"", jpeg(300, 200)[:900])
    done = Letterbox(LetterboxConfig(sizes=(64, 128)), MAX_PIXELS)(batch)
    assert set(done) == {"id", "image", "image_64", "box_64", "image_128", "box_128", "error"}
    assert list(done["id"]) == list(batch["id"])
    assert [error and error.split(":")[0] for error in done["error"]] == [
        *(None, "not_an_image", "too_large", None, "empty", "truncated")
    ]
    assert [image is None for image in done["image_64"]] == [error is not None for error in done["error"]]
    assert done["box_64"].dtype == np.int32
    assert done["box_64"].tolist() == [[0, 10, 64, 43], [0] * 4, [0] * 4, [16, 0, 32, 64], [0] * 4, [0] * 4]
    assert done["box_128"][3].tolist() == [32, 0, 64, 128]


def test_rows_do_not_depend_on_their_batch() -> None:
    stage = Letterbox(LetterboxConfig(sizes=(64,)), MAX_PIXELS)
    files = [jpeg(300, 200), jpeg(120, 500)]
    together = stage(batch_of(*files))["image_64"]
    assert [stage(batch_of(file))["image_64"][0] for file in files] == list(together)


def test_real_paintings_have_plain_pillows_pixels() -> None:
    files = sorted(shared("data/paintings").glob("*/*.jpg"))[::60]
    config = LetterboxConfig(sizes=(1024, 768), jpeg_quality=95)
    done = Letterbox(config, 120_000_000)(batch_of(*(file.read_bytes() for file in files)))
    assert all(error is None for error in done["error"])
    for size in config.sizes:
        for file, data, box in zip(files, done[f"image_{size}"], done[f"box_{size}"], strict=True):
            with Image.open(file) as opened:
                painting = ImageOps.exif_transpose(opened).convert("RGB")
            plain = painting.resize(tuple(box[2:]), Resampling.LANCZOS)
            square = decode_jpeg(data)
            assert square.shape == (size, size, 3)
            # JPEG of quality 95 is all that lies between the two.
            error = crop_box(square, box).astype(float) - np.asarray(plain)
            assert np.sqrt((error**2).mean()) < 6
            assert abs(error.mean()) < 0.5
            assert max(box[2:]) == size
            assert abs(box[2] - painting.width * size / max(painting.size)) <= 1
            assert abs(box[3] - painting.height * size / max(painting.size)) <= 1


@pytest.mark.parametrize(
    "shape", [(640, 480), (480, 640), (2000, 300), (30, 20), (768, 768), (768, 300), (5000, 1), (1, 1)]
)
@pytest.mark.parametrize("size", [64, 768])
def test_torch_resamples_as_pillow_to_two_levels(shape: tuple[int, int], size: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (shape[1], shape[0], 3), np.uint8)
    plain, expected = letterbox(Image.fromarray(noise), size)
    square, box = letterbox(Image.fromarray(noise), size, resize=torch_lanczos())
    assert box == expected
    assert np.abs(np.asarray(square, int) - np.asarray(plain)).max() <= 2


def test_torch_resamples_half_a_pixel_less_than_the_picture_as_pillow() -> None:
    """What decode_scaled gives: the last row and column go on for half a pixel."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (601, 801, 3), np.uint8))
    plain, expected = letterbox(noise, 512, (800.5, 600.5))
    square, box = letterbox(noise, 512, (800.5, 600.5), torch_lanczos())
    assert box == expected
    assert np.abs(np.asarray(square, int) - np.asarray(plain)).max() <= 2


def test_paintings_resampled_by_torch_are_far_closer_to_pillows_than_a_jpeg_is() -> None:
    for file in sorted(shared("data/paintings").glob("*/*.jpg"))[::40]:
        painting = decode(file.read_bytes(), 120_000_000)
        plain, box = letterbox(painting, 512)
        square, _ = letterbox(painting, 512, resize=torch_lanczos())
        error = crop_box(np.asarray(square, float) - np.asarray(plain), box)
        assert 0 < (error**2).mean() < 255**2 / 10**6.5  # a PSNR of 65 dB


def test_torch_resamples_the_same_in_several_threads() -> None:
    stage = Letterbox(LetterboxConfig(sizes=(256,), resampler="torch"), MAX_PIXELS)
    batches = [batch_of(jpeg(300 + 20 * number, 200)) for number in range(16)]
    with ThreadPoolExecutor(4) as threads:
        together = [done["image_256"][0] for done in threads.map(stage, batches)]
    assert together == [stage(batch)["image_256"][0] for batch in batches]


@pytest.mark.parametrize("resampler", ["pillow", "torch"])
def test_dct_scaling_changes_little_and_only_large_jpegs(resampler: str) -> None:
    files = [file.read_bytes() for file in sorted(shared("data/paintings").glob("*/*.jpg"))[::40]]
    for size in (128, 512):
        config = LetterboxConfig.model_validate({"sizes": (size,), "resampler": resampler})
        plain = Letterbox(config, 120_000_000)(batch_of(*files))
        done = Letterbox(config.model_copy(update={"dct_scaling": True}), 120_000_000)(batch_of(*files))
        assert done[f"box_{size}"].tolist() == plain[f"box_{size}"].tolist()
        for file, ours, reference in zip(files, done[f"image_{size}"], plain[f"image_{size}"], strict=True):
            with Image.open(io.BytesIO(file)) as opened:
                assert (ours != reference) == (opened.format == "JPEG" and max(opened.size) >= 3 * size)
            error = decode_jpeg(ours).astype(float) - decode_jpeg(reference)
            assert (error**2).mean() < 255**2 / 10**3.6  # a PSNR of 36 dB, in which both have lost some to JPEG
