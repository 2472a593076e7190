"""Which columns are copied before apply, and why others are not: the plan's note says so either way."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from ledger.errors import PlanRefused
from worker.objects.keeping import Action, Keeping, merge
from worker.objects.online_copy import OnlineCopy, use
from worker.online import keeper
from worker.target import Row, Session

#: Keys are compared by the server's own equality, which must not be coarser or finer than that of the index.
_ABOUT = """
SELECT c.oid::regclass::text AS label, c.relkind = 'r' AND c.relpersistence = 'p' AS plain,
       c.relforcerowsecurity AS forced,
       EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid OR inhrelid = c.oid) AS of_family,
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = ANY (%(columns)s) AND attgenerated = 'v')
           AS computed,
       (SELECT bool_and((t.typtype = 'e' OR t.typtype = 'b' AND t.typnamespace = 'pg_catalog'::regnamespace)
                        AND coalesce(l.collisdeterministic, true))
          FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
          LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
         WHERE a.attrelid = c.oid AND a.attname = ANY (%(key)s)) AS key_is_plain,
       -- As the planner does it; a table that was never analyzed is taken for one with short rows.
       CASE WHEN c.reltuples > 0 AND c.relpages > 0
            THEN c.reltuples / c.relpages * (pg_relation_size(c.oid) / current_setting('block_size')::integer)
            ELSE pg_relation_size(c.oid) / 100.0 END::bigint AS rows,
       EXISTS (SELECT FROM emergency_backup.online_copies AS o
                WHERE o.quarantine = %(quarantine)s AND o.relation = c.oid) AS begun
  FROM pg_class AS c WHERE c.oid = %(relation)s
"""


@dataclass(frozen=True)
class Choice:
    """What is copied online, and what the plan says about all that is copied."""

    copies: tuple[OnlineCopy, ...]
    notes: tuple[str, ...]


def choose(
    session: Session,
    keepings: Iterable[Keeping],
    threshold: int,
    decided: Collection[int] | None,
    taken: Collection[int] = (),
) -> Choice:
    """Choose between a copy that is made while others write and one under the lock.

    Args:
        session: In the target, in the transaction that compiled them.
        keepings: Of a stage before which the plan has run no statement of its own: it may have written what it drops.
        threshold: Rows from which on a table is large.
        decided: OIDs of the tables that were chosen when the run was prepared first: sizes change, the choice stays.
        taken: OIDs of the tables that another stage of the run copies online: a table has one such copy at a time.

    Raises:
        PlanRefused: A table cannot be copied online any more, although it was begun.
    """
    copies: list[OnlineCopy] = []
    notes: list[str] = []
    for copy in _copies(keepings):
        names = {"relation": copy.relation, "columns": list(copy.columns), "key": list(copy.key)}
        about = session.row(_ABOUT, {**names, "quarantine": copy.quarantine})
        assert about is not None  # noqa: S101 - it was compiled in this transaction
        label = about["label"]
        obstacle, large = _obstacle(about), about["rows"] >= threshold
        if copy.relation in taken:
            obstacle, about["begun"] = "another part of the plan drops columns of it, which are copied before", False
        bound = about["begun"] or (decided is not None and copy.relation in decided)
        if bound and obstacle is not None:
            raise PlanRefused(f"columns of {label} were being copied, but now {obstacle}; ask again")
        if bound or (decided is None and large and obstacle is None):
            copies.append(replace(copy, label=label))
            notes.append(f"columns of {label} are copied before the lock, while others write")
        else:
            reason = obstacle or f"about {about['rows']:,} rows, online_rows is {threshold:,}"
            notes.append(f"columns of {label} are copied under the lock: {reason}")
    return Choice(tuple(copies), tuple(notes))


def _copies(keepings: Iterable[Keeping]) -> list[OnlineCopy]:
    columns: dict[tuple[int, str, str], list[Keeping]] = {}
    for keeping in keepings:
        # Without a key nobody could tell what became of a row while others write.
        if keeping.item.action is Action.COPIED and "column" in keeping.facts and keeping.facts["key"]:
            assert keeping.quarantine is not None and keeping.relation is not None  # noqa: S101, PT018 - columns have
            place = (keeping.item.address.objid, keeping.quarantine, keeping.relation)
            columns.setdefault(place, []).append(keeping)
    return [
        OnlineCopy(
            relation,
            str(group[0].facts["table"]),
            quarantine,
            name,
            _names(group[0].facts["key"]),
            tuple(sorted(str(keeping.facts["column"]) for keeping in group)),
        )
        for (relation, quarantine, name), group in columns.items()
    ]


def _names(value: object) -> tuple[str, ...]:
    assert isinstance(value, list)  # noqa: S101 - worker/objects/column.py puts a list there
    return tuple(str(name) for name in value)


def _obstacle(about: Row) -> str | None:
    """Say why columns of a table cannot be copied online; None if they can."""
    if not about["plain"] or about["of_family"]:
        return "the table is unlogged, or has partitions, parents or children"
    if about["forced"]:
        return "the table's policies bind its owner too"
    if about["computed"]:
        return "one of them is computed when it is read"
    return None if about["key_is_plain"] else "the table's key is of a type or collation of its own"


class Chooser:
    """Chooses once for each stage of a run, when it is prepared first, and holds to it."""

    def __init__(self) -> None:
        self._choices: dict[int, Choice] = {}

    @property
    def copies(self) -> tuple[OnlineCopy, ...]:
        """What is copied online."""
        return tuple(copy for choice in self._choices.values() for copy in choice.copies)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the plan says about all that is copied."""
        return tuple(note for choice in self._choices.values() for note in choice.notes)

    def use(self, session: Session, keepings: Iterable[Keeping], threshold: int, number: int) -> tuple[Keeping, ...]:
        """Let columns of large tables be dropped on the strength of copies made before.

        Args:
            session: In the target, in the transaction that compiled them.
            keepings: Of the stage.
            threshold: Rows from which on a table is large.
            number: The place of the stage.

        Raises:
            PlanRefused: A table cannot be copied online any more, although it was begun.
        """
        keepings = tuple(keepings)
        known = self._choices.get(number)
        decided = None if known is None else {copy.relation for copy in known.copies}
        taken = {c.relation for other, choice in self._choices.items() if other != number for c in choice.copies}
        choice = choose(session, keepings, threshold, decided, taken)
        self._choices[number] = choice
        return use(keepings, choice.copies, merge([keeper.permits(session, copy) for copy in choice.copies]))
