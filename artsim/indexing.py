"""How the index of a model is made: the embeddings of all paintings, bucket by bucket. No Ray.

Shapes: n paintings of one bucket, D width of the embeddings.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from contextlib import ExitStack, nullcontext
from types import TracebackType
from typing import Any, NamedTuple, Self

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artsim import UserError
from artsim.cache import load_bucket
from artsim.config import IndexConfig
from artsim.evaluation.scorers import embed
from artsim.index import ARTWORKS, FACTS, INFO, VECTORS, IndexInfo, one_thread
from artsim.resume import Input
from artsim.siamese import Head
from artsim.store import Store
from artsim.tables import Table

_ROWS_PER_CELL = 50
"""Embeddings that cells are learned from; FAISS asks for 39 or more (Clustering.h: min_points_per_centroid)."""
_CODE_BYTES = 64
_FACTS_TOGETHER = 100_000
"""Rows of a row group of facts: many small ones take seconds to read."""
_FEW_ROWS = 100_000
"""Up to so many paintings one core is enough to learn cells and codes."""


class Sources(NamedTuple):
    """The tables that an index is made from."""

    embeddings: Input
    artworks: Input

    @classmethod
    def of(cls, root: str, head: Head, num_buckets: int) -> Sources:
        """Those of a root; TableError where one is not finished."""
        features = {"pooled": "pooled"} | ({"tokens": "tokens"} if head.sizes.token_size else {})
        facts = {name: name for name in FACTS.names}
        tables = (("embeddings", features), ("artworks", facts))
        return cls(*(Input.of(Table(root, name, num_buckets), columns) for name, columns in tables))

    @property
    def num_rows(self) -> int:
        """Paintings that have an embedding."""
        return self.embeddings.parts.num_rows

    @property
    def digests(self) -> dict[str, str]:
        """What identifies their contents, by table."""
        return {source.table.name: source.digest for source in self}


def embed_bucket(sources: Sources, head: Head, bucket: int) -> tuple[pa.Table, np.ndarray]:
    """The paintings of one bucket: FACTS, and what the head makes of them, (n, D) float32 of length 1."""
    keys, columns = load_bucket((sources.embeddings,), bucket)
    if not keys:
        return FACTS.empty_table(), np.zeros((0, head.sizes.pooled_size), np.float32)
    wanted = pa.table({"id": [painting for painting, _, _ in keys]})
    facts = pa.table(sources.artworks.rows(bucket, wanted)).select(FACTS.names)
    return facts, embed(head, columns, np.arange(len(keys)))


def sample_bucket(sources: Sources, head: Head, share: float, bucket: int) -> np.ndarray:
    """What the head makes of a share of a bucket's paintings, drawn by the bucket's number, (m, D) float32."""
    keys, columns = load_bucket((sources.embeddings,), bucket)
    rows = np.sort(np.random.default_rng(bucket).permutation(len(keys))[: round(share * len(keys))])
    return embed(head, columns, rows) if len(rows) else np.zeros((0, head.sizes.pooled_size), np.float32)


def factory_of(config: IndexConfig, num_rows: int, width: int) -> str:
    """FAISS's name of the index for so many embeddings: `Flat`, or cells of codes with the embeddings beside them.

    Cells: the power of two nearest to 4 sqrt(num_rows), in the range that FAISS's guidelines advise. A code has a byte
    for every 8 numbers of an embedding of 512. The embeddings beside them, in float16, are read from the disk where
    the index is mapped, for the few best codes of a search.
    """
    if config.factory:
        return config.factory
    if num_rows <= config.max_exact:
        return "Flat"
    num_cells = 2 ** round(np.log2(4 * np.sqrt(num_rows)))
    num_codes = max(
        size for size in (1, 2, 4, 8, 16, 32, _CODE_BYTES) if width % size == 0 and 4 * size <= max(width, 4)
    )
    # np: not polysemous, which costs most of the training and serves searches that we do not do.
    return f"IVF{num_cells},PQ{num_codes}np,Refine(SQfp16)"


def settings_of(config: IndexConfig, num_rows: int, width: int) -> dict[str, Any]:
    """The fields of IndexInfo that the settings decide."""
    factory = factory_of(config, num_rows, width)
    return {"factory": factory, "nprobe": config.nprobe, "k_factor": config.k_factor, "width": width}


class Builder:
    """An index that grows bucket by bucket; facts wait on the disk of this machine."""

    def __init__(self, settings: dict[str, Any], num_rows: int) -> None:
        """Settings as settings_of gives them; UserError where FAISS cannot make what they name."""
        self._settings = settings
        try:
            self._index = faiss.index_factory(settings["width"], settings["factory"], faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as error:
            raise _cannot(settings, error) from error
        cells = 0 if self._index.is_trained else getattr(faiss.try_extract_index_ivf(self._index), "nlist", 1)
        self.share_sampled = min(1.0, max(256, cells) * _ROWS_PER_CELL / max(1, num_rows)) if cells else 0.0
        """Share of the embeddings to train with; 0: there is nothing to train."""
        self._stack, self._num_rows = ExitStack(), 0
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> Self:
        self._spool = self._stack.enter_context(tempfile.TemporaryFile())
        self._facts = self._stack.enter_context(pq.ParquetWriter(self._spool, FACTS, compression="zstd"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def train(self, vectors: np.ndarray) -> None:
        """Learn cells and codes from some embeddings (m, D); UserError where they are too few."""
        try:
            with one_thread() if len(vectors) <= _FEW_ROWS else nullcontext():
                self._index.train(vectors)
        except RuntimeError as error:
            raise _cannot(self._settings, error) from error

    def add(self, facts: pa.Table, vectors: np.ndarray) -> None:
        """Add paintings: FACTS and embeddings (n, D) float32 of length 1, row by row."""
        assert len(facts) == len(vectors), f"{len(facts)} paintings with {len(vectors)} embeddings"
        assert np.isfinite(vectors).all(), "embeddings must be numbers"
        if len(facts):
            with one_thread() if len(facts) <= _FEW_ROWS else nullcontext():
                self._index.add(np.ascontiguousarray(vectors))
            self._waiting.append(facts.cast(FACTS))
            self._num_rows += len(facts)
            if sum(map(len, self._waiting)) > _FACTS_TOGETHER:
                self._write_facts()

    def _write_facts(self) -> None:
        self._facts.write_table(pa.concat_tables([FACTS.empty_table(), *self._waiting]))
        self._waiting.clear()

    def publish(self, folder: str, recipe: str, inputs: dict[str, str]) -> IndexInfo:
        """Put the index in place below a model folder, INFO last; of one that was there before it goes first."""
        store = Store(folder, "model")
        store.delete([INFO])
        self._write_facts()
        self._facts.close()
        num_bytes = {ARTWORKS: self._spool.tell()}
        self._spool.seek(0)
        with store.create(VECTORS) as file:
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))
            num_bytes[VECTORS] = file.tell()
        with store.create(ARTWORKS) as file:
            shutil.copyfileobj(self._spool, file)
        is_exact = isinstance(self._index, faiss.IndexFlat)
        made = {"recipe": recipe, "inputs": inputs, "num_rows": self._num_rows, "num_bytes": num_bytes}
        info = IndexInfo(**self._settings, **made, is_exact=is_exact, build=uuid.uuid4().hex)
        store.write(INFO, info.model_dump_json(indent=1).encode())
        return info


def _cannot(settings: dict[str, Any], error: RuntimeError) -> UserError:
    reason = str(error).splitlines()[0].rpartition("Error: ")[2][:200]
    return UserError(f"index.factory = {settings['factory']}: FAISS cannot make it ({reason})")
