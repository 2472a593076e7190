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
