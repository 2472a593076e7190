"""The ledger's schema: installed once, by anybody who may, and every column says what it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from ledger.database import open_ledger
from ledger.errors import BadConfiguration, LedgerUnreachable
from ledger.installation import installation_id
from ledger.schema import upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


def _url(url: str, database: str, user: str | None = None) -> str:
    changed = make_url(url).set(database=database)
    if user is not None:
        changed = changed.set(username=user, password=None)
    return changed.render_as_string(hide_password=False)


@pytest.fixture
def empty(superuser: psycopg.Connection) -> Iterator[str]:
    """Give the name of a database without a ledger."""
    name = f"empty_{uuid4().hex}"
    superuser.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    yield name
    superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def installer(superuser: psycopg.Connection, empty: str) -> Iterator[str]:
    """Give a login that is no superuser and owns the empty database, as a managed service hands it out."""
    name = f"installer_{uuid4().hex[:8]}"
    role, database = sql.Identifier(name), sql.Identifier(empty)
    superuser.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(role))
    superuser.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
    yield name
    superuser.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(database))
    superuser.execute(sql.SQL("DROP ROLE {}").format(role))


def test_installing_again_changes_nothing(ledger_admin_url: str, ledger_engine: Engine) -> None:
    """The revision and the installation stay the same."""
    before = installation_id(ledger_engine)

    revision = upgrade(ledger_admin_url)

    assert revision == upgrade(ledger_admin_url)
    assert installation_id(ledger_engine) == before


def test_two_may_install_at_once(ledger_admin_url: str, empty: str) -> None:
    """Two processes that start together on a new database both find it installed."""
    url = _url(ledger_admin_url, empty)

    with ThreadPoolExecutor(4) as pool:
        revisions = set(pool.map(upgrade, [url] * 4))

    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT count(*) FROM ledger.installation").fetchone() == (1,)
    assert len(revisions) == 1


def test_a_login_that_is_no_superuser_can_install(
    ledger_admin_url: str, empty: str, installer: str, superuser: psycopg.Connection
) -> None:
    """Being a member of the owner, and owner of the database, is enough."""
    superuser.execute(sql.SQL("GRANT stepback_owner TO {}").format(sql.Identifier(installer)))

    revision = upgrade(_url(ledger_admin_url, empty, installer))

    assert revision == upgrade(ledger_admin_url)


def test_a_login_that_may_not_install_is_told_what_to_do(ledger_admin_url: str, empty: str) -> None:
    """And nothing is left half done."""
    with pytest.raises(BadConfiguration, match="STEPBACK_LEDGER_ADMIN_URL"):
        upgrade(_url(ledger_admin_url, empty, "stepback_app"))

    with psycopg.connect(_url(ledger_admin_url, empty)) as conn:
        assert conn.execute("SELECT to_regnamespace('ledger')").fetchone() == (None,)


def test_a_database_in_another_encoding_is_refused(ledger_admin_url: str, superuser: psycopg.Connection) -> None:
    """The order of keys in canonical JSON would be another."""
    name = f"latin_{uuid4().hex}"
    database = sql.Identifier(name)
    superuser.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'").format(database))
    try:
        with pytest.raises(BadConfiguration, match="UTF8"):
            upgrade(_url(ledger_admin_url, name))
    finally:
        superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


def test_keys_are_sorted_alike_in_every_locale(ledger_admin_url: str, superuser: psycopg.Connection) -> None:
    """A database whose own order is that of a language gives the same canonical JSON, so the same hashes."""
    name = f"icu_{uuid4().hex}"
    database = sql.Identifier(name)
    try:
        superuser.execute(
            sql.SQL(
                "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en'"
            ).format(database)
        )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL is built without ICU")
    try:
        upgrade(_url(ledger_admin_url, name))
        with psycopg.connect(_url(ledger_admin_url, name)) as conn:
            order = conn.execute("SELECT 'a' < 'B', ledger.canonical_json('{\"a\": 1, \"B\": 2}')").fetchone()
    finally:
        superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))

    assert order == (True, '{"B":2,"a":1}')


def test_a_database_without_a_ledger_is_told_apart_from_one_that_is_gone(ledger_admin_url: str, empty: str) -> None:
    """The first needs `stepback init`, the second a server."""
    engine = open_ledger(_url(ledger_admin_url, empty))

    with pytest.raises(BadConfiguration, match="stepback init"):
        installation_id(engine)
    engine.dispose()


def test_a_ledger_that_is_not_there_is_unreachable(ledger_admin_url: str) -> None:
    """Whoever asks hears so, without the URL."""
    engine = open_ledger("postgresql://stepback_app:hunter2@/x?host=/nonexistent")

    with pytest.raises(LedgerUnreachable) as error:
        installation_id(engine)
    assert "hunter2" not in str(error.value)
    with pytest.raises(LedgerUnreachable):
        upgrade(_url(ledger_admin_url, "no_such_database"))


def test_every_table_and_column_says_what_it_is(superuser: psycopg.Connection) -> None:
    """COMMENT ON for each, Alembic's own table included."""
    silent = superuser.execute(
        """
        SELECT class.relname, attribute.attname
        FROM pg_class AS class
        JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
        WHERE class.relnamespace = 'ledger'::regnamespace AND class.relkind = 'r'
          AND attribute.attnum > 0 AND NOT attribute.attisdropped
          AND (col_description(class.oid, attribute.attnum) IS NULL OR obj_description(class.oid, 'pg_class') IS NULL)
        """
    ).fetchall()

    assert silent == []


def test_everything_belongs_to_a_role_that_nobody_logs_in_as(superuser: psycopg.Connection) -> None:
    """The processes' own login owns nothing, and could otherwise give itself every right."""
    owners = superuser.execute(
        """
        SELECT DISTINCT pg_get_userbyid(owner) FROM (
            SELECT relowner FROM pg_class WHERE relnamespace = 'ledger'::regnamespace
            UNION SELECT proowner FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace
            UNION SELECT nspowner FROM pg_namespace WHERE nspname = 'ledger'
        ) AS owned (owner)
        """
    ).fetchall()
    login = superuser.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'stepback_owner'").fetchone()

    assert owners == [("stepback_owner",)]
    assert login == (False,)


def test_nobody_else_may_call_or_read_anything(superuser: psycopg.Connection) -> None:
    """PUBLIC has no right on any function, table or the schema."""
    public = superuser.execute(
        """
        SELECT acl.privilege_type FROM (
            SELECT coalesce(relacl, acldefault('r', relowner)) FROM pg_class
            WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r'
            UNION ALL SELECT coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
            WHERE pronamespace = 'ledger'::regnamespace
            UNION ALL SELECT coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname = 'ledger'
        ) AS objects (list), aclexplode(list) AS acl
        WHERE acl.grantee = 0
        """
    ).fetchall()

    assert public == []


def test_a_commit_survives_a_crash_whatever_the_role_says(ledger_engine: Engine) -> None:
    """The server of these tests has synchronous_commit off; a ledger's session has it on."""
    with ledger_engine.connect() as conn:
        assert conn.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
