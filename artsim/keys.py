"""API keys: who may ask the service. The file of keys holds their names and SHA-256 hashes, never a key.

A key is 256 random bits, so that no one can guess it, not even from its hash at any number of tries a second. A slow
salted hash protects passwords, which people choose and others guess; for secrets of 112 bits of entropy or more NIST
asks for a plain approved hash (SP 800-63B, 5.1.2.2). It costs microseconds, so wrong keys load nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import posixpath
import re
import secrets
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from artsim import UserError
from artsim.store import Store

PREFIX = "artsim_"
"""What every key begins with, so that people and scanners of repositories know one where it should not be."""
NUM_BYTES = 32
"""Of randomness in a key."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


class KeysError(UserError, ValueError):
    """Keys that cannot be used; the message is one sentence, and never holds what may be a key."""


class Keys:
    """The keys that a service takes. File format: a line `NAME SHA256-IN-HEX` for each, and comments from `#` on."""

    def __init__(self, digests: dict[str, bytes], url: str = "") -> None:
        self._digests, self._url = digests, url

    @classmethod
    def load(cls, url: str) -> Keys:
        """The keys of a file, local or a URL; KeysError where it is missing, malformed or empty, StoreError else."""
        keys = cls({}, url)
        keys.reload()
        return keys

    def reload(self) -> None:
        """Take what the file holds now; where that cannot be used, raise as `load` does, and keep what was known."""
        url = self._url
        folder, name = posixpath.split(url)
        data = Store(folder or ("/" if url.startswith("/") else "."), "keys").read(name)
        if data is None:
            raise KeysError(f"{url}: no such file of keys; `artsim key NAME --file {url}` makes one")
        digests = _parse(_lines(url, data), url)
        if not digests:
            raise KeysError(f"{url}: holds no key; `artsim key NAME --file {url}` adds one")
        self._digests = digests

    @property
    def names(self) -> tuple[str, ...]:
        """Whose keys they are, in the order of the file."""
        return tuple(self._digests)

    def owner(self, key: str) -> str | None:
        """Whose key it is, or None. The time it takes says nothing of which entry is how near: all are looked at."""
        digest, found = _digest(key), None
        for name, known in self._digests.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found


def make(name: str) -> tuple[str, str]:
    """A new key and the line of the file that lets it in; KeysError where the name will not do."""
    if not _NAME.fullmatch(name):
        raise KeysError(f"{name!r}: a name has 1 to 64 letters, digits, or ._@- after the first (no spaces)")
    key = PREFIX + secrets.token_urlsafe(NUM_BYTES)
    return key, f"{name} {_digest(key).hex()}"


def append(path: Path, line: str) -> None:
    """Add a line that `make` gave to a local file, which is there whole at all times and which its owner alone reads.

    KeysError where the name is taken, or where the file is malformed or cannot be read or written.
    """
    where = Path(os.path.realpath(path))  # a link stays a link
    try:
        data = where.read_bytes() if where.exists() else b""
        name = line.split()[0]
        if name in _parse(_lines(str(path), data), str(path)):
            raise KeysError(f"{path}: {name} has a key; take its line out first, or choose another name")
        _replace(where, data + (b"\n" if data and not data.endswith(b"\n") else b"") + f"{line}\n".encode())
    except OSError as error:
        raise KeysError(f"{path}: cannot be written ({error.strerror})") from error


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _lines(url: str, data: bytes) -> list[str]:
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise KeysError(f"{url}: is not a text file of keys") from error


def _parse(lines: Iterable[str], url: str) -> dict[str, bytes]:
    digests: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not _NAME.fullmatch(words[0]) or not _DIGEST.fullmatch(words[1]):
            raise KeysError(f"{url}, line {number}: must be a name and the SHA-256 of its key, 64 hexadecimal digits")
        name, digest = words[0], bytes.fromhex(words[1])
        if name in digests or digest in digests.values():
            what = f"{name} is there twice" if name in digests else f"{name} has the key of another name"
            raise KeysError(f"{url}, line {number}: {what}; each name has one key of its own")
        digests[name] = digest
    return digests


def _replace(path: Path, data: bytes) -> None:
    """Put a file in place whole or not at all, of mode 0600 from its first byte on."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")  # makes it 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            os.remove(temporary)
