"""Validate a target: every file of checks, on everything or on what one migration has touched. Writes nothing there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import StepbackError, UnknownMigration
from ledger.model import Command, Kind
from ledger.names import check_name
from ledger.settings import TargetSettings
from worker.checks import files
from worker.checks import scope as scope_
from worker.checks.files import CheckFile
from worker.checks.looking import Check
from worker.checks.scope import Scope
from worker.fence import Holder
from worker.plan import source
from worker.target import Session


@dataclass(frozen=True)
class Validation:
    """What is to be looked at, as a value, before anything is."""

    files: tuple[CheckFile, ...]
    scope: Scope
    #: What there is to say before anything is looked at.
    remarks: tuple[Check, ...] = ()


def of_command(session: Session, command: Command, target: TargetSettings) -> Validation:
    """Return the validation that somebody asked for.

    Raises:
        UnknownMigration: It names one that neither a plan nor a run has ever been of.
    """
    found = files.read(target.checks)
    if command.migration is None:
        return Validation(found, Scope())
    migration = check_name("migration", command.migration)
    scope = scope_.of_migration(session, migration)
    if scope is not None:
        return Validation(found, scope)
    folder = target.plans
    if source.newest_row(session, migration) is None and (folder is None or not source.is_plan(folder / migration)):
        raise UnknownMigration(
            f"nothing is known of {migration!r}: no plan, no row in migration_rollbacks, no run; validate without it"
        )
    told = "no run has touched anything for it yet; without --migration all of the target is looked at"
    return Validation(found, Scope((migration,), (), ()), (Check(f"migration {migration}", "warn", None, told),))


def after_commit(session: Session, command: Command, holder: Holder, target: TargetSettings) -> Validation:
    """Return the validation that a rollback or a recovery ends with: the same files, on what the run has touched."""
    runs: Sequence[int] = [holder.run] if command.kind is Kind.ROLLBACK else [holder.run, command.subject_run or 0]
    scope = scope_.of_runs(session, holder.installation, runs, command.subject, holder.run)
    return Validation(files.read(target.checks), scope)


def nothing(error: StepbackError) -> Validation:
    """Return a validation of which nothing can be said but why: what is committed does not become a failure by it."""
    return Validation((CheckFile("validate.sql", None, error.message),), Scope())
