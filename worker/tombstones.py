"""Tombstones: what a purge deleted, written down in the target with the deletion, and told to the ledger afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ledger.model import Json
from worker import registry
from worker.fence import Holder
from worker.stock import Stored
from worker.target import Row, Session

_INSERT = """
INSERT INTO emergency_backup.purged_objects
       (installation, run, ordinal, subject_run, kind, name, was, how, rows, bytes, checksum, preserved_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

_STONES = """
SELECT kind, name, was, how, rows, bytes, checksum, preserved_at, purged_at, subject_run,
       CASE WHEN kind IN ('table', 'materialized view', 'sequence')
            THEN coalesce(pg_total_relation_size(to_regclass(name)), 0) ELSE 0 END AS bytes_after
  FROM emergency_backup.purged_objects WHERE installation = %s AND run = %s ORDER BY ordinal
"""

#: What was only text: no bytes of it are deleted, but it does not come back either.
_GIVEN_UP = """
SELECT run AS subject_run, kind, name, how, purged_at FROM emergency_backup.preserved_objects
 WHERE installation = %s AND purged_by = %s AND recovered_by IS NULL AND how NOT IN ('moved', 'copied')
 ORDER BY ordinal
"""


def write(session: Session, holder: Holder, subject_run: int, stored: Sequence[Stored]) -> None:
    """Write down what is about to be deleted, counting it where nobody has; in the same transaction, before the locks.

    Nobody writes in quarantine, so that what is counted is what goes.
    """
    for ordinal, each in enumerate(stored, start=1):
        rows, checksum = each.rows, each.checksum
        if each.readable and (rows is None or checksum is None):
            total = registry.sum_of(session, each.name)
            rows, checksum = total.rows, total.checksum
        told = (each.kind, each.name, each.was, each.how, rows, each.bytes, checksum, each.preserved_at)
        session.execute(_INSERT, (holder.installation, holder.run, ordinal, subject_run, *told))


@dataclass(frozen=True)
class Deleted:
    """What a run has deleted, as the ledger is told."""

    result: Mapping[str, Json] | None = None
    #: An event for each object: a tombstone of its own is found by the object's name, however many there were.
    facts: tuple[tuple[str, Mapping[str, Json]], ...] = ()


#: What every run but a purge has deleted.
NONE: Final = Deleted()


def read(session: Session, holder: Holder) -> Deleted:
    """Return what a run has deleted and given up, if it has; any attempt after the COMMIT finds the same."""
    stones = session.rows(_STONES, (holder.installation, holder.run))
    given_up = session.rows(_GIVEN_UP, (holder.installation, holder.run))
    if not stones and not given_up:
        return NONE
    first = (stones or given_up)[0]
    objects = [_stone(row) for row in stones]
    result: dict[str, Json] = {
        "purged_run": first["subject_run"],
        "purged_at": _time(first["purged_at"]),
        "bytes_before": sum(row["bytes"] for row in stones),
        "bytes_after": sum(row["bytes_after"] for row in stones),
        "objects": [*objects],
        "given_up": [{"kind": row["kind"], "name": row["name"], "how": row["how"]} for row in given_up],
    }
    return Deleted(result, tuple(("object_purged", {"purged_run": first["subject_run"], **told}) for told in objects))


def _stone(row: Row) -> dict[str, Json]:
    told: dict[str, Json] = {key: row[key] for key in ("kind", "name", "was", "how", "rows", "bytes", "checksum")}
    return {**told, "preserved_at": _time(row["preserved_at"])}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
