"""One service over one finished root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve import local
from serve.local import Service

ONE = {"autoscaling_config": None, "num_replicas": 1}
"""Options of a deployment that does not scale."""


@pytest.fixture(scope="session")
def served_root(whole: tuple[Path, str]) -> Path:
    """A finished root with thumbnails and an index."""
    return whole[0]


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Starts services: `launch(args, environment, Encoder={...})`; all are stopped at the end."""
    services: list[Service] = []

    def launch(args: dict[str, Any], environment: dict[str, str] | None = None, **deployments: Any) -> Service:
        folder = tmp_path_factory.mktemp("service")
        services.append(local.launch(folder, args, environment or {}, **deployments))
        return services[-1]

    yield launch
    for service in services:
        local.stop(service)


@pytest.fixture(scope="session")
def running(served_root: Path, launch: Callable[..., Service]) -> Service:
    """A service over a finished root."""
    service = launch({"model": f"{served_root}/models/a70"}, Ingress=ONE, Encoder=ONE)
    local.wait_until_ready(service)
    return service


@pytest.fixture(scope="session")
def service(running: Service) -> str:
    """The URL of a service over a finished root."""
    return running.url


@pytest.fixture
def client(service: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service, timeout=60) as client:
        yield client
