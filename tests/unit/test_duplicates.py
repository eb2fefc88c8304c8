"""Near hashes against all pairs, components against a walk through them, and labelled pairs of real paintings."""

import csv
import hashlib
import io
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from artsim.config import DuplicatesConfig, EmbedConfig, LetterboxConfig
from artsim.duplicates import FindDuplicates, join, join_similar, near_components
from artsim.stages.embed import EmbedImage
from artsim.stages.letterbox import Letterbox
from artsim.stages.measure import Measure
from tests.conftest import shared

HALF = 0xAAAAAAAA55555555
"""A hash with half of its bits set, as ImageHash gives them."""


def flipped(value: int, *bits: int) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def by_all_pairs(hashes: np.ndarray, kinds: np.ndarray, max_distance: int) -> list[int]:
    """The smallest row of each row's component: every pair is compared, then the pairs are walked."""
    near = [[bin(int(a) ^ int(b)).count("1") <= max_distance for b in hashes] for a in hashes]
    names = [-1] * len(hashes)
    for start in range(len(hashes)):
        todo = [start] if names[start] < 0 else []
        while todo:
            row = todo.pop()
            names[row] = start
            todo += [o for o in range(len(hashes)) if names[o] < 0 and near[row][o] and kinds[o] == kinds[row]]
    return names


def clustered(seed: int, num_bits: int = 64) -> np.ndarray:
    """Hashes around a few centres, so that chains come about; num_bits of them differ at all."""
    random = np.random.default_rng(seed)
    hashes = np.repeat(random.integers(0, 2**64, 12, dtype=np.uint64), 20)
    for _ in range(6):
        hashes ^= np.uint64(1) << random.integers(0, 64, len(hashes), dtype=np.uint64)
    return np.unique(hashes & np.uint64(2**num_bits - 1))


@pytest.mark.parametrize("max_distance", [0, 1, 2, 3, 4, 7, 8, 10, 16])
def test_near_hashes_are_those_that_all_pairs_find(max_distance: int) -> None:
    nums = set()
    for seed, num_bits in ((0, 64), (1, 64), (2, 30)):
        hashes = clustered(seed, num_bits)
        for kinds in (np.zeros(len(hashes), np.int64), np.arange(len(hashes)) % 2):
            found = near_components(hashes, kinds, max_distance).tolist()
            assert found == by_all_pairs(hashes, kinds, max_distance)
            nums.add(len(hashes) - len(set(found)))
    assert max(nums) > 0 or max_distance < 2


@pytest.mark.parametrize("crowd", [0, 40_000])
@pytest.mark.parametrize("max_distance", [1, 4, 10])
def test_a_pair_at_the_greatest_distance_is_found_and_none_beyond(max_distance: int, crowd: int) -> None:
    """In a crowd, and at 10 bits, rows are looked up by two blocks of bits; else by one."""
    random = np.random.default_rng(5)
    others = random.integers(0, 2**64, crowd, dtype=np.uint64)
    for distance in (max_distance, max_distance + 1):
        value = int(random.integers(0, 2**63))
        pair = np.array([value, flipped(value, *random.choice(64, distance, replace=False).tolist())], np.uint64)
        hashes = np.unique(np.append(others, pair))
        found = near_components(hashes, np.zeros(len(hashes), np.int64), max_distance)
        one, other = found[np.searchsorted(hashes, pair)]
        assert (one == other) == (distance == max_distance)


@pytest.mark.timeout(60)
def test_a_heap_of_alike_hashes_does_not_cost_its_square() -> None:
    """A hundred thousand hashes near one another have 5 billion pairs, which would take minutes."""
    random = np.random.default_rng(0)
    hashes = np.full(100_000, HALF, np.uint64)
    for _ in range(4):
        hashes ^= np.uint64(1) << random.integers(0, 64, len(hashes), dtype=np.uint64)
    hashes = np.unique(hashes)
    assert len(hashes) > 80_000
    assert not near_components(hashes, np.zeros(len(hashes), np.int64), 8).any()


def test_pairs_are_joined_whatever_their_order() -> None:
    random = np.random.default_rng(3)
    chain = np.stack([np.arange(499), np.arange(1, 500)])
    for _ in range(5):
        a, b = random.permuted(chain, axis=0)[:, random.permutation(499)]
        assert not join(np.arange(501), a, b)[:500].any()
        assert join(np.arange(501), a, b)[500] == 500
    half = join(np.arange(6), np.array([5, 4]), np.array([4, 3]))
    assert half.tolist() == [0, 1, 2, 3, 3, 3]
    assert join(half, np.array([4]), np.array([1])).tolist() == [0, 1, 2, 1, 1, 1]


Row = tuple[str, str | None, str, int]


def marked(*rows: Row, max_distance: int = 10, across: int = 4) -> dict[str, dict[str, object]]:
    """What the stage says of (id, artist, file, phash), by id."""
    ids, artists, files, hashes = (list(column) for column in zip(*rows, strict=True))
    phashes = [f"{value:016x}" for value in hashes]
    sha256 = [hashlib.sha256(file.encode()).hexdigest() for file in files]
    table = pa.table({"id": ids, "artist": pa.array(artists, pa.string()), "sha256": sha256, "phash": phashes})
    stage = FindDuplicates(DuplicatesConfig(max_distance=max_distance, max_distance_across=across), table)
    batch = {"id": np.array(ids[::-1], object)}
    batch["id"].setflags(write=False)
    done = stage(batch)
    assert done["num_in_component"].dtype == np.int32
    names = ("exact_of", "near_of", "distance", "component", "num_in_component")
    columns = zip(*(done[name].tolist() for name in names), strict=True)
    return {row_id: dict(zip(names, row, strict=True)) for row_id, row in zip(done["id"], columns, strict=True)}


def components_of(found: dict[str, dict[str, object]]) -> dict[str, object]:
    return {row_id: row["component"] for row_id, row in found.items()}


def test_equal_files_and_near_hashes_are_named_by_the_smallest_id() -> None:
    found = marked(
        ("d", "x", "one", HALF),
        ("b", "y", "one", HALF),
        ("c", "z", "other", flipped(HALF, 3, 60)),
        ("a", "w", "alone", ~HALF & 2**64 - 1),
    )
    names = ("exact_of", "near_of", "distance", "component", "num_in_component")
    assert [found["a"][name] for name in names] == [None, None, None, "a", 1]
    assert [found["b"][name] for name in names] == [None, "d", 0, "b", 3]
    assert [found["c"][name] for name in names] == [None, "b", 2, "b", 3]
    assert [found["d"][name] for name in names] == ["b", "b", 0, "b", 3]


def test_one_artist_s_paintings_may_differ_more_than_two_artists() -> None:
    far = flipped(HALF, *range(10))
    rows: list[Row] = [("a", "x", "1", HALF), ("b", "x", "2", far), ("c", "y", "3", flipped(far, 63, 61, 59, 57, 55))]
    assert components_of(marked(*rows)) == {"a": "a", "b": "a", "c": "c"}
    assert components_of(marked(*rows, max_distance=9)) == {"a": "a", "b": "b", "c": "c"}
    assert components_of(marked(*rows, across=5)) == {"a": "a", "b": "a", "c": "a"}
    for unknown in (None, ""):
        nobody = [(row_id, unknown, file, value) for row_id, _, file, value in rows]
        assert components_of(marked(*nobody)) == {"a": "a", "b": "b", "c": "c"}


def test_a_chain_is_one_component_and_each_is_near_its_neighbour() -> None:
    """Each of a chain is 4 bits from the next; its ends differ in 24."""
    values = [HALF]
    for link in range(6):
        values.append(flipped(values[-1], *range(4 * link, 4 * link + 4)))
    found = marked(*((f"p{row}", f"artist{row}", f"file{row}", value) for row, value in enumerate(values)))
    assert set(components_of(found).values()) == {"p0"}
    assert [found[f"p{row}"]["near_of"] for row in range(7)] == ["p1", "p0", "p1", "p2", "p3", "p4", "p5"]
    assert {row["distance"] for row in found.values()} == {4}
    assert {row["num_in_component"] for row in found.values()} == {7}


def test_pictures_that_say_nothing_are_alike_only_as_equal_files() -> None:
    files = [flat_file(level) for level in (0, 90, 91, 255)] + [ruled_file(width) for width in (8, 16)]
    files.append(files[1])
    phashes = [int(phash, 16) for phash in Measure(10**6)({"image": np.array(files, object)})["phash"]]
    assert len(set(phashes)) < 4
    found = marked(*((str(row), "x", files[row].hex(), value) for row, value in enumerate(phashes)))
    assert components_of(found) == {"0": "0", "1": "1", "2": "2", "3": "3", "4": "4", "5": "5", "6": "1"}
    assert (found["6"]["exact_of"], found["6"]["near_of"], found["6"]["distance"]) == ("1", "1", 0)


def flat_file(level: int) -> bytes:
    return png(Image.new("L", (64, 64), level))


def ruled_file(width: int) -> bytes:
    """Horizontal rules, whose coefficients but the first column are all zero."""
    rows = (np.arange(64) // width % 2 * 200).astype(np.uint8)
    return png(Image.fromarray(np.repeat(rows[:, None], 64, axis=1)))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_what_is_found_depends_on_no_order_of_rows() -> None:
    rows = [(f"p{row:03d}", f"x{row % 3}", str(row // 2), int(value)) for row, value in enumerate(clustered(7))]
    found = marked(*rows)
    assert found == marked(*rows[::-1])
    assert max(Counter(components_of(found).values()).values()) > 2


def test_the_labelled_pairs_of_real_paintings_are_found_and_nothing_else() -> None:
    folder = shared("data/paintings")
    pairs = csv.DictReader((folder / "cross_source_duplicates.csv").read_text(encoding="utf-8").splitlines())
    same = {frozenset((row["file_a"], row["file_b"])) for row in pairs}
    facts = csv.DictReader((folder / "metadata.csv").read_text(encoding="utf-8").splitlines())
    artist = {row["file_name"]: row["artist"] for row in facts}
    files = sorted({name for pair in same for name in pair} | set(sorted(artist)[::4]))
    images = np.array([(folder / name).read_bytes() for name in files], object)
    hashes = [int(phash, 16) for phash in Measure(120_000_000)({"image": images})["phash"]]
    rows = [(name, artist[name], name, value) for name, value in zip(files, hashes, strict=True)]

    def pairs_found(**distances: int) -> set[frozenset[object]]:
        found = marked(*rows, **distances)
        return {frozenset((row_id, row["near_of"])) for row_id, row in found.items() if row["num_in_component"] == 2}

    assert len(same) == 16
    assert pairs_found() == same
    assert len(pairs_found(max_distance=4)) == 12


def test_similar_rows_join_their_components_as_by_all_pairs() -> None:
    rng = np.random.default_rng(0)
    vectors = (5 + rng.normal(size=(1300, 3))).astype(np.float32)
    components = np.array([f"{number - number % 2:04d}" for number in range(1300)], object)
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    expected = {name: name for name in components}

    def first(name: str) -> str:
        return name if expected[name] == name else first(expected[name])

    for a, b in zip(*np.nonzero(unit @ unit.T >= 0.9999), strict=True):
        low, high = sorted((first(components[a]), first(components[b])))
        expected[high] = low
    found = join_similar(components, vectors, 0.9999)
    assert found.tolist() == [first(name) for name in components]
    assert 100 < len(set(found)) < 640
    order = rng.permutation(1300)
    assert join_similar(components[order], vectors[order], 0.9999).tolist() == found[order].tolist()


def test_the_labelled_pairs_are_the_nearest_in_the_frozen_embedding() -> None:
    folder = shared("data/paintings")
    rows = csv.DictReader((folder / "cross_source_duplicates.csv").read_text(encoding="utf-8").splitlines())
    pairs = {row["file_a"]: row["file_b"] for row in rows}
    others = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*.jpg"))[::5]
    files = sorted({*pairs, *pairs.values(), *others})
    images = np.array([(folder / name).read_bytes() for name in files], object)
    squares = Letterbox(LetterboxConfig(sizes=(256,)), 10**8)({"image": images})
    batch = {"image": squares["image_256"], "box": squares["box_256"]}
    vectors = EmbedImage(EmbedConfig(tokens=False))(batch)["pooled"]
    found = join_similar(np.array(files, object), vectors, 0.85)
    joined = {name: str(component) for name, component in zip(files, found, strict=True) if name != component}
    assert joined == {max(pair): min(pair) for pair in pairs.items()}
