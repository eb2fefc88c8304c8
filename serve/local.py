"""A service on loopback with a Ray of its own, started as users start it: for tests and benchmarks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CONFIG = Path(__file__).parent / "scorer.yaml"
_ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


class Service(NamedTuple):
    """A service that was started."""

    url: str
    process: subprocess.Popen[bytes]
    config: Path
    log: Path


def free_port() -> int:
    """A port on loopback that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def configure(file: Path, port: int, args: dict[str, Any], **deployments: dict[str, Any]) -> None:
    """Write serve/scorer.yaml anew, for another port, with these args and these options of its deployments.

    An option of None goes back to Serve's own.
    """
    config = yaml.safe_load(CONFIG.read_text())
    (application,) = config["applications"]
    for options in application["deployments"]:
        options |= deployments.get(options["name"], {})
        for name in [name for name, value in options.items() if value is None]:
            del options[name]
    application["args"] = args
    config["http_options"]["port"] = port
    file.write_text(yaml.safe_dump(config))


def start(config: Path, url: str, **environment: str) -> Service:
    """`serve run` in a process group of its own, its words in a file beside the configuration."""
    log = config.with_suffix(".log")
    repository = CONFIG.parent.parent
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "serve", "run", "--address", "local", str(config)],
            cwd=repository,
            env=os.environ | _ENVIRONMENT | {"PYTHONPATH": str(repository)} | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background ignores it
        )
    return Service(url, process, config, log)


def launch(folder: Path, args: dict[str, Any], environment: dict[str, str], **deployments: Any) -> Service:
    """Configure a service in a folder and start it; it is not ready yet. Several may run side by side."""
    port = free_port()
    configure(folder / "scorer.yaml", port, args, **deployments)
    figures = {f"RAY_SERVE_HAPROXY_{name}_PORT": str(free_port()) for name in ("METRICS", "STATS")}
    return start(folder / "scorer.yaml", f"http://127.0.0.1:{port}", **figures, **environment)


def wait_until_ready(service: Service, seconds: float = 180) -> float:
    """Until it answers, and how long that took, s. RuntimeError with its last words where it ends, or takes longer."""
    began = time.monotonic()
    while time.monotonic() - began < seconds and service.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{service.url}/v1/model", timeout=5):
                return time.monotonic() - began
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return time.monotonic() - began
        except OSError:  # the proxy is not there yet
            pass
        time.sleep(0.1)
    raise RuntimeError(service.log.read_text()[-5000:])


def stop(service: Service) -> None:
    """As Ctrl-C does, which ends HAProxy too; whoever is left of its process group after a minute is killed."""
    if service.process.poll() is None:
        service.process.send_signal(signal.SIGINT)
        try:
            service.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()
