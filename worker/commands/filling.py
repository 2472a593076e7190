"""Which columns of large tables are filled before apply when they come back, instead of under its lock."""

from __future__ import annotations

from collections.abc import Sequence

from worker.commands.obstacles import inside
from worker.commands.rebuilding import LARGE_BYTES
from worker.fence import Holder
from worker.objects import column
from worker.objects.keeping import Permits, merge
from worker.objects.online_fill import FillColumn, OnlineFill
from worker.online import filling
from worker.registry import Kept
from worker.target import Session

#: Subscribers of a publication would not know the columns; relatives would get them, too.
_TABLE = """
SELECT c.oid::regclass::text AS label
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass(%(table)s) AND c.oid = %(relation)s AND c.relkind = 'r' AND c.relpersistence = 'p'
   AND pg_table_size(c.oid) >= %(large)s
   AND NOT EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent))
   AND NOT EXISTS (SELECT FROM pg_publication_tables AS p WHERE p.schemaname = n.nspname AND p.tablename = c.relname)
"""


class Fills:
    """Chooses once, when the recovery is prepared first, and holds to it: sizes change, the choice stays."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._decided: set[int] | None = None
        self._by_kept: dict[int, OnlineFill] = {}

    @property
    def all(self) -> tuple[OnlineFill, ...]:
        """What is filled online."""
        return tuple(dict.fromkeys(self._by_kept.values()))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the plan says about it."""
        return tuple(f"columns of {fill.label} are filled before the lock, while others write" for fill in self.all)

    def of(self, kept: Kept) -> OnlineFill | None:
        """Return the fill that an object comes back by, if it does."""
        return self._by_kept.get(kept.id)

    def permits(self, session: Session) -> Permits:
        """Return the catalog rows that change when the columns get their names."""
        return merge([filling.permits(session, fill) for fill in self.all])

    def choose(self, session: Session, kept: Sequence[Kept]) -> None:
        """Choose among columns that come back.

        Args:
            session: In the target.
            kept: All that comes back.
        """
        groups: dict[tuple[int, str | None], list[Kept]] = {}
        for each in kept:
            if each.how == "copied" and "column" in each.definition["facts"]:
                groups.setdefault((each.address.objid, each.relation), []).append(each)
        self._by_kept = {}
        for (relation, _name), group in groups.items():
            fill = self._fill(session, relation, group) if _is_alone(relation, group, kept) else None
            if fill is not None and (self._decided is None or relation in self._decided):
                self._by_kept |= {each.id: fill for each in group}
        if self._decided is None:
            self._decided = {fill.relation for fill in self.all}

    def _fill(self, session: Session, relation: int, group: Sequence[Kept]) -> OnlineFill | None:
        facts = [each.definition["facts"] for each in group]
        can = all(told["key"] and told.get("type") and "(" not in (told.get("filling") or "") for told in facts)
        if not can or sum("values" in told for told in facts) != 1:
            return None
        begun = filling.is_begun(session, self._holder, relation)
        about = {"table": facts[0]["table"], "relation": relation, "large": 0 if begun else LARGE_BYTES}
        found = session.row(_TABLE, about)
        if found is None or column.firing(session, relation) != ((), ()):
            return None
        columns = tuple(
            FillColumn(
                told["column"], f"stepback {self._holder.run} {each.address.subid}", told["type"], told["filling"]
            )
            for each, told in zip(group, facts, strict=True)
        )
        key = tuple(facts[0]["key"])
        return OnlineFill(relation, facts[0]["table"], inside(group[0]), key, columns, found["label"])


def _is_alone(relation: int, group: Sequence[Kept], kept: Sequence[Kept]) -> bool:
    """Whether the rollback has done nothing else about the table itself, which would have to come first."""
    return not any(
        other.address.catalog == "pg_class" and other.address.objid == relation for other in kept if other not in group
    )
