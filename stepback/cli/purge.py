"""`purge`: show what would be deleted, have it confirmed by hand, and only then ask for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta

import click

from ledger.model import Run
from stepback import purging
from stepback.asking import ask_purge, target_of
from stepback.cli import exits
from stepback.cli.ask import carry_through, manners, tell_end
from stepback.cli.options import Duration, RunNumber, installation
from stepback.following import follow
from stepback.installation import Installation
from stepback.purging import Doomed
from stepback.show import documents
from stepback.show.console import err, plain
from stepback.show.progress import Progress
from stepback.show.purging import of_doomed


@click.command()
@click.option("--target", metavar="T", help="Configured name of the database; with --run, that of the run.")
@click.option("--run", "subject", type=RunNumber(), metavar="RUN", help="Delete what this one run keeps.")
@click.option(
    "--older-than", type=Duration(), metavar="30d", help="Delete what has been kept for longer; else: the retention."
)
@click.option("--yes-delete", metavar="T", help="For scripts: the target's name, instead of typing it when asked.")
@manners
def purge(
    *,
    target: str | None,
    subject: int | None,
    older_than: timedelta | None,
    yes_delete: str | None,
    reason: str,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Delete for good what runs keep in quarantine. It cannot be recovered afterwards.

    Says first what would be deleted, and wants the target's name typed. Of several runs each is followed to its end
    before the next, since one may hold what another keeps.
    """
    with installation() as here:
        name, doomed = _resolve(here, target, subject, older_than)
        if not doomed:
            return _nothing(name, as_json=as_json)
        err().print(of_doomed(name, doomed))
        _confirm(name, yes_delete)
        if subject is not None:
            return carry_through(
                here,
                lambda: ask_purge(here, run=subject, reason=reason),
                wait=wait or timeout is not None,
                timeout=timeout,
                as_json=as_json,
            )
        return _one_after_the_other(here, doomed, reason=reason, timeout=timeout, as_json=as_json)


def _resolve(
    here: Installation, target: str | None, subject: int | None, older_than: timedelta | None
) -> tuple[str, list[Doomed]]:
    if subject is not None:
        if older_than is not None:
            raise click.UsageError("give --run or --older-than, not both")
        name = target_of(here, subject)
        if target not in {None, name}:
            raise click.UsageError(f"run {subject} is of target {name}")
        return name, [purging.of_run(here, subject)]
    if target is None:
        raise click.UsageError("give --target, or --run")
    age = older_than or here.settings.target(target).retention
    if age is None:
        raise click.UsageError(f"target {target} has no retention in the configuration: give --older-than or --run")
    return target, purging.older_than(here, target, age)


def _nothing(name: str, *, as_json: bool) -> int:
    err().print(plain(f"nothing on {name} has been kept for so long"))
    if as_json:
        documents.put_out([])
    return exits.OK


def _confirm(name: str, yes_delete: str | None) -> None:
    """Have the target's name typed by somebody who has seen the list, unless a script gives it."""
    if yes_delete is None:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.UsageError(f"nobody is there to confirm this; a script says so with --yes-delete {name}")
        question = f"This cannot be undone. Type {name} to delete it"
        yes_delete = click.prompt(question, default="", show_default=False, err=True)
    if yes_delete != name:
        raise click.UsageError("that is not the target's name; nothing was deleted")


def _one_after_the_other(
    here: Installation, doomed: Sequence[Doomed], *, reason: str, timeout: float | None, as_json: bool
) -> int:
    """Purge runs in order, each to its end; one that is refused does not keep the others from being asked for."""
    ended: list[Run] = []
    for each in doomed:
        number = ask_purge(here, run=each.run, reason=reason).run
        with Progress() as progress:
            ended += follow(here.engine, [number], progress.tell, timeout_seconds=timeout)
        if not as_json:
            tell_end(ended[-1], as_json=False)
    if as_json:
        documents.put_out([documents.of_run(run) for run in ended])
    return max(exits.of_run(run) for run in ended)
