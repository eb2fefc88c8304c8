"""What one replica knows: a model, its index, and answers made of them. Plain Python, without Ray.

D width of an embedding, N patches, T width of a patch's features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from artsim.calibration import check_prior, sentences
from artsim.clients import StoreError
from artsim.correspondence import to_json
from artsim.images import FORMATS
from artsim.index import Index, IndexMissingError, SearchError
from artsim.models import root_of
from artsim.scorer import Scorer
from artsim.siamese import ModelError
from artsim.store import Store
from artsim.tables import TableError
from artsim.thumbnails import Thumbnails
from serve.answers import Refusal
from serve.settings import ServiceConfig

_MIME = {"JPEG2000": "image/jp2", "PPM": "image/x-portable-pixmap"}
_FACTS = ("id", "genre", "artist", "title", "width", "height")
_NUM_THUMBNAILS = 2000
"""Kept in memory, some 10 kB each."""
MAX_MATCHES = 60
"""Of a map, the strongest: more cannot be told apart by eye."""


class Look(NamedTuple):
    """What is known of one picture."""

    embedding: np.ndarray
    """(D,) float32 of length 1; zeros where it cannot be read"""
    tokens: np.ndarray
    """(N, T) float16"""
    error: str | None
    """`reason: message`"""


class Likeness:
    """A trained model behind the answers of the service."""

    def __init__(self, config: ServiceConfig) -> None:
        """Raises ModelError or IndexBrokenError where the model's folder, or the index in it, cannot be used."""
        self._config = config
        self._scorer = Scorer.load(config.model, config.max_pixels)
        self._index = _load_index(config.model, self._scorer.recipe)
        self._thumbnail = lru_cache(_NUM_THUMBNAILS)(self._read_thumbnail)
        self._metrics = Store(config.model, "model").read_json("metrics.json")
        self.signature = {"model": self._scorer.name, "recipe": self._scorer.recipe}

    def look(self, images: Sequence[bytes], run: Callable[..., Iterable[Any]] = map) -> list[Look]:
        """Look at encoded pictures; `run` decodes them, an executor's `map` several at a time."""
        return [Look(*seen) for seen in zip(*self._scorer.look(images, run), strict=True)]

    def compare(self, first: Look, second: Look | str, wants_map: bool, prior: float) -> dict[str, Any]:
        """A Comparison, of two pictures or of a picture and a painting's id; raises Refusal."""
        check_prior(prior)
        other = self._painting(second) if isinstance(second, str) else _readable("second", second)
        similarity = float(_readable("first", first).embedding @ other.embedding)
        meaning = self._meaning(similarity, prior)
        words = sentences(meaning)[0] if meaning["percentiles"] else "not calibrated: the model was not evaluated"
        found = {"map": self._map(first, other) if wants_map else None, "prior": prior, "sentence": words}
        return meaning | found | self.signature

    def _map(self, first: Look, second: Look) -> dict[str, Any]:
        if not len(second.tokens):
            raise Refusal(400, "no_map", "A map needs two pictures: the index keeps no patches of paintings.", "map")
        try:
            matches = self._scorer.match(first.tokens, second.tokens)
        except ModelError as error:
            raise Refusal(400, "no_map", _sentence(error), "map") from error
        return to_json(matches[:MAX_MATCHES], len(first.tokens))

    def search(self, picture: Look, k: int, genre: str | None, artist: str | None) -> dict[str, Any]:
        """The Hits of a picture; raises Refusal."""
        index, query = self._require_index(), _readable("picture", picture).embedding
        try:
            hits = index.search(query[None], k, genre=genre, artist=artist)[0]
        except SearchError as error:
            raise Refusal(400, "unknown_filter", _sentence(error)) from error
        results = [_artwork(hit._asdict()) | self._meaning(hit.similarity, 0.5) for hit in hits]
        for result in results:
            del result["prior"]
        return {"results": results, "num_searched": index.count(genre, artist), **self.signature}

    def embedding(self, picture: Look) -> dict[str, Any]:
        """The Embedding of a picture; raises Refusal."""
        return {"embedding": _readable("picture", picture).embedding.tolist(), **self.signature}

    def artwork(self, row_id: str) -> dict[str, Any]:
        """An Artwork; raises Refusal."""
        try:
            return _artwork(self._require_index().artwork(row_id))
        except SearchError as error:
            raise _unknown(row_id) from error

    def thumbnail(self, row_id: str) -> bytes:
        """JPEG bytes, of a picture whose longer side is 256 px; raises Refusal."""
        self.artwork(row_id)
        missing = Refusal(404, "no_thumbnail", "This painting has no thumbnail: run jobs/thumbnail.py.")
        try:
            found = self._thumbnail(row_id)
        except (TableError, StoreError) as error:  # the model lies alone, or the table is not finished or made anew
            self.__dict__.pop("_thumbnails", None)
            raise missing from error
        if found is None:
            raise missing
        return found

    @cached_property
    def _thumbnails(self) -> Thumbnails:
        return Thumbnails(root_of(self._config.model))

    def _read_thumbnail(self, row_id: str) -> bytes | None:
        return self._thumbnails.read(row_id)

    def filters(self) -> dict[str, Any]:
        """The Filters; raises Refusal."""
        return {**self._require_index().filters(), **self.signature}

    def facts(self) -> dict[str, Any]:
        """The Model."""
        info, index = self._scorer.info, self._index
        limits = {"max_bytes": self._config.max_bytes, "max_pixels": self._scorer.max_pixels}
        return {
            "name": self._scorer.name,
            "recipe": self._scorer.recipe,
            "encoder": {name: info["embed"]["model"][name] for name in ("id", "revision")},
            "head": self._scorer.head.config.model_dump(),
            "data": info["recipe"]["inputs"],
            "evaluation": self._evaluation(),
            "index": index and {"num_artworks": index.count(), "is_exact": index.info.is_exact},
            "limits": limits | {"types": [_MIME.get(name, f"image/{name.lower()}") for name in FORMATS]},
        }

    def _evaluation(self) -> dict[str, Any] | None:
        """Of its figures, what a reader of the report sees first."""
        if self._metrics is None:
            return None
        names = ("verdict", "beats_frozen", "splits", "retrieval", "num_draws")
        return {name: self._metrics[name] for name in names if name in self._metrics}

    def _meaning(self, similarity: float, prior: float) -> dict[str, Any]:
        calibration = self._scorer.calibration
        unknown = {"percentiles": None, "probability": None, "prior": prior}
        meaning = calibration.meaning(similarity, prior) if calibration else unknown
        return {"similarity": round(similarity, 6), **meaning}

    def _painting(self, row_id: str) -> Look:
        try:
            return Look(self._require_index().vector(row_id), np.zeros((0, 0), np.float16), None)
        except SearchError as error:
            raise _unknown(row_id) from error

    def _require_index(self) -> Index:
        if self._index is None:
            raise Refusal(
                404,
                "no_index",
                "This model has no index of paintings: run jobs/index.py, then deploy with another args.revision.",
            )
        return self._index


def _load_index(model: str, recipe: str) -> Index | None:
    try:
        return Index.load(model, recipe)
    except IndexMissingError:
        return None


def _readable(name: str, picture: Look) -> Look:
    if picture.error is not None:
        raise Refusal.unreadable(name, picture.error)
    return picture


def _unknown(row_id: str) -> Refusal:
    return Refusal(404, "unknown_artwork", f"The index has no painting {row_id[:200]!r}.", "artwork")


def _artwork(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in _FACTS} | {"thumbnail": f"/v1/artworks/{quote(facts['id'])}/thumbnail"}


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:].rstrip(".") + "."
