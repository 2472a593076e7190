"""Where runs stand, asked for many at once: what tells those who follow them that there is something new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from ledger.model import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

_STANDINGS: Final = text(
    """
    SELECT run.run, run.state,
           coalesce((SELECT max(event.seq) FROM ledger.audit_events AS event WHERE event.run = run.run), 0) AS last_seq
    FROM ledger.runs AS run WHERE run.run = ANY(:runs)
    """
)


@dataclass(frozen=True)
class Standing:
    """Where a run stands."""

    state: State
    #: Number of its newest audit event.
    last_seq: int


def standings(conn: Connection, runs: Collection[int]) -> dict[int, Standing]:
    """Return where runs stand; those that the ledger does not have are left out."""
    rows = conn.execute(_STANDINGS, {"runs": list(runs)})
    return {row.run: Standing(State(row.state), row.last_seq) for row in rows}
