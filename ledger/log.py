"""Logs: JSON lines on standard error, through a queue that nobody ever waits for."""

from __future__ import annotations

import atexit
import logging
import os
import select
import sys
import threading
import traceback
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

import structlog

from ledger.errors import StepbackError
from ledger.redaction import redact_entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import EventDict, Processor

#: Lines that may wait for a slow reader; more are dropped and counted.
_CAPACITY: Final = 10_000

#: Seconds that the end of the process waits for the last lines.
_EXIT_SECONDS: Final = 2.0


class _Sink:
    """A file to write to that never blocks: a daemon thread carries the lines to the real one."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._lock = threading.RLock()
        self._dropped = 0
        self.start()

    def start(self) -> None:
        """Begin with an empty queue; again in every forked child, where threads and locks do not go along."""
        self._lock = threading.RLock()
        # SimpleQueue may be put to from anywhere, a signal handler too; its bound is kept in write.
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        threading.Thread(target=self._carry, args=(self._lines,), name="log", daemon=True).start()

    def write(self, text: str) -> None:
        if self._lines.qsize() < _CAPACITY:
            self._lines.put(text)
        else:
            self._drop()

    def flush(self) -> None:
        """Do nothing: loggers call it after every line."""

    def drain(self, timeout: float) -> bool:
        reached = threading.Event()
        self._lines.put(reached)
        return reached.wait(timeout)

    @property
    def dropped(self) -> int:
        return self._dropped

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1

    def _carry(self, lines: SimpleQueue[str | threading.Event]) -> None:
        while True:
            line = lines.get()
            if isinstance(line, threading.Event):
                line.set()
            elif not self._put_out(line.encode("utf-8", "backslashreplace")):
                self._drop()

    def _put_out(self, data: bytes) -> bool:
        # Past sys.stderr: its lock, held by a blocked thread, would stop the interpreter from ending.
        if self._fd is None:
            return False
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                select.select([], [self._fd], [])
            except OSError:
                return False
        return True


_sink: _Sink | None = None


def configure_logging(*, level: str = "INFO") -> None:
    """Send every log line of the process to standard error as JSON, those of libraries too, without secrets.

    Args:
        level: Lines below it are left out: DEBUG, INFO, WARNING, ERROR.
    """
    sink = _the_sink()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _explain_exception,
    ]
    renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, redact_entry, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sink),  # type: ignore[arg-type]  # needs write and flush only
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact_entry, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)


def dropped() -> int:
    """Return how many lines were dropped since the process began, for want of a reader."""
    return 0 if _sink is None else _sink.dropped


def flush(timeout: float = _EXIT_SECONDS) -> bool:
    """Wait until every line so far is written, at most `timeout` seconds; return whether it is."""
    return _sink is None or _sink.drain(timeout)


def _the_sink() -> _Sink:
    global _sink  # noqa: PLW0603 - one standard error, one queue to it
    if _sink is None:
        _sink = _Sink(None if sys.__stderr__ is None else sys.__stderr__.fileno())
        os.register_at_fork(after_in_child=_sink.start)
        atexit.register(flush)
    return _sink


def _explain_exception(_logger: object, _method: str, entry: EventDict) -> EventDict:
    """Say what was raised where. Words of others are left out: a driver's message may hold rows or a password."""
    raised = entry.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()
    if isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        entry["exception"] = [_explain(error) for error in _chain(raised)]
    return entry


def _chain(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    seen: set[int] = set()
    while following is not None and id(following) not in seen:
        yield following
        seen.add(id(following))
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _explain(error: BaseException) -> dict[str, object]:
    kind = type(error)
    told: dict[str, object] = {"type": f"{kind.__module__}.{kind.__qualname__}"}
    if isinstance(error, StepbackError) or kind.__module__ == "builtins":
        told["message"] = str(error)
    if sqlstate := getattr(error, "sqlstate", None):
        told["sqlstate"] = sqlstate
    told["at"] = [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    return told
