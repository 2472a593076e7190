"""Carries out any command: fence, marker, preflight, preserve, apply, finish, settle; journal, audit, crash points.

The only orchestrator. What a command comes down to is its `Procedure`'s business; how it is done is ours:

1. raise the fence and look for the marker: has an earlier attempt committed?
2. preflight: reads only; nearly every refusal happens here
3. preserve: columns of large tables are copied while others write, worker/online
4. apply: one transaction, worker/apply.py
5. finish: repeatable work after COMMIT, which never undoes it
6. checks: do foreign keys, sequences, triggers … of what was touched hold? A validation is nothing but this
7. settle: the run's final state in the ledger
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Engine

from ledger import consent, runs, subjects
from ledger.database import transaction
from ledger.errors import (
    Cancelled,
    CopyNotComplete,
    CopyOutdated,
    Expired,
    Fenced,
    LeaseLost,
    LedgerUnreachable,
    LockBudgetSpent,
    NeedsApproval,
    NeedsOperator,
    OutcomeUnknown,
    Refused,
    StepbackError,
    TargetUnreachable,
)
from ledger.model import Json, Kind, Phase, Preserved, RunError, State, StepRecord
from ledger.runs import Claim
from ledger.settings import Settings, TargetSettings
from worker import fence, finish, install, metrics, registry, tombstones
from worker.apply import Apply
from worker.checking import Checking
from worker.commands import Procedure
from worker.commands.purge import Purge
from worker.commands.recover import Recover
from worker.commands.rights import check_login
from worker.commands.rollback import Rollback
from worker.consent import Consent
from worker.crash_points import pass_by
from worker.fence import Holder, Marker
from worker.lease import Lease
from worker.objects.remarks import as_document
from worker.online import filling, leftovers
from worker.online.copying import Copying
from worker.online.filling import Filling
from worker.patience import Patience
from worker.target import Session, connect
from worker.work import FinishStep, Work

#: How often apply may find that what is copied online must be completed again.
_COPY_TRIES: Final = 5
#: How often, in the middle of long work, it is looked whether somebody has cancelled the run.
_LOOK_SECONDS: Final = 2.0
#: What ends with the checks of what it touched.
_CHECKED: Final = frozenset({Kind.ROLLBACK, Kind.RECOVER})

#: What writes nothing in a target.
_WRITELESS: Final = frozenset({Kind.VALIDATE, Kind.CANARY})

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Executor:
    """Carries out claimed runs; keeps nothing between them."""

    engine: Engine
    settings: Settings
    installation: UUID
    at: Callable[[str], None] = pass_by

    def carry_out(self, claim: Claim) -> State | None:
        """Carry out one attempt of a run and settle it.

        Returns:
            The state it was settled in; None if it is left to another attempt.
        """
        with Lease(self.engine, claim, self.settings.worker.lease_seconds) as lease:
            attempt = _Attempt(self, claim, lease)
            try:
                return attempt.carry_out()
            except (LeaseLost, Fenced) as error:
                # Somebody else has the run; touching anything now, even to say so, is theirs to do.
                metrics.LEASES_LOST.inc()
                attempt.told = error
                return None
            finally:
                attempt.close()
                log.info("command_attempted", **attempt.summary())


class _Attempt:
    """One attempt of one run."""

    def __init__(self, executor: Executor, claim: Claim, lease: Lease) -> None:
        self._engine = executor.engine
        self._settings = executor.settings
        self._at = executor.at
        self._claim = claim
        self._lease = lease
        self._holder = Holder(executor.installation, claim.run, claim.attempt)
        self._consent = Consent(claim, executor.settings, executor.installation)
        #: When it was last looked whether somebody has cancelled the run.
        self._looked = time.monotonic()
        self._sessions: list[Session] = []
        #: The session, once the fence is up and the marker was looked for: only then may a final state be written.
        self._fenced: Session | None = None
        self._blocked_seconds: float | None = None
        #: Once it is, nothing that happens afterwards makes the run a failure.
        self._committed = False
        #: What it found, for the ledger.
        self._result: dict[str, Json] = {}
        self._began = time.monotonic()
        #: How it ended, for the summary.
        self.state: State | None = None
        self.told: StepbackError | None = None

    def summary(self) -> dict[str, object]:
        """Return the one line that says it all about this attempt."""
        command = self._claim.command
        return {
            "run": self._claim.run,
            "attempt": self._claim.attempt,
            "kind": command.kind.value,
            "target": command.target,
            "migration": command.migration,
            "requested_by": command.requested_by,
            "state": None if self.state is None else self.state.value,
            "code": None if self.told is None else self.told.code,
            "seconds": round(time.monotonic() - self._began, 3),
            "blocked_seconds": None if self._blocked_seconds is None else round(self._blocked_seconds, 6),
        }

    def close(self) -> None:
        """Hang up."""
        for session in self._sessions:
            session.close()

    def carry_out(self) -> State | None:
        """Do what can be done, and settle what can be settled."""
        self._at("claimed")
        try:
            error = self._go_through()
            return self._settle(State.COMPLETED, None) if error is None else self._end_badly(error)
        except (LeaseLost, Fenced):
            raise
        except NeedsApproval as error:
            return self._await_approval(error)
        except NeedsOperator as error:
            return self._settle(State.NEEDS_OPERATOR, error)
        except (TargetUnreachable, OutcomeUnknown, LedgerUnreachable) as error:
            return self._postpone(error)
        except StepbackError as error:
            return self._postpone(error) if self._committed else self._end_badly(error)
        except Exception as error:
            log.exception("attempt_broke", run=self._claim.run, attempt=self._claim.attempt)
            broke = StepbackError(f"the worker itself broke ({type(error).__name__}); its log says where")
            return self._postpone(broke)

    # -- the way through --------------------------------------------------------

    def _go_through(self) -> StepbackError | None:
        """Go all the way; return what went wrong after COMMIT with what was asked for, if that came after it."""
        if self._claim.command.kind is Kind.CANARY:
            self._check_asked()
            return None
        target = self._settings.target(self._claim.command.target)
        session, witness = self._open(target)
        if self._claim.command.kind is Kind.VALIDATE:
            self._validate(session, target)
            return None
        marker = self._look_back(session, target)
        if marker is None:
            self._check_asked()
            procedure = self._procedure(target)
            work = self._preflight(session, procedure)
            self._check_approved(work)
            self._say_in_progress(session, procedure, target)
            self._preserve_and_apply(session, witness, procedure, work, target)
            marker = fence.look_up(session, self._holder)
            assert marker is not None  # noqa: S101 - it committed with the rest
        self._committed = True
        self._blocked_seconds = self._blocked_seconds or marker.blocked_seconds
        self._journal_apply(marker)
        error = self._finish(session, marker, target)
        if error is None and self._claim.command.kind in _CHECKED:
            found = self._checking(session, target).afterwards(self._holder)
            self._result["validation"] = dict(found)
        return error

    def _procedure(self, target: TargetSettings) -> Procedure:
        match self._claim.command.kind:
            case Kind.ROLLBACK:
                return Rollback(self._claim.command, self._holder, target)
            case Kind.RECOVER:
                return Recover(self._claim.command, self._holder)
            case Kind.PURGE:
                return Purge(self._claim.command, self._holder, partial(subjects.look, self._engine))
            case Kind.VALIDATE | Kind.CANARY:
                raise AssertionError(f"a {self._claim.command.kind} has no apply")

    def _open(self, target: TargetSettings) -> tuple[Session, Session]:
        name = f"stepback run {self._claim.run}.{self._claim.attempt}"
        dsn = target.dsn()
        for application in (name, f"{name} witness"):
            session = connect(dsn, application)
            self._sessions.append(session)
            session.limit(lock_timeout_ms=target.lock_timeout_ms, statement_timeout_ms=target.statement_timeout_ms)
        check_login(self._sessions[0])
        install.check_installed(self._sessions[0])
        return self._sessions[0], self._sessions[1]

    def _look_back(self, session: Session, target: TargetSettings) -> Marker | None:
        """Raise the fence, then find out whether an earlier attempt committed: none can any more."""
        try:
            self._patiently(target, lambda: fence.raise_fence(session, self._holder))
        except LockBudgetSpent as error:
            raise TargetUnreachable("an older attempt still holds the fence; it is waited for") from error
        self._at("fence_raised")
        marker = fence.look_up(session, self._holder)
        here = session.identity()
        for apply in runs.applies(self._engine, self._claim.run):
            if (apply.system_identifier, apply.database_oid) != (here.system_identifier, here.database_oid):
                raise NeedsOperator(
                    f"an earlier attempt of run {self._claim.run} worked on another database than the one that target"
                    f" {self._claim.command.target} leads to now; find out which is right"
                )
            fence.check_fate(session, apply.xid, marker)
        self._fenced = session
        self._at("marker_looked_up")
        return marker

    def _preflight(self, session: Session, procedure: Procedure) -> Work:
        runs.enter(self._engine, self._claim, Phase.PREFLIGHT)
        self._at("preflight_entered")
        began = time.monotonic()
        session.begin(read_only=True)
        try:
            work = procedure.prepare(session)
            notes = (*work.notes, *(() if work.inspect is None else work.inspect(session)))
        finally:
            session.rollback()
        self._at("impact_computed")
        runs.pin(self._engine, self._claim, plan_sha256=work.plan_sha256, impact_sha256=work.impact_sha256)
        self._at("impact_pinned")
        detail: dict[str, Json] = {
            "impact_sha256": work.impact_sha256,
            "objects": [f"{item.action.value} {item.label()}" for item in work.items],
            "locks": [lock.name for lock in work.locks],
            "notes": list(notes),
            "mentions": [as_document(mention) for mention in work.mentions],
            "pins": [as_document(pin) for pin in work.pins],
            "accepted": list(work.accepted),
        }
        self._record(StepRecord(Phase.PREFLIGHT, "compute impact", "completed", time.monotonic() - began), detail)
        self._at("preflight_journaled")
        return work

    def _check_approved(self, work: Work) -> None:
        """See that the run may do this, or wait until somebody lets it."""
        with transaction(self._engine) as conn:
            self._consent.check_approved(conn, plan_sha256=work.plan_sha256, impact_sha256=work.impact_sha256)

    def _say_in_progress(self, session: Session, procedure: Procedure, target: TargetSettings) -> None:
        """Let the registry say so while it is true; from inside apply nobody would ever see it."""

        def say() -> None:
            with session.transaction():
                fence.stand_behind(session, self._holder)
                notes = f"{self._claim.command.kind.value} by run {self._claim.run}"
                rows = procedure.registry_rows(session)
                registry.set_status(session, rows, "in_progress", notes, self._claim.run)

        self._check_still_wanted()
        self._patiently(target, say)
        self._at("registry_in_progress")

    def _preserve_and_apply(
        self, session: Session, witness: Session, procedure: Procedure, work: Work, target: TargetSettings
    ) -> None:
        for _ in range(_COPY_TRIES):
            self._preserve(session, work, target)
            try:
                return self._apply(session, witness, procedure, work, target)
            except CopyOutdated as error:
                self._event("copy_outdated", "outdated", {"message": error.message})
                self._at("copy_outdated_journaled")
        raise CopyNotComplete(
            f"columns were copied {_COPY_TRIES} times, and each time their table or the triggers that copy were altered"
            " before the lock was granted; see who does so, then ask again"
        )

    def _preserve(self, session: Session, work: Work, target: TargetSettings) -> None:
        """Copy and fill what is copied and filled online, or complete what an earlier attempt began."""
        if not work.online and not work.filling:
            return
        runs.enter(self._engine, self._claim, Phase.PRESERVE)
        self._at("preserve_entered")
        patiently = partial(self._patiently, target)
        for copy in work.online:
            copying = Copying(session, self._holder, copy, patiently, self._go_on, self._at)
            self._preserve_step(f"copy columns of {copy.label}", copying.make)
            self._preserve_step(f"compare columns of {copy.label}", copying.complete)
        for fill in work.filling:
            filled = Filling(session, self._holder, fill, patiently, self._go_on, self._at)
            self._preserve_step(f"fill columns of {fill.label}", filled.make)

    def _preserve_step(self, step: str, act: Callable[[], dict[str, Json]]) -> None:
        began = time.monotonic()
        told = act()
        self._record(StepRecord(Phase.PRESERVE, step, "completed", time.monotonic() - began), told)
        self._at("preserve_step_journaled")

    def _apply(
        self, session: Session, witness: Session, procedure: Procedure, work: Work, target: TargetSettings
    ) -> None:
        runs.enter(self._engine, self._claim, Phase.APPLY)
        self._at("apply_entered")
        command = self._claim.command
        apply = Apply(session, witness, self._holder, command.kind.value, command.subject, procedure, self._at)
        here = session.identity()

        def note(xid: str) -> None:
            runs.note_apply(
                self._engine,
                self._claim,
                system_identifier=here.system_identifier,
                database_oid=here.database_oid,
                xid=xid,
            )

        def once() -> None:
            self._check_still_wanted()
            self._check_still_approved(work)
            self._blocked_seconds = apply.once(work, note)

        self._patiently(target, once)
        self._committed = True
        self._at("committed")
        assert self._blocked_seconds is not None  # noqa: S101 - apply returned
        metrics.BLOCKED_SECONDS.labels(command.kind.value).observe(self._blocked_seconds)

    def _check_asked(self) -> None:
        """See, before anything is read or done, that somebody who may has asked for it and still wants it."""
        self._check_still_wanted()
        with transaction(self._engine) as conn:
            self._consent.check_asked(conn)

    def _check_still_wanted(self) -> None:
        """See, right before anything is changed, that the run is ours, still wanted, and its time has not passed."""
        self._lease.check()
        with transaction(self._engine) as conn:
            self._consent.check_wanted(conn)

    def _check_still_approved(self, work: Work) -> None:
        """See, right before apply, that the approval still counts; after preflight nobody is waited for any more."""
        try:
            self._check_approved(work)
        except NeedsApproval as error:
            raise Expired(f"the approval does not count any more: {error.message}") from error

    def _go_on(self) -> None:
        """See, in the middle of long work, that the run is ours, and now and then that nobody has cancelled it."""
        self._lease.check()
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            with transaction(self._engine) as conn:
                self._consent.check_not_cancelled(conn)

    def _patiently(self, target: TargetSettings, act: Callable[[], _T]) -> _T:
        """Try again while a lock is not granted and the budget lasts."""

        def tell(tries: int, who: str) -> None:
            self._event("lock_waited", "waited", {"try": tries, "who": who})
            self._at("lock_wait_journaled")

        return Patience(target.lock_budget_seconds, tell)(act)

    # -- after COMMIT -----------------------------------------------------------

    def _journal_apply(self, marker: Marker) -> None:
        """Turn what apply noted in the marker into steps and audit events, from where an attempt left off."""
        with transaction(self._engine) as conn:
            known = runs.find(conn, self._claim.run).steps
        done = sum(1 for step in known if step.phase is Phase.APPLY)
        for step in marker.steps[done:]:
            # The steps know how long before the marker they ended; only that was written by the target's clock.
            ended_at = marker.applied_at - timedelta(seconds=marker.steps[-1]["after"] - step["after"])
            told = {key: step[key] for key in ("step", "outcome", "seconds", "section", "detail")}
            self._record(StepRecord(Phase.APPLY, **told, ended_at=ended_at), {"xid": marker.xid})
            self._at("step_journaled")
        self._at("apply_journaled")

    def _finish(self, session: Session, marker: Marker, target: TargetSettings) -> StepbackError | None:
        runs.enter(self._engine, self._claim, Phase.FINISH)
        self._at("finish_entered")
        for step in marker.finish:
            error = self._finish_step(session, step, target)
            if error is not None and step.required:
                return error
        return None

    def _finish_step(self, session: Session, step: FinishStep, target: TargetSettings) -> StepbackError | None:
        began = time.monotonic()
        told, failure = None, None
        try:
            told = self._patiently(target, partial(finish.do, session, self._holder, step))
        except TargetUnreachable:
            raise
        except StepbackError as error:
            failure = error
        self._at("finish_step_done")
        outcome = "completed" if failure is None else "failed"
        detail: dict[str, Json] = {} if failure is None else {"code": failure.code, "message": failure.message}
        record = StepRecord(Phase.FINISH, step.step, outcome, time.monotonic() - began, step.section, told)
        self._record(record, detail)
        self._at("finish_step_journaled")
        return failure

    # -- checks -----------------------------------------------------------------

    def _validate(self, session: Session, target: TargetSettings) -> None:
        """Look at everything; nothing is written in the target, so no fence is raised there."""
        self._check_asked()
        runs.enter(self._engine, self._claim, Phase.FINISH)
        self._at("finish_entered")
        self._result.update(self._checking(session, target).everything(self._go_on))

    def _checking(self, session: Session, target: TargetSettings) -> Checking:
        return Checking(session, self._claim.command, target, self._record, self._event, self._at)

    # -- how it ends ------------------------------------------------------------

    def _end_badly(self, error: StepbackError) -> State | None:
        """Settle a refusal or a failure; the registry row says so too, if it said in_progress."""
        if self._fenced is None:
            if runs.applies(self._engine, self._claim.run):
                unclear = NeedsOperator(
                    f"an earlier attempt may have committed, and its marker is out of reach: {error}"
                )
                return self._settle(State.NEEDS_OPERATOR, unclear)
            return self._settle(_end_state(error, touched=False), error)
        session, target = self._fenced, self._settings.target(self._claim.command.target)
        touched = False

        def say() -> None:
            nonlocal touched
            with session.transaction():
                fence.stand_behind(session, self._holder)
                touched = registry.leave_in_progress(session, self._claim, f"{error.code}: {error.message}")

        try:
            self._patiently(target, say)
        except (TargetUnreachable, OutcomeUnknown, LockBudgetSpent) as second:
            return self._postpone(second)
        self._at("registry_left")
        self._let_go(session, target)
        return self._settle(_end_state(error, touched=touched), error)

    def _let_go(self, session: Session, target: TargetSettings) -> None:
        """Take away copies that no apply will use; what cannot be had now is left to worker/sweep.py."""
        try:
            for left in leftovers.of_run(session, self._holder.installation, self._holder.run):
                act = partial(leftovers.let_go, session, self._holder.installation, left, self._holder.attempt)
                self._patiently(target, act)
                self._at("copy_let_go")
            for left in filling.of_run(session, self._holder.installation, self._holder.run):
                act = partial(filling.let_go, session, self._holder.installation, left, self._holder.attempt)
                self._patiently(target, act)
                self._at("fill_let_go")
        except (LockBudgetSpent, TargetUnreachable, OutcomeUnknown) as error:
            log.warning("copy_left_behind", run=self._claim.run, code=error.code)

    def _await_approval(self, error: StepbackError) -> State:
        """Give the run up until somebody has approved it; nothing was changed yet."""
        self.state, self.told = State.AWAITING_APPROVAL, error
        consent.await_approval(self._engine, self._claim, error.message)
        self._at("approval_awaited")
        return State.AWAITING_APPROVAL

    def _postpone(self, error: StepbackError) -> State | None:
        """Leave the run to a later attempt, or to a person once it has been tried for long enough."""
        self.told = error
        limits = self._settings.worker
        trying = self._claim.trying_seconds + (time.monotonic() - self._began)
        if isinstance(error, LedgerUnreachable):
            return None
        # An attempt that never got there did nothing: its number says how often we looked, not how often it went wrong.
        away = isinstance(error, TargetUnreachable) and self._fenced is None
        if trying >= limits.unreachable_seconds or (self._claim.attempt >= limits.max_attempts and not away):
            return self._settle(State.NEEDS_OPERATOR, error)
        with suppress(LedgerUnreachable):
            self._event("attempt_postponed", "postponed", {"code": error.code, "message": error.message})
            self._at("postponement_journaled")
            runs.release(self._engine, self._claim, after_seconds=min(limits.reconcile_seconds, 1.0))
            self._at("released")
        return None

    def _settle(self, state: State, error: StepbackError | None) -> State:
        preserved: list[Preserved] = []
        deleted = tombstones.NONE
        result = self._result
        if state is State.COMPLETED and self._claim.command.kind not in _WRITELESS:
            assert self._fenced is not None  # noqa: S101 - nothing else completes without
            preserved = registry.preserved(self._fenced, self._holder)
            marker = fence.look_up(self._fenced, self._holder)
            if self._claim.command.kind is Kind.PURGE:
                deleted = tombstones.read(self._fenced, self._holder)
            result = {**(marker.result if marker is not None else {}), **(deleted.result or {}), **result}
        told = None if error is None else RunError(error.code, error.message)
        runs.settle(
            self._engine,
            self._claim,
            state=state,
            error=told,
            blocked_seconds=self._blocked_seconds,
            preserved=preserved,
            result=result or None,
            facts=deleted.facts,
        )
        metrics.count_run(
            self._claim.command.kind, state, time.monotonic() - self._began, None if error is None else error.code
        )
        metrics.count_preserved(preserved)
        self.state, self.told = state, error
        self._at("settled")
        return state

    def _record(self, record: StepRecord, detail: dict[str, Json]) -> None:
        runs.record_step(self._engine, self._claim, record, detail)
        metrics.STEP_SECONDS.labels(record.phase.value).observe(record.seconds)

    def _event(self, event: str, outcome: str, detail: dict[str, Json]) -> None:
        runs.record_event(self._engine, self._claim, event, outcome, detail=detail)


def _end_state(error: StepbackError, *, touched: bool) -> State:
    """A decision before anything was changed is a refusal; everything later is a failure."""
    if isinstance(error, Cancelled):
        return State.CANCELLED
    return State.REFUSED if isinstance(error, Refused) and not touched else State.FAILED
