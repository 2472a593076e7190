"""Something that is done every so often, in a thread of its own, which outlives whatever goes wrong in a round."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Rounds:
    """Calls a function again and again until it is stopped."""

    def __init__(self, name: str, every_seconds: float, act: Callable[[], object]) -> None:
        self._name = name
        self._every = every_seconds
        self._act = act
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first round comes after the first pause."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the round that is under way."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self._act()
            except Exception:
                # A thread that ended here would leave its work to nobody, and nobody would notice.
                log.exception("round_broke", of=self._name)
