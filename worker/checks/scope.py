"""What checks look at: everything, or what runs of one migration have touched. Files read it as settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from worker.target import Session, array


@dataclass(frozen=True)
class Scope:
    """What checks look at; None: everything."""

    migrations: tuple[str, ...] | None = None
    runs: tuple[int, ...] | None = None
    #: Tables by OID: those that moved, lost or changed something, and those that were locked for it.
    relations: tuple[int, ...] | None = None
    #: The run that the checks come right after; None: they were asked for by themselves.
    after: int | None = None

    def settings(self) -> Mapping[str, str]:
        """Return it as the settings that a check may read with `current_setting('stepback.…', true)`."""
        return {
            "stepback.migrations": _told(self.migrations),
            "stepback.runs": _told(self.runs),
            "stepback.relations": _told(self.relations),
            "stepback.after": "" if self.after is None else str(self.after),
        }


def of_migration(session: Session, migration: str) -> Scope | None:
    """Return what every run of a migration has touched; None if no run has been there."""
    return _touched(session, migration, None, None, None)


def of_runs(session: Session, installation: UUID, runs: Collection[int], migration: str, after: int) -> Scope:
    """Return what runs have touched for a migration, that of a composite plan or of one of its members.

    Args:
        session: In the target.
        installation: Whose runs.
        runs: Their numbers.
        migration: Its name.
        after: The run that has just committed.
    """
    found = _touched(session, migration, installation, runs, after)
    return found or Scope((migration,), tuple(sorted(runs)), (), after)


# The locks of a preserved object name every table that it has to do with; an object without rows may be one itself.
_TOUCHED = """
SELECT array_agg(DISTINCT kept.migration) AS migrations, array_agg(DISTINCT kept.run) AS runs,
       coalesce(array_agg(DISTINCT touched.oid) FILTER (WHERE touched.oid IS NOT NULL), '{}') AS relations
  FROM emergency_backup.preserved_objects AS kept
  JOIN emergency_backup.marker AS marker USING (installation, run)
  LEFT JOIN LATERAL (
    SELECT kept.objid::bigint WHERE kept.catalog = 'pg_class'
    UNION
    SELECT (lock ->> 1)::bigint FROM jsonb_array_elements(kept.definition -> 'locks') AS lock
  ) AS touched (oid) ON true
 WHERE %(migration)s IN (kept.migration, marker.migration)
   AND (kept.installation = %(installation)s::uuid) IS NOT FALSE
   AND (kept.run = ANY (%(runs)s::bigint[])) IS NOT FALSE
"""


def _touched(
    session: Session, migration: str, installation: UUID | None, runs: Collection[int] | None, after: int | None
) -> Scope | None:
    told = {"migration": migration, "installation": installation, "runs": None if runs is None else [*runs]}
    found = session.row(_TOUCHED, told)
    if found is None or found["runs"] is None:
        return None
    migrations = tuple(dict.fromkeys((migration, *found["migrations"])))
    return Scope(migrations, tuple(found["runs"]), tuple(found["relations"]), after)


def _told(values: Collection[object] | None) -> str:
    return "" if values is None else array(values)
