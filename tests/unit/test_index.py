"""The index against brute force in NumPy: exact, with filters and ties; beyond a million by cells; and broken ones."""

import json
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest

from artsim import UserError
from artsim.config import IndexConfig
from artsim.index import (
    FACTS,
    FILES,
    INFO,
    VECTORS,
    Hit,
    Index,
    IndexBrokenError,
    IndexMissingError,
    SearchError,
)
from artsim.indexing import Builder, factory_of, settings_of
from artsim.store import Store

NUM_ROWS, WIDTH = 3000, 48
GENRES = ("Baroque", "Cubism", "Ukiyo-e")


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(num_rows: int, width: int, num_clusters: int = 200, seed: int = 0) -> np.ndarray:
    """Pictures around their artists, as embeddings of paintings lie."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((num_clusters, width))
    return unit(centres[rng.integers(0, num_clusters, num_rows)] + 0.7 * rng.standard_normal((num_rows, width)))


@cache
def facts_of(num_rows: int) -> pa.Table:
    """Ids that do not rise with the rows; every 31st genre is not known, and one artist has three paintings."""
    at = np.arange(num_rows)
    rows = [
        {
            "id": f"G/{number * 7919 % num_rows:06d}",
            "genre": GENRES[number % 3] if number % 31 else None,
            "artist": "rare" if number in (5, 800, 2001) else f"artist {number % 40}",
            "title": f"title {number}",
            "width": 100 + number,
            "height": 90,
        }
        for number in at.tolist()
    ]
    return pa.Table.from_pylist(rows, FACTS)


def build(folder: Path, vectors: np.ndarray, config: IndexConfig | None = None, recipe: str = "f1") -> str:
    """A model folder with an index, made in three steps as a job makes it of its buckets."""
    facts, settings = facts_of(len(vectors)), settings_of(config or IndexConfig(), len(vectors), vectors.shape[1])
    with Builder(settings, len(vectors)) as builder:
        if builder.share_sampled:
            rng = np.random.default_rng(0)
            builder.train(vectors[rng.permutation(len(vectors))[: round(builder.share_sampled * len(vectors))]])
        for some in np.array_split(np.arange(len(vectors)), 3):
            builder.add(facts.take(pa.array(some)), vectors[some])
        builder.add(facts.slice(0, 0), vectors[:0])
        builder.publish(f"{folder}/index", recipe, {"embeddings": "d1"})
    Store(str(folder)).write_json("config.json", {"info": {"fingerprint": recipe}})
    return str(folder)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Among them pairs, triples and a row of 70 that are the same."""
    found = clustered(NUM_ROWS, WIDTH)
    found[100:170] = found[99]
    found[200:202] = found[199]
    return found


@pytest.fixture(scope="module")
def model(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(tmp_path_factory.mktemp("model"), vectors)


def brute(vectors: np.ndarray, query: np.ndarray, k: int, fits: np.ndarray | None = None) -> list[str]:
    """Ids of the nearest, of equals the smaller first."""
    ids = np.array(facts_of(len(vectors))["id"].to_pylist())
    rows = np.flatnonzero(np.ones(len(vectors), bool) if fits is None else fits)
    rows = rows[np.argsort(-(vectors[rows] @ query))[: k + 100]]  # the rest is less alike by far more than rounding
    similarities = (vectors[rows].astype(np.float64) * query.astype(np.float64)).sum(1)
    return ids[rows][np.lexsort((ids[rows], -similarities))][:k].tolist()


def names(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


@pytest.mark.parametrize("k", [1, 12, 60, NUM_ROWS + 5])
def test_an_exact_index_finds_what_brute_force_finds_in_its_order(model: str, vectors: np.ndarray, k: int) -> None:
    index = Index.load(model)
    assert (index.info.factory, index.info.is_exact, index.info.num_rows) == ("Flat", True, NUM_ROWS)
    queries = np.concatenate([unit(vectors[:20] + 0.1), vectors[[99, 199, 300]]])
    for query, hits in zip(queries, index.search(queries, k), strict=True):
        assert names(hits) == brute(vectors, query, k)
        assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)
    assert index.search(vectors[99:100], 1)[0][0].similarity == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("filters", "num_left"),
    [
        ({"genre": "Cubism"}, 968),
        ({"artist": "rare"}, 3),
        ({"genre": "Ukiyo-e", "artist": "artist 3"}, 24),
        ({"genre": "Baroque", "artist": "rare"}, 1),
    ],
)
def test_filters_leave_the_right_paintings_however_few(
    model: str, vectors: np.ndarray, filters: dict[str, str], num_left: int
) -> None:
    index, facts = Index.load(model), facts_of(NUM_ROWS)
    fits = np.logical_and.reduce([np.array(facts[name].to_pylist()) == value for name, value in filters.items()])
    assert index.count(**filters) == fits.sum() == num_left
    for query in unit(vectors[:10] - 0.05):
        (hits,) = index.search(query[None], 12, **filters)
        assert names(hits) == brute(vectors, query, 12, fits)
        assert len(hits) == min(12, num_left)


def test_a_hit_tells_of_its_painting_and_its_vector_can_be_had(model: str, vectors: np.ndarray) -> None:
    index = Index.load(model)
    (hits,) = index.search(vectors[7:8], 1)
    expected = facts_of(NUM_ROWS).slice(7, 1).to_pylist()[0]
    assert hits[0]._asdict() == expected | {"similarity": pytest.approx(1)}
    assert index.artwork(expected["id"]) == expected
    np.testing.assert_array_equal(index.vector(expected["id"]), vectors[7])


def test_filters_are_counted_and_unknown_ones_named_with_near_ones(model: str) -> None:
    index = Index.load(model)
    found = index.filters()
    assert [row["name"] for row in found["genres"]] == list(GENRES)
    assert sum(row["count"] for row in found["genres"]) == sum(number % 31 > 0 for number in range(NUM_ROWS))
    assert {"name": "rare", "count": 3} in found["artists"]
    query = np.eye(1, WIDTH, dtype=np.float32)
    with pytest.raises(SearchError, match=r"^genre 'barok': no painting in the index has it; did you mean Baroque\?$"):
        index.search(query, 3, genre="barok")
    with pytest.raises(SearchError, match="'Q': no painting in the index has it; the commonest are artist "):
        index.count(artist="Q")
    with pytest.raises(SearchError, match="'G/nothing': no such painting"):
        index.vector("G/nothing")


def test_an_answer_does_not_depend_on_what_is_asked_beside_it(model: str, vectors: np.ndarray) -> None:
    index = Index.load(model)
    queries = unit(vectors[:64] + 0.02)
    alone = [index.search(query[None], 12)[0] for query in queries]
    assert index.search(queries, 12) == alone
    found: dict[int, Any] = {}
    threads = [Thread(target=lambda at=at: found.__setitem__(at, index.search(queries[at::4], 12))) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[at % 4][at // 4] for at in range(64)] == alone


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    vectors = clustered(20_000, 64, num_clusters=1000)
    return build(tmp_path_factory.mktemp("large"), vectors, IndexConfig(max_exact=1000, nprobe=32)), vectors


def test_an_index_of_cells_recalls_nearly_all(large: tuple[str, np.ndarray]) -> None:
    model, vectors = large
    index = Index.load(model)
    assert (index.info.factory, index.info.is_exact) == ("IVF512,PQ16np,Refine(SQfp16)", False)
    queries = clustered(60, 64, num_clusters=1000)
    expected = [set(brute(vectors, query, 12)) for query in queries]
    found = index.search(queries, 12)
    recall = np.mean([len(wanted & set(names(hits))) / 12 for wanted, hits in zip(expected, found, strict=True)])
    assert recall > 0.95
    artists = np.array(facts_of(len(vectors))["artist"].to_pylist())
    for query, (hit, *_) in zip(vectors[:20], index.search(vectors[:20], 12), strict=True):
        assert hit.similarity == pytest.approx(1, abs=1e-3)
        assert query @ index.vector(hit.id) == pytest.approx(1, abs=1e-3)
        (filtered,) = index.search(query[None], 12, artist="artist 3")  # so few that all are compared
        wanted = brute(vectors, query, 12, artists == "artist 3")
        assert len(set(names(filtered)) & set(wanted)) >= 11  # as near as float16 tells


def test_a_filter_that_leaves_many_is_searched_in_more_cells(
    large: tuple[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artsim.index.MAX_COMPARED", 100)
    model, vectors = large
    index = Index.load(model)
    fits = np.array(facts_of(len(vectors))["artist"].to_pylist()) == "artist 3"
    queries = clustered(50, 64, num_clusters=1000)
    expected = [set(brute(vectors, query, 12, fits)) for query in queries]
    found = index.search(queries, 12, artist="artist 3")
    assert all(hit.artist == "artist 3" for hits in found for hit in hits)
    assert np.mean([len(wanted & set(names(hits))) / 12 for wanted, hits in zip(expected, found, strict=True)]) > 0.95


@pytest.mark.parametrize("factory", ["IVF16,Flat", "RR48,IVF16,Flat", "SQ8"])
def test_other_kinds_may_be_asked_for(factory: str, vectors: np.ndarray, tmp_path: Path) -> None:
    index = Index.load(build(tmp_path, vectors, IndexConfig(factory=factory, nprobe=16)))
    assert (index.info.factory, index.info.is_exact) == (factory, False)
    (hits,) = index.search(vectors[7:8], 5)
    assert facts_of(NUM_ROWS)["id"][7].as_py() in names(hits)
    assert all(hit.genre == "Cubism" for hit in index.search(vectors[7:8], 5, genre="Cubism")[0])


def test_a_kind_that_cannot_be_made_is_one_sentence(vectors: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"^index.factory = IVF9,Nonsense: FAISS cannot make it \(.+\)$"):
        Builder(settings_of(IndexConfig(factory="IVF9,Nonsense"), NUM_ROWS, WIDTH), NUM_ROWS)
    with (
        Builder(settings_of(IndexConfig(max_exact=0), 100, WIDTH), 100) as builder,
        pytest.raises(UserError, match=r"^index.factory = IVF32,PQ8np,Refine\(SQfp16\): FAISS cannot make it"),
    ):
        builder.train(vectors[:100])


def test_the_kind_follows_from_the_number_of_paintings() -> None:
    config = IndexConfig()
    assert factory_of(config, 81_445, 512) == factory_of(config, 1_000_000, 512) == "Flat"
    assert factory_of(config, 1_000_001, 512) == "IVF4096,PQ64np,Refine(SQfp16)"
    assert factory_of(config, 100_000_000, 512) == "IVF32768,PQ64np,Refine(SQfp16)"
    assert factory_of(config, 10**7, 60) == "IVF16384,PQ4np,Refine(SQfp16)"


def test_an_index_of_another_model_is_refused(vectors: np.ndarray, tmp_path: Path) -> None:
    model = build(tmp_path, vectors[:50])
    with pytest.raises(IndexBrokenError, match="with the model of recipe f1, and this one's is f2"):
        Index.load(model, "f2")
    Store(model).write_json("config.json", {"info": {"fingerprint": "f3"}})
    with pytest.raises(IndexBrokenError, match="with the model of recipe f1, and this one's is f3"):
        Index.load(model)
    assert Index.load(model, "f1").info.num_rows == 50


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["gone", "cut", "noise"])
def test_a_broken_index_is_one_sentence(name: str, damage: str, vectors: np.ndarray, tmp_path: Path) -> None:
    model = build(tmp_path, vectors[:500])
    path = tmp_path / "index" / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        noise = np.random.default_rng(0).integers(0, 256, len(data), np.uint8).tobytes()
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else noise)
    kind = IndexMissingError if (name, damage) == (INFO, "gone") else IndexBrokenError
    with pytest.raises(kind, match=r"jobs/index\.py") as wrong:
        Index.load(model)
    assert len(str(wrong.value).splitlines()) == 1


def test_an_index_of_other_rows_than_it_says_is_refused(vectors: np.ndarray, tmp_path: Path) -> None:
    model = build(tmp_path, vectors[:50])
    path = tmp_path / "index" / INFO
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_rows": 49}))
    with pytest.raises(IndexBrokenError, match="do not hold the 49 rows"):
        Index.load(model)


def test_one_that_is_made_anew_meanwhile_is_told(
    vectors: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(tmp_path, vectors[:50])
    read = faiss.read_index

    def read_slowly(*arguments: Any) -> Any:
        build(tmp_path, vectors[50:100])
        return read(*arguments)

    monkeypatch.setattr(faiss, "read_index", read_slowly)
    with pytest.raises(IndexBrokenError, match="was made anew while it was read"):
        Index.load(model)


def test_a_loaded_index_lives_on_when_its_files_go(vectors: np.ndarray, tmp_path: Path) -> None:
    index = Index.load(build(tmp_path, vectors[:500]))
    (tmp_path / "index" / VECTORS).unlink()
    build(tmp_path, vectors[500:1000])
    assert names(index.search(vectors[7:8], 12)[0]) == brute(vectors[:500], vectors[7], 12)


def test_an_index_comes_from_any_store(model: str, vectors: np.ndarray) -> None:
    """fsspec's own memory stands for an object store: its files have no local path."""
    for path in Path(model).rglob("*.*"):
        Store("memory://index-test/model").write(str(path.relative_to(model)), path.read_bytes())
    index = Index.load("memory://index-test/model")
    assert names(index.search(vectors[3:4], 12)[0]) == brute(vectors, vectors[3], 12)
