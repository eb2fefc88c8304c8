"""Who writes a table: one job at a time, and its right ends soon after it is killed. No Ray in here."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import posixpath
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from fsspec.implementations.local import LocalFileSystem

from artsim.clients import error_code, open_url, telling
from artsim.store import Store
from artsim.tables import Table, TableError

NAME = "_lease.json"
SECONDS = 60.0
"""How long a lease lasts that nobody renews: what a killed job makes the next one wait."""
RENEW_SECONDS = 15.0
"""Three renewals may fail before it runs out."""


class Lease(Protocol):
    """The right to write a table."""

    def confirm(self) -> None:
        """Make sure that the table is still this job's; TableError where another has it."""


@contextmanager
def hold(table: Table) -> Iterator[Lease]:
    """Hold the right to write a table; TableError where another job has it.

    On a local disk it is a lock of the operating system, which a kill gives back at once. It holds on all machines of
    an NFS that forwards locks (version 4 does), and on one machine only where that was turned off (`nolock`).
    Elsewhere it is `_lease.json`: made and renewed by conditional puts, so of two jobs one wins. Its expiry is told by
    the machines' clocks, which should agree within seconds. A store that does not know conditional puts (rclone's
    server, and all that fsspec does not open as s3://) lets two jobs win that start within the same few
    milliseconds; the one that wrote first finds out when it renews or confirms.
    """
    fs, path = open_url(table.store.url)
    if isinstance(fs, LocalFileSystem):
        with telling("root", path, "locked"):
            lock = _LocalLock(table, posixpath.join(path, NAME))
        try:
            yield lock
        finally:
            lock.release()
        return
    lease = RemoteLease(table)
    lease.take()
    done = threading.Event()
    renewing = threading.Thread(target=lease.keep, args=(done,), daemon=True, name=f"lease of {table.name}")
    renewing.start()
    try:
        yield lease
    finally:
        done.set()
        renewing.join()
        lease.release()


class _LocalLock:
    """A lock on the open file `_lease.json`, which lies there for good: who deletes a locked file makes two of it."""

    def __init__(self, table: Table, path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._file = open(path, "a+")  # noqa: SIM115  # open as long as the lock is held
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _decode(self._read())
            self._file.close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise _taken(table, holder, "it ends") from error
        self._file.truncate(0)
        self._file.write(json.dumps(_me(uuid.uuid4().hex)))
        self._file.flush()

    def _read(self) -> bytes:
        self._file.seek(0)
        return self._file.read().encode()

    def confirm(self) -> None:
        """Nobody can take a lock that this process holds."""

    def release(self) -> None:
        self._file.close()


class _Found(NamedTuple):
    """What `_lease.json` says, and the store's name for this version of it; neither where there is none."""

    holder: dict[str, Any]
    etag: str | None


class RemoteLease:
    """`_lease.json` on an object store, with who holds it and until when (seconds since 1970)."""

    def __init__(self, table: Table) -> None:
        self._table, self._store, self._owner = table, Store(table.store.url), uuid.uuid4().hex
        self._turn = threading.Lock()

    def take(self) -> None:
        """Make the lease, or take over one that ran out; TableError where another job has it or was quicker."""
        found = self._find()
        if found.holder.get("expires", 0) > time.time():
            raise _taken(self._table, found.holder, f"it ends, or for {SECONDS:g} s if it was killed")
        if not self._put(SECONDS, found.etag):
            raise _taken(self._table, self._find().holder, "it ends")

    def confirm(self) -> None:
        """Renew the lease; TableError where another job has taken it over meanwhile."""
        with self._turn:
            found = self._find()
            mine = found.holder.get("owner") == self._owner
            if not (mine and self._put(SECONDS, found.etag)):
                raise TableError(
                    f"{_whose(found.holder)} has taken over the table {self._table.name} below {self._table.root}, as "
                    f"this one did not renew its lease for {SECONDS:g} s: let that one finish, then start this again"
                )

    def keep(self, done: threading.Event) -> None:
        """Renew the lease until the job is done or has lost it; a store that fails now may answer the next time."""
        while not done.wait(RENEW_SECONDS):
            try:
                self.confirm()
            except TableError:
                return  # the job itself confirms before it publishes, and says so then
            except OSError:
                continue

    def release(self) -> None:
        """Let the lease run out now, if it is still this job's."""
        with self._turn:
            found = self._find()
            if found.holder.get("owner") == self._owner:
                self._put(0, found.etag)

    def _find(self) -> _Found:
        fs, path = open_url(posixpath.join(self._table.store.url, NAME))
        with telling("root", path, "read"):
            # The version is read before the words: if they are newer, the put that follows from them is refused.
            try:
                fs.invalidate_cache(posixpath.dirname(path))
                etag = fs.info(path).get("ETag")
            except FileNotFoundError:
                return _Found({}, None)
        return _Found(_decode(self._store.read(NAME)), etag)

    def _put(self, seconds: float, etag: str | None) -> bool:
        """Write the lease where that version of it, or none, still stands; whether it is this job's now."""
        fs, path = open_url(posixpath.join(self._table.store.url, NAME))
        data = json.dumps(_me(self._owner) | {"expires": time.time() + seconds}).encode()
        if "s3" not in fs.protocol:
            self._store.write(NAME, data)
            return True
        bucket, key, _ = fs.split_path(path)
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        with telling("root", path, "written"):
            try:
                fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
            except OSError as error:
                if error_code(error) not in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412"):
                    raise
                # A put that was answered too late was tried again, and refused because of itself.
                return self._find().holder.get("owner") == self._owner
        return True


def _me(owner: str) -> dict[str, Any]:
    return {"owner": owner, "host": socket.gethostname(), "pid": os.getpid()}


def _decode(data: bytes | None) -> dict[str, Any]:
    holder: dict[str, Any] = json.loads(data) if data else {}
    return holder


def _whose(holder: dict[str, Any]) -> str:
    return f"another job (process {holder.get('pid', '?')} on {holder.get('host', '?')})"


def _taken(table: Table, holder: dict[str, Any], until: str) -> TableError:
    return TableError(
        f"{_whose(holder)} is writing the table {table.name} below {table.root}: wait until {until}, or choose "
        "another root"
    )
