"""What passes before a request is looked at, over the real application in this process; what it asks is a fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from artsim.keys import Keys, make
from serve.answers import Refusal
from serve.app import create_app
from serve.guard import HEADERS, UnguardedError, check_guarded
from serve.measures import Measures
from serve.settings import ServiceConfig

Ask = Callable[..., Awaitable[Any]]
SIGNATURE = {"model": "a70", "recipe": "f1"}


async def answer(method: str, *arguments: Any) -> Any:
    """Says of a picture how many bytes it has."""
    return {"embedding": [float(len(arguments[0]))], **SIGNATURE}


def connect(ask: Ask = answer, keys: Keys | None = None, root_path: str = "", **settings: Any) -> httpx.AsyncClient:
    app = create_app(ask, ServiceConfig(model="unused", **settings), keys, Measures())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, root_path=root_path), base_url="http://localhost")


def keys_of(folder: Path, *names: str) -> tuple[Keys, list[str]]:
    made = [make(name) for name in names]
    (folder / "keys.txt").write_text("\n".join(line for _, line in made) + "\n")
    return Keys.load(str(folder / "keys.txt")), [key for key, _ in made]


def post(client: httpx.AsyncClient, size: int = 3, **options: Any) -> Awaitable[httpx.Response]:
    return client.post("/v1/embed", files={"picture": b"x" * size}, **options)


def run(scenario: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await scenario

    return asyncio.run(main())


def test_a_picture_arrives_whole_and_headers_guard_every_answer() -> None:
    async def scenario() -> None:
        async with connect() as client:
            found = await post(client, 70_000)
            assert found.json() == {"embedding": [70_000.0], **SIGNATURE}
            for response in (found, await client.get("/"), await client.get("/nowhere")):
                assert all(response.headers[name] == value for name, value in HEADERS.items())

    run(scenario())


def test_without_a_known_key_nothing_below_v1_is_answered(tmp_path: Path) -> None:
    keys, (mine, _) = keys_of(tmp_path, "mine", "yours")

    async def scenario() -> None:
        async with connect(keys=keys) as client:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {mine}"}):
                for refused in (await post(client, headers=headers), await client.get("/v1/model", headers=headers)):
                    assert refused.status_code == 401
                    assert refused.json()["error"]["reason"] == "unauthorized"
                    assert refused.headers["WWW-Authenticate"] == "Bearer"
            assert (await post(client, headers={"Authorization": f"Bearer {mine}"})).status_code == 200
            assert (await client.get("/")).status_code == 200, "the page asks for the key"
            assert (await client.get("/healthz")).json() == {"status": "ok"}

    run(scenario())


def test_below_a_prefix_keys_are_asked_for_too(tmp_path: Path) -> None:
    keys, _ = keys_of(tmp_path, "mine")

    async def scenario() -> None:
        async with connect(keys=keys, root_path="/art") as client:
            for path in ("/art/v1/embed", "/art/v1/model", "/art/nowhere"):
                assert (await client.get(path)).status_code == 401
            assert (await client.get("/art/healthz")).status_code == 200

    run(scenario())


def test_a_key_ends_when_its_line_is_deleted(tmp_path: Path) -> None:
    keys, (mine, yours) = keys_of(tmp_path, "mine", "yours")
    file = tmp_path / "keys.txt"
    file.write_text(file.read_text().splitlines()[1])
    keys.reload()
    assert (keys.owner(mine), keys.owner(yours)) == (None, "yours")
    file.write_text("no keys")
    with pytest.raises(ValueError, match="line 1"):
        keys.reload()
    assert keys.owner(yours) == "yours"


def test_without_keys_only_names_of_this_machine_are_answered() -> None:
    async def scenario() -> None:
        async with connect() as client:
            for host, status in (("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:80", 200), ("evil.example", 421)):
                assert (await post(client, headers={"Host": host})).status_code == status

    run(scenario())


def test_who_leaves_before_the_picture_is_there_is_not_answered() -> None:
    asked: list[Any] = []

    async def note(*arguments: Any) -> Any:
        asked.append(arguments)

    async def scenario() -> None:
        app = create_app(note, ServiceConfig(model="unused"), None, Measures())
        parts = iter([{"type": "http.request", "body": b"--x", "more_body": True}, {"type": "http.disconnect"}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(parts)

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=x")]
        scope = {"type": "http", "method": "POST", "path": "/v1/embed", "headers": headers, "query_string": b""}
        await app({**scope, "root_path": "", "scheme": "http", "server": ("localhost", 80)}, receive, send)
        assert (asked, sent) == ([], [])

    run(scenario())


def test_a_key_that_asked_too_often_waits_and_others_do_not(tmp_path: Path) -> None:
    keys, made = keys_of(tmp_path, "mine", "yours")
    mine, yours = ({"Authorization": f"Bearer {key}"} for key in made)

    async def scenario() -> None:
        async with connect(keys=keys, rate_limit="3/hour") as client:
            assert [(await post(client, headers=mine)).status_code for _ in range(4)] == [200, 200, 200, 429]
            refused = await post(client, headers=mine)
            assert 3500 < int(refused.headers["Retry-After"]) <= 3600
            assert refused.json()["error"]["reason"] == "rate_limited"
            assert (await post(client, headers=yours)).status_code == 200

    run(scenario())


def test_a_request_that_is_too_long_is_refused_whether_or_not_it_says_so() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000

    async def scenario() -> None:
        async with connect(max_bytes=1000) as client:
            largest = await post(client, 1000)
            assert largest.status_code == 200
            refused = await post(client, 1001)
            assert (refused.status_code, refused.json()["error"]["field"]) == (413, "picture")
            for content in (b"x" * 80_000, endless()):
                refused = await client.post("/v1/embed", content=content)
                assert (refused.status_code, refused.json()["error"]["reason"]) == (413, "too_large")

    run(scenario())


def test_a_request_that_arrives_too_slowly_is_given_up() -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x"
            await asyncio.sleep(0.05)

    async def scenario() -> None:
        async with connect(upload_timeout_s=0.2) as client:
            refused = await client.post("/v1/embed", content=slow())
            assert (refused.status_code, refused.json()["error"]["reason"]) == (408, "upload_timeout")

    run(scenario())


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    async def never(*arguments: Any) -> Any:
        await asyncio.sleep(60)

    async def scenario() -> None:
        async with connect(never, request_timeout_s=0.2, retry_after_s=7) as client:
            refused = await post(client)
            assert (refused.status_code, refused.json()["error"]["reason"]) == (503, "timeout")
            assert refused.headers["Retry-After"] == "7"

    run(scenario())


@pytest.mark.parametrize(
    ("path", "form", "says"),
    [
        ("/v1/compare", {"files": {"first": b"x"}}, "either a second picture or the id of an artwork"),
        ("/v1/compare", {"files": {"first": b"x", "second": b"y"}, "data": {"artwork": "a"}}, "either"),
        ("/v1/compare", {"data": {"first": "words", "artwork": "a"}}, "first"),
        ("/v1/compare", {"files": {"first": b"x", "second": b"y"}, "data": {"prior": "1"}}, "prior"),
        ("/v1/search", {"files": {"picture": b"x"}, "data": {"k": "0"}}, "k"),
        ("/v1/search", {"files": {"picture": b"x"}, "data": {"k": "many"}}, "k"),
        ("/v1/compare/batch", {"files": [("first", b"x"), ("second", b"y"), ("second", b"z")]}, "1 and 2"),
        ("/v1/embed", {"json": {"picture": "x"}}, "picture"),
        ("/v1/embed", {"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, ""),
        ("/v1/embed", {"content": b"abc", "headers": {"Content-Type": "multipart/form-data"}}, ""),
    ],
)
def test_a_form_that_cannot_be_understood_is_one_sentence(path: str, form: dict[str, Any], says: str) -> None:
    async def scenario() -> None:
        async with connect() as client:
            refused = await client.post(path, **form)
            assert refused.status_code == 400
            error = refused.json()["error"]
            assert error["message"].endswith(".")
            assert says in error["message"]
            assert "Traceback" not in refused.text
            assert "/" not in error["message"].replace("/openapi.json", "")

    run(scenario())


def test_a_broken_pair_does_not_take_the_others_with_it() -> None:
    async def pairs(method: str, *arguments: Any) -> Any:
        if method == "facts":
            return {"name": "a70", "recipe": "f1"}
        if arguments[0] == b"bad":
            raise Refusal.unreadable("first", "truncated: /secret/path of the decoder")
        meaning = {"similarity": 0.5, "percentiles": None, "probability": None, "prior": arguments[3]}
        return {**meaning, "sentence": "s", "map": None, **SIGNATURE}

    async def scenario() -> None:
        async with connect(pairs) as client:
            files = [("first", b"good"), ("second", b"y"), ("first", b"bad"), ("second", b"z")]
            found = (await client.post("/v1/compare/batch", files=files, data={"prior": "0.25"})).json()["results"]
            assert (found[0]["similarity"], found[0]["prior"]) == (0.5, 0.25)
            assert found[1]["error"]["reason"] == "truncated"
            assert "secret" not in str(found)

    run(scenario())


def test_what_nobody_foresaw_is_told_without_its_words() -> None:
    async def fail(*arguments: Any) -> Any:
        raise RuntimeError("/secret/path")

    async def scenario() -> None:
        app = create_app(fail, ServiceConfig(model="unused"), None, Measures())
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            found = await post(client)
            assert (found.status_code, found.json()["error"]["reason"]) == (500, "internal")
            assert "secret" not in found.text
            assert all(found.headers[name] == value for name, value in HEADERS.items())

    run(scenario())


def test_every_endpoint_is_described_with_an_example() -> None:
    async def scenario() -> dict[str, Any]:
        async with connect() as client:
            return (await client.get("/openapi.json")).json()

    found = run(scenario())
    assert found["paths"].keys() == {
        *("/v1/compare", "/v1/compare/batch", "/v1/search", "/v1/embed", "/v1/filters", "/v1/model", "/healthz"),
        *("/v1/artworks/{row_id}", "/v1/artworks/{row_id}/thumbnail"),
    }
    for name in ("Comparison", "Hit", "Embedding", "Model", "Artwork", "Problems"):
        assert "example" in found["components"]["schemas"][name], name


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"rate_limit": "often"}, "600/minute"), ({"max_bites": 1}, "max_bites"), ({"max_pixels": 0}, "max_pixels")],
)
def test_a_setting_that_cannot_be_used_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ServiceConfig(model="unused", **settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_no_keys_are_needed(host: str) -> None:
    check_guarded(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "service.example.org", None])
def test_elsewhere_a_service_does_not_start_without_keys(host: str | None, tmp_path: Path) -> None:
    with pytest.raises(UnguardedError, match="artsim key NAME"):
        check_guarded(host, None)
    check_guarded(host, keys_of(tmp_path, "mine")[0])
