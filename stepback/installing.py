"""Bringing the ledger's and every target's schema up to date; twice is harmless."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import schema
from ledger.errors import BadConfiguration, StepbackError
from ledger.installation import installation_id
from producers.outbox_install import install as install_outbox
from stepback.installation import Installation, secret
from worker.install import install


@dataclass(frozen=True)
class Installed:
    """What came of one database."""

    #: "ledger", "target" or "outbox".
    what: str
    #: The target's or the outbox's name, or the revision of the ledger's schema.
    name: str
    error: StepbackError | None = None


def install_all(here: Installation, *, lenient: bool = False) -> Iterator[Installed]:
    """Install the ledger, then each target and each outbox as its own login; trouble with one keeps no other waiting.

    Args:
        here: The installation.
        lenient: Go on with a ledger that is installed, but not ours to bring up to date: the login of a worker
            need not have the rights of whoever runs `stepback init`.

    Raises:
        StepbackError: The ledger could not be installed, which comes first.
    """
    yield _install_ledger(here, lenient=lenient)
    for name in sorted(here.settings.targets):
        try:
            with here.session(name, installed=False) as session:
                install(session)
            yield Installed("target", name)
        except StepbackError as error:
            yield Installed("target", name, error)
    for name, outbox in sorted(here.settings.outboxes.items()):
        try:
            install_outbox(name, outbox.dsn())
            yield Installed("outbox", name)
        except StepbackError as error:
            yield Installed("outbox", name, error)


def _install_ledger(here: Installation, *, lenient: bool) -> Installed:
    ledger = here.settings.ledger
    try:
        return Installed("ledger", schema.upgrade(secret(ledger.admin_url or ledger.url)))
    except BadConfiguration as error:
        if not lenient:
            raise
        installation_id(here.engine)
        return Installed("ledger", "as it is", error)
