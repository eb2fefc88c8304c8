"""The stage Measure against hashlib, Pillow and ImageHash themselves."""

import csv
import hashlib
import io

import imagehash
import numpy as np
from PIL import Image

from artsim.stages.measure import Measure
from tests.conftest import shared

MAX_PIXELS = 120_000_000


def batch_of(*files: bytes) -> dict[str, np.ndarray]:
    images = np.empty(len(files), object)
    images[:] = files
    images.setflags(write=False)
    return {"image": images}


def test_real_paintings() -> None:
    folder = shared("data/paintings")
    rows = list(csv.DictReader((folder / "metadata.csv").read_text(encoding="utf-8").splitlines()))[::12]
    files = [(folder / row["file_name"]).read_bytes() for row in rows]
    done = Measure(MAX_PIXELS)(batch_of(*files))
    assert all(error is None for error in done["error"])
    assert done["width"].dtype == done["height"].dtype == np.int32
    assert done["width"].tolist() == [int(row["width"]) for row in rows]
    assert done["height"].tolist() == [int(row["height"]) for row in rows]
    assert list(done["sha256"]) == [row["sha256"] for row in rows]
    # JPEGs are decoded at a coarser scale: most hashes are the very same, none is far.
    plain = [imagehash.phash(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    distances = [imagehash.hex_to_hash(phash) - other for phash, other in zip(done["phash"], plain, strict=True)]
    assert max(distances) <= 2
    assert distances.count(0) >= 0.8 * len(distances)


def test_a_rotated_photograph_and_bad_rows() -> None:
    gradient = Image.linear_gradient("L").resize((300, 100))
    exif = Image.Exif()
    exif[274] = 6
    buffer = io.BytesIO()
    gradient.save(buffer, "PNG", exif=exif.tobytes())
    data = buffer.getvalue()
    done = Measure(MAX_PIXELS)(batch_of(b"no picture", data, data[: len(data) // 2]))
    assert done["width"].tolist() == [0, 100, 0]
    assert done["height"].tolist() == [0, 300, 0]
    assert done["phash"][1] == str(imagehash.phash(gradient.transpose(Image.Transpose.ROTATE_270).convert("RGB")))
    assert len(done["phash"][1]) == 16
    assert done["sha256"].tolist() == [None, hashlib.sha256(data).hexdigest(), None]
    assert [error and error.split(":")[0] for error in done["error"]] == ["not_an_image", None, "truncated"]
