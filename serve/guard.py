"""What every request passes before it is looked at: who asks, how often, how much, how slowly. ASGI middleware."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from artsim import UserError
from artsim.keys import Keys
from serve.answers import Refusal
from serve.measures import Measures
from serve.settings import ServiceConfig

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""Of every answer (OWASP's secure headers; Strict-Transport-Security belongs to whoever ends TLS)."""


class UnguardedError(UserError):
    """A service that others could reach and that would ask nobody for a key."""


def check_guarded(host: str | None, keys: Keys | None) -> None:
    """UnguardedError where a service listens at an address that others can reach, and asks for no keys."""
    if keys is None and not is_loopback(host):
        raise UnguardedError(
            f"http_options.host = {host}: others can reach this address, so args.keys must name a file of API keys: "
            "make one with `artsim key NAME --file keys.txt`"
        )


def is_loopback(host: str | None) -> bool:
    """Whether only this machine can reach an address; a name but localhost counts as one that others can."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


_LEFT = 499
"""As nginx counts those who did not wait."""


class _ClientLeftError(Exception):
    """Nobody waits for an answer."""


class Guard:
    """Lets requests through to an application, or refuses them in a sentence.

    Everything but the page asks for a key where there are keys, and is counted for each key. Where there are none, only
    names of this machine are answered, or any page in a browser on it could ask (DNS rebinding). A body is taken in
    whole before the application sees it: no longer than the settings allow, and within their time.
    """

    def __init__(self, app: App, config: ServiceConfig, keys: Keys | None, measures: Measures) -> None:
        self._app, self._config, self._keys, self._measures = app, config, keys, measures
        self._rate, self._limiter = parse(config.rate_limit), MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = None

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        with self._measures.in_flight(), self._measures.stage("answer"):
            try:
                await self._pass(scope, receive, send_guarded)
            except _ClientLeftError:
                status = _LEFT
            except asyncio.CancelledError:
                status = status or _LEFT
                raise
            except Exception:  # whatever it is, no word of it goes out; Serve logs it
                if status is None:
                    await respond(_INTERNAL, self._measures)(scope, receive, send_guarded)
                raise
            finally:
                route = scope.get("route")
                self._measures.answered(getattr(route, "path", "other"), status or 500)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if not _is_public(scope):
                await self._admit(Headers(scope=scope))
            body = await self._take(Headers(scope=scope), receive) if scope["method"] == "POST" else b""
        except Refusal as refusal:
            await respond(refusal, self._measures)(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _admit(self, headers: Headers) -> None:
        """Refusal unless the key is known and has requests left."""
        if self._keys is None:
            if not is_loopback(urlsplit(f"//{headers.get('host', '')}").hostname):
                raise Refusal(421, "host", "This service answers at 127.0.0.1 and localhost alone.")
            return
        scheme, _, key = headers.get("authorization", "").partition(" ")
        owner = self._keys.owner(key.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            sentence = "A valid API key is needed: send it as 'Authorization: Bearer KEY'."
            raise Refusal(401, "unauthorized", sentence, headers={"WWW-Authenticate": "Bearer"})
        if not await self._limiter.hit(self._rate, owner):
            stats = await self._limiter.get_window_stats(self._rate, owner)
            seconds = max(1, math.ceil(stats.reset_time - time.time()))
            sentence = f"This key has made its {self._config.rate_limit} requests: try again in {seconds} s."
            raise Refusal(429, "rate_limited", sentence, headers={"Retry-After": str(seconds)})

    async def _take(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body; Refusal where it is too long or too slow."""
        allowed = self._config.max_request_bytes
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > allowed:
            raise _too_large(allowed)
        chunks, total = [], 0
        try:
            with self._measures.stage("upload"):
                async with asyncio.timeout(self._config.upload_timeout_s):
                    while True:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            raise _ClientLeftError
                        chunks.append(message.get("body", b""))
                        total += len(chunks[-1])
                        if total > allowed:
                            raise _too_large(allowed)
                        if not message.get("more_body", False):
                            return b"".join(chunks)
        except TimeoutError as error:
            seconds = self._config.upload_timeout_s
            sentence = f"The request did not arrive whole within {seconds:g} s."
            raise Refusal(408, "upload_timeout", sentence, headers={"Connection": "close"}) from error


_INTERNAL = Refusal(500, "internal", "Something went wrong here; it is in the service's log.")


def _is_public(scope: Scope) -> bool:
    """Whether a request is for the page, for what describes the service, or for whether it is there."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return path in ("/", "/healthz", "/openapi.json") or path.startswith("/page/")


def respond(refusal: Refusal, measures: Measures) -> JSONResponse:
    """A refusal as an answer, counted."""
    measures.refused(refusal.reason)
    return JSONResponse(refusal.to_json(), refusal.status, dict(refusal.headers))


def _too_large(allowed: int) -> Refusal:
    return Refusal(413, "too_large", f"A request may have {allowed:,} bytes at most.", headers={"Connection": "close"})


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body in one message, then whatever the client goes on to say (that it left)."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
