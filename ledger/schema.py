"""The ledger's tables: brought up to date by whoever may, in one transaction."""

from __future__ import annotations

from importlib import resources

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from ledger.database import open_ledger, transaction
from ledger.errors import BadConfiguration

#: Advisory lock that two installers meet at: "stepback" in ASCII, read as a number.
_INSTALL_LOCK = int.from_bytes(b"stepback", "big")

#: Under sql/: first the owner and the schema, then the groups that rights are given to.
_ROLES = (("ledger", "roles.sql"), ("roles.sql",))

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_ENCODING = text("SELECT current_setting('server_encoding')")
_ACT_AS_OWNER = text("SET LOCAL ROLE stepback_owner")


def upgrade(admin_url: str) -> str:
    """Install the ledger's roles and schema, or bring them up to date; all of it or nothing.

    Args:
        admin_url: A login that may create roles and schemas. Used for this only.

    Returns:
        The schema's revision.

    Raises:
        BadConfiguration: The login may not do it, or the database is not in UTF-8.
        LedgerUnreachable: The database does not answer.
    """
    engine = open_ledger(admin_url)
    try:
        with transaction(engine) as conn:
            conn.execute(_LOCK, {"key": _INSTALL_LOCK})
            _check_encoding(conn)
            _prepare(conn)
            return _migrate(conn)
    finally:
        engine.dispose()


def _check_encoding(conn: Connection) -> None:
    encoding = conn.execute(_ENCODING).scalar_one()
    if encoding != "UTF8":
        raise BadConfiguration(f"the ledger's database is in {encoding}; create it WITH ENCODING 'UTF8'")


def _prepare(conn: Connection) -> None:
    scripts = [resources.files("sql").joinpath(*path).read_text(encoding="utf-8") for path in _ROLES]
    try:
        for script in scripts:
            conn.exec_driver_sql(script, execution_options={"no_parameters": True})
        conn.execute(_ACT_AS_OWNER)
    except ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        raise BadConfiguration(
            "this login may not create the roles of sql/ledger/roles.sql and sql/roles.sql and the schema ledger; "
            "set STEPBACK_LEDGER_ADMIN_URL to one that may, or let an administrator run both files, in this order"
        ) from error


def _migrate(conn: Connection) -> str:
    config = Config()
    config.set_main_option("script_location", "ledger:migrations")
    config.attributes["connection"] = conn
    head = ScriptDirectory.from_config(config).get_current_head()
    if head is None:
        raise AssertionError("no revisions in ledger/migrations")
    command.upgrade(config, "head")
    return head
