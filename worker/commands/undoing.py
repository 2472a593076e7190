"""What a rollback makes, its recovery must be able to take away: rehearsed before it commits, on the very catalog."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ledger.errors import PlanRefused, Refused
from worker.objects.keeping import Address
from worker.objects.quarantine import Quarantine
from worker.plan.compile import compile_removal
from worker.plan.impact import of_addresses
from worker.target import Session


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
