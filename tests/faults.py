"""A proxy before a real S3 server that breaks what it is asked for: the faults of a network and of a busy store."""

import http.client
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

PASSING = ("busy", "reset", "slow", "truncated")
"""Faults that a store has for a moment: 503 SlowDown, a connection that is reset, and bodies, late or cut short."""
_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>{}</Message></Error>"
_ANSWERS = {
    "busy": (503, _ERROR.format("SlowDown", "Please reduce your request rate.")),
    "unavailable": (503, _ERROR.format("ServiceUnavailable", "Please try again.")),
    "expired": (403, _ERROR.format("ExpiredToken", "The provided token has expired.")),
    "no_bucket": (404, _ERROR.format("NoSuchBucket", "The specified bucket does not exist.")),
}


class Faults:
    """Which requests are broken, and how many were."""

    def __init__(self) -> None:
        self._queue: list[str] = []
        self._pattern = re.compile("")
        self._lasting = ""
        self._every = 0
        self._lock = threading.Lock()
        self.hits: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    def burst(self, *faults: str, where: str = "") -> None:
        """Break the next requests whose `METHOD path` matches, one fault each; then none."""
        self._set(list(faults), where)

    def last(self, fault: str, where: str = "") -> None:
        """Break every request whose `METHOD path` matches, from now on."""
        self._set([], where, fault)

    def sprinkle(self, every: int) -> None:
        """Break every so-many-th request, each time with the next of the passing faults."""
        self._set([], "", every=every)

    def mend(self) -> None:
        """Break nothing any more."""
        self._set([], "")

    def _set(self, queue: list[str], where: str, lasting: str = "", every: int = 0) -> None:
        with self._lock:
            self._queue, self._pattern, self._lasting, self._every = queue, re.compile(where), lasting, every

    def next(self, request: str) -> str:
        """The fault of this request, or ""."""
        with self._lock:
            self.requests[request.split()[0]] += 1
            fault = ""
            if self._pattern.search(request):
                count = self.requests.total()
                if self._every and count % self._every == 0:
                    fault = PASSING[count // self._every % len(PASSING)]
                else:
                    fault = self._queue.pop(0) if self._queue else self._lasting
            self.hits[fault] += bool(fault)
            return fault


def _handler(upstream: str, faults: Faults) -> type[BaseHTTPRequestHandler]:
    place = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = faults.next(f"{self.command} {self.path}")
            if fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            elif fault in _ANSWERS:
                status, text = _ANSWERS[fault]
                self._answer(status, [("Content-Type", "application/xml")], text.encode(), "")
            else:
                self._answer(*self._ask(body), fault)

        def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            found = answer.status, answer.getheaders(), answer.read()
            connection.close()
            return found

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, fault: str) -> None:
            self.send_response_only(status)
            is_head = self.command == "HEAD"
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding") or (
                    is_head and name.lower() == "content-length"
                ):
                    self.send_header(name, value)
            if not is_head:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if is_head:
                return
            if fault == "slow":
                for start in range(0, len(body), max(1, len(body) // 10)):
                    self.wfile.write(body[start : start + max(1, len(body) // 10)])
                    self.wfile.flush()
                    time.sleep(0.05)
            elif fault == "truncated":
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
            else:
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815  # the names that http.server looks for

    return Handler


@contextmanager
def break_s3(upstream: str) -> Iterator[tuple[str, Faults]]:
    """A proxy on loopback before an S3 server; its URL, and what says which requests it breaks."""
    faults = Faults()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(upstream, faults))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", faults
    finally:
        server.shutdown()
        server.server_close()
