"""Subjects: what the ledger knows of a run that another command is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import text

from ledger.database import transaction
from ledger.model import Kind, State

if TYPE_CHECKING:
    from sqlalchemy import Engine

_SUBJECT = text(
    """
    SELECT run.run, command_id, command.kind, run.state,
           ARRAY(SELECT other.run FROM ledger.runs AS other JOIN ledger.commands AS asked USING (command_id)
                 WHERE asked.kind = 'recover' AND asked.subject_run = run.run
                   AND other.state IN ('queued', 'in_progress', 'awaiting_approval')
                 ORDER BY other.run) AS recoveries
    FROM ledger.runs AS run JOIN ledger.commands AS command USING (command_id)
    WHERE run.run = :run
    """
)


@dataclass(frozen=True)
class Subject:
    """A run, as a command about it has to know it."""

    run: int
    #: Names the run's quarantine.
    command_id: UUID
    kind: Kind
    state: State
    #: Recoveries of it that wait or are under way.
    recoveries: tuple[int, ...]


def look(engine: Engine, run: int) -> Subject:
    """Return what the ledger knows at this moment of a run that is in it."""
    with transaction(engine) as conn:
        found = conn.execute(_SUBJECT, {"run": run}).one()
    return Subject(found.run, found.command_id, Kind(found.kind), State(found.state), tuple(found.recoveries))
