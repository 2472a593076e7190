"""What a purge would delete: the runs that a number or an age means, with everything that is still kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ledger.database import transaction
from ledger.errors import NothingToPurge, UnknownRun
from ledger.history import find
from ledger.installation import installation_id
from ledger.model import Run
from producers.refusals import refuse
from stepback.installation import Installation
from worker import stock
from worker.commands.purge import why_nothing
from worker.fence import Holder
from worker.stock import Stored
from worker.target import Session


@dataclass(frozen=True)
class Doomed:
    """One run, and what a purge of it would delete."""

    run: int
    migration: str
    stored: tuple[Stored, ...]
    #: Objects that are kept by their text alone: of these nothing is deleted, but they could not be recovered either.
    texts: int

    @property
    def bytes(self) -> int:
        """What it takes on disk."""
        return sum(each.bytes for each in self.stored)


def of_run(here: Installation, run: int) -> Doomed:
    """Return what a purge of one run would delete.

    Raises:
        UnknownRun: There is no such run.
        NothingToPurge: It keeps nothing, or nothing any more; it is in the audit log.
        StepbackError: The target does not answer.
    """
    with transaction(here.engine) as conn:
        known = find(conn, run)
    with here.session(known.target) as session:
        doomed = _look(here, session, known)
        if doomed is not None:
            return doomed
        error = NothingToPurge(why_nothing(session, Holder(installation_id(here.engine), run, 0)))
    refuse(here.engine, actor=here.key.issuer, error=error, target=known.target, migration=known.migration)
    raise error


def older_than(here: Installation, target: str, age: timedelta) -> list[Doomed]:
    """Return what a purge would delete of the runs whose last object has been kept for longer, the oldest run first.

    What an older run keeps may be of a type that a newer one keeps, never the other way round: so this is also the
    order in which they can be deleted.

    Args:
        here: The installation.
        target: Configured name.
        age: Counted by the target's clock.

    Raises:
        StepbackError: The target is not configured, or does not answer.
    """
    installation = installation_id(here.engine)
    with here.session(target) as session:
        old = [
            keeper.run
            for keeper in stock.keepers(session)
            if keeper.installation == installation and keeper.age_seconds > age.total_seconds()
        ]
        found = (_look(here, session, known) for run in old if (known := _known(here, run)) is not None)
        return [doomed for doomed in found if doomed is not None]


def _known(here: Installation, run: int) -> Run | None:
    """Return a run as the ledger knows it; one that was restored from a backup may not know them all."""
    try:
        with transaction(here.engine) as conn:
            return find(conn, run)
    except UnknownRun:
        return None


def _look(here: Installation, session: Session, known: Run) -> Doomed | None:
    installation = installation_id(here.engine)
    stored = tuple(stock.stored_by(session, installation, known.run, known.command_id))
    texts = stock.texts_of(session, installation, known.run)
    return Doomed(known.run, known.migration or "", stored, texts) if stored or texts else None
