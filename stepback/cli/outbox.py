"""`outbox`: relay what applications ask for in their own databases, or print what such a database needs."""

from __future__ import annotations

import click

from producers.outbox_install import script
from stepback.cli.foreground import until_eof_option, watch_stdin
from stepback.cli.options import installation
from stepback.outbox import relay


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--sql", "as_sql", is_flag=True, help="Print what an administrator runs in the application's database.")
@until_eof_option
def outbox(*, names: tuple[str, ...], as_sql: bool, until_eof: bool) -> int:
    """Relay requests from the outboxes of [outboxes.NAME], all or those named, until SIGTERM or Ctrl-C.

    An application asks with SELECT stepback.request_rollback(…) in its own transaction, as a login that was granted
    stepback_requester, and sees in stepback.requests what became of it. `stepback init` installs that where the login
    of the outbox may; otherwise: stepback outbox --sql | psql …
    """
    if as_sql:
        click.echo(script(), nl=False)
        return 0
    if until_eof:
        watch_stdin()
    with installation() as here:
        return relay(here, names)
