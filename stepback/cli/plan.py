"""`plan`: the dry run."""

from __future__ import annotations

import click

from stepback.cli import exits
from stepback.cli.options import installation, json_option, target_option
from stepback.cli.telling import tell_failure
from stepback.show import documents, tables
from stepback.show.console import out, plain
from worker.preview import preview


@click.command()
@click.argument("migration", metavar="MIGRATION")
@target_option
@json_option
def plan(*, migration: str, target: str, as_json: bool) -> int:
    """Show what rolling MIGRATION back would do: exact SQL, impact, locks, and how everything is preserved.

    Nothing is changed. The exit code is 3 if it would be refused.
    """
    with installation() as here, here.session(target) as session:
        found = preview(session, here.settings.target(target), target, migration)
    if as_json:
        documents.put_out(documents.of_preview(target, found))
    elif found.work is not None:
        out().print(plain(f"{migration} on {target}: nothing was changed", "bold"), soft_wrap=True)
        out().print(tables.of_preview(found))
    else:
        for refusal in found.refusals:
            tell_failure(refusal.code, refusal.message, as_json=False)
    return exits.REFUSED if found.refusals else exits.OK
