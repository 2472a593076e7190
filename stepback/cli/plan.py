"""`plan`: the dry run."""

from __future__ import annotations

import click

from ledger.database import transaction
from ledger.history import find
from ledger.installation import installation_id
from ledger.model import Policy
from stepback.cli import exits
from stepback.cli.options import RunNumber, installation, json_option, policy_option
from stepback.cli.telling import tell_failure
from stepback.installation import Installation
from stepback.show import documents, tables
from stepback.show.console import out, plain
from worker.preview import Preview, preview, preview_recovery


@click.command()
@click.argument("migration", metavar="MIGRATION", required=False)
@click.option("--target", metavar="T", help="Configured name of the database.")
@click.option(
    "--recover", "run", type=RunNumber(), metavar="RUN", help="Show what the recovery of RUN would do instead."
)
@policy_option
@json_option
def plan(*, migration: str | None, target: str | None, run: int | None, policy: Policy | None, as_json: bool) -> int:
    """Show what rolling MIGRATION back would do: exact SQL, impact, locks, and how everything is preserved.

    Nothing is changed. The exit code is 3 if it would be refused; if only since it reaches what the plan does not name,
    all of the impact is shown, and the command that accepts it.
    """
    with installation() as here:
        target, found = _of_run(here, run, policy, migration, target) if run else _of_migration(here, migration, target)
    if as_json:
        documents.put_out(documents.of_preview(target, found))
    else:
        _tell(found, target)
    return exits.REFUSED if found.refusals else exits.OK


def _of_migration(here: Installation, migration: str | None, target: str | None) -> tuple[str, Preview]:
    if migration is None or target is None:
        raise click.UsageError("name a migration and its target: stepback plan MIGRATION --target T")
    with here.session(target) as session:
        return target, preview(session, here.settings.target(target), target, migration)


def _of_run(
    here: Installation, number: int, policy: Policy | None, migration: str | None, target: str | None
) -> tuple[str, Preview]:
    if migration is not None or target is not None:
        raise click.UsageError("a run says which migration and target it is about: stepback plan --recover RUN")
    with transaction(here.engine) as conn:
        run = find(conn, number)
    with here.session(run.target) as session:
        return run.target, preview_recovery(session, installation_id(here.engine), run, policy=policy)


def _tell(found: Preview, target: str) -> None:
    if found.work is not None:
        out().print(plain(f"{found.migration} on {target}: nothing was changed", "bold"), soft_wrap=True)
        out().print(tables.of_preview(found), soft_wrap=True)
    for refusal in found.refusals:
        tell_failure(refusal.code, refusal.message, as_json=False)
    if found.next is not None:
        out().print(plain(f"next: {found.next}"), soft_wrap=True)
