"""The service while parts of it die, while too much is asked of it, and while another model is deployed."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from artsim.siamese import load_model, save_model
from serve import local
from serve.local import Service
from tests.processes import exported, titled

HAPROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
TWO = {"autoscaling_config": None, "num_replicas": 2, "health_check_period_s": 1}
FEW_CPUS = 0.4


class Load:
    """Clients that compare one pair again and again until they are told to stop, and wait where they are asked to."""

    def __init__(self, url: str, pair: dict[str, bytes], num_clients: int) -> None:
        self.answers: list[tuple[float, int, Any]] = []
        """when it came, its status (0: the connection broke) and what it said"""
        self.refused_after: list[float] = []
        """how long each refusal took, s"""
        self._url, self._pair, self._goes_on = f"{url}/v1/compare", pair, True
        self._threads = [threading.Thread(target=self._ask) for _ in range(num_clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._goes_on = False
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while self._goes_on:
                pause, began = 0.0, time.monotonic()
                try:
                    response = client.post(self._url, files=self._pair)
                    status, said = response.status_code, response.text
                    with suppress(ValueError):  # who knows what says a 500
                        said = response.json()
                    pause = float(response.headers.get("Retry-After", 0)) * random.uniform(0.5, 1.5)
                except httpx.TransportError as error:
                    status, said = 0, repr(error)
                self.answers.append((time.monotonic(), status, said))
                if status == 503:
                    self.refused_after.append(time.monotonic() - began)
                time.sleep(pause)

    def wait(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.05)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(status for _, status, _ in self.answers)

    def since(self, moment: float, status: int) -> int:
        return sum(when > moment and found == status for when, found, _ in self.answers)

    def check_right(self, similarity: float) -> None:
        assert {said["similarity"] for _, status, said in self.answers if status == 200} == {similarity}


@pytest.fixture(scope="module")
def pair(paintings: Path) -> dict[str, bytes]:
    files = sorted(file for file in paintings.glob("*/*.jpg") if file.name != "nobody_words.jpg")
    return {"first": files[0].read_bytes(), "second": files[1].read_bytes()}


@pytest.fixture(scope="module")
def double(served_root: Path, launch: Callable[..., Service]) -> Iterator[Service]:
    """A service behind HAProxy with two replicas of each deployment, which gives uploads two seconds."""
    args = {"model": f"{served_root}/models/a70", "num_cpus": FEW_CPUS, "upload_timeout_s": 2}
    service = launch(args, HAPROXY, Ingress=TWO | {"max_ongoing_requests": 24}, Encoder=TWO)
    local.wait_until_ready(service)
    yield service
    local.stop(service)


@pytest.fixture
def similarity(double: Service, pair: dict[str, bytes]) -> float:
    found: float = httpx.post(f"{double.url}/v1/compare", files=pair, timeout=60).json()["similarity"]
    return found


def kill_one(service: Service, name: str) -> float:
    """Kill a process, and when that was."""
    victims = titled(service.process.pid, name)
    assert victims, name
    victims[0].send_signal(signal.SIGKILL)
    when = time.monotonic()
    victims[0].wait(10)
    return when


def load_while_one_dies(service: Service, pair: dict[str, bytes], name: str) -> tuple[Load, float]:
    """What 8 clients were told while a process was killed, until 15 s later and 20 more answers; and when that was."""
    with Load(service.url, pair, 8) as load:
        load.wait(lambda: load.statuses[200] > 20, 60)
        before = len(titled(service.process.pid, name))
        when = kill_one(service, name)
        load.wait(lambda: len(titled(service.process.pid, name)) == before, 60)
        load.wait(lambda: load.since(when + 15, 200) > 20, 60)
    return load, when


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ray::ServeReplica:scorer:Encoder", "ray::ServeController"])
def test_an_encoder_or_controller_that_is_killed_under_load_costs_no_answer(
    name: str, double: Service, pair: dict[str, bytes], similarity: float
) -> None:
    load, _ = load_while_one_dies(double, pair, name)
    assert load.statuses.keys() == {200}, load.statuses
    load.check_right(similarity)


@pytest.mark.slow
def test_an_ingress_that_is_killed_takes_only_its_own_requests_with_it(
    double: Service, pair: dict[str, bytes], similarity: float
) -> None:
    load, when = load_while_one_dies(double, pair, "ray::ServeReplica:scorer:Ingress")
    lost = [answer for answer in load.answers if answer[1] != 200]
    assert len(lost) <= 8, "more than were in flight"
    assert all(moment < when + 15 for moment, _, _ in lost), lost
    load.check_right(similarity)


@pytest.mark.slow
def test_another_model_is_deployed_without_a_failed_request(
    double: Service, pair: dict[str, bytes], served_root: Path, similarity: float, tmp_path: Path
) -> None:
    other = tmp_path / "models/other"
    head, info = load_model(served_root / "models/a70")
    save_model(other, head, info | {"name": "other", "fingerprint": "another"})
    config = tmp_path / "scorer.yaml"
    args = {"model": str(other), "num_cpus": FEW_CPUS, "upload_timeout_s": 2}
    few = TWO | {"max_ongoing_requests": 24}
    local.configure(config, int(double.url.rsplit(":", 1)[1]), args, Ingress=few, Encoder=TWO)
    found = re.search(r"dashboard at (?:\x1b\[[0-9;]*m)*(http://)?([\d.]+:\d+)", double.log.read_text())
    assert found, double.log.read_text()[:2000]
    with Load(double.url, pair, 4) as load:
        load.wait(lambda: load.statuses[200] > 5, 60)
        command = [Path(sys.executable).parent / "serve", "deploy", "-a", f"http://{found[2]}", str(config)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        load.wait(lambda: any(said["recipe"] == "another" for _, _, said in load.answers[-3:]), 120)
        moment = time.monotonic()
        load.wait(lambda: load.since(moment + 10, 200) > 20, 90)
    assert load.statuses.keys() == {200}, [answer for answer in load.answers if answer[1] != 200][:3]
    assert {said["recipe"] for _, _, said in load.answers} == {info["fingerprint"], "another"}
    assert load.answers[-1][2]["recipe"] == "another"
    load.check_right(similarity)


@pytest.mark.slow
def test_slow_clients_are_given_up_and_do_not_keep_others_waiting(double: Service, pair: dict[str, bytes]) -> None:
    address = ("127.0.0.1", int(double.url.rsplit(":", 1)[1]))
    form = b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 900\r\n\r\n"
    head = b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\n" + form
    slow = [socket.create_connection(address, timeout=30) for _ in range(20)]
    for client in slow:
        client.sendall(head + b"--x\r\n")
    began = time.monotonic()
    assert httpx.post(f"{double.url}/v1/compare", files=pair, timeout=60).status_code == 200
    told = [client.recv(1000) for client in slow]
    for client in slow:
        client.close()
    assert all(said == b"" or said.startswith(b"HTTP/1.1 408") for said in told), told
    assert any(told)
    assert time.monotonic() - began < 20


@pytest.mark.slow
def test_too_much_load_is_shed_at_once_and_memory_stays(
    served_root: Path, launch: Callable[..., Service], pair: dict[str, bytes]
) -> None:
    one = {"autoscaling_config": None, "num_replicas": 1}
    narrow = one | {"max_ongoing_requests": 2, "max_queued_requests": 2}
    args = {"model": f"{served_root}/models/a70", "num_cpus": 0.5, "retry_after_s": 1}
    service = launch(args, HAPROXY, Ingress=one, Encoder=narrow)
    local.wait_until_ready(service)

    def memory() -> int:
        replicas = titled(service.process.pid, "ray::ServeReplica")
        assert len(replicas) == 2
        return sum(replica.memory_info().rss for replica in replicas)

    with Load(service.url, pair, 60) as load:
        # The first answers start threads and fill buffers, so that memory grows until some dozens are given.
        load.wait(lambda: min(load.statuses[503], load.statuses[200]) > 100, 120)
        before, refused_before = memory(), load.statuses[503]
        load.wait(lambda: load.statuses[503] > refused_before + 500, 120)
        after = memory()
    local.stop(service)
    assert load.statuses.keys() == {200, 503}, load.statuses
    refused = [said["error"] for _, status, said in load.answers if status == 503]
    assert {error["reason"] for error in refused} == {"overloaded"}
    assert statistics.median(load.refused_after) < 0.1, "it is refused at once"
    assert after < before * 1.1 + 30_000_000


def test_prometheus_can_read_how_it_goes(running: Service, pair: dict[str, bytes]) -> None:
    assert httpx.post(f"{running.url}/v1/compare", files=pair, timeout=60).status_code == 200
    assert httpx.post(f"{running.url}/v1/embed", files={"picture": b"words"}, timeout=60).status_code == 415
    wanted = {
        'ray_artsim_stage_seconds_count{.*stage="look"',
        'ray_artsim_stage_seconds_count{.*stage="queue"',
        'ray_artsim_stage_seconds_count{.*stage="answer"',
        "ray_artsim_batch_size_count",
        'ray_artsim_requests_total{.*path="/v1/compare".*status="200"',
        'ray_artsim_rejections_total{.*reason="not_an_image"',
        "ray_artsim_in_flight",
    }
    deadline = time.monotonic() + 60  # Ray sends its figures every few seconds
    while missing := {name for name in wanted if not re.search(name, exported(running.process.pid))}:
        assert time.monotonic() < deadline, missing
        time.sleep(1)


@pytest.mark.slow
def test_an_ingress_replaces_an_encoder_whose_decoder_hangs(
    served_root: Path, launch: Callable[..., Service], pair: dict[str, bytes]
) -> None:
    """A stopped process stands for a decoder that never ends: neither can answer a health check."""
    options = {"autoscaling_config": None, "num_replicas": 1, "health_check_period_s": 1, "health_check_timeout_s": 3}
    args = {"model": f"{served_root}/models/a70", "num_cpus": 0.5, "request_timeout_s": 5}
    service = launch(args, Ingress={"autoscaling_config": None, "num_replicas": 1}, Encoder=options)
    local.wait_until_ready(service)
    (encoder,) = titled(service.process.pid, "ray::ServeReplica:scorer:Encoder")
    os.kill(encoder.pid, signal.SIGSTOP)
    late = httpx.post(f"{service.url}/v1/compare", files=pair, timeout=60)
    assert late.json().get("error", {}).get("reason") in ("timeout", "restarting", None)
    assert late.status_code in (200, 503)
    deadline = time.monotonic() + 60
    while httpx.post(f"{service.url}/v1/compare", files=pair, timeout=60).status_code != 200:
        assert time.monotonic() < deadline
    local.stop(service)
