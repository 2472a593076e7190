"""Taking note of a run that is stuck or has ended badly: nobody is paged for it any more, and the audit log says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from ledger.audit import append
from ledger.database import transaction
from ledger.errors import NothingToAcknowledge
from ledger.history import find
from ledger.model import TERMINAL, Event, Json, Run

if TYPE_CHECKING:
    from sqlalchemy import Engine

_RESOLVE: Final = text(
    """
    UPDATE ledger.incidents SET resolved_at = clock_timestamp(), resolved_by = :actor
    WHERE run = :run AND resolved_at IS NULL
    RETURNING incident
    """
)

_ACKNOWLEDGE: Final = text(
    "INSERT INTO ledger.acknowledgements (run, acknowledged_by, reason) VALUES (:run, :actor, :reason)"
)


def acknowledge(engine: Engine, run: int, *, actor: str, reason: str) -> Run:
    """Take note of a run, for all that has come to pass of it so far.

    Args:
        engine: The ledger.
        run: Its number.
        actor: Who does.
        reason: Why nobody has to be paged for it any more.

    Returns:
        The run as it stands.

    Raises:
        UnknownRun: There is none of that number.
        NothingToAcknowledge: It has ended, and nothing of it is open.
    """
    with transaction(engine) as conn:
        known = find(conn, run)
        resolved = sorted(conn.execute(_RESOLVE, {"run": run, "actor": actor}).scalars())
        if known.state in TERMINAL and not resolved:
            raise NothingToAcknowledge(
                f"run {run} is {known.state}, and there is nothing about it that anybody is paged for"
            )
        conn.execute(_ACKNOWLEDGE, {"run": run, "actor": actor, "reason": reason})
        detail: dict[str, Json] = {"state": known.state.value, "incidents": [*resolved], "reason": reason}
        append(conn, Event("run_acknowledged", actor=actor, outcome="ok", run=run, target=known.target, detail=detail))
    return known
