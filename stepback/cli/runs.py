"""`runs` and `show`: runs as the ledger knows them."""

from __future__ import annotations

import click

from ledger.database import transaction
from ledger.history import find, list_runs
from ledger.model import State
from ledger.names import check_name
from stepback.cli.options import installation, json_option, run_argument
from stepback.show import documents, results, tables
from stepback.show.console import out, plain


@click.command()
@click.option("--target", metavar="T", help="Only runs on this target.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only runs that stand there.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@json_option
def runs(*, target: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List runs, the newest first."""
    if target is not None:
        check_name("target", target)
    with installation() as here, transaction(here.engine) as conn:
        found = list_runs(conn, target=target, state=State(state) if state else None, limit=limit)
        if as_json:
            documents.put_out([documents.of_run(find(conn, run.run)) for run in found])
        elif found:
            out().print(tables.of_runs(found))
        else:
            out().print("no runs")


@click.command()
@run_argument
@json_option
def show(*, run: int, as_json: bool) -> None:
    """Show RUN: its steps, what it preserved, and why it ended as it did."""
    with installation() as here, transaction(here.engine) as conn:
        found = find(conn, run)
    if as_json:
        documents.put_out(documents.of_run(found))
    else:
        out().print(tables.of_run(found))
        for line in results.of_run(found):
            out().print(plain(line), soft_wrap=True)
