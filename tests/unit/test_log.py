"""What a job says, to people and to programs."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from artsim import log
from artsim.command import parse_command
from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    hook = sys.excepthook
    yield
    log.configure("text")
    sys.excepthook = hook


def test_people_read_sentences_and_nothing_of_single_rows(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text", job="a")
    log.logger.info("resized: 3 rows", extra={"table": "resized"})
    log.logger.warning("careful: 100% odd")
    log.events.warning("resized: truncated", extra={"key": {"id": "x"}})
    said = capsys.readouterr()
    assert (said.out, said.err) == ("resized: 3 rows\n", "careful: 100% odd\n")
    assert log.last_words("no such folder") == "error: no such folder"


def test_programs_read_a_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json", job="a")
    log.logger.info("first\nsecond", extra={"table": "resized"})
    log.events.warning("resized: truncated", extra={"key": {"id": "Genre/nö\u2028", "level": "moderate"}})
    try:
        raise ZeroDivisionError("a defect")
    except ZeroDivisionError:
        log.logger.exception("lost")
    said = capsys.readouterr()
    first, second, third = (json.loads(line) for line in said.out.split("\n")[:-1])
    assert not said.err
    assert (first["message"], first["table"], first["job"], first["levelname"]) == (
        "first\nsecond",
        "resized",
        "a",
        "INFO",
    )
    assert second["key"] == {"id": "Genre/nö\u2028", "level": "moderate"}
    assert "ZeroDivisionError: a defect" in third["exc_text"]
    assert second["timestamp_ns"] >= first["timestamp_ns"] > 1e18
    ends = json.loads(log.last_words("no such folder"))
    assert (ends["message"], ends["levelname"], ends["job"]) == ("no such folder", "ERROR", "a")


def test_a_library_s_own_handlers_speak_json_too_and_only_then() -> None:
    library = logging.getLogger("some.library")
    library.addHandler(handler := logging.NullHandler())
    log.adopt("some.library")
    assert handler.formatter is None
    log.configure("json")
    log.adopt("some.library")
    assert handler.formatter is not None
    assert json.loads(handler.formatter.format(logging.makeLogRecord({"msg": "x"})))["message"] == "x"


def test_a_defect_ends_a_process_with_one_line_too() -> None:
    code = "from artsim import log; log.configure('json', job='a'); 1 / 0"
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert not ended.stderr
    said = json.loads(ended.stdout)
    assert (said["event"], said["job"], said["message"]) == ("failed", "a", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("config", "name"), [('{"metadata": {"job_submission_id": "art-1"}}', "art-1"), ("", f"-{log.os.getpid()}")]
)
def test_a_job_is_called_what_it_was_submitted_as(config: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", config)
    parse_command(["log_format=json", "root=/tmp/x"], None)
    assert log.fields["job"].endswith(name)
    assert log.is_json()
