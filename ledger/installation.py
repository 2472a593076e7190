"""Which installation a ledger belongs to: the name that stands in every signed command, fence and marker."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from ledger.database import reaching_ledger
from ledger.errors import BadConfiguration

_INSTALLATION_ID = text("SELECT id FROM ledger.installation")


@reaching_ledger()
def installation_id(engine: Engine) -> UUID:
    """Return which installation this ledger belongs to.

    Raises:
        BadConfiguration: The ledger is not installed, or not for this login.
        LedgerUnreachable: The ledger does not answer.
    """
    try:
        with engine.connect() as conn:
            found: UUID = conn.execute(_INSTALLATION_ID).scalar_one()
    except ProgrammingError as error:
        raise BadConfiguration(
            "the ledger is not installed in this database, or not for this login; run `stepback init`"
        ) from error
    return found
