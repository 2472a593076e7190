"""The sample target: a small marketplace, before and after the five migrations that Stepback can undo."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import psycopg

from ledger.errors import UnknownMigration
from ledger.names import check_name

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: The target whose plans the sample's migrations belong to.
TARGET = "goodbuy_hq"


def migrations() -> tuple[str, ...]:
    """Return the names of the sample's migrations, in the order in which they are applied."""
    lines = (
        line.partition("#")[0].strip() for line in _file("sample", "migrations.txt").read_text("utf-8").splitlines()
    )
    return tuple(line for line in lines if line)


def load_sample(url: str, *, small: bool = False) -> None:
    """Load schema and rows of the sample into an empty database, all or nothing; the same rows every time.

    Args:
        url: The database, connected to as the role that will own everything in it.
        small: Few rows (40 businesses, 200 health metrics) instead of about 90,000, for quick tests.

    Raises:
        psycopg.errors.DuplicateObject: The sample is there already; nothing was changed.
    """
    with _connect(url) as connection:
        with connection.transaction():
            _use_public(connection)
            connection.execute("SELECT set_config('sample.scale', %s, true)", ["small" if small else "whole"])
            connection.execute(_file("sample", "0001_old_system.sql").read_bytes())
            connection.execute(_file("sample", "0002_old_rows.sql").read_bytes())
            for migration in migrations():
                connection.execute(_migration(migration).read_bytes())
            connection.execute(_file("sample", "0003_ai_rows.sql").read_bytes())
        connection.execute(_file("sample", "0004_statistics.sql").read_bytes())


def reapply_migration(url: str, migration: str) -> None:
    """Apply one of the sample's migrations again, as a deployment would after a rollback.

    Args:
        url: The database, connected to as the owner of its tables.
        migration: One of `migrations()`.

    Raises:
        UnknownMigration: The sample has no migration of that name.
        psycopg.errors.DuplicateObject, DuplicateColumn: It has not been rolled back; nothing was changed.
    """
    check_name("migration", migration)
    if migration not in migrations():
        raise UnknownMigration(f"the sample has no migration {migration!r} (known: {', '.join(migrations())})")
    with _connect(url) as connection, connection.transaction():
        _use_public(connection)
        connection.execute(_migration(migration).read_bytes())


def _connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    # The files are UTF-8, whatever the server would choose by itself.
    return psycopg.connect(url, autocommit=True, connect_timeout=5, client_encoding="utf8")


def _use_public(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    # A schema named like the role would otherwise come first and take everything.
    connection.execute("SET LOCAL search_path TO public")


def _migration(name: str) -> Traversable:
    return _file("plans", TARGET, name, "migration.sql")


def _file(*path: str) -> Traversable:
    return files("sql").joinpath(*path)
