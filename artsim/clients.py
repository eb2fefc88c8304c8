"""Clients of object stores, set up in this one place, and what their errors mean to a person."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fsspec.core import url_to_fs

from artsim import UserError

S3_OPTIONS: dict[str, Any] = {
    "config_kwargs": {
        # Waits of up to 1, 2, 4, 8 and 16 s, 16 s on average: what S3 needs to spread a prefix that is asked too much.
        "retries": {"mode": "standard", "total_max_attempts": 6},
        "connect_timeout": 10,  # s; a server that is there answers within one
        "read_timeout": 20,  # s between two pieces of an answer, not for all of it: slow bodies may take their time
        "max_pool_connections": 32,  # two calls of a worker with 8 threads of `sources.fetch` each, and Arrow's reads
    }
}
"""How s3fs talks to S3: botocore tries again what it sends, and waits longer each time."""
S3_READS = 4
"""Times that s3fs asks for a body that breaks off, which botocore has handed over by then.

s3fs multiplies what botocore does, and its own tries with themselves: more would make the last word wait for hours.
"""
_CREDENTIALS = (
    *("ExpiredToken", "ExpiredTokenException", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
    *("AccessDenied", "TokenRefreshRequired", "RequestTimeTooSkewed", "403", "401"),
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoreError(UserError, OSError):
    """Files that cannot be had or put in place for now; the message says which, why and what to do."""


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a folder or URL, and the path there; as fsspec's `url_to_fs`, with our patience."""
    if "s3://" not in url:
        return url_to_fs(url)
    fs, path = url_to_fs(url, s3=S3_OPTIONS)
    fs.retries = S3_READS
    return fs, path


def is_absent(error: OSError) -> bool:
    """Whether an error says that there is no such file, which is no trouble of the store's."""
    return isinstance(error, (FileNotFoundError, NotADirectoryError)) and error_code(error) != "NoSuchBucket"


@contextmanager
def telling(setting: str, place: str, verb: str) -> Iterator[None]:
    """Turn what a client raises into a StoreError that names a setting and what could not be done to which place."""
    try:
        yield
    except StoreError:
        raise
    except _failures() as error:
        raise StoreError(
            f"{setting}: {place} cannot be {verb} ({_reason(error)}): {_advice(error)}, then start again; what is done "
            "is kept"
        ) from error


def _failures() -> tuple[type[BaseException], ...]:
    """What clients raise that is not an OSError: only of those that are loaded, since only they can."""
    found: list[type[BaseException]] = [OSError]
    for module, name in (
        ("botocore.exceptions", "BotoCoreError"),
        ("botocore.exceptions", "ClientError"),
        ("botocore.parsers", "ResponseParserError"),
        ("aiohttp", "ClientError"),
        ("gcsfs.retry", "HttpError"),
        ("azure.core.exceptions", "AzureError"),
    ):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)


def error_code(error: BaseException) -> str:
    """What S3 calls an error; "" for others."""
    for known in (error, error.__cause__):
        response = getattr(known, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def _reason(error: BaseException) -> str:
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    first = str(words).strip().splitlines()[0][:200].rstrip(".")
    code = error_code(error)
    return first if not code or code in first else f"{code}: {first}"


def _advice(error: BaseException) -> str:
    code = error_code(error)
    if code == "NoSuchBucket":
        return "make that bucket or name another"
    if code in _CREDENTIALS or type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return "renew the credentials (AWS_*) or widen what they may do"
    if getattr(error, "errno", None) in _FULL:
        return "make room or name another disk"
    if isinstance(error, PermissionError):
        return "let this user read and write there"
    return "see that it is there and answers"
