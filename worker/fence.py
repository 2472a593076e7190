"""The fence and the marker in the target: which attempt may write, and what has been committed.

The ledger cannot stop a worker that was frozen inside apply and wakes up later; the row it has to read first can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.errors import Fenced, NeedsOperator
from ledger.model import Json
from worker.target import Session
from worker.work import FinishStep, Work


@dataclass(frozen=True)
class Holder:
    """Who carries out a run: one attempt of one installation."""

    installation: UUID
    run: int
    attempt: int


@dataclass(frozen=True)
class Marker:
    """What an apply wrote with its COMMIT."""

    attempt: int
    migration: str
    #: Rows of the registry that the run is about, by migration.
    registry_ids: Mapping[str, int]
    xid: str
    #: From the first lock to the writing of the marker; COMMIT itself is still to come.
    blocked_seconds: float
    #: When it was written, by the target's clock.
    applied_at: datetime
    steps: tuple[dict[str, Any], ...]
    finish: tuple[FinishStep, ...]
    #: What came of it, for the ledger; empty: nothing to say.
    result: Mapping[str, Json]


def raise_fence(session: Session, holder: Holder) -> None:
    """Let this attempt be the one that may write.

    Waits for an open transaction of an older attempt, which holds the row; after that none can commit any more.

    Raises:
        Fenced: A newer attempt was here first.
        LockNotAvailable: An older attempt still holds the row after lock_timeout.
    """
    with session.transaction():
        raised = session.execute(
            "INSERT INTO emergency_backup.fence AS fence (installation, run, attempt) VALUES (%s, %s, %s)"
            " ON CONFLICT (installation, run) DO UPDATE SET attempt = excluded.attempt, raised_at = clock_timestamp()"
            " WHERE fence.attempt <= excluded.attempt",
            (holder.installation, holder.run, holder.attempt),
        )
    if raised != 1:
        raise Fenced(f"a newer attempt of run {holder.run} holds the fence")


def stand_behind(session: Session, holder: Holder) -> None:
    """Read the fence inside a transaction and keep it until its end.

    Raises:
        Fenced: It is not ours.
    """
    attempt = session.value(
        "SELECT attempt FROM emergency_backup.fence WHERE installation = %s AND run = %s FOR SHARE",
        (holder.installation, holder.run),
    )
    if attempt != holder.attempt:
        raise Fenced(f"attempt {holder.attempt} of run {holder.run} is not the one that may write")


def look_up(session: Session, holder: Holder) -> Marker | None:
    """Return the marker of a run; look only after the fence was raised, or a COMMIT may still be under way."""
    found = session.row(
        "SELECT attempt, migration, registry_ids, xid::text, blocked_seconds, applied_at, steps, finish,"
        " coalesce(result, '{}') AS result"
        " FROM emergency_backup.marker WHERE installation = %s AND run = %s",
        (holder.installation, holder.run),
    )
    if found is None:
        return None
    finish = tuple(FinishStep(**step) for step in found["finish"])
    return Marker(
        found["attempt"],
        found["migration"],
        found["registry_ids"],
        found["xid"],
        found["blocked_seconds"],
        found["applied_at"],
        tuple(found["steps"]),
        finish,
        found["result"],
    )


def set_result(session: Session, holder: Holder, name: str, told: Json) -> None:
    """Write down a part of what came of the run, inside a transaction that stands behind the fence."""
    session.execute(
        "UPDATE emergency_backup.marker SET result = jsonb_set(coalesce(result, '{}'), ARRAY[%s::text], %s::jsonb)"
        " WHERE installation = %s AND run = %s",
        (name, json.dumps(told), holder.installation, holder.run),
    )


def add_result(session: Session, holder: Holder, name: str, told: Json) -> None:
    """Add an entry to a list in what came of the run, once, inside a transaction that stands behind the fence."""
    session.execute(
        "UPDATE emergency_backup.marker SET result = jsonb_set(coalesce(result, '{}'), ARRAY[%(name)s::text],"
        " coalesce(result -> %(name)s, '[]') || %(told)s::jsonb)"
        " WHERE installation = %(installation)s AND run = %(run)s"
        # A step is done again after a crash.
        " AND (result -> %(name)s @> %(told)s::jsonb) IS NOT TRUE",
        {"name": name, "told": json.dumps([told]), "installation": holder.installation, "run": holder.run},
    )


def check_fate(session: Session, xid: str, marker: Marker | None) -> None:
    """Let the server's own record of a transaction agree with the marker.

    Args:
        session: In the target whose identity was checked.
        xid: A transaction that the ledger knows to have been begun for the run.
        marker: What was found after raising the fence.

    Raises:
        NeedsOperator: They disagree, which a restored or replaced target would explain.
    """
    status = session.value(
        "SELECT CASE WHEN %(xid)s::xid8 < pg_snapshot_xmax(pg_current_snapshot())"
        " THEN coalesce(pg_xact_status(%(xid)s::xid8), 'too old') ELSE 'in the future' END",
        {"xid": xid},
    )
    committed = marker is not None and marker.xid == xid
    if status in ("too old", "committed" if committed else "aborted"):
        return
    raise NeedsOperator(
        f"the target says that transaction {xid} of this run is {status}, its marker says "
        f"{'committed' if committed else 'not committed'}; compare the target with its backups before going on"
    )


@dataclass(frozen=True)
class Done:
    """What the marker says was done."""

    kind: str
    migration: str
    work: Work
    steps: tuple[dict[str, Any], ...]
    blocked_seconds: float
    #: What came of it, for the ledger.
    result: Mapping[str, Json]


def mark(session: Session, holder: Holder, done: Done) -> None:
    """Write the marker; it commits with everything else or not at all."""
    session.execute(
        "INSERT INTO emergency_backup.marker"
        " (installation, run, attempt, kind, migration, registry_ids, blocked_seconds, steps, finish, result)"
        " VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s, %s::jsonb, %s::jsonb, %s::jsonb)",
        (
            holder.installation,
            holder.run,
            holder.attempt,
            done.kind,
            done.migration,
            json.dumps(dict(done.work.registry_ids)),
            done.blocked_seconds,
            json.dumps(done.steps),
            json.dumps([asdict(step) for step in done.work.finish]),
            json.dumps(dict(done.result)),
        ),
    )
