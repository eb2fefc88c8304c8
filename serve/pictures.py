"""The endpoints that look at pictures. FastAPI, without Ray: what they ask, others answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile

from serve import answers
from serve.answers import Refusal
from serve.settings import ServiceConfig

Ask = Callable[..., Awaitable[Any]]
"""`await ask(method, *arguments)`: a method of serve.scorer.Encoder; raises Refusal."""
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": answers.Problems, "description": "no such painting"}}

Picture = Annotated[UploadFile, File(description="an encoded picture")]
Text = Annotated[str | None, Form(max_length=1000)]
Prior = Annotated[
    float, Form(gt=0, lt=1, description="share of the pairs at hand that are an original and its version")
]


class Pictures:
    """Reads pictures out of forms, within the limits of the settings, and asks what they are like.

    Each method but `router` is an endpoint, which raises Refusal where it cannot answer.
    """

    def __init__(self, ask: Ask, config: ServiceConfig) -> None:
        self._ask, self._config = ask, config

    def router(self) -> APIRouter:
        """The endpoints at their addresses."""
        router = APIRouter()
        add = router.add_api_route
        add("/v1/compare", self.compare, methods=["POST"], response_model=answers.Comparison, responses=MISSING)
        add("/v1/compare/batch", self.compare_pairs, methods=["POST"], response_model=answers.Comparisons)
        add("/v1/search", self.search, methods=["POST"], response_model=answers.Hits, responses=MISSING)
        add("/v1/embed", self.embed, methods=["POST"], response_model=answers.Embedding)
        return router

    async def compare(
        self,
        first: Picture,
        second: Annotated[UploadFile | None, File(description="another picture; or give `artwork`")] = None,
        artwork: Annotated[str | None, Form(max_length=1000, description="id of a painting of the index")] = None,
        map: Annotated[bool, Form(description="say which patches match")] = False,
        prior: Prior = 0.5,
    ) -> Any:
        """How alike are two pictures, or a picture and a painting of the index?"""
        if (second is None) == (artwork is None):
            raise Refusal(400, "form", "Send either a second picture or the id of an artwork.", "second")
        other = artwork if second is None else await self._read("second", second)
        return await self._ask("compare", await self._read("first", first), other, map, prior)

    async def compare_pairs(
        self,
        first: Annotated[list[UploadFile], File(description="pictures")],
        second: Annotated[list[UploadFile], File(description="as many: the first is compared with the first, ...")],
        prior: Prior = 0.5,
    ) -> Any:
        """How alike are the pictures of each pair?"""
        if len(first) != len(second) or len(first) > self._config.max_pairs:
            sentence = f"Send as many second pictures as first, {self._config.max_pairs} at most."
            raise Refusal(400, "form", f"{sentence} There are {len(first)} and {len(second)}.", "second")
        pairs = zip(first, second, strict=True)
        results = await _all_or_refused(self._compare_or_say_why(*pair, prior) for pair in pairs)
        return {"results": results, **await self._signature(results)}

    async def search(
        self,
        picture: Picture,
        k: Annotated[int, Form(ge=1, le=100, description="how many paintings")] = 12,
        genre: Text = None,
        artist: Text = None,
    ) -> Any:
        """Which paintings of the index is a picture closest to?"""
        return await self._ask("search", await self._read("picture", picture), k, genre or None, artist or None)

    async def embed(self, picture: Picture) -> Any:
        """Where does the model put a picture?"""
        return await self._ask("embed", await self._read("picture", picture))

    async def _read(self, name: str, picture: UploadFile) -> bytes:
        data, allowed = await picture.read(), self._config.max_bytes
        if len(data) > allowed:
            sentence = f"The picture '{name}' has {len(data):,} bytes; {allowed:,} are allowed."
            raise Refusal(413, "too_large", sentence, name)
        return data

    async def _compare_or_say_why(self, first: UploadFile, second: UploadFile, prior: float) -> Any:
        try:
            return await self.compare(first, second, prior=prior)
        except Refusal as refusal:
            if refusal.status == 503:  # the whole can be sent again
                raise
            return refusal.to_json()

    async def _signature(self, results: list[Any]) -> dict[str, str]:
        """Model and recipe that all results are of; Refusal where one model took over from another meanwhile."""
        found = {(result["model"], result["recipe"]) for result in results if "recipe" in result}
        if len(found) > 1:
            after = {"Retry-After": str(self._config.retry_after_s)}
            raise Refusal(503, "restarting", "Another model has just taken over: send it again.", headers=after)
        if not found:
            facts = await self._ask("facts")
            found = {(facts["name"], facts["recipe"])}
        return dict(zip(("model", "recipe"), found.pop(), strict=True))


async def _all_or_refused(work: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """What all of it gives; where one raises a Refusal the others are given up."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except* Refusal as refusals:
        raise refusals.exceptions[0] from None
    return [task.result() for task in tasks]
