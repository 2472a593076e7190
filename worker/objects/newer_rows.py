"""Rows that come back and meet newer ones: counted, put in their place, or put aside for review.

Whatever the policy, no row is lost by it: one that gives way is in quarantine, in the shape of row_events.py, under the
run of the recovery. So a recovery of that recovery gives newer rows back, or takes over those that were for review.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from worker.objects.keeping import quoted
from worker.objects.row_events import EVENT, NOW, ORDER, Watched, as_left, first_kept, history, same_key, set_to_kept
from worker.target import Session


@dataclass(frozen=True)
class Meeting:
    """Preserved rows beside those that are in their place now."""

    #: Where they belong; its table in quarantine is for rows that give way.
    watched: Watched
    #: Number under which they are preserved.
    number: int
    #: What queries read them from, as `kept`.
    rows: str
    #: Beginning of these queries, where there is one.
    begin: str = ""
    #: What a preserved row must meet to be written, by the rules of the table.
    writable: str = "true"
    #: Whether rows without any in their place are added: there are none to add where only values come back.
    adds: bool = True
    #: What tells of row `now` that nobody has written anything into it but the default.
    untouched: str = "false"

    @classmethod
    def of_changed(cls, watched: Watched, inside: str, number: int) -> Self:
        """Return that of rows which a plan has changed, as they were at first, from a table in quarantine."""
        assert watched.key is not None  # noqa: S101 - the caller looked
        return cls(watched, number, first_kept(inside), history(watched.table, inside, watched.key))

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

    def _there(self, condition: str) -> str:
        return f"EXISTS (SELECT FROM ONLY {self.watched.table} AS now WHERE {condition})"

    @property
    def _back(self) -> str:
        return self._there(f"{self._same} AND {self._alike}")

    @property
    def _comes(self) -> str:
        """What a preserved row must meet to come back where newer ones stay."""
        if self.begin:
            left, gone = self._there(as_left(self.watched)), 'ended."stepback leaves" IS NULL'
            return f"({left} OR {gone} AND NOT {self._there(self._same)})"
        if self.adds:
            return f"(NOT {self._there(self._same)} AND {self.writable})"
        return self._there(f"{self._same} AND {self.untouched}")

    def count(self) -> str:
        """Return what counts the rows, and those of them that are not in the table as they were at first.

        It belongs right after they are given back: later on, columns may have other names and types.
        """
        return (
            f"CREATE TEMPORARY TABLE {self._tally} ON COMMIT DROP AS {self.begin}"
            f' SELECT count(*) AS "all", count(*) FILTER (WHERE NOT {self._back}) AS not_back FROM {self.rows}'
        )

    def counted(self, session: Session) -> tuple[int, int]:
        """Return what `count` has found: all, and those that are not back."""
        found = session.row(f'SELECT "all", not_back FROM {self._tally}')
        assert found is not None  # noqa: S101 - an aggregate always has a row
        return found["all"], found["not_back"]

    def foreseen(self, session: Session) -> int:
        """Count the rows that would not come back where newer ones stay; changes nothing."""
        found: int = session.value(
            f"{self.begin} SELECT count(*) FROM {self.rows} WHERE NOT {self._back} AND NOT {self._comes}"
        )
        return found

    def add(self) -> str:
        """Return what adds rows without any in their place, whatever else is taken; the others stay away."""
        names = [quoted(name) for name in self.watched.columns]
        kept = ", ".join(f"kept.{name}" for name in names)
        return (
            f"{self.begin} INSERT INTO {self.watched.table} ({', '.join(names)}) OVERRIDING SYSTEM VALUE SELECT {kept}"
            f" FROM {self.rows} WHERE NOT {self._there(self._same)} AND {self.writable} ON CONFLICT DO NOTHING"
        )

    def fill(self) -> str:
        """Return what sets values where nobody has written anything but the default."""
        return (
            f"UPDATE ONLY {self.watched.table} AS now SET {set_to_kept(self.watched)} FROM {self.rows}"
            f" WHERE {self._same} AND {self.untouched} AND NOT {self._alike}"
        )

    def put_aside(self, quarantine: str) -> tuple[str, ...]:
        """Return what copies rows that are not back into a table for review, each with the one in its place."""
        columns = ", ".join(f"kept.{quoted(name)}" for name in self.watched.columns)
        gone = f"now.{quoted((self.watched.key or ())[0])} IS NULL"
        event = f"CASE WHEN {gone} THEN 'DELETE' ELSE 'UPDATE' END AS {EVENT}, to_jsonb(now.*) AS {NOW}"
        copy = (
            f"CREATE TABLE {self.watched.inside(quarantine)} AS {self.begin}"
            f" SELECT row_number() OVER () AS {ORDER}, {event}, {columns} FROM {self.rows}"
            f" {'LEFT ' * self.adds}JOIN ONLY {self.watched.table} AS now ON {self._same} WHERE NOT {self._alike}"
        )
        return (copy,)

    def overwrite(self, quarantine: str) -> tuple[str, ...]:
        """Return what puts rows in the place of newer ones, and where there is none by now; newer ones are kept first.

        A row whose place is taken by what is unique beside the key does not come back even so.
        """
        watched, inside = self.watched, self.watched.inside(quarantine)
        newer, kept = (", ".join(f"{row}.{quoted(name)}" for name in watched.columns) for row in ("now", "kept"))
        met = quoted("pg_temp", f"stepback met {self.number}")
        meet = f"{self._same} AND NOT {self._alike} AND {self.writable}"
        keep = (
            f"CREATE TEMPORARY TABLE {met} ON COMMIT DROP AS {self.begin} SELECT {newer} FROM {self.rows}"
            f" JOIN ONLY {watched.table} AS now ON {meet}"
        )
        update = (
            f"{self.begin} UPDATE ONLY {watched.table} AS now SET {set_to_kept(watched)} FROM {self.rows} WHERE {meet}"
        )
        # With what takes their place, which tells later whether somebody has touched it since.
        note = (
            f"CREATE TABLE {inside} AS SELECT row_number() OVER () AS {ORDER}, 'UPDATE' AS {EVENT},"
            f" to_jsonb(now.*) AS {NOW}, {kept} FROM {met} AS kept JOIN ONLY {watched.table} AS now ON {self._same}"
        )
        written = (*((update,) if watched.settable else ()), *((self.add(),) if self.adds else ()))
        return (keep, *written, note)
