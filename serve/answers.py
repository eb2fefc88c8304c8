"""What the service answers, typed; and why it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue

_Example = dict[str, JsonValue]
_MODEL: _Example = {"model": "a70", "recipe": "7e9d0ef21c3b3266"}
_PERCENTILES: _Example = {"other_genre": 0.999, "same_genre": 0.991, "same_artist": 0.984}
_MEANING: _Example = {"percentiles": _PERCENTILES, "probability": 0.869}
_PAINTING: _Example = {
    "id": "Baroque/some-painter_still-life",
    "genre": "Baroque",
    "artist": "some-painter",
    "title": "still-life",
    "width": 1200,
    "height": 900,
    "thumbnail": "/v1/artworks/Baroque/some-painter_still-life/thumbnail",
}

UNREADABLE = {
    "too_large": (413, "has more bytes or pixels than are allowed here"),
    "not_an_image": (415, "is no picture of a kind that is read here"),
    "truncated": (422, "ends before the picture does"),
    "corrupt": (422, "cannot be decoded: its contents are damaged"),
    "empty": (422, "is empty"),
    "invalid_output": (422, "cannot be scored: the model finds no numbers for it"),
}
"""Status, and what is wrong with a picture, by the reason that a decoder or the model gave."""


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818  # it is an answer, and nothing went wrong here
    """A request that is not answered: an HTTP status, a short reason, one sentence and what it is about."""

    status: int
    reason: str
    message: str
    field: str | None = None
    headers: Mapping[str, str] | tuple[()] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.reason, self.message, self.field, self.headers)

    @classmethod
    def unreadable(cls, name: str, error: str) -> Refusal:
        """Of a picture; `error` is `reason: message` as a stage gives it. Decoders' own words stay inside."""
        reason = error.split(":", 1)[0]
        status, sentence = UNREADABLE.get(reason, (422, "cannot be read"))
        return cls(status, reason, f"The picture '{name}' {sentence}.", name)

    def to_json(self) -> dict[str, Any]:
        """As every endpoint answers it."""
        return {"error": {"reason": self.reason, "message": self.message, "field": self.field}}


class Answer(BaseModel):
    """What every answer says: which model, trained from what, gave it."""

    model_config = ConfigDict(extra="forbid")

    model: str
    recipe: str
    """Fingerprint of the model's recipe"""


class Point(BaseModel):
    """Two patches that are each other's nearest: their centres, as shares of width and height of each picture."""

    first: tuple[float, float]
    second: tuple[float, float]
    similarity: float


class Map(BaseModel):
    """Where two pictures match, strongest first, on grids of `grid` by `grid` patches."""

    matches: list[Point]
    grid: int


class Meaning(BaseModel):
    """What a similarity means; null where the model was not evaluated."""

    similarity: float
    """Cosine, -1..1"""
    percentiles: dict[str, float] | None
    """Share of known pairs of each kind that are less alike, 0..1"""
    probability: float | None
    """Of being an original and its version, 0..1"""


class Comparison(Answer, Meaning):
    """How alike two pictures are."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "similarity": 0.485,
                **_MEANING,
                **_MODEL,
                "prior": 0.5,
                "sentence": "more alike than 99.9% of unrelated pairs, 99.1% of pairs of one genre, 98.4% of pairs by "
                "one artist",
                "map": {"matches": [{"first": [0.21, 0.36], "second": [0.21, 0.36], "similarity": 0.93}], "grid": 7},
            }
        }
    )

    prior: float
    sentence: str
    map: Map | None


class Problem(BaseModel):
    """Why something is not answered."""

    reason: str
    message: str
    field: str | None = None


class Problems(BaseModel):
    """The body of every answer whose status is 400 or more."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "error": {
                    "reason": "truncated",
                    "message": "The picture 'first' ends before the picture does.",
                    "field": "first",
                }
            }
        }
    )

    error: Problem


class Comparisons(Answer):
    """Pairs in the order in which they were sent; a pair that cannot be compared has its error."""

    results: list[Comparison | Problems]


class Artwork(BaseModel):
    """A painting of the index."""

    model_config = ConfigDict(json_schema_extra={"example": _PAINTING})

    id: str
    genre: str | None
    artist: str | None
    title: str | None
    width: int
    height: int
    thumbnail: str


class Hit(Artwork, Meaning):
    """A painting near to a picture, and how near."""

    model_config = ConfigDict(json_schema_extra={"example": {**_PAINTING, "similarity": 0.485, **_MEANING}})


class Hits(Answer):
    """The paintings nearest to a picture, nearest first."""

    results: list[Hit]
    num_searched: int


class Embedding(Answer):
    """Where the model puts a picture: numbers whose products are similarities."""

    model_config = ConfigDict(json_schema_extra={"example": {"embedding": [0.031, -0.012, 0.044], **_MODEL}})

    embedding: list[float]
    """D numbers, of length 1 together"""


class Count(BaseModel):
    """A genre or an artist, and how many paintings of the index are theirs."""

    name: str
    count: int


class Filters(Answer):
    """What a search can be limited to."""

    genres: list[Count]
    artists: list[Count]


class Limits(BaseModel):
    """What a picture may measure."""

    max_bytes: int
    max_pixels: int
    types: list[str]


class IndexFacts(BaseModel):
    """How many paintings are searched, and whether all of them are looked at."""

    num_artworks: int
    is_exact: bool


class Model(BaseModel):
    """The model that answers: what it was trained from, and what that is worth."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "a70",
                "recipe": "7e9d0ef21c3b3266",
                "encoder": {"id": "openai/clip-vit-base-patch32", "revision": "3d74acf9"},
                "head": {"preset": "tokens", "num_layers": 1},
                "data": {"embeddings": "0e557107cbf06d54", "triplets/a70": "ffb624d2a3380666"},
                "evaluation": {"verdict": "On 49 test paintings the trained head ..."},
                "index": {"num_artworks": 81445, "is_exact": True},
                "limits": {"max_bytes": 10000000, "max_pixels": 20000000, "types": ["image/jpeg"]},
            }
        }
    )

    name: str
    recipe: str
    encoder: dict[str, Any]
    head: dict[str, Any]
    data: dict[str, str]
    """Fingerprints of the tables that it was trained from"""
    evaluation: dict[str, Any] | None
    index: IndexFacts | None
    limits: Limits
