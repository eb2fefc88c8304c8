"""Hosts made of namespaces on this machine: each with its own address, processes and shared memory, on one switch.

Needs root, `ip` (iproute2), and `unshare`, `nsenter` and `setpriv` (util-linux).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.servers import s3_environment

BIN = Path(sys.executable).parent
PORT = 6379
"""Of the head's Ray."""
QUICK = {"initial_delay_ms": 2000, "period_ms": 1000, "timeout_ms": 2000, "failure_threshold": 3}
"""After how many checks that a host does not answer it counts as lost: within 10 s, where a minute is usual."""
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "PYTHONPATH": str(REPOSITORY),
    "RAY_gcs_rpc_server_reconnect_timeout_s": "15",  # after which nodes without a head end; usually a minute
    **{f"RAY_health_check_{name}": str(value) for name, value in QUICK.items()},
}
# The first process of a host adopts and forgets what others leave behind; all of the host ends with it.
_BOOT = "hostname $0; ip link set lo up; mount -t tmpfs -o size=3g tmpfs /dev/shm; trap '' CHLD; exec sleep infinity"


def lacking() -> str:
    """Why hosts cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    programs = [name for name in ("ip", "unshare", "nsenter", "setpriv") if not shutil.which(name)]
    if programs:
        return f"needs {' and '.join(programs)}"
    return "" if Path("/dev/net/tun").exists() else "needs /dev/net/tun"


class Host:
    """A machine for all that its processes can tell: what runs on it sees no other, and dies with it."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        namespaces = ["--net", "--pid", "--mount", "--uts", "--mount-proc", "--fork", "--kill-child=KILL"]
        # Should this process die, its hosts die too.
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, "sh", "-c", _BOOT, name]
        )
        self.pid = self._boot()

    def _boot(self) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for child in psutil.Process(self._process.pid).children():
                if child.name() == "sleep":
                    return child.pid
            time.sleep(0.02)
        raise AssertionError(f"{self.name} does not come up")

    def words(self, *command: object) -> list[str]:
        """The command line that runs a command on this host."""
        namespaces = ["--net", "--pid", "--mount", "--uts"]
        return ["nsenter", f"--target={self.pid}", *namespaces, f"--wd={REPOSITORY}", "--", *map(str, command)]

    def ip(self, *words: object) -> None:
        """Run `ip` in this host's network; process ids among the words are those of this machine."""
        subprocess.run(["nsenter", f"--target={self.pid}", "--net", "--", "ip", *map(str, words)], check=True)

    def run(self, *command: object, **environment: str) -> str:
        """What a command prints that ends well."""
        process = self.start(*command, **environment)
        output, _ = process.communicate()
        assert process.returncode == 0, f"{self.name}: {command}: {output}"
        return output

    def start(self, *command: object, **environment: str) -> subprocess.Popen[str]:
        """A program on this host; its output is to be read."""
        return subprocess.Popen(
            self.words(*command),
            env=os.environ | ENVIRONMENT | environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self) -> list[psutil.Process]:
        """All that runs on this host but its first process."""
        here = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != self.pid and os.readlink(f"/proc/{process.pid}/ns/pid") == here:
                    found.append(process)
            except (OSError, psutil.NoSuchProcess):  # it has ended, or is the system's
                continue
        return found

    def power_off(self) -> None:
        """End every process at once; the others find out by themselves."""
        self._process.kill()

    def wait(self) -> None:
        """Wait until a host that is off is no more."""
        self._process.wait()
        deadline = time.monotonic() + 30
        while Path(f"/proc/{self.pid}").exists():
            assert time.monotonic() < deadline, f"{self.name} does not end"
            time.sleep(0.02)

    def start_ray(self, head: Host | None, *options: str, **environment: str) -> None:
        """Start a Ray node: the head, or one that joins it."""
        role = ["--head", f"--port={PORT}", "--include-dashboard=false", "--temp-dir=/dev/shm/ray"]
        self.run(
            *(BIN / "ray", "start", f"--node-ip-address={self.address}", "--disable-usage-stats"),
            *(role if head is None else [f"--address={head.address}:{PORT}"]),
            *("--object-store-memory=200000000", *options),
            **environment,
        )


class Hosts:
    """Some hosts on one switch, which has a namespace of its own."""

    def __init__(self) -> None:
        self._switch = Host("switch", "")
        self._switch.ip("link", "add", "name", "bridge", "type", "bridge")
        self._switch.ip("link", "set", "dev", "bridge", "up")
        self.alive: dict[str, Host] = {}
        self._numbers: dict[str, int] = {}
        self._links: dict[str, subprocess.Popen[bytes]] = {}

    def add(self, name: str, delay_s: float = 0, loss: float = 0) -> Host:
        """A host of that name, with the address that the name had before, if any.

        With a delay (s, each way) or loss (share of frames, each way) a program carries its frames: a bad link.
        """
        number = self._numbers.setdefault(name, len(self._numbers) + 1)
        host = Host(name, f"10.77.0.{number}")
        if delay_s or loss:
            self._links[name] = self._bad_link(name, host, delay_s, loss)
        else:
            peer = ("type", "veth", "peer", "name", "eth0", "netns", host.pid)
            self._switch.ip("link", "add", "name", name, *peer)
        self._switch.ip("link", "set", "dev", name, "master", "bridge", "up")
        host.ip("address", "add", f"{host.address}/24", "dev", "eth0")
        host.ip("link", "set", "dev", "eth0", "up")
        self.alive[name] = host
        return host

    def _bad_link(self, name: str, host: Host, delay_s: float, loss: float) -> subprocess.Popen[bytes]:
        enter = ("setpriv", "--pdeathsig", "KILL", "nsenter", f"--target={self._switch.pid}", "--net", "--")
        program = (sys.executable, "-m", "tests.link", name, f"{name}-far", delay_s, loss, len(self._numbers))
        link = subprocess.Popen([*enter, *map(str, program)], cwd=REPOSITORY, stdout=subprocess.PIPE)
        assert link.stdout is not None
        assert link.stdout.readline() == b"ready\n"
        self._switch.ip("link", "set", "dev", f"{name}-far", "netns", host.pid, "name", "eth0")
        return link

    def kill(self, name: str) -> None:
        """A host is gone from one moment to the next."""
        host = self.alive.pop(name)
        host.power_off()
        host.wait()
        if name in self._links:
            self._links[name].kill()
            self._links.pop(name).wait()
        # The kernel takes a dead host's cable away when it comes to it; another host of that name needs its name.
        with suppress(subprocess.CalledProcessError):  # it has
            self._switch.ip("link", "delete", "dev", name)

    def unplug(self, name: str) -> None:
        """Pull a host's cable; what runs there goes on."""
        self._switch.ip("link", "set", "dev", name, "down")

    def plug(self, name: str) -> None:
        """Put it in again."""
        self._switch.ip("link", "set", "dev", name, "up")

    def close(self) -> None:
        """End all hosts and what runs on them."""
        ending = [*self.alive.values(), self._switch]
        for host in ending:
            host.power_off()
        for program in self._links.values():
            program.kill()
            program.wait()
        for host in ending:
            host.wait()


@contextmanager
def hosts() -> Iterator[Hosts]:
    """A switch without hosts; skips the test where none can be made."""
    if reason := lacking():
        pytest.skip(reason)
    made = Hosts()
    try:
        yield made
    finally:
        made.close()


class Ground:
    """Hosts with Ray, and one with a real S3 server, whose bucket `art` is a folder of this machine too."""

    def __init__(self, made: Hosts, folder: Path) -> None:
        self.hosts, self.bucket = made, folder / "art"
        self.bucket.mkdir(parents=True)
        store = made.add("store")
        self.environment = s3_environment(f"http://{store.address}:9000")
        serve = (BIN / "rclone", "serve", "s3", "--auth-key", "key,secret", "--addr", f"{store.address}:9000", folder)
        self._server = Program(store.start(*serve))

    @property
    def address(self) -> str:
        """Of the head's Ray."""
        return f"{self.hosts.alive['head'].address}:{PORT}"

    def start(self, **options: Sequence[str]) -> None:
        """Start Ray on hosts, with options of each; the one named head first, and hosts that are not there yet too."""
        for name in options:
            if name not in self.hosts.alive:
                self.hosts.add(name)
        alive = self.hosts.alive
        if "head" in options:
            alive["head"].start_ray(None, *options["head"], **self.environment)
        with ThreadPoolExecutor() as threads:
            others = [name for name in options if name != "head"]
            starting = [
                threads.submit(alive[name].start_ray, alive["head"], *options[name], **self.environment)
                for name in others
            ]
            for each in starting:
                each.result()

    def program(self, *words: object) -> Program:
        """A Python program on the head, as a job's driver is."""
        environment = self.environment | {"RAY_ADDRESS": self.address}
        return Program(self.hosts.alive["head"].start(sys.executable, *words, **environment))


class Program:
    """A program and what it printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self._lines.extend(self.process.stdout)

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def wait(self, seconds: float) -> int:
        """The exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {seconds} s: {self.output}") from error
        self._reading.join(30)
        return code
