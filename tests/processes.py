"""The processes of a Ray that a test or a program started, and what they export."""

from contextlib import suppress

import httpx
import psutil


def titled(pid: int, title: str) -> list[psutil.Process]:
    """The descendants of a process whose title begins so."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # it just died
            if " ".join(process.cmdline()).startswith(title):
                found.append(process)
    return found


def exported(pid: int) -> str:
    """What Prometheus would read of a node that a process started: Ray chooses a free port unless it is told one."""
    for agent in titled(pid, "ray::DashboardAgent"):
        for listening in {found.laddr for found in agent.net_connections() if found.status == psutil.CONN_LISTEN}:
            with suppress(httpx.HTTPError):
                address = "127.0.0.1" if listening.ip in ("0.0.0.0", "::") else listening.ip
                text = httpx.get(f"http://{address}:{listening.port}/metrics", timeout=2).text
                if "ray_" in text:
                    return text
    return ""
