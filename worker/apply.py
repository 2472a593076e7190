"""Apply: the one short transaction in the target. From its first lock to COMMIT it talks to nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from ledger.errors import ImpactChanged, LockNotAvailable, OutcomeUnknown, Refused, StepbackError
from worker import compatibility, fence, gates, moment, registry, stamp
from worker.commands import Procedure
from worker.created import Created
from worker.fence import Done, Holder
from worker.journal import Journal
from worker.moment import Moment
from worker.objects.keeping import merge
from worker.online import copying, filling
from worker.proof import Witness, prove
from worker.target import Session
from worker.work import Change, Lock, Section, Work


@dataclass(frozen=True)
class Apply:
    """What one apply needs; `once` may be tried again after a lock that was not granted."""

    session: Session
    #: Sees the catalogs without our changes; it also names who holds a lock that we wait for.
    witness: Session
    holder: Holder
    kind: str
    migration: str
    procedure: Procedure
    at: Callable[[str], None]

    def once(self, expected: Work, note: Callable[[str], None]) -> float:
        """Try the transaction once.

        Args:
            expected: What preflight found.
            note: Writes the transaction's number to the ledger, before the first lock.

        Returns:
            Seconds from the first lock to the end of COMMIT.

        Raises:
            LockNotAvailable: Nothing was changed; may be tried again.
            CopyOutdated: Nothing was changed; what is copied online must be completed first.
            OutcomeUnknown: The connection broke during COMMIT.
            StepbackError: Anything else; the transaction was taken back.
        """
        session = self.session
        witness = Witness(self.witness)
        try:
            session.begin()
            fence.stand_behind(session, self.holder)
            self.at("apply_begun")
            note(session.value("SELECT pg_current_xact_id()::text"))
            self.at("apply_noted")
            witness.note_counters(session)
            seen = stamp.take(session, expected.items, expected.locks)
            work = self._look_again(expected)
            journal = Journal()
            for change in work.groundwork:
                journal.timed(change.step, partial(self._run, change), change.section)
            self.procedure.record(session, work)
            self.at("recorded")
            # Creating a schema makes the server forget its plans, so everything is rehearsed after that.
            witness.rehearse(session)
            gates.closing(session, 0)
            copying.look(session, work.online)
            stamp.take(session, work.items, work.locks)
            work = replace(work, queries=compatibility.working(session, work.queries))
            first_lock = time.monotonic()
            self._lock(work.locks)
            self.at("locked")
            looked = moment.of(session)
            self._still(expected, seen)
            copying.prove(session, work.online)
            filling.prove(session, self.holder, work.filling)
            self._do(work, witness, looked, journal, first_lock)
            session.commit()
        except OutcomeUnknown:
            raise
        except BaseException as first:
            self._take_back(first)
            raise
        return time.monotonic() - first_lock

    def _lock(self, locks: tuple[Lock, ...]) -> None:
        """Take the locks one by one, in order of OID; every run takes them in this order."""
        for lock in locks:
            try:
                self.session.execute(lock.statement)
            except LockNotAvailable as error:
                holders = ", ".join(str(blocker) for blocker in self.witness.blockers(lock.relation))
                raise LockNotAvailable(
                    f"{lock.name} is held by {holders or 'somebody who has let go since'}"
                ) from error
        names = {lock.name: lock.relation for lock in locks}
        for row in self.session.rows(
            "SELECT name, to_regclass(name)::oid::bigint AS relation FROM unnest(%s::text[]) AS name", (list(names),)
        ):
            if row["relation"] != names[row["name"]]:
                raise ImpactChanged(f"{row['name']} is not the table any more that preflight looked at; ask again")

    def _still(self, expected: Work, seen: str) -> None:
        """See under the locks that the catalog says what it said before; if not, everything is tried again."""
        if stamp.take(self.session, expected.items, expected.locks) != seen:
            raise LockNotAvailable("what is to be locked was changed by somebody while it was waited for")

    def _look_again(self, expected: Work) -> Work:
        """Compute it anew in this transaction, and see that it is still what preflight found."""
        try:
            work = self.procedure.prepare(self.session)
        except Refused as error:
            raise ImpactChanged(f"the catalog changed since preflight: {error.message}") from error
        if work.impact_sha256 != expected.impact_sha256 or not set(work.locks) <= set(expected.locks):
            raise ImpactChanged("what the plan reaches is not what preflight found; look at it and ask again")
        return work

    def _do(self, work: Work, witness: Witness, looked: Moment, journal: Journal, first_lock: float) -> None:
        session = self.session
        self._change(work.changes, journal)
        work = self._later(work, journal)
        outcome = self.procedure.outcome(session, journal.left)
        work = replace(work, finish=(*outcome.finish, *work.finish))
        notes = _notes(work, journal.left)
        say = partial(registry.set_status, session, work.registry_ids.values(), work.outcome_status, notes)
        journal.timed("update the registry", partial(say, self.holder.run), Section.MIGRATION_TRACKING_UPDATE)
        check = partial(journal.timed, section=Section.VERIFICATION)
        check("hold gates", partial(gates.verify, session, work.gates))
        if work.queries:
            check("check compatibility", partial(compatibility.check, session, work.queries, work.items))
        check("check closing", partial(gates.closing, session, self.holder.run))
        self.at("gates_held")
        check("prove", partial(prove, session, witness, work.permits, work.writes, looked, work.advise))
        self.at("proved")
        blocked_seconds = round(time.monotonic() - first_lock, 6)
        done = Done(self.kind, self.migration, work, tuple(journal.steps), blocked_seconds, outcome.result)
        fence.mark(session, self.holder, done)
        self.at("marked")

    def _later(self, work: Work, journal: Journal) -> Work:
        """Compile and run the stages after the first, each on the catalog as it is by then; return what it comes to."""
        created = Created(self.session, self.witness)
        for number in range(1, len(work.later) + 1):
            stage = self.procedure.stage(self.session, number)
            self._change(stage.changes, journal)
            finish = self.procedure.record_stage(self.session, number, created.since())
            work = replace(
                work,
                permits=merge([work.permits, stage.permits]),
                writes=work.writes | stage.writes,
                finish=(*finish, *work.finish),
            )
        return work

    def _change(self, changes: tuple[Change, ...], journal: Journal) -> None:
        for change in changes:
            if change.may_be_left:
                journal.tried(change.step, partial(self._attempt, change), change.section)
            else:
                journal.timed(change.step, partial(self._run, change), change.section)
            self.at("changed")

    def _attempt(self, change: Change) -> None:
        with self.session.attempted():
            self._run(change)

    def _run(self, change: Change) -> None:
        for statement in change.statements:
            if change.owner is None:
                act = self.session.evaluate if change.evaluates else self.session.execute
                act(statement)
            else:
                with self.session.resolving(change.path):
                    self.session.perform(statement, change.owner, change.settings)

    def _take_back(self, first: BaseException) -> None:
        try:
            self.session.rollback()
        except StepbackError as second:
            first.add_note(f"and taking it back failed too: {second}")


def _notes(work: Work, left: Mapping[str, str]) -> str:
    kept = sum(1 for item in work.items if item.action.value != "carried") - len(left)
    return "; ".join(
        (
            f"{kept} object(s) {'brought back' if work.outcome_status == 'recovered' else 'preserved'}",
            *work.notes,
            *(f"rows did not allow to {step}" for step in left),
        )
    )
