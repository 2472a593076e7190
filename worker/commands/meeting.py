"""Rows that come back meet newer ones: what becomes of either, as the command's policy says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.model import Json, Policy
from worker.commands.obstacles import inside
from worker.objects import row_events
from worker.objects.keeping import Keeping
from worker.objects.newer_rows import Meeting
from worker.objects.row_events import Watched
from worker.registry import Kept
from worker.target import Session


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
        """Return whether rows may have to be kept."""
        return self._policy is not Policy.SKIP and any(can_be_told_apart(each) for each in kept)

    def after(self, session: Session, kept: Kept) -> list[str]:
        """Return the statements that follow those which give rows back; none where the table is not there yet."""
        watched = self._watched(session, kept) if can_be_told_apart(kept) else None
        if watched is None:
            return []
        meeting = self._met[kept.id] = Meeting(watched, inside(kept), kept.id)
        if self._policy is Policy.OVERWRITE:
            return [*meeting.overwrite(self._aside), meeting.count()]
        return [*(meeting.put_aside(self._aside) if self._policy is Policy.ASIDE else ()), meeting.count()]

    def come_to(self, session: Session, kept: Sequence[Kept]) -> tuple[list[Json], list[Keeping]]:
        """Say what came of rows that were given back, and what gave way to them or waits for review.

        Args:
            session: Inside apply, after the last change.
            kept: What came back.

        Returns:
            For each table `table`, `kept` and `not_back`, numbers of rows, and by policy `overwritten` or `aside`; and
            how rows that gave way are kept.
        """
        figures: list[Json] = []
        keepings: list[Keeping] = []
        for each in kept:
            if each.id not in self._met:
                continue
            meeting = self._met[each.id]
            total, missing = meeting.counted(session)
            told: dict[str, Json] = {"table": each.name, "kept": total, "not_back": missing}
            if self._policy is not Policy.SKIP:
                gave_way, word = self._kept_of(session, meeting), self._WORDS[self._policy]
                told[word] = 0 if gave_way is None else gave_way[0]
                keepings += [] if gave_way is None else [gave_way[1]]
            figures.append(told)
        return figures, keepings

    _WORDS = {Policy.OVERWRITE: "overwritten", Policy.ASIDE: "aside"}  # noqa: RUF012 - never written

    def _kept_of(self, session: Session, meeting: Meeting) -> tuple[int, Keeping] | None:
        table = meeting.watched.inside(self._aside)
        count = session.value(f"SELECT count(*) FROM {table}")
        if count == 0:
            session.execute(f"DROP TABLE {table}")
            return None
        return count, row_events.keeping(meeting.watched, self._aside, f"policy {self._policy}")

    def _watched(self, session: Session, kept: Kept) -> Watched | None:
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
