"""`targets`: what is configured, whether it answers, and what is kept there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import click

from ledger.errors import StepbackError
from stepback.cli.options import installation, json_option
from stepback.installation import Installation
from stepback.show import documents, tables
from stepback.show.console import out, plain, table
from worker.stock import keepers, size

#: Targets that are asked at once: one that does not answer takes seconds.
_AT_ONCE = 8

_PLANS = "SELECT count(DISTINCT migration_name) FROM public.migration_rollbacks"


@dataclass(frozen=True)
class _Target:
    name: str
    contact: str
    server_version: str | None = None
    plans: int | None = None
    schemas: int | None = None
    objects: int | None = None
    bytes: int | None = None
    #: When the oldest run that keeps something passes the target's retention; None: nothing is kept, or for ever.
    next_expiry: datetime | None = None
    error: StepbackError | None = None

    def document(self) -> documents.Document:
        return {
            "name": self.name,
            "reachable": self.server_version is not None,
            "server_version": self.server_version,
            "plans": self.plans,
            "quarantine": {
                "schemas": self.schemas,
                "objects": self.objects,
                "bytes": self.bytes,
                "next_expiry": documents.time(self.next_expiry),
            },
            "contact": self.contact,
            "error": documents.of_error(self.error)["error"] if self.error else None,
        }


@click.command()
@json_option
def targets(*, as_json: bool) -> None:
    """List targets: whether they answer, the plans registered there, and what is kept in quarantine."""
    with installation() as here, ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(partial(_look, here), sorted(here.settings.targets)))
    if as_json:
        documents.put_out([each.document() for each in found])
        return
    columns = ("target", "server", "plans", "quarantine", "objects", "bytes", "next expiry", "contact", "trouble")
    made = table(*columns, numbers=_NUMBERS)
    for each in found:
        made.add_row(
            plain(each.name),
            each.server_version or "does not answer",
            tables.count(each.plans),
            "" if each.schemas is None else f"{each.schemas} schemas",
            tables.count(each.objects),
            tables.size(each.bytes),
            tables.moment(each.next_expiry),
            plain(each.contact),
            plain(each.error.message if each.error else "", "red"),
        )
    out().print(made if found else "no targets are configured")


def _look(here: Installation, name: str) -> _Target:
    settings = here.settings.target(name)
    contact = settings.contact
    version: str | None = None
    try:
        with here.session(name, installed=False) as session:
            version = str(session.value("SELECT current_setting('server_version')")).split()[0]
        with here.session(name) as session:
            plans: int = session.value(_PLANS)
            kept = size(session)
            since = [keeper.since for keeper in keepers(session)] if settings.retention else []
    except StepbackError as error:
        return _Target(name, contact, version, error=error)
    expiry = min(since) + settings.retention if settings.retention and since else None
    return _Target(name, contact, version, plans, kept.schemas, kept.objects, kept.bytes, next_expiry=expiry)


_NUMBERS = frozenset({"plans", "objects", "bytes"})
