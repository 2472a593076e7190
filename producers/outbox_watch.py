"""Watching one outbox: relaying what is asked as it is asked, and waiting, audibly, for whatever does not answer."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Final

import structlog

from ledger.errors import StepbackError
from ledger.settings import OutboxSettings
from producers.outbox import Relay
from producers.outbox_database import CHANNEL, connect, reaching, wait_for_notice

#: Pauses after a failure, each twice as long as the one before.
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0

log = structlog.get_logger(__name__)


class Watch:
    """Relays one outbox until it is told to stop. What goes wrong in one harms no other."""

    def __init__(self, relay: Relay, settings: OutboxSettings, stop: threading.Event) -> None:
        self._relay, self._settings, self._stop = relay, settings, stop
        self._pause = _FIRST_PAUSE_SECONDS

    def run(self) -> None:
        """Relay until the event is set; failures are logged, and tried again after a pause."""
        while not self._stop.is_set():
            try:
                self._session()
            except StepbackError as error:
                log.warning(
                    "outbox_waits",
                    outbox=self._relay.name,
                    code=error.code,
                    message=error.message,
                    pause_seconds=self._pause,
                )
            except Exception:
                # Other outboxes go on, and this one once it is mended.
                log.exception("outbox_broke", outbox=self._relay.name, pause_seconds=self._pause)
            else:
                continue
            self._stop.wait(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def _session(self) -> None:
        """Work on one connection, for as long as it holds."""
        name = self._relay.name
        with closing(connect(name, self._settings.dsn())) as conn, reaching(name):
            # Before the first look: what is asked after it is heard of.
            conn.execute(f"LISTEN {CHANNEL}")
            log.info("outbox_opened", outbox=name, poll_seconds=self._settings.poll_seconds)
            while not self._stop.is_set():
                while self._relay.relay(conn) and not self._stop.is_set():
                    pass
                self._pause = _FIRST_PAUSE_SECONDS
                wait_for_notice(conn, self._settings.poll_seconds, self._stop.is_set)
