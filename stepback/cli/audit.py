"""`audit`, `audit verify`, `audit export`: the log as it was written."""

from __future__ import annotations

from itertools import islice

import click
from sqlalchemy import Connection, text

from ledger.audit import read
from ledger.audit import verify as walk
from ledger.database import transaction
from ledger.model import AuditEvent
from stepback.cli import exits
from stepback.cli.options import RunNumber, installation, json_option
from stepback.cli.telling import tell_failure
from stepback.show import documents, tables
from stepback.show.console import out

_HEAD = text("SELECT seq FROM ledger.audit_head")


class _EventsUnlessSaid(click.Group):
    """`audit` and `audit 7` mean `audit events` and `audit events 7`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["events", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_EventsUnlessSaid, context_settings={"help_option_names": ["-h", "--help"]})
def audit() -> None:
    """Read the audit log, of everything or of one run: `stepback audit [RUN]`."""


@audit.command()
@click.argument("run", type=RunNumber(), metavar="[RUN]", required=False)
@click.option("--limit", type=click.IntRange(1), help="The newest so many; without RUN 50 unless said.")
@json_option
def events(*, run: int | None, limit: int | None, as_json: bool) -> None:
    """Show events in order, of RUN or of everything."""
    with installation() as here, transaction(here.engine) as conn:
        found = list(read(conn, run=run)) if run is not None else _newest(conn, limit or 50)
    if limit is not None:
        found = found[-limit:]
    if as_json:
        documents.put_out([documents.of_event(event) for event in found])
    else:
        out().print(tables.of_events(found))


@audit.command()
@json_option
def verify(*, as_json: bool) -> int:
    """Walk the whole chain and compute every hash anew."""
    with installation() as here, transaction(here.engine) as conn:
        found = walk(conn)
    if as_json:
        documents.put_out(documents.of_verification(found))
    elif found.ok:
        out().print(f"{found.events} events, one unbroken chain")
    else:
        tell_failure("audit_broken", f"from event {found.first_bad_seq} on: {found.reason}", as_json=False)
    return exits.OK if found.ok else exits.FAILED


@audit.command()
@click.option("--after", type=click.IntRange(0), default=0, metavar="SEQ", help="Only events with a higher number.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
def export(*, after: int, limit: int | None) -> None:
    """Write all events to standard output as JSON lines, in order."""
    with installation() as here, transaction(here.engine) as conn:
        for event in islice(read(conn, after=after), limit):
            documents.put_out(documents.of_event(event), indent=None)


def _newest(conn: Connection, limit: int) -> list[AuditEvent]:
    last: int = conn.execute(_HEAD).scalar_one()
    return list(read(conn, after=max(0, last - limit)))
