"""Databases for tests: a template made once a session, and a copy of it for each test."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stepback.embedded import Postgres

#: How long to wait for a database that somebody else is still connected to.
_BUSY_SECONDS = 30.0


def make_template(postgres: Postgres, name: str, *, owner: str, fill: Callable[[str], None]) -> str:
    """Make a template database unless it is there; of several test processes one makes it.

    Args:
        postgres: The session's server.
        name: The template's name.
        owner: The role that owns it while it is filled.
        fill: Gets the database's name and puts schema and rows in.

    Returns:
        The name.
    """
    with _admin(postgres) as admin:
        admin.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None:
            return name
        # Filled beside and renamed, so that an interrupted filling leaves nothing that looks finished.
        making = f"{name}_making"
        admin.execute(_sql("DROP DATABASE IF EXISTS {} WITH (FORCE)", making))
        admin.execute(_sql("CREATE DATABASE {} OWNER {} TEMPLATE template0", making, owner))
        fill(making)
        admin.execute(_sql("ALTER DATABASE {} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false", making))
        _patiently(admin, _sql("ALTER DATABASE {} RENAME TO {}", making, name))
    return name


@contextmanager
def fresh_database(postgres: Postgres, prefix: str, *, owner: str, template: str = "template0") -> Iterator[str]:
    """Give the name of a database of one's own; it is gone afterwards, whoever is still connected."""
    name = f"{prefix}_{uuid4().hex[:12]}"
    with _admin(postgres) as admin:
        _patiently(admin, _sql("CREATE DATABASE {} OWNER {} TEMPLATE {}", name, owner, template))
    try:
        yield name
    finally:
        with _admin(postgres) as admin:
            admin.execute(_sql("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))


def _patiently(admin: psycopg.Connection, statement: sql.Composed) -> None:
    """Execute a statement that needs a database which nobody is connected to, such as autovacuum."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            admin.execute(statement)
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def _admin(postgres: Postgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.superuser_url("postgres"), autocommit=True) as conn:
        yield conn


def _sql(statement: str, *names: str) -> sql.Composed:
    return sql.SQL(statement).format(*map(sql.Identifier, names))
