"""Which servers a worker works on: a primary, reached directly, and the database that it was asked to."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ledger.model import State
from stepback.embedded import Postgres
from stepback.embedded.places import account
from tests.harness import Engine, completed, ended

#: First byte of the server's message that tells the client its process id.
_BACKEND_KEY_DATA = b"K"


@contextmanager
def pooler(postgres: Postgres, folder: Path) -> Iterator[str]:
    """Give the folder of a socket that behaves as a pooler does: whoever connects is told another process id."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / ".s.PGSQL.5432"))
    server.listen()

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                upstream = socket.socket(socket.AF_UNIX)
                upstream.connect(str(postgres.socket_dir / ".s.PGSQL.5432"))
                threading.Thread(target=_pass_on, args=(client, upstream), daemon=True).start()
                threading.Thread(target=_answer, args=(upstream, client), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield str(folder)
    finally:
        server.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _answer(source: socket.socket, target: socket.socket) -> None:
    """Pass on what the server says, message by message, with another process id."""
    with suppress(OSError, struct.error):
        stream = source.makefile("rb")
        while header := stream.read(5):
            kind, length = header[:1], struct.unpack(">I", header[1:])[0]
            body = stream.read(length - 4)
            if kind == _BACKEND_KEY_DATA:
                body = struct.pack(">I", 4242) + body[4:]
            target.sendall(header + body)
        target.shutdown(socket.SHUT_WR)


def test_pooler_is_refused(engine: Engine, data_folder: Path) -> None:
    """Through a pooler session settings and locks mean nothing: refused before anything is looked at."""
    engine.owner("CREATE TABLE orders (id int)")
    engine.plan("DROP TABLE orders;")

    with pooler(engine.postgres, data_folder) as host:
        engine.url = f"postgresql://stepback_worker@/{engine.database}?host={host}&port=5432"
        refused = engine.rollback()

    assert ended(refused).startswith("refused: not_possible: the target's url leads to a connection pooler")
    assert engine.events(refused)[-1].type == "run_refused"
    assert engine.query("SELECT to_regclass('orders')::text AS orders") == [{"orders": "orders"}]


@pytest.fixture
def standby(postgres: Postgres, data_folder: Path) -> Iterator[Postgres]:
    """Give a standby with all databases of the session's server."""
    home = data_folder / "postgres"
    owner = account(postgres.home)
    command = [str(postgres.bin / "pg_basebackup"), "--pgdata", str(home), "--checkpoint=fast", "--wal-method=stream"]
    url = postgres.superuser_url("postgres")
    done = subprocess.run([*command, f"--dbname={url}"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this server gives no base backup: {done.stderr.strip()}")
    # The primary's socket lies in its folder, and so does the socket's lock.
    for left in home.glob(".s.PGSQL.*"):
        left.unlink()
    (home / "standby.signal").touch()
    for path in (home, *home.rglob("*")):
        shutil.chown(path, owner.pw_uid, owner.pw_gid)
    # A standby must not have less of these than its primary.
    with psycopg.connect(url) as conn:
        shared = conn.execute(
            "SELECT name, setting FROM pg_settings WHERE name LIKE 'max\\_%' AND context = 'postmaster'"
        )
        settings: dict[str, str] = dict(shared.fetchall())
    with Postgres.start(data_folder, version=postgres.version, settings={"fsync": "off", **settings}) as server:
        yield server


def test_standby_is_refused(engine: Engine, standby: Postgres) -> None:
    """On a standby nothing can be done, and the message says where to go instead."""
    engine.owner("CREATE TABLE orders (id int)")
    engine.plan("DROP TABLE orders;")
    engine.url = standby.url(engine.database, "stepback_worker")

    refused = engine.rollback()

    assert ended(refused) == "refused: not_possible: the target is a standby; give the primary's address"


def test_target_without_stepbacks_side_is_refused(engine: Engine) -> None:
    """Where the target's side is not installed, the message names the command that installs it."""
    engine.admin("DROP SCHEMA emergency_backup CASCADE")
    engine.plan("DROP TABLE orders;")

    refused = engine.rollback()

    assert ended(refused).startswith("refused: not_possible: the target has no emergency_backup.fence")
    assert "stepback init" in ended(refused)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://stepback_worker@127.0.0.1:1/x",
        "postgresql://nobody:sesame@/{database}?host={host}&port=5432",
        "postgresql://stepback_worker@/no_such_database?host={host}&port=5432",
        "postgresql://user:sesame@[bad",
    ],
)
def test_target_that_cannot_be_reached(engine: Engine, url: str) -> None:
    """A target that does not answer is a person's business in the end; no message holds the password."""
    engine.plan("DROP TABLE orders;")
    engine.url = url.format(host=engine.postgres.socket_dir, database=engine.database)

    run = engine.rollback()

    assert ended(run).startswith("needs_operator: target_unreachable: ")
    assert all("sesame" not in str(event) for event in engine.events(run))


def test_target_that_is_another_database_now(engine: Engine, target_database: str) -> None:
    """A run that began on one database is not gone on with on another one of the same name."""
    engine.owner("CREATE TABLE orders (id int)")
    engine.plan("DROP TABLE orders;")
    other = Engine(engine.postgres, engine.ledger, target_database, engine.plans)
    other.install()

    class Killed(BaseException):
        """Stands for SIGKILL."""

    def die(point: str) -> None:
        if point == "locked":
            raise Killed

    command = engine.command()
    engine.at = die
    with pytest.raises(Killed):
        engine.carry_out(command)
    with engine.ledger.begin() as conn:
        conn.exec_driver_sql("UPDATE ledger.runs SET lease_until = clock_timestamp()")
    other.deliver(command.command_id)
    run = engine.find(1)
    other.close()

    assert run.state is State.NEEDS_OPERATOR, ended(run)
    assert "worked on another database" in ended(run)


def test_settings_of_role_and_database_change_nothing(engine: Engine) -> None:
    """Whatever a role or database has configured, a run behaves the same and comes back to the same."""
    engine.owner("CREATE TABLE orders (id int PRIMARY KEY, t timestamptz, f float8, i interval, b bytea)")
    engine.owner("INSERT INTO orders VALUES (1, '2020-02-03 04:05:06+00', 0.1, '1 mon 2 days', '\\x00ff')")
    engine.admin(
        f"ALTER DATABASE {engine.database} SET search_path = 'elsewhere, public';"
        f"ALTER DATABASE {engine.database} SET default_transaction_read_only = on;"
        f"ALTER DATABASE {engine.database} SET default_transaction_isolation = 'serializable';"
        f"ALTER DATABASE {engine.database} SET DateStyle = 'German';"
        f"ALTER DATABASE {engine.database} SET TimeZone = 'Asia/Kathmandu';"
        f"ALTER DATABASE {engine.database} SET synchronous_commit = off;"
        f"ALTER DATABASE {engine.database} SET row_security = off;"
        f"ALTER DATABASE {engine.database} SET check_function_bodies = off;"
        f"ALTER DATABASE {engine.database} SET standard_conforming_strings = on;"
        f"ALTER DATABASE {engine.database} SET bytea_output = 'escape'"
    )
    engine.plan("DROP TABLE public.orders;")
    before = engine.fingerprint()

    done = completed(engine.rollback())
    completed(engine.recover(done))

    assert engine.fingerprint() == before


@pytest.mark.parametrize("by", ["login", "role"])
def test_superuser_is_refused(engine: Engine, by: str) -> None:
    """Whom nothing holds back, of that nobody could say what a plan may do: not as the login, nor by SET ROLE."""
    engine.owner("CREATE TABLE orders (id int)")
    engine.plan("DROP TABLE orders")
    login = f"worker_{uuid4().hex[:8]}"
    engine.admin(f"CREATE ROLE {login} LOGIN {'SUPERUSER' if by == 'login' else ''}; GRANT postgres TO {login}")
    try:
        options = {} if by == "login" else {"options": "-c role=postgres"}
        engine.url = make_conninfo(engine.postgres.url(engine.database, login), **options)
        refused = engine.rollback()
        found = engine.validate()
    finally:
        engine.admin(f"DROP OWNED BY {login}; DROP ROLE {login}")

    for run in (refused, found):
        assert ended(run).startswith("refused: not_possible: the worker's login is a superuser here")
    assert engine.query("SELECT to_regclass('orders')::text AS orders") == [{"orders": "orders"}]
