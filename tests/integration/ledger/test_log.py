"""Logs of a real process: JSON on standard error, and no reader so slow that anybody waits for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

BEGIN = """
import logging, os, sys, time, warnings
import structlog
from ledger.log import configure_logging, dropped, flush
configure_logging(level="INFO")
log = structlog.get_logger()
"""


def _run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + script], capture_output=True, text=True, timeout=60, check=False
    )


def _lines(script: str) -> list[dict[str, object]]:
    done = _run(script)
    assert (done.returncode, done.stdout) == (0, "")
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_is_one_json_object_on_standard_error() -> None:
    """With event, level and time in UTC, whatever is in it, line breaks too."""
    (line,) = _lines("log.info('run_completed', run=7, reason='two\\nlines')")

    assert (line["event"], line["run"], line["level"], line["reason"]) == ("run_completed", 7, "info", "two\nlines")
    assert str(line["timestamp"]).endswith("Z")


def test_libraries_log_in_the_same_way() -> None:
    """Through Python's own logging, and its warnings."""
    script = "logging.getLogger('dramatiq').warning('lost %s', 'a'); warnings.warn('old', UserWarning)"

    first, second = _lines(script)

    assert (first["event"], first["level"], first["logger"]) == ("lost a", "warning", "dramatiq")
    assert second["logger"] == "py.warnings"


def test_what_is_below_the_level_is_left_out() -> None:
    """Ours and that of libraries."""
    lines = _lines("log.debug('no'); logging.getLogger('x').debug('no'); log.warning('yes')")

    assert [line["event"] for line in lines] == ["yes"]


def test_configuring_again_writes_no_line_twice() -> None:
    """A library that does it too does no harm."""
    lines = _lines("configure_logging(level='ERROR'); configure_logging(); log.info('a'); logging.info('b')")

    assert [line["event"] for line in lines] == ["a", "b"]


def test_an_exception_of_a_library_is_told_without_its_words() -> None:
    """Through Python's logging too, where dramatiq tells of a failed message."""
    script = """
import psycopg
try:
    raise psycopg.errors.UniqueViolation("Key (email)=(jane@example.org) already exists")
except psycopg.Error:
    logging.getLogger("dramatiq").error("failed", exc_info=True)
    log.exception("failed")
"""

    done = _run(script)

    assert "jane" not in done.stderr
    assert done.stderr.count("UniqueViolation") == 2


def test_no_secret_is_written_whoever_logs_it() -> None:
    """By key or by form, in our lines and in those of libraries, their arguments and warnings included."""
    script = """
log.info("began", url="redis://:hunter2@host/0", password="hunter2", settings={"dsn": "hunter2"})
logging.getLogger("redis").warning("cannot reach %s", "redis://:hunter2@host/0")
warnings.warn("password=hunter2", UserWarning)
try:
    raise ValueError("postgresql://u:hunter2@host/db")
except ValueError:
    log.exception("failed")
    logging.getLogger("x").exception("failed")
"""

    done = _run(script)

    assert "hunter2" not in done.stderr
    assert done.stderr.count("redis://:[redacted]@host/0") == 2
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()][-2:] == ["failed", "failed"]


def test_the_last_lines_are_written_before_the_process_ends() -> None:
    """Nothing is lost in the queue."""
    assert len(_lines("[log.info('line', number=number) for number in range(5000)]")) == 5000


@pytest.mark.timeout(60)
def test_a_stalled_reader_stops_nobody() -> None:
    """Far more is logged than a pipe holds: the process goes on, counts what it drops, and ends."""
    script = """
began = time.monotonic()
for number in range(20_000):
    log.info("line", number=number, padding="x" * 100)
print(time.monotonic() - began, dropped(), flush(0.1), flush=True)
"""
    reader, writer = os.pipe()
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", BEGIN + script], stdout=subprocess.PIPE, stderr=writer, text=True)
    os.close(writer)

    out, _ = process.communicate(timeout=30)

    ended = time.monotonic() - began
    os.close(reader)
    seconds, lost, flushed = out.split()
    assert float(seconds) < 10
    assert int(lost) > 5_000
    assert flushed == "False"
    assert process.returncode == 0
    assert ended < 20


def test_a_reader_that_went_away_stops_nobody() -> None:
    """The lines are dropped and counted."""
    script = "os.close(2); log.info('a'); log.info('b'); flush(5); print(dropped(), flush=True)"

    done = _run(script)

    assert (done.returncode, done.stdout) == (0, "2\n")


def test_a_forked_child_logs_for_itself() -> None:
    """Threads do not go along with a fork; the log does, and no line is written twice."""
    script = """
log.info("parent")
flush(5)
warnings.simplefilter("ignore")
if os.fork() == 0:
    log.info("child")
    flush(5)
    os._exit(0)
os.wait()
"""

    assert [line["event"] for line in _lines(script)] == ["parent", "child"]
