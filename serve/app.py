"""The web application: endpoints, the page and OpenAPI. FastAPI, without Ray: what it asks, others answer."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, HTTPException, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as RoutingError

from artsim.keys import Keys
from serve import answers
from serve.answers import Refusal
from serve.guard import Guard, respond
from serve.measures import Measures
from serve.settings import ServiceConfig

Ask = Callable[..., Awaitable[Any]]
"""`await ask(method, *arguments)`: a method of serve.scorer.Encoder; raises Refusal."""
PAGE = Path(__file__).parent / "page"

Picture = Annotated[UploadFile, File(description="an encoded picture")]
Text = Annotated[str | None, Form(max_length=1000)]
Prior = Annotated[
    float, Form(gt=0, lt=1, description="share of the pairs at hand that are an original and its version")
]
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": answers.Problems, "description": "a form that cannot be understood"},
    401: {"model": answers.Problems, "description": "no valid API key"},
    408: {"model": answers.Problems, "description": "the request arrived too slowly"},
    413: {"model": answers.Problems, "description": "too many bytes or pixels"},
    415: {"model": answers.Problems, "description": "not a picture of a kind that is read"},
    422: {"model": answers.Problems, "description": "a picture that is damaged"},
    429: {"model": answers.Problems, "description": "this key has asked too often; see Retry-After"},
    503: {"model": answers.Problems, "description": "busy; see Retry-After"},
}
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": answers.Problems, "description": "no such painting"}}


def create_app(ask: Ask, config: ServiceConfig, keys: Keys | None, measures: Measures) -> FastAPI:
    """The application whose pictures `ask` looks at."""
    app = FastAPI(
        title="ArtSim",
        version="1",
        description="How alike is a picture to a painting? Pictures go in as multipart forms.",
        docs_url=None,  # their pages load scripts from elsewhere; /openapi.json stays
        redoc_url=None,
        redirect_slashes=False,  # they would lead to whatever the Host header says
        responses=_REFUSALS,
    )
    _add_pictures(app, _within(ask, config), config)
    _add_paintings(app, _within(ask, config))
    _add_page(app)
    app.add_middleware(Guard, config=config, keys=keys, measures=measures)
    _answer_errors(app, measures)
    return app


def _within(ask: Ask, config: ServiceConfig) -> Ask:
    """Ask, for as long as a request may take."""

    async def ask_in_time(*arguments: Any) -> Any:
        try:
            async with asyncio.timeout(config.request_timeout_s):
                return await ask(*arguments)
        except TimeoutError as error:
            sentence = f"No answer within {config.request_timeout_s:g} s: try again later."
            after = {"Retry-After": str(config.retry_after_s)}
            raise Refusal(503, "timeout", sentence, headers=after) from error

    return ask_in_time


def _add_pictures(app: FastAPI, ask: Ask, config: ServiceConfig) -> None:
    """The endpoints that look at pictures."""

    async def read(name: str, picture: UploadFile) -> bytes:
        data = await picture.read()
        if len(data) > config.max_bytes:
            sentence = f"The picture '{name}' has {len(data):,} bytes; {config.max_bytes:,} are allowed."
            raise Refusal(413, "too_large", sentence, name)
        return data

    async def compare(first: bytes, second: bytes | str, wants_map: bool, prior: float) -> Any:
        return await ask("compare", first, second, wants_map, prior)

    @app.post("/v1/compare", response_model=answers.Comparison, responses=_MISSING)
    async def compare_two(
        first: Picture,
        second: Annotated[UploadFile | None, File(description="another picture; or give `artwork`")] = None,
        artwork: Annotated[str | None, Form(max_length=1000, description="id of a painting of the index")] = None,
        map: Annotated[bool, Form(description="say which patches match")] = False,
        prior: Prior = 0.5,
    ) -> Any:
        """How alike are two pictures, or a picture and a painting of the index?"""
        if (second is None) == (artwork is None):
            raise Refusal(400, "form", "Send either a second picture or the id of an artwork.", "second")
        other = artwork if second is None else await read("second", second)
        assert other is not None, "one of the two is given"
        return await compare(await read("first", first), other, map, prior)

    @app.post("/v1/compare/batch", response_model=answers.Comparisons)
    async def compare_pairs(
        first: Annotated[list[UploadFile], File(description="pictures")],
        second: Annotated[list[UploadFile], File(description="as many: the first is compared with the first, ...")],
        prior: Prior = 0.5,
    ) -> Any:
        """How alike are the pictures of each pair?"""
        if len(first) != len(second) or len(first) > config.max_pairs:
            sentence = f"Send as many second pictures as first, {config.max_pairs} at most."
            raise Refusal(400, "form", f"{sentence} There are {len(first)} and {len(second)}.", "second")

        async def one(pair: tuple[UploadFile, UploadFile]) -> Any:
            try:
                return await compare(await read("first", pair[0]), await read("second", pair[1]), False, prior)
            except Refusal as refusal:
                if refusal.status == 503:  # the whole can be sent again
                    raise
                return refusal.to_json()

        results = await _all_or_refused(map(one, zip(first, second, strict=True)))
        signatures = {(found["model"], found["recipe"]) for found in results if "recipe" in found}
        if len(signatures) > 1:
            after = {"Retry-After": str(config.retry_after_s)}
            raise Refusal(503, "restarting", "Another model has just taken over: send it again.", headers=after)
        facts = {} if signatures else await ask("facts")
        model, recipe = signatures.pop() if signatures else (facts["name"], facts["recipe"])
        return {"results": results, "model": model, "recipe": recipe}

    @app.post("/v1/search", response_model=answers.Hits, responses=_MISSING)
    async def search(
        picture: Picture,
        k: Annotated[int, Form(ge=1, le=100, description="how many paintings")] = 12,
        genre: Text = None,
        artist: Text = None,
    ) -> Any:
        """Which paintings of the index is a picture closest to?"""
        return await ask("search", await read("picture", picture), k, genre or None, artist or None)

    @app.post("/v1/embed", response_model=answers.Embedding)
    async def embed(picture: Picture) -> Any:
        """Where does the model put a picture?"""
        return await ask("embed", await read("picture", picture))


async def _all_or_refused(work: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """What all of it gives; where one raises a Refusal the others are given up."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except* Refusal as refusals:
        raise refusals.exceptions[0] from None
    return [task.result() for task in tasks]


def _add_paintings(app: FastAPI, ask: Ask) -> None:
    """What is known of the model and of the paintings of its index."""

    @app.get("/v1/artworks/{row_id:path}/thumbnail", responses=_MISSING, response_class=Response)
    async def thumbnail(row_id: str) -> Response:
        """A small JPEG of a painting, its longer side 256 px."""
        picture = await ask("thumbnail", row_id)
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    @app.get("/v1/artworks/{row_id:path}", response_model=answers.Artwork, responses=_MISSING)
    async def artwork(row_id: str) -> Any:
        """A painting of the index, by its id."""
        return await ask("artwork", row_id)

    @app.get("/v1/filters", response_model=answers.Filters, responses=_MISSING)
    async def filters() -> Any:
        """The genres and artists of the index."""
        return await ask("filters")

    @app.get("/v1/model", response_model=answers.Model)
    async def model() -> Any:
        """The model that answers: recipe, encoder, head, data and the figures of its evaluation."""
        return await ask("facts")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether this service is there."""
        return {"status": "ok"}


def _add_page(app: FastAPI) -> None:
    """The page and the files beside it, read once."""
    files = {file.name: file.read_bytes() for file in PAGE.iterdir()}

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(files["index.html"], media_type="text/html", headers={"Cache-Control": "no-cache"})

    @app.get("/page/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        media_type = mimetypes.guess_type(name)[0]
        return Response(files[name], media_type=media_type, headers={"Cache-Control": "no-cache"})


def _answer_errors(app: FastAPI, measures: Measures) -> None:
    """Every refusal in the same form; of what nobody foresaw, no word but that it happened."""

    answer = partial(respond, measures=measures)

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> JSONResponse:
        return answer(refusal)

    @app.exception_handler(RequestValidationError)
    async def misunderstood(request: Request, error: RequestValidationError) -> JSONResponse:
        names = [".".join(str(part) for part in mistake["loc"][1:]) for mistake in error.errors()]
        sentences = [f"{name}: {mistake['msg']}" for name, mistake in zip(names, error.errors(), strict=True)]
        return answer(Refusal(400, "form", f"The form cannot be understood: {'; '.join(sentences)}.", names[0]))

    @app.exception_handler(RoutingError)
    async def elsewhere(request: Request, error: RoutingError) -> JSONResponse:
        sentences = {404: "There is nothing here: see /openapi.json.", 405: "This address takes another method."}
        message = sentences.get(error.status_code, "The request cannot be understood.")
        return answer(Refusal(error.status_code, "request", message, headers=error.headers or {}))
