"""What a monitor sees in the ledger: runs that are under way or wait, bad ends that nobody has taken note of, figures.

Every query here takes the same time with ten finished runs as with a million.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from ledger.model import Kind, Phase, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

_OPEN: Final = text(
    """
    SELECT run.run, command.kind, command.target, command.migration, command.requested_by, run.state, run.phase,
           run.attempt, run.lease_until, command.submitted_at, run.started_at,
           coalesce(run.progressed_at, run.started_at) AS progressed_at,
           (SELECT max(acknowledged_at) FROM ledger.acknowledgements WHERE run = run.run) AS acknowledged_at
    FROM ledger.runs AS run JOIN ledger.commands AS command USING (command_id)
    WHERE run.state IN ('queued', 'in_progress', 'awaiting_approval')
    ORDER BY run.run
    """
)

_INCIDENTS: Final = text(
    """
    SELECT incident.run, incident.incident, incident.opened_at, command.kind, command.target, command.migration,
           command.requested_by, run.phase, run.error_code, run.error_message
    FROM ledger.incidents AS incident
    JOIN ledger.runs AS run USING (run) JOIN ledger.commands AS command USING (command_id)
    WHERE incident.resolved_at IS NULL
    ORDER BY incident.run, incident.incident
    """
)

#: For so long an end is told again and again: whoever was away meanwhile, monitor or Alertmanager, is to hear of it.
_LATELY: Final = "interval '15 minutes'"
#: Of so many runs and so many incidents at most, the newest.
_NEWEST: Final = 500

_OVER: Final = text(
    f"""
    SELECT run.run, CAST(NULL AS text) AS incident, command.kind, command.target, command.migration,
           run.finished_at AS at
    FROM (
        SELECT run, command_id, finished_at FROM ledger.runs WHERE run > 0 ORDER BY run DESC LIMIT {_NEWEST}
    ) AS run
    JOIN ledger.commands AS command USING (command_id)
    WHERE run.finished_at > clock_timestamp() - {_LATELY}
    UNION ALL
    SELECT incident.run, incident.incident, command.kind, command.target, command.migration, incident.resolved_at
    FROM (
        SELECT run, incident, resolved_at FROM ledger.incidents
        WHERE resolved_at > clock_timestamp() - {_LATELY}
        ORDER BY resolved_at DESC LIMIT {_NEWEST}
    ) AS incident
    JOIN ledger.runs AS run USING (run) JOIN ledger.commands AS command USING (command_id)
    """
)

_NOW: Final = text("SELECT clock_timestamp()")

_TALLY: Final = text("SELECT kind, state, runs FROM ledger.tally")

_FIGURES: Final = text(
    """
    SELECT (SELECT count(*) FROM ledger.workers WHERE alive_until > clock_timestamp()) AS workers_alive,
           (SELECT seq FROM ledger.audit_head) AS audit_events,
           (SELECT run.finished_at FROM ledger.commands AS command JOIN ledger.runs AS run USING (command_id)
             WHERE command.kind = 'canary' AND run.state = 'completed'
             ORDER BY command.submitted_at DESC LIMIT 1) AS canary_at
    """
)


@dataclass(frozen=True)
class OpenRun:
    """A run that has not ended."""

    run: int
    kind: Kind
    target: str
    migration: str | None
    requested_by: str
    state: State
    phase: Phase | None
    attempt: int
    #: None before the first claim.
    lease_until: datetime | None
    submitted_at: datetime
    started_at: datetime | None
    #: When its attempt last got on; None before the first claim.
    progressed_at: datetime | None
    #: When somebody last took note of it.
    acknowledged_at: datetime | None

    @property
    def is_noted(self) -> bool:
        """Whether somebody took note of it, and it has not got on since."""
        if self.acknowledged_at is None or self.progressed_at is None:
            return False
        return self.acknowledged_at >= self.progressed_at


@dataclass(frozen=True)
class Incident:
    """A bad end that nobody has taken note of, and that no later run has made good."""

    run: int
    #: "failed", "needs_operator" or "validation_failed".
    incident: str
    opened_at: datetime
    kind: Kind
    target: str
    migration: str | None
    requested_by: str
    phase: Phase | None
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True)
class Over:
    """A run that has lately ended, or an incident that was lately resolved."""

    run: int
    #: None: the run itself.
    incident: str | None
    kind: Kind
    target: str
    migration: str | None
    at: datetime


@dataclass(frozen=True)
class Sight:
    """The ledger at one moment."""

    #: By the ledger's clock, as all times here are.
    now: datetime
    runs: tuple[OpenRun, ...]
    incidents: tuple[Incident, ...]
    over: tuple[Over, ...] = ()


@dataclass(frozen=True)
class Figures:
    """What is counted."""

    #: By kind and state.
    runs: Mapping[tuple[str, str], int]
    workers_alive: int
    #: Number of the newest audit event.
    audit_events: int
    #: When the last canary that completed did so.
    canary_at: datetime | None


def look(conn: Connection) -> Sight:
    """Return what is under way or has ended badly."""
    runs = tuple(
        OpenRun(**{**row._asdict(), "kind": Kind(row.kind), "state": State(row.state), "phase": _phase(row.phase)})
        for row in conn.execute(_OPEN)
    )
    incidents = tuple(
        Incident(**{**row._asdict(), "kind": Kind(row.kind), "phase": _phase(row.phase)})
        for row in conn.execute(_INCIDENTS)
    )
    over = tuple(Over(**{**row._asdict(), "kind": Kind(row.kind)}) for row in conn.execute(_OVER))
    return Sight(conn.execute(_NOW).scalar_one(), runs, incidents, over)


def figures(conn: Connection) -> Figures:
    """Return what is counted."""
    tally = {(row.kind, row.state): row.runs for row in conn.execute(_TALLY)}
    return Figures(tally, **conn.execute(_FIGURES).one()._asdict())


def _phase(word: str | None) -> Phase | None:
    return None if word is None else Phase(word)
