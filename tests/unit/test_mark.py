"""The mark of machine-made pictures: read back by Pillow and an XML parser, with not a pixel or byte changed."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from artsim.images import encode_jpeg
from artsim.mark import ALGORITHMIC, TRAINED, mark

NAMESPACE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"


def source_type(jpeg: bytes) -> str | None:
    """The IPTC digital source type that a picture's XMP tells, if any."""
    with Image.open(io.BytesIO(jpeg)) as image:
        packet = image.info.get("xmp")
    if packet is None:
        return None
    told = [element.get(f"{NAMESPACE}DigitalSourceType") for element in ElementTree.fromstring(packet).iter()]
    (found,) = [value for value in told if value is not None]
    return found


def pixels(jpeg: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image)


def pictures() -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    found = {"baseline": encode_jpeg(noise, 95)}
    exif = Image.Exif()
    exif[0x0131] = "a program"
    for name, options in (("progressive", {"progressive": True}), ("exif", {"exif": exif}), ("grey", {})):
        buffer = io.BytesIO()
        image = Image.fromarray(noise)
        (image.convert("L") if name == "grey" else image).save(buffer, "JPEG", **options)
        found[name] = buffer.getvalue()
    jfif = 4 + int.from_bytes(found["baseline"][4:6], "big")
    found["without JFIF"] = found["baseline"][:2] + found["baseline"][jfif:]
    return found


@pytest.mark.parametrize("kind", ["baseline", "progressive", "exif", "grey", "without JFIF"])
@pytest.mark.parametrize("tells", [TRAINED, ALGORITHMIC])
def test_the_mark_is_read_back_and_pixels_are_unchanged(kind: str, tells: str) -> None:
    plain = pictures()[kind]
    marked = mark(plain, tells)
    assert source_type(plain) is None
    assert source_type(marked) == tells
    assert np.array_equal(pixels(marked), pixels(plain))


def test_the_other_bytes_are_those_that_were_there() -> None:
    plain = pictures()["baseline"]
    marked = mark(plain, TRAINED)
    start = next(at for at in range(len(plain)) if marked[at] != plain[at])
    length = len(marked) - len(plain)
    assert marked[:start] + marked[start + length :] == plain
    assert marked[2:4] == b"\xff\xe0", "JFIF asks to be first"
    with Image.open(io.BytesIO(marked)) as image:
        assert image.info["jfif_version"] == (1, 1)


def test_only_jpegs_are_marked() -> None:
    with pytest.raises(AssertionError, match="not a JPEG"):
        mark(b"\x89PNG", TRAINED)
