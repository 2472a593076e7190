"""What a rollback makes, its recovery must be able to take away: rehearsed before it commits, on the very catalog."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ledger.errors import PlanRefused, Refused
from worker.objects.keeping import Address, Keeping
from worker.objects.quarantine import Quarantine
from worker.plan.compile import compile_removal
from worker.plan.impact import of_addresses
from worker.target import Session

#: Whether a view has more columns than it had, and something that would be in the way when it is dropped.
_GROWN = """
SELECT (SELECT count(*) FROM pg_attribute WHERE attrelid = v.oid AND attnum > 0) > %s AND EXISTS (
       SELECT FROM pg_depend AS d LEFT JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
        WHERE d.deptype = 'n' AND w.ev_class IS DISTINCT FROM v.oid
          AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid
               OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)))
  FROM pg_class AS v JOIN pg_type AS t ON t.oid = v.reltype WHERE v.oid = %s
"""


def refuse_what_would_stay(session: Session, made: Sequence[Address], line: int) -> None:
    """Refuse a statement whose work no recovery could undo.

    A recovery keeps what it takes away, too: a column without a key to tell its rows by, say, could not be kept. By
    then it is too late to say so, since what the rollback removed could not come back either.

    Args:
        session: Inside apply, right after the statement: as it will be when a recovery gets there.
        made: What the statement has made.
        line: Of the statement.

    Raises:
        PlanRefused: Names the object, and why it would have to stay.
    """
    if not made:
        return
    try:
        impact = of_addresses(session, made, f"line {line} makes it")
        compile_removal(session, impact, Quarantine(0, UUID(int=0)))
    except Refused as error:
        raise PlanRefused(f"a recovery could not take away what this makes: {error.message}", line=line) from error


def refuse_grown_views(session: Session, keepings: Sequence[Keeping], line: int) -> None:
    """Refuse to give a view more columns while something depends on it: to take them away it must be dropped.

    Raises:
        PlanRefused: Names the view.
    """
    for keeping in keepings:
        columns = keeping.facts.get("columns")
        if columns and session.value(_GROWN, (columns, keeping.item.address.objid)):
            raise PlanRefused(
                f"{keeping.item.label()} gets more columns, which a recovery could only take away by dropping it, and"
                " something depends on it; drop that first, and create it again afterwards",
                line=line,
            )
