"""Bytes and pixels: guarded decoding of files found in the wild, letterbox, JPEG. Arrays are (H, W, 3) uint8 RGB."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

# What Pillow remarks on a broken file is said by DecodeError, once and with its row. (A filter set around each call
# would not be thread-safe.)
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "PPM", "AVIF")
"""Pillow's names of what is decoded (MPO opens as JPEG). Left out: what starts programs (EPS) or nests other files."""

MAX_SIDE_PX = 4096
"""Of a letterboxed square."""

_MAGIC = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"GIF8", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51")
# What Pillow's plugins raise on bad bytes: far from always an OSError.
_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError),
    *(AttributeError, RuntimeError, struct.error, zlib.error),
)
# JPEG's SOF3, 7, 11 and 15. Pillow 12.3 writes past its buffer when it is asked to scale such a file.
_LOSSLESS = (b"\xff\xc3", b"\xff\xc7", b"\xff\xcb", b"\xff\xcf")
_ORIENTATION = 274  # EXIF 2.3, 4.6.4 A
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}

Box = tuple[int, int, int, int]
"""Left, top, width, height in px."""
Extent = tuple[float, float]
"""Width and height in px."""
Resize = Callable[[Image.Image, tuple[int, int], Extent], Image.Image]
"""A picture, as far as it goes, at another size (width, height)."""


class DecodeError(Exception):
    """A file that gives no picture. `reason` is one of schemas.REASONS; the text is `reason: message`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """The first picture of an encoded file: upright, 8-bit sRGB, transparency over black.

    Files of more than `max_pixels` are refused by their header, before memory is taken for pixels. (Pillow itself
    refuses 179 million.) Raises DecodeError: too_large, not_an_image, truncated, corrupt or empty.
    """
    with _decode_errors(data):
        image = _open(data, max_pixels)
        image.load()
        return _upright(_to_rgb(image), _orientation(image))


def decode_small(data: bytes, max_pixels: int, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """A smaller version for measurements, and the upright width and height of the whole picture in px.

    A JPEG is decoded at the coarsest scale (1/1, 1/2, 1/4, 1/8) whose sides still have `side` px or more; anything
    else, and small pictures, are as from decode. Raises the same errors.
    """
    with _decode_errors(data):
        image = _open(data, max_pixels)
        width, height = image.size
        if _has_scales(image, data):
            image.draft(None, (side, side))
        image.load()
        orientation = _orientation(image)
        size = (height, width) if orientation >= 5 else (width, height)
        return _upright(_to_rgb(image), orientation), size


def open_square(data: bytes | None) -> Image.Image:
    """A letterboxed square as RGB; raises DecodeError."""
    return decode(data or b"", MAX_SIDE_PX * MAX_SIDE_PX)


def open_content(data: bytes | None, box: Box | np.ndarray) -> Image.Image:
    """What lies in a square's box; raises DecodeError.

    It is cut out before anything is resized: a resampling filter told of the box alone still reads beyond its edges.
    """
    left, top, width, height = (int(value) for value in box)
    if width < 1 or height < 1:
        raise DecodeError("empty", f"the box {[left, top, width, height]} holds no pixels")
    image = open_square(data)
    if min(left, top) < 0 or left + width > image.width or top + height > image.height:
        raise DecodeError("corrupt", f"the box {[left, top, width, height]} leaves a picture of {image.size} px")
    return image.crop((left, top, left + width, top + height))


def decode_scaled(data: bytes, max_pixels: int, longest: int) -> tuple[Image.Image, Extent]:
    """A picture for shrinking, and how far it goes in its own pixels: the last of each row and column may be cut.

    An upright JPEG is decoded at the coarsest scale (1/1, 1/2, 1/4, 1/8) whose longer side still has `longest` px or
    more; anything else, and small pictures, are as from decode. Raises the same errors.
    """
    with _decode_errors(data):
        image, scaled = _open(data, max_pixels), None
        times = max(image.size) // longest
        if times > 1 and _has_scales(image, data) and _orientation(image) == 1:
            width, height = image.size
            scaled = image.draft(None, (max(1, width // times), max(1, height // times)))
        image.load()
        upright = _upright(_to_rgb(image), _orientation(image))
        return upright, scaled[1][2:] if scaled else upright.size


def lanczos(image: Image.Image, size: tuple[int, int], extent: Extent) -> Image.Image:
    """A picture, as far as it goes, at another size (width, height): Pillow's LANCZOS."""
    return image.resize(size, Resampling.LANCZOS, (0, 0, *extent))


def letterbox(
    image: Image.Image, size: int, extent: Extent | None = None, resize: Resize = lanczos
) -> tuple[Image.Image, Box]:
    """Fit an RGB picture into a black square of `size` px, its proportions kept, centred; and where it lies.

    Small pictures are enlarged (thesis, preprocessing). No side gets thinner than 1 px. `extent`: how far the picture
    goes, as decode_scaled says.
    """
    sides = extent or image.size
    width, height = (max(1, round(size * side / max(sides))) for side in sides)
    left, top = (size - width) // 2, (size - height) // 2
    square = Image.new("RGB", (size, size))
    square.paste(resize(image, (width, height), sides), (left, top))
    return square, (left, top, width, height)


def crop_box(array: np.ndarray, box: Box | np.ndarray) -> np.ndarray:
    """The content of a letterboxed array (H, W, 3): a view of (height, width, 3)."""
    left, top, width, height = (int(value) for value in box)
    return array[top : top + height, left : left + width]


def encode_jpeg(picture: np.ndarray | Image.Image, quality: int) -> bytes:
    """JPEG bytes of an (H, W, 3) uint8 RGB array or an RGB image; quality 1..100."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def decode_jpeg(data: bytes) -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB of a JPEG that encode_jpeg wrote. For anything else there is decode."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image)


def _has_scales(image: Image.Image, data: bytes) -> bool:
    """Whether a picture can be decoded at a fraction of its size."""
    return image.format in ("JPEG", "MPO") and not any(mark in data for mark in _LOSSLESS)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise DecodeError("empty", "the file has no bytes")
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    tags = getattr(image, "tag_v2", {})
    # A TIFF of few pixels may name huge tiles, and libtiff takes memory for a whole one.
    tile = int(tags.get(322, 0)) * int(tags.get(323, 0))
    if max(width * height, tile) > max_pixels:
        raise DecodeError("too_large", f"{width} x {height} px are more than the {max_pixels} px allowed")
    return image


@contextmanager
def _decode_errors(data: bytes) -> Iterator[None]:
    """Turn whatever a decoder raises on bad bytes into a DecodeError."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise DecodeError("too_large", _first_line(error)) from error
    except MemoryError as error:
        raise DecodeError("too_large", "there is not enough memory for its pixels") from error
    except UnidentifiedImageError as error:
        if not data.startswith(_MAGIC):
            raise DecodeError("not_an_image", f"no decoder knows a file that begins with {data[:16]!r}") from error
        reason = "truncated" if _ends_early(data) else "corrupt"
        raise DecodeError(reason, f"the header of a file that begins with {data[:4]!r} makes no sense") from error
    except _DECODER_ERRORS as error:
        cut = "truncated" in str(error).lower() or _ends_early(data)
        raise DecodeError("truncated" if cut else "corrupt", _first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _ends_early(data: bytes) -> bool:
    """Whether the mark that closes a file of this format is missing."""
    if data.startswith((b"\xff\xd8", b"\xff\x4f", b"\0\0\0\x0cjP")):
        return b"\xff\xd9" not in data
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    return data.startswith(b"RIFF") and len(data) < 8 + int.from_bytes(data[4:8], "little")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; a picture whose EXIF cannot be read counts as upright."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _DECODER_ERRORS:
        return 1
    return value if value in _UPRIGHT else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode that a decoder gives, as sRGB of 8 bits."""
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _to_8_bits(image)
    elif image.mode == "LAB":
        image = _transform(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    elif image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
    elif image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("RGB")
    if profile:
        image = _to_srgb(image, profile)
    if image.mode == "RGBA":
        canvas = Image.new("RGB", image.size)
        canvas.paste(image, mask=image.getchannel("A"))
        return canvas
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits, 32 bits or floats as 8 bits, black staying black.

    16-bit samples lose their low byte, as Pillow does with 16-bit colour. The other two have no fixed white: it is the
    least of 1 (floats), 255 and 65535 that no pixel exceeds, or the brightest pixel.
    """
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(258, (16,))[0]  # TIFF 6.0: BitsPerSample
        return Image.fromarray((values >> (max(8, bits) - 8)).astype(np.uint8))
    values = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    peak = float(values.max())
    whites = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    white = next((white for white in whites if peak <= white), peak)
    return Image.fromarray(np.rint(values.clip(0) * (255 / white)).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Apply a colour profile; pictures that are sRGB already, or whose profile is broken, keep their exact pixels."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower() or name == "c2":  # c2: Facebook's tiny sRGB
            return image
        return _transform(image, source)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _transform(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    result = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    assert result is not None  # it is None only for inPlace
    return result
