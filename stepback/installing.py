"""Bringing the ledger's and every target's schema up to date; twice is harmless."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import schema
from ledger.errors import StepbackError
from stepback.installation import Installation, secret
from worker.install import install


@dataclass(frozen=True)
class Installed:
    """What came of one database."""

    #: "ledger" or "target".
    what: str
    #: The target's name, or the revision of the ledger's schema.
    name: str
    error: StepbackError | None = None


def install_all(here: Installation) -> Iterator[Installed]:
    """Install the ledger, then each target as its own login; one target's trouble does not keep the others waiting.

    Raises:
        StepbackError: The ledger could not be installed, which comes first.
    """
    ledger = here.settings.ledger
    yield Installed("ledger", schema.upgrade(secret(ledger.admin_url or ledger.url)))
    for name in sorted(here.settings.targets):
        try:
            with here.session(name, installed=False) as session:
                install(session)
            yield Installed("target", name)
        except StepbackError as error:
            yield Installed("target", name, error)
