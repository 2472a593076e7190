"""`plan`: the dry run."""

from __future__ import annotations

import click

from stepback.cli import exits
from stepback.cli.options import installation, json_option, target_option
from stepback.cli.telling import tell_failure
from stepback.show import documents, tables
from stepback.show.console import out, plain
from worker.preview import Preview, preview


@click.command()
@click.argument("migration", metavar="MIGRATION")
@target_option
@json_option
def plan(*, migration: str, target: str, as_json: bool) -> int:
    """Show what rolling MIGRATION back would do: exact SQL, impact, locks, and how everything is preserved.

    Nothing is changed. The exit code is 3 if it would be refused; if only since it reaches what the plan does not name,
    all of the impact is shown, and the command that accepts it.
    """
    with installation() as here, here.session(target) as session:
        found = preview(session, here.settings.target(target), target, migration)
    if as_json:
        documents.put_out(documents.of_preview(target, found))
    else:
        _tell(found, target)
    return exits.REFUSED if found.refusals else exits.OK


def _tell(found: Preview, target: str) -> None:
    if found.work is not None:
        out().print(plain(f"{found.migration} on {target}: nothing was changed", "bold"), soft_wrap=True)
        out().print(tables.of_preview(found), soft_wrap=True)
    for refusal in found.refusals:
        tell_failure(refusal.code, refusal.message, as_json=False)
    if found.next is not None:
        out().print(plain(f"next: {found.next}"), soft_wrap=True)
