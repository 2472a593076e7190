"""The first signal ends a process, and nothing cuts its way out short."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from stepback.endings import ending_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_unwinds(number: signal.Signals) -> None:
    """A signal becomes a KeyboardInterrupt; while that unwinds, further ones of any kind do nothing."""
    finished = []

    def work() -> None:
        with ending_on_signals():
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
                finished.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()

    assert finished


def test_handlers_come_back() -> None:
    """Afterwards signals mean what they meant before."""
    before = signal.getsignal(signal.SIGTERM)

    with ending_on_signals():
        pass

    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def ignored() -> Iterator[None]:
    """Ignore signals as under nohup, or behind a shell's `&`."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("ignored")
def test_nohup_is_respected() -> None:
    """Where a closed terminal was to be survived, it is; TERM to the process itself is always meant."""
    survived = []

    def work() -> None:
        with ending_on_signals():
            signal.raise_signal(signal.SIGHUP)
            survived.append(True)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        work()

    assert survived
