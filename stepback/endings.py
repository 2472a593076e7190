"""How a process in the foreground ends: the first signal unwinds it, later ones wait for that to finish."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Ctrl-C, `kill` and service managers, a terminal that was closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Turn the first signal into a KeyboardInterrupt and ignore the others, so that the way out is never cut short."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    # Under nohup a closed terminal is to be survived. A shell's `&` lets Ctrl-C be ignored too, but who sends
    # it to this very process means it.
    heard = [n for n, handler in before.items() if n is not signal.SIGHUP or handler is not signal.SIG_IGN]

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in heard:
            # Not SIG_IGN: of a signal that came together with this one the interpreter would complain.
            signal.signal(number, _do_nothing)
        raise KeyboardInterrupt

    for number in heard:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """The way out has begun already."""
