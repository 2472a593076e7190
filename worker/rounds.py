"""Something that is done every so often, in a thread of its own, which outlives whatever goes wrong in a round."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from ledger.errors import LedgerUnreachable

log = structlog.get_logger(__name__)


class Rounds:
    """Calls a function again and again until it is stopped."""

    def __init__(self, name: str, every_seconds: float, act: Callable[[], object], *, at_once: bool = False) -> None:
        """Say what is done.

        Args:
            name: Of the thread, and in the log.
            every_seconds: The pause between two rounds.
            act: One round.
            at_once: Whether the first round comes before the first pause.
        """
        self._at_once = at_once
        self._name = name
        self._every = every_seconds
        self._act = act
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the round that is under way."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        if self._at_once:
            self._round()
        while not self._stop.wait(self._every):
            self._round()

    def _round(self) -> None:
        try:
            self._act()
        except LedgerUnreachable as error:
            log.warning("round_put_off", of=self._name, code=error.code)
        except Exception:
            # A thread that ended here would leave its work to nobody, and nobody would notice.
            log.exception("round_broke", of=self._name)
