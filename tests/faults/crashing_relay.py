"""A real relay process that comes to grief at a crash point; settings come from the environment.

Arguments: the point, and the signal that meets it there. `recorded` and `rung` lie within the one way in: before and
after the doorbell.
"""

from __future__ import annotations

import signal
import sys
import threading
from uuid import UUID

from dramatiq.brokers.redis import RedisBroker

from ledger import doorbell
from ledger.settings import load
from stepback.installation import Installation
from stepback.outbox import relay


def main() -> int:
    """Relay; at the named point, die as a machine dies, or freeze as it does when it is paused."""
    fatal, met = sys.argv[1:]
    ring = doorbell.ring

    def at(point: str) -> None:
        if point == fatal:
            # To this thread: it shall not take another step.
            signal.pthread_kill(threading.get_ident(), signal.Signals[met])

    def ring_between(broker: RedisBroker, *command_ids: UUID) -> None:
        at("recorded")
        ring(broker, *command_ids)
        at("rung")

    doorbell.ring = ring_between
    with Installation.open(load()) as here:
        return relay(here, [], at=at)


if __name__ == "__main__":
    sys.exit(main())
