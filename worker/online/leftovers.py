"""Letting go of copies that no apply has used: triggers, function, half-made copy and the row that told of them.

A copy that a committed run keeps has no such row any more, since apply takes it away; so it is never touched.
"""

from __future__ import annotations

from uuid import UUID

from ledger.errors import Fenced
from worker.objects.keeping import quoted
from worker.target import Row, Session

_OPEN = """
SELECT c.run, c.relation::bigint, c.source, c.quarantine, c.copy FROM emergency_backup.online_copies AS c
 WHERE c.installation = %(installation)s AND (%(run)s::bigint IS NULL OR c.run = %(run)s::bigint)
   AND (%(relation)s::oid IS NULL OR c.relation = %(relation)s::oid)
   AND NOT EXISTS (SELECT FROM emergency_backup.marker AS m WHERE m.installation = c.installation AND m.run = c.run)
 ORDER BY c.run, c.relation
"""

_TRIGGERS = """
SELECT t.tgname AS name, n.nspname AS schema, c.relname AS "table"
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS pn ON pn.oid = p.pronamespace
 WHERE pn.nspname = %(quarantine)s AND p.proname = %(function)s
 ORDER BY t.tgname
"""

_HOLDS = """
SELECT EXISTS (SELECT FROM pg_depend AS d JOIN pg_namespace AS n ON d.refobjid = n.oid
                WHERE d.refclassid = 'pg_namespace'::regclass AND n.nspname = %s)
"""


def of_run(session: Session, installation: UUID, run: int | None) -> list[Row]:
    """Return the copies that a run has begun and no apply has used; of all runs, if it is None."""
    return session.rows(_OPEN, {"installation": installation, "run": run, "relation": None})


def let_go(session: Session, installation: UUID, left: Row, attempt: int | None = None) -> None:
    """Take one copy away with all that kept it true; it is a moment's lock, for the triggers.

    Args:
        session: In the target.
        installation: Whose run it is.
        left: As `of_run` returned it.
        attempt: The attempt that does so; None if the run is over, so that there will be no other.

    Raises:
        LockNotAvailable: The table is in use for longer than lock_timeout; nothing was taken away.
        Fenced: A newer attempt has the run.
    """
    quarantine, relation = left["quarantine"], left["relation"]
    with session.transaction():
        # An apply that is under way holds the fence: it is waited for, and what it has used is looked for again.
        held = session.value(
            "SELECT attempt FROM emergency_backup.fence WHERE installation = %s AND run = %s FOR UPDATE",
            (installation, left["run"]),
        )
        if attempt is not None and held != attempt:
            raise Fenced(f"attempt {attempt} of run {left['run']} is not the one that may write")
        if not session.rows(_OPEN, {"installation": installation, "run": left["run"], "relation": relation}):
            return
        function, marks = f"stepback keep {relation}", f"stepback marks {relation}"
        for trigger in session.rows(_TRIGGERS, {"quarantine": quarantine, "function": function}):
            session.execute(f"DROP TRIGGER {quoted(trigger['name'])} ON {quoted(trigger['schema'], trigger['table'])}")
        session.execute(f"DROP FUNCTION IF EXISTS {quoted(quarantine, function)}()")
        session.execute(f"DROP SEQUENCE IF EXISTS {quoted(quarantine, marks)}")
        session.execute(f"DROP TABLE IF EXISTS {quoted(quarantine, left['copy'])}")
        session.execute(
            "DELETE FROM emergency_backup.online_copies WHERE installation = %s AND run = %s AND relation = %s",
            (installation, left["run"], relation),
        )
        if not session.value(_HOLDS, (quarantine,)):
            session.execute(f"DROP SCHEMA IF EXISTS {quoted(quarantine)}")
