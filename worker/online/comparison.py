"""A copy and its table side by side: every difference in one snapshot, and how each is put right.

What is found is taken out of the copy and filled in again from rows that are locked FOR SHARE meanwhile: nobody can
change or delete such a row before the copy of it is committed, so that neither ghosts nor stale values come in. Rows
that somebody else holds are skipped: nobody is waited for with locks in hand.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing

from worker import fence
from worker.fence import Holder
from worker.objects.keeping import quoted
from worker.objects.online_copy import OnlineCopy
from worker.target import Session

#: Keys in one transaction, so that writers of these rows wait for milliseconds.
CHUNK = 1000


def is_same(session: Session, copy: OnlineCopy) -> bool:
    """Whether copy and table are the same in one snapshot, told without reading every row against the other.

    A row that no transaction has written since the copy was begun is in it as it was: the copy was made in one
    statement, and triggers touch a key only when its row is written. So the rows that are newer are compared, by key;
    and when all rows of the table are in the copy, and both have as many, the copy has nothing else. What xmin says of
    rows that were frozen long ago may make them look newer, never older.

    Once rows were copied again by themselves this is no proof any more: a row that somebody had locked may be missing,
    and make up for one too many.
    """
    session.begin(read_only=True)
    try:
        # Few rows are newer, which the planner cannot know: each is looked up by its key.
        session.execute(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL enable_hashjoin = off;"
            " SET LOCAL enable_mergejoin = off"
        )
        since = session.value(
            "SELECT since::xid::text FROM emergency_backup.online_copies WHERE quarantine = %s AND relation = %s",
            (copy.quarantine, copy.relation),
        )
        if since is None:
            return False
        table, newer = f"ONLY {copy.table} AS now", f"age(now.xmin) <= age('{since}'::xid)"
        counted = session.row(
            f"SELECT count(*) = (SELECT count(*) FROM {copy.inside}) AS as_many,"
            f" count(*) FILTER (WHERE {newer}) AS newer FROM {table}"
        )
        assert counted is not None  # noqa: S101 - an aggregate always has a row
        if not counted["as_many"] or counted["newer"] == 0:
            return bool(counted["as_many"])
        return not session.value(
            f"SELECT EXISTS (SELECT FROM {table} WHERE {newer} AND NOT EXISTS (SELECT FROM {copy.inside} AS kept"
            f" WHERE {copy.match('now', 'kept')} AND NOT {copy.differ('now', 'kept')}))"
        )
    finally:
        session.rollback()


def compare(session: Session, copy: OnlineCopy) -> Generator[Sequence[Sequence[str]]]:
    """Give the keys, as text, of all rows that one has and the other has not, or that differ; in chunks.

    To be closed after use.
    """
    key = ", ".join(f"coalesce(now.{quoted(name)}, kept.{quoted(name)})::text" for name in copy.key)
    found = session.chunks(
        f"SELECT ARRAY[{key}] AS key FROM ONLY {copy.table} AS now FULL JOIN {copy.inside} AS kept"
        f" ON {copy.match('now', 'kept')} WHERE {copy.differ('now', 'kept')}",
        CHUNK,
    )
    with closing(found):
        for chunk in found:
            yield [row["key"] for row in chunk]


def put_right(session: Session, holder: Holder, copy: OnlineCopy, keys: Sequence[Sequence[str]]) -> None:
    """Copy the rows of some keys again."""
    columns, listed = ", ".join(copy.all_columns), copy.listed("now")
    ordered = ", ".join(f"now.{quoted(name)}" for name in copy.key)
    with session.transaction():
        fence.stand_behind(session, holder)
        session.execute(
            "UPDATE emergency_backup.online_copies SET since = NULL"
            " WHERE quarantine = %s AND relation = %s AND since IS NOT NULL",
            (copy.quarantine, copy.relation),
        )
        wanted, values = _wanted(session, copy, keys)
        session.execute(
            f"DELETE FROM {copy.inside} WHERE ctid = ANY (ARRAY(SELECT kept.ctid FROM {copy.inside} AS kept"
            f" JOIN {wanted} ON {copy.match('kept', 'wanted')} FOR UPDATE OF kept SKIP LOCKED))",
            values,
        )
        session.execute(
            f"INSERT INTO {copy.inside} ({columns}) SELECT {listed} FROM ONLY {copy.table} AS now"
            f" JOIN {wanted} ON {copy.match('now', 'wanted')}"
            f" ORDER BY {ordered} FOR SHARE OF now SKIP LOCKED ON CONFLICT DO NOTHING",
            values,
        )


def _wanted(session: Session, copy: OnlineCopy, keys: Sequence[Sequence[str]]) -> tuple[str, list[list[str]]]:
    """Return a table of some keys, each column of its own type, with its parameters."""
    found = session.rows(
        "SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
        " WHERE attrelid = %s AND attname = ANY (%s)",
        (copy.relation, list(copy.key)),
    )
    types = {row["name"]: row["type"] for row in found}
    names = [quoted(name) for name in copy.key]
    casts = ", ".join(f"{name}::{types[own]} AS {name}" for own, name in zip(copy.key, names, strict=True))
    arrays = ", ".join("%s::text[]" for _ in names)
    wanted = f"(SELECT DISTINCT {casts} FROM unnest({arrays}) AS told ({', '.join(names)})) AS wanted"
    return wanted, [list(column) for column in zip(*keys, strict=True)]
