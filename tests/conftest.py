"""What all tests share: where the shared data lies, and a Ray that leaves nothing behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import serve_s3

os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"


def shared(path: str) -> Path:
    """A file or folder of ../shared; skips the test where it is not there."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"needs ../shared/{path}")
    return found


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real S3 server with an empty bucket `art`, which this process and those that it starts know."""
    with serve_s3(tmp_path_factory.mktemp("s3")) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield
