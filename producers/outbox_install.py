"""Bringing the outbox into an application's database: as a script for its administrator, or by a login that may."""

from __future__ import annotations

from importlib import resources

import psycopg

from ledger.errors import BadConfiguration
from producers.outbox_database import connect, reaching

_CAN_WE_USE_IT = "SELECT FROM stepback.outbox LIMIT 0"


def script() -> str:
    """Return the SQL that installs the outbox or completes it: one transaction, for psql; twice is harmless."""
    return "\n".join(("BEGIN;\n", *_parts(), "COMMIT;\n"))


def install(name: str, dsn: str) -> None:
    """Install an outbox, or complete it. A login that may not do that is fine where the outbox is there.

    Args:
        name: Its configured name.
        dsn: Its database, as libpq takes it.

    Raises:
        BadConfiguration: It is not there, and this login may not install it; or the database cannot have one.
        OutboxUnreachable: The database does not answer.
    """
    with connect(name, dsn) as conn, reaching(name):
        try:
            with conn.transaction():
                for part in _parts():
                    conn.execute(part.encode())
        except psycopg.errors.InsufficientPrivilege:
            # The relay's own login, as in production: an administrator has installed it, or has yet to.
            conn.execute(_CAN_WE_USE_IT)
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.DuplicateSchema) as error:
            # The script's own words.
            raise BadConfiguration(f"outbox {name}: {error.diag.message_primary}") from error


def _parts() -> list[str]:
    folder = resources.files("sql") / "outbox"
    numbered = sorted(entry.name for entry in folder.iterdir() if entry.name[:4].isdigit())
    return [(folder / name).read_text(encoding="utf-8") for name in ("roles.sql", *numbered)]
