"""`rollback`, `recover` and `validate`: ask, then follow the run or say how to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ledger.database import transaction
from ledger.history import find
from ledger.model import Kind, Policy, Run, State
from producers.submit import NotRung, Submitted
from stepback.asking import ask_recover, ask_rollback, ask_validate, runs_needed, selection_of
from stepback.cli import exits
from stepback.cli.options import (
    Condition,
    ImpactHash,
    installation,
    json_option,
    policy_option,
    run_argument,
    target_option,
)
from stepback.cli.telling import tell_error, tell_failure
from stepback.following import follow
from stepback.installation import Installation
from stepback.show import checks, documents, results, tables
from stepback.show.console import err, out, plain
from stepback.show.progress import Progress
from worker.plan.selection import Selection


def manners(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that every command which asks for something has."""
    options: list[Any] = [
        click.option("--reason", default="", metavar="TEXT", help="Why, for those who read it later."),
        click.option("--wait", is_flag=True, help="Follow the run until it has ended; its end is the exit code."),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0),
            metavar="SECONDS",
            help="Follow it for so long at most (exit code 4). Implies --wait.",
        ),
        json_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("migration", metavar="MIGRATION")
@target_option
@click.option(
    "--accept",
    type=ImpactHash(),
    metavar="HASH",
    help="Accept the very impact that `stepback plan` shows with this hash, where the plan does not name all of it.",
)
@manners
def rollback(
    *,
    migration: str,
    target: str,
    accept: str | None,
    reason: str,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Roll MIGRATION back. What its plan removes is preserved, and `recover` brings it back."""
    with installation() as here:
        return carry_through(
            here,
            lambda: ask_rollback(here, target=target, migration=migration, reason=reason, accept_sha256=accept),
            wait=wait or timeout is not None,
            timeout=timeout,
            as_json=as_json,
        )


@click.command()
@run_argument
@click.option("--member", metavar="MIGRATION", help="Of a composite plan, only what this member's plan removed.")
@click.option(
    "--with-dependencies", is_flag=True, help="Recover first, one by one, the runs that keep what this one needs."
)
@click.option("--selective", is_flag=True, help="Only the rows that the plan's recover.sql chooses; the rest is kept.")
@click.option(
    "--where",
    "conditions",
    type=Condition(),
    multiple=True,
    metavar="TABLE=CONDITION",
    help="Only rows of TABLE that meet an SQL condition; the rest is kept. Once for each table.",
)
@policy_option
@manners
def recover(
    *,
    run: int,
    member: str | None,
    with_dependencies: bool,
    selective: bool,
    conditions: tuple[tuple[str, str], ...],
    policy: Policy | None,
    reason: str,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Undo the completed rollback RUN: schema and data come back as they were."""
    if selective and conditions:
        raise click.UsageError("--selective chooses as recover.sql says; give it, or conditions with --where")
    with installation() as here:
        chosen = selection_of(here, run, member) if selective else Selection(dict(conditions))
        if with_dependencies:
            code = _recover_first(here, run, reason=reason, timeout=timeout)
            if code != exits.OK:
                return code
        return carry_through(
            here,
            lambda: ask_recover(here, run=run, member=member, reason=reason, selection=chosen, policy=policy),
            wait=wait or timeout is not None,
            timeout=timeout,
            as_json=as_json,
        )


@click.command()
@target_option
@click.option("--migration", metavar="MIGRATION", help="Only what the rollbacks of this migration have touched.")
@manners
def validate(
    *, target: str, migration: str | None, reason: str, wait: bool, timeout: float | None, as_json: bool
) -> int:
    """Look whether a target is sound: keys, triggers, sequences, quarantine and more; changes nothing.

    With --wait the exit code is 1 if a check fails.
    """
    with installation() as here:
        return carry_through(
            here,
            lambda: ask_validate(here, target=target, migration=migration, reason=reason),
            wait=wait or timeout is not None,
            timeout=timeout,
            as_json=as_json,
        )


def _recover_first(here: Installation, run: int, *, reason: str, timeout: float | None) -> int:
    """Recover what a run needs, each to its end; stop at the first that does not complete."""
    for needed in runs_needed(here, run):
        err().print(f"run {run} needs what run {needed} keeps: that is recovered first", soft_wrap=True)
        number = ask_recover(here, run=needed, reason=reason).run
        with Progress() as progress:
            (first,) = follow(here.engine, [number], progress.tell, timeout_seconds=timeout)
        err().print(plain(_summary(first)), soft_wrap=True)
        if first.state is not State.COMPLETED:
            if first.error is not None:
                tell_failure(first.error.code, first.error.message, as_json=False)
            return exits.of_run(first)
    return exits.OK


def carry_through(
    here: Installation, ask: Callable[[], Submitted], *, wait: bool, timeout: float | None, as_json: bool
) -> int:
    """Ask, then follow the run to its end or say how to; return the exit code."""
    try:
        number = ask().run
    except NotRung as error:
        if not wait:
            raise
        # It is in the ledger: the reconciler rings once Redis is back, and that can be waited for.
        tell_error(error, as_json=False)
        number = error.run
    if not wait:
        return _say_how_to_follow(here, number, as_json=as_json)
    return follow_to_end(here, number, timeout=timeout, as_json=as_json)


def follow_to_end(here: Installation, number: int, *, timeout: float | None = None, as_json: bool) -> int:
    """Follow a run until it has ended or waits for an approval; tell how, and return the exit code."""
    try:
        with Progress() as progress:
            (run,) = follow(here.engine, [number], progress.tell, timeout_seconds=timeout)
    except KeyboardInterrupt:
        err().print(f"\nrun {number} goes on; `stepback show {number}` tells how it ended", soft_wrap=True)
        raise
    tell_end(run, as_json=as_json)
    return exits.of_run(run)


def _say_how_to_follow(here: Installation, number: int, *, as_json: bool) -> int:
    if as_json:
        with transaction(here.engine) as conn:
            documents.put_out(documents.of_run(find(conn, number)))
    else:
        out().print(f"run {number} is queued; `stepback show {number}` tells how it stands", soft_wrap=True)
    return exits.OK


def tell_end(run: Run, *, as_json: bool) -> None:
    """Tell how a run ended, or that it has not."""
    if as_json:
        documents.put_out(documents.of_run(run))
        return
    if run.error is not None:
        tell_failure(run.error.code, run.error.message, as_json=False)
    elif run.finished_at is None:
        err().print(plain(_how_it_goes_on(run)), soft_wrap=True)
    out().print(plain(_summary(run)), soft_wrap=True)
    for line in results.of_run(run):
        out().print(plain(line), soft_wrap=True)
    if run.kind is Kind.PURGE and run.result is not None:
        out().print(tables.of_purged(run.result))
    if run.preserved:
        out().print(tables.of_preserved(run.preserved))
        out().print(f"`stepback recover {run.run}` brings it back", soft_wrap=True)
    if run.validation is not None:
        out().print(checks.of_run(run))


def _how_it_goes_on(run: Run) -> str:
    if run.state is State.AWAITING_APPROVAL:
        return (
            f"run {run.run} waits until somebody other than {run.requested_by} approves it: `stepback show {run.run}`"
            f" tells what it would do, `stepback approve {run.run}` lets it"
        )
    return f"run {run.run} is still {run.state.value}; `stepback show {run.run}` tells how it ends"


def _summary(run: Run) -> str:
    blocked = "" if run.blocked_seconds is None else f", blocked {tables.milliseconds(run.blocked_seconds)} ms"
    return f"run {run.run}: {run.kind.value} of {run.subject} on {run.target}: {run.state.value}{blocked}"
