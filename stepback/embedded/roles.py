"""The roles and databases of an embedded PostgreSQL: the same names and rights as in production."""

from __future__ import annotations

import psycopg
from psycopg import sql

from stepback.embedded.postgres import Postgres

#: Every role, and whether it may log in. None of them is a superuser.
ROLES = {
    "stepback_owner": "NOLOGIN",
    "stepback_app": "LOGIN",
    "goodbuy_app": "LOGIN",
    "stepback_worker": "LOGIN",
}
LEDGER_DATABASE = "stepback_ledger"
SAMPLE_DATABASE = "goodbuy_hq"


def ensure_roles_and_databases(postgres: Postgres, *, sample: bool = False) -> None:
    """Make what is missing of roles and databases; may be called again, by several processes too.

    Args:
        postgres: A running server.
        sample: Also make the database of the sample target.
    """
    with psycopg.connect(postgres.superuser_url("postgres"), autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(hashtext('stepback: roles and databases'))")
        for role, login in ROLES.items():
            if not _exists(conn, "SELECT FROM pg_roles WHERE rolname = %s", role):
                conn.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(role), sql.SQL(login)))
        conn.execute("GRANT goodbuy_app TO stepback_worker")
        _ensure_database(conn, LEDGER_DATABASE, owner="stepback_owner")
        # The ledger is nobody else's business.
        conn.execute(f"REVOKE ALL ON DATABASE {LEDGER_DATABASE} FROM PUBLIC")
        conn.execute(f"GRANT CONNECT ON DATABASE {LEDGER_DATABASE} TO stepback_app")
        if sample:
            _ensure_database(conn, SAMPLE_DATABASE, owner="goodbuy_app")


def _ensure_database(conn: psycopg.Connection, name: str, *, owner: str) -> None:
    if not _exists(conn, "SELECT FROM pg_database WHERE datname = %s", name):
        statement = sql.SQL("CREATE DATABASE {} OWNER {}")
        conn.execute(statement.format(sql.Identifier(name), sql.Identifier(owner)))


def _exists(conn: psycopg.Connection, query: str, name: str) -> bool:
    return conn.execute(query, (name,)).fetchone() is not None
