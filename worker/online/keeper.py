"""Making a copy, keeping it true by triggers, and letting go of it: each one short transaction behind the fence."""

from __future__ import annotations

import json
from typing import Any

from worker import fence
from worker.fence import Holder
from worker.objects.keeping import GONE, Address, Permits
from worker.objects.online_copy import OnlineCopy, make, watch
from worker.target import Session

_KEY = "installation = %(installation)s AND run = %(run)s AND relation = %(relation)s"

#: Whether key and columns of the table are still of the types that the copy was made with.
_FITS = """
SELECT count(*) = cardinality(%(columns)s::text[])
  FROM pg_attribute AS now JOIN pg_attribute AS kept USING (attname, atttypid, atttypmod, attcollation)
 WHERE now.attrelid = %(relation)s AND kept.attrelid = to_regclass(%(inside)s) AND NOT now.attisdropped
   AND now.attname = ANY (%(columns)s)
"""

#: All that stands and falls with the triggers. A row that is written anew gets another xmin and ctid.
NOTE = """
SELECT jsonb_build_object(
           'function', jsonb_build_array(p.oid::bigint, p.xmin::text, p.ctid::text),
           'triggers', (SELECT jsonb_agg(jsonb_build_array(t.oid::bigint, t.tgrelid::bigint, t.xmin::text, t.ctid::text,
                                                           t.tgenabled::text) ORDER BY t.oid)
                          FROM pg_trigger AS t WHERE t.tgfoid = p.oid)) AS keeper,
       coalesce(pg_sequence_last_value(s.oid), 0) AS marks,
       jsonb_build_array(pg_relation_filenode(%(relation)s::oid)::bigint, pg_relation_filenode(k.oid)::bigint) AS files,
       (SELECT jsonb_agg(jsonb_build_array(inhrelid::bigint, inhparent::bigint) ORDER BY inhrelid, inhparent)
          FROM pg_inherits WHERE inhrelid = %(relation)s OR inhparent = %(relation)s) AS family,
       c.keeper AS made, c.quiet, c.notes, s.oid::bigint AS sequence
  FROM emergency_backup.online_copies AS c
  JOIN pg_namespace AS n ON n.nspname = c.quarantine
  JOIN pg_class AS k ON k.relnamespace = n.oid AND k.relname = c.copy
  JOIN pg_class AS s ON s.relnamespace = n.oid AND s.relname = %(marks)s
  JOIN pg_proc AS p ON p.pronamespace = n.oid AND p.proname = %(function)s
 WHERE c.quarantine = %(quarantine)s AND c.relation = %(relation)s
"""


def note(session: Session, copy: OnlineCopy) -> dict[str, Any] | None:
    """Return what the catalog says about a copy and its triggers, and what was written down; None if a part is gone."""
    return session.row(
        NOTE,
        {
            "relation": copy.relation,
            "quarantine": copy.quarantine,
            "marks": copy.marks_name,
            "function": copy.function_name,
        },
    )


def is_begun(session: Session, holder: Holder, copy: OnlineCopy) -> bool:
    """Whether an earlier attempt has made a copy that still fits the table."""
    made = session.value(f"SELECT true FROM emergency_backup.online_copies WHERE {_KEY}", _where(holder, copy))
    columns = {"columns": [*copy.key, *copy.columns], "relation": copy.relation, "inside": copy.inside}
    return bool(made) and bool(session.value(_FITS, columns))


def begin(session: Session, holder: Holder, copy: OnlineCopy) -> None:
    """Make the copy, as the table is at one moment; nobody has to wait for it."""
    with session.transaction():
        fence.stand_behind(session, holder)
        since = session.value("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        for statement in make(copy):
            session.execute(statement)
        session.execute(
            "INSERT INTO emergency_backup.online_copies (installation, run, relation, source, quarantine, copy, since)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (holder.installation, holder.run, copy.relation, copy.table, copy.quarantine, copy.name, since),
        )


def is_kept(session: Session, copy: OnlineCopy) -> bool:
    """Whether the triggers are as they were made."""
    noted = note(session, copy)
    return noted is not None and noted["keeper"] == noted["made"]


def keep(session: Session, holder: Holder, copy: OnlineCopy) -> None:
    """Put the triggers on, or on again; waits for everybody who writes to the table, and lets nobody in meanwhile.

    Raises:
        LockNotAvailable: Somebody writes for longer than lock_timeout.
    """
    with session.transaction():
        fence.stand_behind(session, holder)
        session.execute(f"LOCK TABLE ONLY {copy.table} IN SHARE ROW EXCLUSIVE MODE")
        for statement in watch(copy):
            session.execute(statement)
        noted = note(session, copy)
        assert noted is not None  # noqa: S101 - all of it was just made
        _write(session, holder, copy, keeper=noted["keeper"], marks=noted["marks"])


def wait_for_writers(session: Session, holder: Holder, copy: OnlineCopy) -> None:
    """Let all who left a mark come to their end: what they did is there to be compared, or taken back.

    Raises:
        LockNotAvailable: Somebody writes for longer than lock_timeout.
    """
    with session.transaction():
        fence.stand_behind(session, holder)
        session.execute(f"LOCK TABLE ONLY {copy.table} IN SHARE MODE")
        noted = note(session, copy)
        if noted is not None:
            _write(session, holder, copy, keeper=noted["made"], marks=noted["marks"])


def _write(session: Session, holder: Holder, copy: OnlineCopy, *, keeper: object, marks: int) -> None:
    session.execute(
        "UPDATE emergency_backup.online_copies SET keeper = %(keeper)s::jsonb, quiet = %(marks)s, notes = NULL"
        f" WHERE {_KEY}",
        {**_where(holder, copy), "keeper": json.dumps(keeper), "marks": marks},
    )


def declare_complete(session: Session, holder: Holder, copy: OnlineCopy, notes: dict[str, Any]) -> None:
    """Write down what was noted before a comparison that found no difference."""
    with session.transaction():
        fence.stand_behind(session, holder)
        session.execute(
            f"UPDATE emergency_backup.online_copies SET notes = %(notes)s::jsonb WHERE {_KEY}",
            {**_where(holder, copy), "notes": json.dumps(notes)},
        )


def permits(session: Session, copy: OnlineCopy) -> Permits:
    """Return the catalog rows that go with the triggers, their function and its sequence."""
    noted = note(session, copy)
    if noted is None:
        return {}
    keeper = noted["keeper"]
    return {
        Address("pg_proc", keeper["function"][0]): GONE,
        Address("pg_class", noted["sequence"]): GONE,
        **{Address("pg_trigger", trigger[0]): GONE for trigger in keeper["triggers"] or ()},
    }


def _where(holder: Holder, copy: OnlineCopy) -> dict[str, Any]:
    return {"installation": holder.installation, "run": holder.run, "relation": copy.relation}
