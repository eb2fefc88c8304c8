"""The index of a model: the paintings that are nearest to a picture, with what is known of them. FAISS and Arrow.

Shapes: n paintings, D width of the embeddings, B pictures looked for.
"""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from artsim import UserError
from artsim.config import Section
from artsim.models import INDEX
from artsim.store import Store

FILES = VECTORS, ARTWORKS, INFO = "index.faiss", "artworks.parquet", "index.json"
"""Files of an index, in the order in which they are put in place: a folder with the last has all."""
FACTS = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "genre", "artist", "title")),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
"""What an index knows of a painting, px; rows in the order of its vectors."""
MAX_COMPARED = 1_000
"""Paintings that a filter leaves of an index that is not exact, and that are then all compared."""
_COMPARED_AT_ONCE = 4096
_MORE = 20
"""Candidates beyond those asked for, which are compared again."""


class IndexMissingError(UserError, FileNotFoundError):
    """A model folder without an index."""


class IndexBrokenError(UserError, ValueError):
    """An index that cannot be used: damaged, or of another model; the message says which and what to do."""


class SearchError(UserError, ValueError):
    """A search for what the index does not know: a genre, an artist or a painting; the message names near ones."""


class IndexInfo(Section):
    """What INFO holds."""

    format: Literal[1] = 1
    recipe: str
    """of the model"""
    inputs: dict[str, str]
    """digests of the tables that it was made from"""
    factory: str
    """FAISS's name of its kind"""
    is_exact: bool
    nprobe: int
    k_factor: int
    num_rows: int
    width: int
    """D"""
    num_bytes: dict[str, int]
    """of the other files"""
    build: str
    """tells one making of the index from another"""


class Hit(NamedTuple):
    """A painting that was found."""

    id: str
    genre: str | None
    artist: str | None
    title: str | None
    width: int
    height: int
    similarity: float
    """cosine, -1..1"""


class Index:
    """The paintings of a root by their embeddings. Threads may share it."""

    def __init__(self, index: Any, facts: pa.Table, info: IndexInfo) -> None:
        self._index, self._facts, self.info = index, facts, info
        columns = {name: facts[name].combine_chunks() for name in ("genre", "artist")}
        self._codes = {name: pc.fill_null(column.indices, -1).to_numpy() for name, column in columns.items()}
        self._names: dict[str, list[str]] = {name: column.dictionary.to_pylist() for name, column in columns.items()}
        counts = {name: np.bincount(codes[codes >= 0], minlength=1) for name, codes in self._codes.items()}
        self._counts = {name: dict(zip(self._names[name], counts[name].tolist(), strict=False)) for name in counts}

    @classmethod
    def load(cls, model: str, recipe: str | None = None) -> Index:
        """The index in a model folder, local or a URL. Local vectors are mapped: replicas of a machine share them.

        `recipe`: that of the model which will ask; None: that of the folder. Raises IndexMissingError where there is
        none, IndexBrokenError where it is damaged or belongs to another model.
        """
        store = Store(f"{model}/{INDEX}", "model")
        info = read_info(store)
        if info is None:
            raise IndexMissingError(f"{model}: has no index; jobs/index.py makes one")
        if recipe is None:
            recipe = (Store(model, "model").read_json("config.json") or {}).get("info", {}).get("fingerprint")
        if info.recipe != recipe:
            raise _broken(model, f"was made with the model of recipe {info.recipe}, and this one's is {recipe}")
        with tempfile.TemporaryDirectory() as folder:
            paths = [store.fetch(name, Path(folder)) for name in (VECTORS, ARTWORKS)]
            for name, path in zip((VECTORS, ARTWORKS), paths, strict=True):
                if not path.exists() or path.stat().st_size != info.num_bytes.get(name):
                    raise _broken(model, f"{name} is not as long as {INFO} says")
            try:  # what is mapped stays, whatever becomes of its name
                index = faiss.read_index(str(paths[0]), faiss.IO_FLAG_MMAP_IFC)
                facts = pq.read_table(paths[1], columns=FACTS.names, read_dictionary=["genre", "artist"])
                facts = facts.combine_chunks()  # rows are taken out of one piece ten times as fast
            except (RuntimeError, pa.ArrowException, KeyError) as error:
                raise _broken(model, (str(error).splitlines() or [""])[0][-200:]) from error
        if (index.ntotal, index.d, len(facts)) != (info.num_rows, info.width, info.num_rows):
            raise _broken(model, f"{VECTORS} and {ARTWORKS} do not hold the {info.num_rows} rows that {INFO} tells of")
        if read_info(store) != info:
            raise _broken(model, "was made anew while it was read; load it again")
        cells = faiss.try_extract_index_ivf(index)
        if cells is not None and not isinstance(index, faiss.IndexRefine):
            cells.make_direct_map()  # Refine has the embeddings by row, cells only by place
        loaded = cls(index, facts, info)
        if info.num_rows:  # vectors are in memory before somebody waits for them
            loaded.search(index.reconstruct(0)[None], 1)
        return loaded

    def search(
        self, vectors: np.ndarray, k: int, genre: str | None = None, artist: str | None = None
    ) -> list[list[Hit]]:
        """The k paintings, or as many as there are, nearest to each of the vectors (B, D) of length 1, nearest first.

        Only those of a genre or by an artist, where that is given; SearchError where no painting has it. Of equals the
        smaller id comes first. A vector's hits do not depend on the others.
        """
        wanted = self._wanted(genre, artist)
        return [self._search(np.ascontiguousarray(vector, np.float32), k, wanted) for vector in vectors]

    def count(self, genre: str | None = None, artist: str | None = None) -> int:
        """How many paintings a search with these filters is among; SearchError where no painting has one."""
        wanted = self._wanted(genre, artist)
        return self.info.num_rows if wanted is None else int(wanted.sum())

    def filters(self) -> dict[str, list[dict[str, Any]]]:
        """`genres` and `artists`: name and count of each, by name. Paintings of which it is not known do not count."""
        return {
            f"{kind}s": [{"name": name, "count": counts[name]} for name in sorted(counts)]
            for kind, counts in self._counts.items()
        }

    def vector(self, painting: str) -> np.ndarray:
        """The embedding (D,) float32 of a painting by its id, as exact as the index is; SearchError for others."""
        return self._index.reconstruct(self._row(painting))

    def artwork(self, painting: str) -> dict[str, Any]:
        """The columns of FACTS of a painting by its id; SearchError for others."""
        return self._facts.slice(self._row(painting), 1).to_pylist()[0]

    def _row(self, painting: str) -> int:
        row: int = pc.index(self._facts["id"], painting).as_py()
        if row < 0:
            raise SearchError(f"{painting!r}: no such painting in the index")
        return row

    def _wanted(self, genre: str | None, artist: str | None) -> np.ndarray | None:
        """Which paintings (n,) bool fit; None: all."""
        wanted = None
        for kind, name in (("genre", genre), ("artist", artist)):
            if name is not None:
                if name not in self._counts[kind]:
                    raise SearchError(self._unknown(kind, name))
                fits = self._codes[kind] == self._names[kind].index(name)
                wanted = fits if wanted is None else wanted & fits
        return wanted

    def _unknown(self, kind: str, name: str) -> str:
        counts = self._counts[kind]
        folded = {known.casefold(): known for known in counts}
        near = [folded[found] for found in difflib.get_close_matches(name.casefold(), folded, n=3)]
        advice = f"did you mean {' or '.join(near)}?" if near else "the commonest are "
        common = ", ".join(sorted(counts, key=lambda known: (-counts[known], known))[:5])
        return f"{kind} {name!r}: no painting in the index has it; {advice}{'' if near else common}"

    def _search(self, vector: np.ndarray, k: int, wanted: np.ndarray | None) -> list[Hit]:
        num_wanted = self.info.num_rows if wanted is None else int(wanted.sum())
        k = min(k, num_wanted)
        if not k:
            return []
        if self.info.is_exact:
            rows, similarities = self._search_all(vector, k, wanted, num_wanted)
        else:
            rows, similarities = self._search_cells(vector, k, wanted, num_wanted)
        facts = self._facts.take(pa.array(rows)).to_pylist()
        order = sorted(range(len(rows)), key=lambda at: (-similarities[at], facts[at]["id"]))[:k]
        return [Hit(**facts[at], similarity=float(similarities[at])) for at in order]

    def _search_all(
        self, vector: np.ndarray, k: int, wanted: np.ndarray | None, num_wanted: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and similarities, in any order, among which are the k nearest with all that are as near as the last.

        FAISS's float32 sums leave a candidate out only if it is less alike than the last by more than they can err
        (Higham 2002, 3.5: D u / (1 - D u) for vectors of length 1, twice, for either side).
        """
        unit = np.finfo(np.float32).eps / 2
        error = 2 * self.info.width * unit / (1 - self.info.width * unit)
        count = k + _MORE
        while True:
            found, rows = self._ask(vector, min(count, num_wanted), wanted, 1.0)
            similarities = self._compare(vector, rows)
            if len(rows) == num_wanted or np.sort(similarities)[-k] > found[-1] + error:
                return rows, similarities
            count *= 4

    def _search_cells(
        self, vector: np.ndarray, k: int, wanted: np.ndarray | None, num_wanted: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same, as near as cells and codes come: the fewer paintings fit, the more cells are looked into."""
        if wanted is not None and num_wanted <= MAX_COMPARED:
            rows = np.flatnonzero(wanted)
        else:
            _, rows = self._ask(vector, min(k + _MORE, num_wanted), wanted, num_wanted / self.info.num_rows)
        return rows, self._compare(vector, rows)

    def _ask(
        self, vector: np.ndarray, count: int, wanted: np.ndarray | None, share: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """FAISS's own answer: similarities, falling, and rows."""
        bits = None if wanted is None else np.packbits(wanted, bitorder="little")
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        parameters = self._parameters(self._index, selector, share)
        with one_thread():
            found, rows = self._index.search(vector[None], count, params=parameters)
        there = rows[0] >= 0
        return found[0][there], rows[0][there]

    def _parameters(self, index: Any, selector: Any, share: float) -> Any:
        index, chosen = faiss.downcast_index(index), {} if selector is None else {"sel": selector}
        if isinstance(index, faiss.IndexRefine):
            inner = self._parameters(index.base_index, selector, share)
            return faiss.IndexRefineSearchParameters(k_factor=float(self.info.k_factor), base_index_params=inner)
        if isinstance(index, faiss.IndexPreTransform):
            return faiss.SearchParametersPreTransform(index_params=self._parameters(index.index, selector, share))
        if isinstance(index, faiss.IndexIVF):
            nprobe = min(index.nlist, int(np.ceil(self.info.nprobe / share)))
            return faiss.SearchParametersIVF(nprobe=nprobe, **chosen)
        return faiss.SearchParameters(**chosen)

    def _compare(self, vector: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Similarities (m,) float64 of a vector and of some rows, which do not depend on what else is compared."""
        wide, parts = vector.astype(np.float64), []
        for some in np.array_split(rows, max(1, len(rows) // _COMPARED_AT_ONCE)):
            parts.append((self._index.reconstruct_batch(some) * wide).sum(1))
        return np.concatenate(parts).clip(-1, 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """FAISS on one core, for calls of the present thread.

    Its threads wait for each other by spinning: on two cores that others use too a search by two took six times as
    long as by one.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _broken(model: str, what: str) -> IndexBrokenError:
    return IndexBrokenError(f"{model}: its index cannot be used ({what}): make it anew with jobs/index.py --overwrite")


def read_info(store: Store) -> IndexInfo | None:
    """What INFO in an index's folder holds; None where there is no index, IndexBrokenError where it makes no sense."""
    data = store.read(INFO)
    try:
        return None if data is None else IndexInfo.model_validate_json(data)
    except ValidationError as error:
        raise _broken(store.url.removesuffix(f"/{INDEX}"), f"{INFO} is broken") from error
