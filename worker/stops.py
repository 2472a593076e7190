"""Signals that tell a process to end, heard wherever they strike."""

from __future__ import annotations

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType

#: How long a signal to stop may go unseen.
_LOOK_SECONDS = 1.0


def listen() -> SimpleQueue[int]:
    """Take SIGTERM and SIGINT from now on; return where they arrive.

    A second signal may come while the first is being handled, as Ctrl-C on a terminal brings two at once: an Event
    would lock itself out there, a queue may be written to from within itself.
    """
    stops: SimpleQueue[int] = SimpleQueue()

    def told(number: int, _frame: FrameType | None) -> None:
        stops.put(number)

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)
    return stops


def stopped(stops: SimpleQueue[int]) -> bool:
    """Return whether a signal has come."""
    return not stops.empty()


def wait(stops: SimpleQueue[int]) -> None:
    """Wait for a signal."""
    while True:
        # A signal that met another thread, as it may after a freeze, is only seen when this one wakes.
        with suppress(Empty):
            stops.get(timeout=_LOOK_SECONDS)
            return
