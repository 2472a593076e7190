"""Locks of relations of every kind, and the names that they are taken by."""

from __future__ import annotations

from collections.abc import Mapping

from worker.objects.keeping import quoted
from worker.target import Session
from worker.work import Lock

_LOCKED_OTHERWISE = """
SELECT c.oid::bigint, format('%%I.%%I', n.nspname, c.relname) AS name,
       CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'm' THEN 'MATERIALIZED VIEW' END AS word,
       pg_get_userbyid(c.relowner) AS owner
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%s::oid[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
 ORDER BY c.oid
"""


def locks_of(session: Session, modes: Mapping[int, str]) -> tuple[Lock, ...]:
    """Return the locks of some relations, in the order in which they are taken.

    LOCK TABLE takes neither sequences nor materialized views. To give one to the owner that it has changes nothing, and
    takes the same lock; so a position read afterwards is the last one.

    Args:
        session: In the target.
        modes: By OID.
    """
    return tuple(
        Lock(
            row["oid"],
            row["name"],
            modes[row["oid"]],
            None if row["word"] is None else f"ALTER {row['word']} {row['name']} OWNER TO {quoted(row['owner'])}",
        )
        for row in session.rows(_LOCKED_OTHERWISE, (sorted(modes),))
    )


def relation_names(session: Session, oids: set[int]) -> dict[int, str]:
    """Return qualified, quoted names of relations, by OID."""
    found = session.rows(
        "SELECT c.oid::bigint, n.nspname AS schema, c.relname AS name FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = ANY (%s::oid[])",
        (sorted(oids),),
    )
    return {row["oid"]: quoted(row["schema"], row["name"]) for row in found}
