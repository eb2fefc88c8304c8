"""The web application: paintings, the model, the page and OpenAPI. FastAPI, without Ray."""

from __future__ import annotations

import asyncio
import mimetypes
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as RoutingError

from artsim.keys import Keys
from serve import answers
from serve.answers import Refusal
from serve.guard import Guard, respond
from serve.measures import Measures
from serve.pictures import MISSING, Ask, Pictures
from serve.settings import ServiceConfig

PAGE = Path(__file__).parent / "page"

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
    patient = _within(ask, config)
    app.include_router(Pictures(patient, config).router())
    _add_paintings(app, patient)
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


def _add_paintings(app: FastAPI, ask: Ask) -> None:
    """What is known of the model and of the paintings of its index."""

    @app.get("/v1/artworks/{row_id:path}/thumbnail", responses=MISSING, response_class=Response)
    async def thumbnail(row_id: str) -> Response:
        """A small JPEG of a painting, its longer side 256 px."""
        picture = await ask("thumbnail", row_id)
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    @app.get("/v1/artworks/{row_id:path}", response_model=answers.Artwork, responses=MISSING)
    async def artwork(row_id: str) -> Any:
        """A painting of the index, by its id."""
        return await ask("artwork", row_id)

    @app.get("/v1/filters", response_model=answers.Filters, responses=MISSING)
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
