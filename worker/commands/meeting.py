"""Rows that come back meet newer ones: what becomes of either, as the command's policy says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ledger.model import Json, Policy
from worker.commands.obstacles import inside
from worker.objects import row_events
from worker.objects.keeping import Keeping
from worker.objects.newer_rows import Meeting
from worker.objects.row_events import Watched
from worker.registry import Kept
from worker.target import Session

#: What a policy calls the rows that it keeps, in the result.
_WORDS: Final = {Policy.OVERWRITE: "overwritten", Policy.ASIDE: "aside"}


def can_be_told_apart(kept: Kept) -> bool:
    """Whether it is rows that a plan has changed, of which one can tell what stands in the place of each."""
    facts = kept.definition["facts"]
    return bool(kept.kind == "rows" and facts.get("own") and facts.get("key"))


class Meetings:
    """Where rows that a recovery gives back meet newer ones."""

    def __init__(self, policy: Policy, aside: str) -> None:
        """Begin with none.

        Args:
            policy: Which row wins.
            aside: Schema in quarantine for those that give way.
        """
        self._policy = policy
        self._aside = aside
        self._met: dict[int, Meeting] = {}

    def keeps(self, kept: Iterable[Kept]) -> bool:
        """Return whether rows that give way may have to be kept."""
        return self._policy is not Policy.SKIP and (bool(self._met) or any(can_be_told_apart(each) for each in kept))

    def after(self, session: Session, kept: Kept) -> tuple[str, ...]:
        """Return the statements that follow those which give rows back; none where the table is not there yet."""
        watched = _watched(session, kept) if can_be_told_apart(kept) else None
        if watched is None:
            return ()
        return self.hold(Meeting.of_changed(watched, inside(kept), kept.id))

    def hold(self, meeting: Meeting, first: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the statements of one meeting.

        Args:
            meeting: The rows.
            first: What brings those back that are in nobody's way, where that is not done before.
        """
        self._met[meeting.number] = meeting
        if self._policy is Policy.OVERWRITE:
            return (*meeting.overwrite(self._aside), meeting.count())
        return (*first, *(meeting.put_aside(self._aside) if self._policy is Policy.ASIDE else ()), meeting.count())

    @property
    def all(self) -> Mapping[int, Meeting]:
        """All of them, by the number under which the rows are preserved."""
        return self._met

    def come_to(self, session: Session, numbers: Iterable[int]) -> tuple[Mapping[int, dict[str, Json]], list[Keeping]]:
        """Say what came of rows that were given back, and what gave way to them or waits for review.

        Args:
            session: Inside apply, after the last change.
            numbers: Under which they were preserved; of those that had nothing to meet, nothing is said.

        Returns:
            By number `kept` and `not_back`, numbers of rows, and by policy `overwritten` or `aside`; and how rows that
            gave way are kept.
        """
        figures: dict[int, dict[str, Json]] = {}
        keepings: list[Keeping] = []
        for number in numbers:
            if number not in self._met:
                continue
            meeting = self._met[number]
            total, missing = meeting.counted(session)
            figures[number] = {"kept": total, "not_back": missing}
            if self._policy is not Policy.SKIP:
                count = self._gave_way(session, meeting)
                figures[number][_WORDS[self._policy]] = count
                keepings += (
                    [row_events.keeping(meeting.watched, self._aside, f"policy {self._policy}")] if count else []
                )
        return figures, keepings

    def _gave_way(self, session: Session, meeting: Meeting) -> int:
        """Count the rows that gave way; a table for none is not kept."""
        table = meeting.watched.inside(self._aside)
        count: int = session.value(f"SELECT count(*) FROM {table}")
        if count == 0:
            session.execute(f"DROP TABLE {table}")
        return count


#: Columns that both have: others were added since, and are nobody's business.
_TABLE = """
SELECT c.oid::bigint, n.nspname AS schema, c.relname AS name,
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a JOIN pg_attribute AS k
                 ON k.attrelid = to_regclass(%(inside)s) AND k.attname = a.attname AND NOT k.attisdropped
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              ORDER BY a.attnum) AS columns,
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attidentity = 'a') AS fixed
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%(table)s)
"""


def _watched(session: Session, kept: Kept) -> Watched | None:
    facts = kept.definition["facts"]
    found = session.row(_TABLE, {"table": facts["table"], "inside": inside(kept)})
    if found is None or not {*facts["own"], *facts["key"]} <= {*found["columns"]}:
        return None
    return Watched(
        found["oid"],
        found["schema"],
        found["name"],
        kept.name,
        kept.ordinal,
        tuple(found["columns"]),
        tuple(facts["key"]),
        frozenset(found["fixed"]),
        tuple(name for name in found["columns"] if name not in facts["own"]),
    )
