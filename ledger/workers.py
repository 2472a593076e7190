"""Which workers live: each says so again and again, and counts as dead when it has not for a while."""

from __future__ import annotations

from sqlalchemy import Engine, text

from ledger.database import transaction

_BEAT = text(
    """
    INSERT INTO ledger.workers (worker, alive_until)
    VALUES (:worker, clock_timestamp() + make_interval(secs => :alive_seconds))
    ON CONFLICT (worker) DO UPDATE SET
        alive_until = excluded.alive_until,
        -- In a container the next worker has the name of the last one.
        started_at = CASE WHEN workers.alive_until <= clock_timestamp()
                          THEN excluded.started_at ELSE workers.started_at END
    """
)

#: Those that died without a word are forgotten after a day.
_FORGET = text("DELETE FROM ledger.workers WHERE alive_until < clock_timestamp() - interval '1 day'")

_LEAVE = text("DELETE FROM ledger.workers WHERE worker = :worker")


def beat(engine: Engine, worker: str, alive_seconds: float) -> None:
    """Say that a worker lives, and will for so long.

    Raises:
        LedgerUnreachable: Nobody hears it.
    """
    with transaction(engine) as conn:
        conn.execute(_BEAT, {"worker": worker, "alive_seconds": alive_seconds})
        conn.execute(_FORGET)


def leave(engine: Engine, worker: str) -> None:
    """Say that a worker ends.

    Raises:
        LedgerUnreachable: Nobody hears it; it counts as dead when its time is up.
    """
    with transaction(engine) as conn:
        conn.execute(_LEAVE, {"worker": worker})
