"""Keeps the queue true to the ledger: whatever is unfinished there is rung for again."""

from __future__ import annotations

import structlog
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import Engine

from ledger import consent, runs
from ledger.doorbell import ring
from ledger.errors import LedgerUnreachable, QueueUnreachable

log = structlog.get_logger(__name__)

#: What was rung for is left alone for so many rounds, so that a busy worker is not rung for over and over.
_QUIET_ROUNDS = 3


class Reconciler:
    """Looks through the ledger for unfinished commands."""

    def __init__(self, engine: Engine, broker: RedisBroker, every_seconds: float) -> None:
        self._engine = engine
        self._broker = broker
        self._every = every_seconds
        #: What the last round failed with: said once, not every round.
        self._trouble: str | None = None

    def look(self) -> None:
        """Go through one round; what cannot be reached just now is for the next."""
        try:
            self.round()
            self._say(None)
        except (LedgerUnreachable, QueueUnreachable) as error:
            self._say(error.code)

    def round(self) -> int:
        """Ring once for everything that waits; return for how many."""
        consent.wake_expired(self._engine)
        waiting = runs.unfinished(self._engine, quiet_seconds=self._every * _QUIET_ROUNDS)
        for command_id in waiting:
            ring(self._broker, command_id)
            log.info("doorbell_rung_again", command_id=str(command_id))
        return len(waiting)

    def _say(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            log.warning("reconciler_impeded", code=trouble) if trouble else log.info("reconciler_resumed")
            self._trouble = trouble
