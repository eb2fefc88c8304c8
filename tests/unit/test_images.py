"""Decoding of what two libraries keep as test files and of bombs made here; the letterbox against plain Pillow."""

import csv
import hashlib
import io
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.Image import Resampling

from artsim.images import (
    DecodeError,
    crop_box,
    decode,
    decode_jpeg,
    decode_scaled,
    decode_small,
    encode_jpeg,
    letterbox,
)
from artsim.schemas import REASONS

CORPUS = Path(__file__).resolve().parents[3] / "shared/data/decoder_corpus"
MANIFEST = CORPUS / "manifest.csv"
FILES = list(csv.DictReader(MANIFEST.read_text().splitlines())) if MANIFEST.exists() else []
needs_corpus = pytest.mark.skipif(not FILES, reason=f"{CORPUS} is not there")
MAX_PIXELS = 120_000_000
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # pytest undoes the filter that artsim.images sets

REFUSED = {
    # The name says so, or the end of the file is missing.
    "truncated": (
        *("balloon_eciRGBv2_aware.jp2", "broken.png", "truncated_jpeg.jpg", "ultrahdr.jpg"),
        *("513f29d0-02a8-11e7-9756-6035edb96e79.jpg", "51432b02-02a8-11e7-9203-b42b1c43c0c3.jpg"),
        *("5145e95a-02a8-11e7-8372-4787a7307ab8.jpg", "514c48ea-02a8-11e7-8789-bb75321f404f.jpg"),
        *("515e763c-02a8-11e7-85fb-573b41201f05.jpg", "516c2778-02a8-11e7-9d50-e916ce831200.jpg"),
    ),
    "corrupt": (
        *("00r0_gray_l.jp2", "00r1_graya_la.jp2", "libtiff_segfault.tif", "seek_too_large.tif"),
        *("oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif", "syntax_num_frames_zero.png"),
        *("110115680-6d6dce80-7d84-11eb-99df-4cb21df3b09f.jpeg", "broken-adobe-marker-bad-length.jpg"),
        *("broken-sos-before-sof.jpg", "jfif-bogus-empty-jfif-segment.jpg"),
        "chunk_no_fctl.png",  # its first frame could be shown, but what follows is broken
    ),
    "too_large": ("l2rgb_read.bmp",),  # its header says 3158064 x 48
}
# The manifest counts warnings as errors; these files give a picture all the same.
ONLY_WARNED = (
    "dispose_op_background_p_mode.png",
    "syntax_num_frames_zero_default.png",
    "sugarshack_bad_mpo_header.jpg",
)


def expected_reason(path: str) -> str | None:
    name = Path(path).name
    if name.startswith("crash-"):
        return "corrupt"
    return next((reason for reason, names in REFUSED.items() if name in names), None)


def ours_differs(image: Image.Image) -> bool:
    """Where more is done than `convert("RGB")`: more than 8 bits, transparency, a colour profile, EXIF orientation."""
    deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    return deep or image.has_transparency_data or "icc_profile" in image.info or image.getexif().get(274, 1) != 1


@needs_corpus
@pytest.mark.parametrize("row", FILES, ids=lambda row: Path(row["file_name"]).name)
def test_every_file_of_the_corpus(row: dict[str, str]) -> None:
    data = (CORPUS / row["file_name"]).read_bytes()
    reason = expected_reason(row["file_name"])
    if reason:
        with pytest.raises(DecodeError) as caught:
            decode(data, MAX_PIXELS)
        assert caught.value.reason == reason, str(caught.value)
        return
    image = decode(data, MAX_PIXELS)
    assert row["pillow12.3_outcome"] == "ok" or Path(row["file_name"]).name in ONLY_WARNED
    assert decode_small(data, MAX_PIXELS, 64)[1] == image.size
    if row["pillow12.3_outcome"] == "ok" and not ours_differs(Image.open(io.BytesIO(data))):
        assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == row["pillow12.3_rgb_sha256"]


@needs_corpus
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux: peak memory is read from /proc")
def test_corpus_needs_little_memory_and_says_nothing() -> None:
    # Not getrusage: at exec the child inherits the peak of the process that started it, here that of all tests before.
    script = (
        "import re, sys; from pathlib import Path; from artsim.images import DecodeError, decode\n"
        "for path in sorted(Path(sys.argv[1]).rglob('*.*')):\n"
        "    try: decode(path.read_bytes(), 120_000_000)\n"
        "    except DecodeError: pass\n"
        "print(1024 * int(re.search(r'VmHWM:\\s*(\\d+) kB', Path('/proc/self/status').read_text())[1]))"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(CORPUS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1_000_000_000
    assert "Warning" not in done.stderr
    assert "PIL" not in done.stderr


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def reason_of(data: bytes, max_pixels: int = MAX_PIXELS) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, max_pixels)
    assert caught.value.reason in REASONS
    assert str(caught.value) == f"{caught.value.reason}: {caught.value.message}"
    return caught.value.reason


def texture(width: int, height: int) -> Image.Image:
    x = np.arange(width * height * 3)
    return Image.fromarray(((x * x * 31 + x // 7 * 17) % 251).astype(np.uint8).reshape(height, width, 3))


def tile_bomb() -> bytes:
    """A TIFF of 8 x 8 px in one tile of 16000 x 16000 px; libtiff would take 256 MB for it."""
    side, tile = 16000, b"deflated"
    entries = [(256, 8), (257, 8), (258, 8), (259, 8), (262, 1), (277, 1), (322, side), (323, side)]
    entries += [(324, 8 + 2 + 12 * 10 + 4), (325, len(tile))]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + tile


def test_more_pixels_than_allowed_are_refused_by_the_header() -> None:
    assert reason_of(encoded(Image.new("L", (100, 50)), "PNG"), max_pixels=4999) == "too_large"
    assert decode(encoded(Image.new("L", (100, 50)), "PNG"), max_pixels=5000).size == (100, 50)
    assert reason_of(b"P5 60000 60000 255\n" + bytes(10)) == "too_large"
    assert reason_of(tile_bomb()) == "too_large"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "PPM", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_file_cut_short_is_an_error_and_never_grey(format: str, share: float) -> None:
    data = encoded(texture(200, 150), format)
    assert decode(data, MAX_PIXELS).size == (200, 150)
    assert reason_of(data[: int(len(data) * share)]) in ("truncated", "corrupt", "not_an_image")


def test_jpegs_cut_short_say_so() -> None:
    data = encoded(texture(200, 150), "JPEG")
    assert {reason_of(data[:length]) for length in range(2, len(data), 97)} == {"truncated"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>404 Not Found</html>", "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
        (b"\xff\xd8\xff\xe0" + bytes(200) + b"\xff\xd9", "corrupt"),
    ],
)
def test_what_is_no_picture(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


def test_errors_survive_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(DecodeError("corrupt", "bad marker")))
    assert (error.reason, str(error)) == ("corrupt", "corrupt: bad marker")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_once(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(texture(40, 20), format, exif=exif.tobytes())
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    assert decode(data, MAX_PIXELS).tobytes() == expected.tobytes()
    assert decode_small(data, MAX_PIXELS, 8)[1] == expected.size == ((20, 40) if orientation > 4 else (40, 20))


def test_16_bits_keep_their_high_byte() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    grey = np.asarray(decode(encoded(Image.fromarray(levels), "PNG"), MAX_PIXELS))
    np.testing.assert_array_equal(grey, np.repeat((levels >> 8).astype(np.uint8)[:, :, None], 3, axis=2))


@pytest.mark.parametrize(("peak", "level"), [(1.0, 128), (255.0, 50), (1000.0, 128)])
def test_floats_are_scaled_to_their_white(peak: float, level: int) -> None:
    values = np.array([[0.0, peak, level / 255 * peak, np.nan, -1.0]], np.float32)
    grey = np.asarray(decode(encoded(Image.fromarray(values), "TIFF"), MAX_PIXELS))[0, :, 0]
    white = round(peak / 65535 * 255) if peak == 1000 else 255
    np.testing.assert_allclose(grey, [0, white, level / 255 * white, 0, 0], atol=0.51)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_black(mode: str) -> None:
    image = Image.new(mode, (3, 1), (200, 200, 200, 0)[-len(mode) :])
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (200, 200, 200, alpha)[-len(mode) :])
    assert np.asarray(decode(encoded(image, "PNG"), MAX_PIXELS))[0, :, 0].tolist() == [0, 100, 200]


def test_colour_profiles_lead_to_srgb() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    plain = texture(20, 20)
    # A profile of another kind than the pixels, and one that is noise: the pixels stay as they are.
    for broken in (profile, b"not a profile"):
        assert decode(encoded(plain, "PNG", icc_profile=broken), MAX_PIXELS).tobytes() == plain.tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode(encoded(plain, "PNG", icc_profile=srgb), MAX_PIXELS).tobytes() == plain.tobytes()


# Bruce Lindbloom, RGB/XYZ matrices: Adobe RGB (1998) and sRGB, both D65.
ADOBE_TO_XYZ = [[0.5767309, 0.1855540, 0.1881852], [0.2973769, 0.6273491, 0.0752741], [0.0270343, 0.0706872, 0.9911085]]
XYZ_TO_SRGB = [
    [3.2404542, -1.5371385, -0.4985314],
    [-0.9692660, 1.8760108, 0.0415560],
    [0.0556434, -0.2040259, 1.0572252],
]


@needs_corpus
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_adobe_rgb_becomes_srgb(mode: str) -> None:
    with Image.open(CORPUS / "twelvemonkeys/imageio-jpeg/jpeg/cmm-exception-adobe-rgb.jpg") as image:
        profile = image.info["icc_profile"]
    colours = np.array([[[128, 128, 128], [200, 150, 140], [90, 140, 170], [60, 70, 50], [255, 255, 255]]], np.uint8)
    linear = (colours / 255) ** 2.19921875 @ np.transpose(ADOBE_TO_XYZ) @ np.transpose(XYZ_TO_SRGB)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(0) ** (1 / 2.4) - 0.055) * 255
    data = encoded(Image.fromarray(colours).convert(mode), "PNG", icc_profile=profile)
    np.testing.assert_allclose(np.asarray(decode(data, MAX_PIXELS)), expected, atol=2)


@needs_corpus
def test_lossless_jpegs_are_not_scaled() -> None:
    """Pillow 12.3 corrupts its memory when it does."""
    data = (CORPUS / "twelvemonkeys/imageio-jpeg/jpeg-lossless/f-18.jpg").read_bytes()
    image = decode(data, MAX_PIXELS)
    assert decode_small(data, MAX_PIXELS, 8)[0].tobytes() == image.tobytes()


def test_small_decoding_stays_above_the_side_asked_for() -> None:
    data = encoded(texture(1600, 1200), "JPEG")
    small, size = decode_small(data, MAX_PIXELS, 256)
    assert (small.size, size) == ((400, 300), (1600, 1200))
    assert decode_small(data, MAX_PIXELS, 1300)[0].size == (1600, 1200)


def test_scaled_decoding_keeps_the_picture_where_it_is() -> None:
    """Odd sides leave half a pixel at the edge, which must not be stretched over a whole one."""
    across, down = np.meshgrid(np.arange(1601), np.arange(1201))
    waves = 128 + 60 * np.sin(across / 3) + 60 * np.sin(down / 4)
    data = encoded(Image.fromarray(waves.astype(np.uint8)).convert("RGB"), "JPEG", quality=95)
    scaled, extent = decode_scaled(data, MAX_PIXELS, 800)
    assert (scaled.size, extent) == ((801, 601), (800.5, 600.5))
    square, box = letterbox(scaled, 512, extent)
    whole, expected = letterbox(decode(data, MAX_PIXELS), 512)
    assert box == expected
    error = np.asarray(square, float) - np.asarray(whole)
    assert (error**2).mean() < 255**2 / 10**4.5  # a PSNR of 45 dB


def test_what_cannot_be_scaled_is_decoded_whole() -> None:
    picture = texture(1600, 1200)
    turned = picture.getexif()
    turned[274] = 6
    for data in (encoded(picture, "PNG"), encoded(picture, "JPEG", exif=turned), encoded(texture(300, 200), "JPEG")):
        image, extent = decode_scaled(data, MAX_PIXELS, 256)
        assert extent == image.size
        assert image.tobytes() == decode(data, MAX_PIXELS).tobytes()


@pytest.mark.parametrize("shape", [(640, 480), (480, 640), (2000, 300), (30, 20), (500, 500), (5000, 1)])
@pytest.mark.parametrize("size", [64, 768])
def test_letterbox_is_plain_lanczos_on_black(shape: tuple[int, int], size: int) -> None:
    image = texture(*shape)
    square, box = letterbox(image, size)
    left, top, width, height = box
    assert max(width, height) == size
    assert min(width, height) >= 1
    assert abs(width - size * min(1, shape[0] / shape[1])) <= 1
    assert abs(height - size * min(1, shape[1] / shape[0])) <= 1
    assert abs(size - width - 2 * left) <= 1
    assert abs(size - height - 2 * top) <= 1
    content = crop_box(np.asarray(square), box)
    np.testing.assert_array_equal(content, np.asarray(image.resize((width, height), Resampling.LANCZOS)))
    assert np.asarray(square).sum() == content.sum()


def test_lanczos_is_that_of_pillow_9_to_12() -> None:
    """Pillow 13 changed the order of the passes on tall pictures, and so the pixels; 9.5 and 12.3 give this hash."""
    square, box = letterbox(texture(301, 1999), 768)
    content = crop_box(np.asarray(square), box)
    assert content.shape == (768, 116, 3)
    assert hashlib.sha256(content.tobytes()).hexdigest()[:16] == "d52c7f408660c5d1"


def test_jpeg_round_trip() -> None:
    array = np.full((32, 48, 3), (200, 30, 90), np.uint8)
    decoded = decode_jpeg(encode_jpeg(array, 95))
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded, array, atol=3)
    assert encode_jpeg(Image.fromarray(array), 95) == encode_jpeg(array, 95)
