"""`ack`: somebody has taken note of a run that is stuck or has ended badly."""

from __future__ import annotations

import click

from ledger.incidents import acknowledge
from ledger.statements import check_reason
from stepback.cli.options import installation, json_option, run_argument
from stepback.show import documents
from stepback.show.console import out


@click.command()
@run_argument
@click.option("--reason", required=True, help="Why nobody has to be paged for it any more; it is in the audit log.")
@json_option
def ack(*, run: int, reason: str, as_json: bool) -> None:
    """Take note of RUN: what is wrong with it so far pages nobody any more.

    It changes nothing about the run itself. What happens to it later is another matter, and pages again.
    """
    check_reason(reason)
    with installation() as here:
        found = acknowledge(here.engine, run, actor=here.key.issuer, reason=reason)
    if as_json:
        documents.put_out(documents.of_run(found))
    else:
        out().print(f"run {run} is {found.state}; you have taken note of it, and nobody is paged for it any more")
