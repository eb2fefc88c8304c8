"""Servers on loopback that tests talk to, each ended by its own process."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.3)


def s3_environment(endpoint: str) -> dict[str, str]:
    """What clients of one of these servers need."""
    return {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


@contextmanager
def serve_s3(folder: Path) -> Iterator[dict[str, str]]:
    """A real S3 server on loopback over an empty bucket `art`; the environment that clients need."""
    port = free_port()
    (folder / "art").mkdir()
    command = [BIN / "rclone", "serve", "s3", "--auth-key", "key,secret", "--addr", f"127.0.0.1:{port}", folder]
    with _serve(command, port) as environment:
        yield environment


@contextmanager
def serve_conditional_s3() -> Iterator[dict[str, str]]:
    """An S3 server on loopback that honours conditional puts, as rclone's does not; it has an empty bucket `art` too.

    It asks for no credentials and keeps all in memory.
    """
    port = free_port()
    with _serve([BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)], port) as environment:
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/art", method="PUT")).close()
        yield environment


@contextmanager
def _serve(command: Sequence[str | Path], port: int) -> Iterator[dict[str, str]]:
    """A server while it runs; the environment that clients need."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}", process)
        yield s3_environment(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=30)
