"""What a job says while it runs: sentences for people, or a JSON object a line for what collects logs."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from types import TracebackType
from typing import Any

from artsim.config import LogFormat

logger = logging.getLogger("artsim")
"""What people read: how a table came out, and warnings."""
events = logging.getLogger("artsim.events")
"""What only programs read, as single rows and retries: silent unless the format is JSON."""

fields: dict[str, Any] = {}
"""What every JSON line of this process carries beside its own."""
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime"}


def configure(log_format: LogFormat, **more: Any) -> None:
    """Say from now on what the loggers `artsim` and `artsim.events` are told; `more` goes onto each JSON line.

    Sentences go to stdout, warnings to stderr. JSON all goes to stdout, but for the mistake of a user that ends
    the process, which is its last line on stderr.
    """
    handler = _Handler()
    is_json = log_format == "json"
    handler.setFormatter(_Json() if is_json else logging.Formatter("%(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    events.setLevel(logging.INFO if is_json else logging.CRITICAL)
    if is_json:
        sys.excepthook = _say_error
    fields.update(more)


def is_json() -> bool:
    """Whether this process speaks JSON."""
    return any(isinstance(handler.formatter, _Json) for handler in logger.handlers)


def adopt(name: str) -> None:
    """Have a library's logger, which has handlers of its own, speak JSON too, where this process does."""
    for handler in logging.getLogger(name).handlers if is_json() else ():
        handler.setFormatter(_Json())


def job_name() -> str:
    """What this job is called: the submission id of `ray job submit`, else the machine and process that it runs in."""
    submitted = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}").get("metadata", {})
    return str(submitted.get("job_submission_id") or f"{socket.gethostname()}-{os.getpid()}")


def last_words(sentence: str) -> str:
    """A user's mistake as the process says it when it ends: `error: ...`, or a JSON line."""
    if not is_json():
        return f"error: {sentence}"
    return _Json().format(logging.makeLogRecord({"msg": sentence, "levelname": "ERROR", "levelno": logging.ERROR}))


class _Handler(logging.Handler):
    """To where stdout and stderr point now: some jobs hold back what others print."""

    def emit(self, record: logging.LogRecord) -> None:
        to_stderr = record.levelno >= logging.WARNING and not isinstance(self.formatter, _Json)
        print(self.format(record), file=sys.stderr if to_stderr else sys.stdout, flush=True)


class _Json(logging.Formatter):
    """A record as one line; names are those of Ray's own JSON logs, so that one parser reads both."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "timestamp_ns": int(record.created * 1e9),
        }
        if record.exc_info:
            said["exc_text"] = self.formatException(record.exc_info)
        own = {name: value for name, value in vars(record).items() if name not in _STANDARD and name[0] != "_"}
        return json.dumps(said | fields | own, default=str)  # ASCII: whatever the stream, and no line breaks


def _say_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logger.critical(f"{kind.__name__}: {error}", exc_info=(kind, error, trace), extra={"event": "failed"})
