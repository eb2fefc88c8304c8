"""The application: `serve run serve/scorer.yaml`.

Ingress takes requests, checks who asks and how much, and hands pictures on; Encoder looks at them. The two scale apart.
A replica of Encoder holds model and index, so that an answer always comes from one model, also while another is
deployed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from artsim import UserError
from artsim.keys import Keys
from artsim.store import Store
from serve.answers import Refusal
from serve.app import create_app
from serve.guard import check_guarded
from serve.measures import Measures
from serve.settings import ServiceConfig

if TYPE_CHECKING:
    from serve.likeness import Look


@serve.deployment
class Encoder:
    """Looks at pictures in batches and answers what they are like."""

    def __init__(self, config: ServiceConfig) -> None:
        # Here, or the builder and Ingress would wait seconds for torch and FAISS too, and hold them.
        import torch

        from serve.likeness import Likeness

        torch.set_num_threads(max(1, int(config.num_cpus)))
        self._config = config
        self._likeness = Likeness(config)
        self._measures = Measures()
        self._looking = ThreadPoolExecutor(1, "look")
        self._decoding = ThreadPoolExecutor(max(1, int(config.num_cpus)), "decode")
        self._began: float | None = None
        batches: Any = self._look  # Serve's annotations do not say what its decorator adds
        batches.set_max_batch_size(config.max_batch_size)
        batches.set_batch_wait_timeout_s(config.batch_wait_timeout_s)

    async def compare(self, first: bytes, second: bytes | str, wants_map: bool, prior: float) -> Any:
        """A Comparison, or the Refusal of one."""
        pictures = [first, second] if isinstance(second, bytes) else [first]
        looks = await self._look_at(pictures)
        other = looks[1] if isinstance(second, bytes) else second
        return await self._judge(self._likeness.compare, looks[0], other, wants_map, prior)

    async def search(self, picture: bytes, k: int, genre: str | None, artist: str | None) -> Any:
        """Hits, or the Refusal of them."""
        return await self._judge(self._likeness.search, *await self._look_at([picture]), k, genre, artist)

    async def embed(self, picture: bytes) -> Any:
        """An Embedding, or the Refusal of one."""
        return await self._judge(self._likeness.embedding, *await self._look_at([picture]))

    async def artwork(self, row_id: str) -> Any:
        """An Artwork, or the Refusal of one."""
        return await self._judge(self._likeness.artwork, row_id)

    async def thumbnail(self, row_id: str) -> Any:
        """JPEG bytes, or the Refusal of them."""
        return await self._judge(self._likeness.thumbnail, row_id)

    async def filters(self) -> Any:
        """Filters, or the Refusal of them."""
        return await self._judge(self._likeness.filters)

    async def facts(self) -> Any:
        """A Model."""
        return await self._judge(self._likeness.facts)

    def check_health(self) -> None:
        """Have Serve replace a replica whose decoder hangs: nothing else can end a thread."""
        began, allowed = self._began, 2 * self._config.request_timeout_s
        if began is not None and time.monotonic() - began > allowed:
            raise RuntimeError(f"one batch has been looked at for more than {allowed:g} s")

    async def _look_at(self, pictures: Sequence[bytes]) -> "list[Look]":
        came = time.perf_counter()
        return await asyncio.gather(*(self._look((picture, came)) for picture in pictures))

    @serve.batch
    async def _look(self, pictures: list[tuple[bytes, float]]) -> "list[Look]":
        for _, came in pictures:
            self._measures.took("queue", time.perf_counter() - came)
        self._measures.batch(len(pictures))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._looking, self._look_now, [picture for picture, _ in pictures])

    def _look_now(self, pictures: list[bytes]) -> "list[Look]":
        self._began = time.monotonic()
        try:
            with self._measures.stage("look"):
                return self._likeness.look(pictures, self._decoding.map if self._config.num_cpus >= 2 else map)
        finally:
            self._began = None

    async def _judge(self, answer: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with self._measures.stage("judge"):
                return await asyncio.to_thread(answer, *arguments)
        except Refusal as refusal:  # no error of the service: returned, or Serve would log it as one
            return refusal


class Handle:
    """The Encoder as the web application knows it: asks once more where a replica died, and turns away what waits."""

    def __init__(self, encoder: DeploymentHandle, config: ServiceConfig) -> None:
        self._encoder, self._config = encoder, config

    async def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of Encoder answers; raises Refusal."""
        try:
            try:
                answer = await self._call(method, *arguments)
            except RayActorError:
                answer = await self._call(method, *arguments)
        except BackPressureError as error:
            raise self._busy("overloaded", "The service is busy.") from error
        except (RayError, DeploymentUnavailableError) as error:
            if isinstance(error, RayTaskError) and not isinstance(error, RayActorError):
                raise  # a defect of ours
            raise self._busy("restarting", "The service is starting again.") from error
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def _call(self, method: str, *arguments: Any) -> Any:
        response = self._encoder.options(method_name=method).remote(*arguments)
        try:
            return await response
        except asyncio.CancelledError:  # nobody waits any more: Encoder need not go on
            response.cancel()
            raise

    def _busy(self, reason: str, sentence: str) -> Refusal:
        seconds = self._config.retry_after_s
        message = f"{sentence} Try again in {seconds} s."
        return Refusal(503, reason, message, headers={"Retry-After": str(seconds)})


@serve.deployment
@serve.ingress()
class Ingress:
    """Takes requests: who asks, how much, what for."""

    def __init__(self, encoder: DeploymentHandle, config: ServiceConfig) -> None:
        self._keys = Keys.load(config.keys) if config.keys else None
        check_guarded(_listening_at(), self._keys)
        measures = Measures()
        self._app = create_app(Handle(encoder, config).ask, config, self._keys, measures)

    async def check_health(self) -> None:
        """Read the keys anew, as often as Serve asks: a key whose line was deleted ends with it."""
        if self._keys is not None:
            with suppress(UserError):  # the store fails for a moment: the keys that are known stay
                await asyncio.to_thread(self._keys.reload)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._app


def _listening_at() -> str | None:
    """The address at which Serve takes requests on each machine; it tells deployments by its own client only."""
    client = _get_global_client()
    return client.http_config.host if client else None


# No `from __future__ import annotations` in this module: Serve looks at the type of what it shall make of `args`.
def build(config: ServiceConfig) -> serve.Application:
    """The application of these settings; raises UserError in one sentence where its model or keys cannot be read."""
    if Store(config.model, "model").read("config.json") is None:
        raise UserError(f"{config.model}: not a model folder, it has no config.json; jobs/run.py trains one")
    if config.keys:
        Keys.load(config.keys)
    options = {"num_cpus": config.num_cpus, "num_gpus": config.num_gpus}
    encoder, ingress = cast(serve.Deployment, Encoder), cast(serve.Deployment, Ingress)
    return ingress.bind(encoder.options(ray_actor_options=options).bind(config), config)
