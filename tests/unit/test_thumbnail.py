"""Thumbnails: the painting without its bars, as small as asked, and read one by one out of their table."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from artsim.config import ThumbnailConfig
from artsim.images import encode_jpeg, letterbox
from artsim.resume import parts_by_bucket, publish
from artsim.stages.thumbnail import Thumbnail
from artsim.tables import MAX_THUMBNAILS_BYTES, Table, TableError, create_root
from artsim.thumbnails import Thumbnails


def square_of(width: int, height: int, size: int = 512) -> tuple[bytes, tuple[int, ...]]:
    """A picture that fades from red to blue, on black."""
    fade = np.linspace(0, 255, width)[None, :, None] * np.array([-1, 0, 1]) + np.array([255, 60, 0])
    picture = Image.fromarray(np.broadcast_to(fade, (height, width, 3)).astype(np.uint8))
    square, box = letterbox(picture, size)
    return encode_jpeg(square, 95), box


def thumbnails(*rows: tuple[bytes | None, tuple[int, ...]], **settings: int) -> dict[str, np.ndarray]:
    images = np.empty(len(rows), object)
    images[:] = [data for data, _ in rows]
    batch = {"image": images, "box": np.array([box for _, box in rows], np.int32)}
    for column in batch.values():
        column.setflags(write=False)
    return Thumbnail(ThumbnailConfig(**settings))(batch)


@pytest.mark.parametrize(("sides", "size"), [((300, 200), (256, 170)), ((200, 600), (86, 256)), ((900, 3), (256, 1))])
def test_the_bars_are_cut_off_and_the_longer_side_is_as_asked(sides: tuple[int, int], size: tuple[int, int]) -> None:
    image, error = (thumbnails(square_of(*sides))[name][0] for name in ("image", "error"))
    assert error is None
    found = Image.open(io.BytesIO(image))
    assert (found.format, found.size) == ("JPEG", size)
    if min(size) > 1:
        pixels = np.asarray(found).astype(float)
        for at, colour in ((2, (255, 60, 0)), (-3, (0, 60, 255))):  # the fade from edge to edge, and no black
            np.testing.assert_allclose(pixels[3:-3, at], np.broadcast_to(colour, (size[1] - 6, 3)), atol=16)


def test_what_is_smaller_is_not_enlarged() -> None:
    image = thumbnails(square_of(300, 200, 128))["image"][0]
    assert Image.open(io.BytesIO(image)).size == (128, 85)
    assert Image.open(io.BytesIO(thumbnails(square_of(300, 200), size=64)["image"][0])).size == (64, 43)


def test_rows_that_cannot_be_read_say_why_and_the_others_are_done() -> None:
    data, box = square_of(300, 200)
    done = thumbnails((None, box), (data[:2000], box), (data, (0, 0, 9, 999)), (data, box))
    assert [error and error.split(":")[0] for error in done["error"]] == ["empty", "truncated", "corrupt", None]
    assert [image is None for image in done["image"]] == [True, True, True, False]


def test_one_is_read_without_its_neighbours(tmp_path: Path) -> None:
    root = str(tmp_path)
    create_root(root, 2)
    with pytest.raises(TableError, match=r"thumbnails below .* is not finished: run jobs/thumbnail.py first"):
        Thumbnails(root).read("g/1")
    rng = np.random.default_rng(0)
    pictures = {f"g/{number:04d}": rng.bytes(12_000) for number in range(400)}
    table, hashes = Table(root, "thumbnails", 2), pa.array(np.arange(400), pa.uint64())
    columns = {"id": list(pictures), "image": pa.array(pictures.values(), pa.binary())}
    names = table.write(pa.table(columns | {"input_hash": hashes, "row_hash": hashes}))
    publish(table, [parts_by_bucket(names, [])])
    reader = Thumbnails(root)
    assert [reader.read(name) for name in ("g/0000", "g/0399", "g/0200")] == [
        pictures[name] for name in ("g/0000", "g/0399", "g/0200")
    ]
    assert reader.read("g/none") is None
    for name in names:
        metadata = pq.read_metadata(tmp_path / "thumbnails" / name)
        sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
        assert max(sizes) < 1.1 * MAX_THUMBNAILS_BYTES
