"""Rows that come back and meet newer ones: counted, put in their place, or put aside for review.

Whatever the policy, no row is lost by it: one that gives way is in quarantine, in the shape of row_events.py, under the
run of the recovery. So a recovery of that recovery gives newer rows back, or takes over those that were for review.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.objects.keeping import quoted
from worker.objects.row_events import EVENT, NOW, ORDER, Watched, first_kept, history, same_key, set_to_kept
from worker.target import Session


@dataclass(frozen=True)
class Meeting:
    """Rows that a run has changed, as they were at first, beside those that are in their place now."""

    #: Where they belong; its table in quarantine is for rows that give way.
    watched: Watched
    #: The table in quarantine that they come from.
    source: str
    #: Number under which they are preserved.
    number: int

    @property
    def _begin(self) -> str:
        assert self.watched.key is not None  # noqa: S101 - the caller looked
        return history(self.watched.table, self.source, self.watched.key)

    @property
    def _same(self) -> str:
        return same_key(self.watched.key or (), "now", "kept")

    @property
    def _alike(self) -> str:
        now, kept = (", ".join(f"{row}.{quoted(name)}" for name in self.watched.own) for row in ("now", "kept"))
        return f"ROW({now})::record OPERATOR(pg_catalog.*=) ROW({kept})::record"

    @property
    def _tally(self) -> str:
        return quoted("pg_temp", f"stepback tally {self.number}")

    def count(self) -> str:
        """Return what counts the rows, and those of them that are not in the table as they were at first.

        It belongs right after they are given back: later on, columns may have other names and types.
        """
        back = f"EXISTS (SELECT FROM ONLY {self.watched.table} AS now WHERE {self._same} AND {self._alike})"
        return (
            f"CREATE TEMPORARY TABLE {self._tally} ON COMMIT DROP AS {self._begin}"
            f' SELECT count(*) AS "all", count(*) FILTER (WHERE NOT {back}) AS not_back FROM {first_kept(self.source)}'
        )

    def counted(self, session: Session) -> tuple[int, int]:
        """Return what `count` has found: all, and those that are not back."""
        found = session.row(f'SELECT "all", not_back FROM {self._tally}')
        assert found is not None  # noqa: S101 - an aggregate always has a row
        return found["all"], found["not_back"]

    def put_aside(self, quarantine: str) -> tuple[str, ...]:
        """Return what copies rows that are not back into a table for review, each with the one in its place."""
        columns = ", ".join(f"kept.{quoted(name)}" for name in self.watched.columns)
        gone = f"now.{quoted((self.watched.key or ())[0])} IS NULL"
        event = f"CASE WHEN {gone} THEN 'DELETE' ELSE 'UPDATE' END AS {EVENT}, to_jsonb(now.*) AS {NOW}"
        copy = (
            f"CREATE TABLE {self.watched.inside(quarantine)} AS {self._begin}"
            f" SELECT row_number() OVER () AS {ORDER}, {event}, {columns} FROM {first_kept(self.source)}"
            f" LEFT JOIN ONLY {self.watched.table} AS now ON {self._same} WHERE NOT {self._alike}"
        )
        return (copy,)

    def overwrite(self, quarantine: str) -> tuple[str, ...]:
        """Return what puts rows in the place of newer ones, and where there is none by now; newer ones are kept first.

        A row whose place is taken by what is unique beside the key does not come back even so.
        """
        watched, inside = self.watched, self.watched.inside(quarantine)
        columns = [quoted(name) for name in watched.columns]
        newer, kept = (", ".join(f"{row}.{name}" for name in columns) for row in ("now", "kept"))
        found = f"FROM {first_kept(self.source)}"
        met = quoted("pg_temp", f"stepback met {self.number}")
        keep = (
            f"CREATE TEMPORARY TABLE {met} ON COMMIT DROP AS {self._begin} SELECT {newer} {found}"
            f" JOIN ONLY {watched.table} AS now ON {self._same} WHERE NOT {self._alike}"
        )
        update = (
            f"{self._begin} UPDATE ONLY {watched.table} AS now SET {set_to_kept(watched)} {found}"
            f" WHERE {self._same} AND NOT {self._alike}"
        )
        insert = (
            f"{self._begin} INSERT INTO {watched.table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE SELECT {kept}"
            f" {found} WHERE NOT EXISTS (SELECT FROM ONLY {watched.table} AS now WHERE {self._same})"
            " ON CONFLICT DO NOTHING"
        )
        # With what takes their place, which tells later whether somebody has touched it since.
        note = (
            f"CREATE TABLE {inside} AS SELECT row_number() OVER () AS {ORDER}, 'UPDATE' AS {EVENT},"
            f" to_jsonb(now.*) AS {NOW}, {kept} FROM {met} AS kept JOIN ONLY {watched.table} AS now ON {self._same}"
        )
        return (keep, *((update,) if watched.settable else ()), insert, note)
