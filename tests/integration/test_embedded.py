"""The embedded servers start, are shared, outlive nobody who needs them to end, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from redis import Redis as RedisClient
from sqlalchemy import create_engine, make_url, text

from ledger.errors import BadConfiguration
from stepback.embedded import EmbeddedServerFailed, Postgres, Redis, ensure_roles_and_databases, servers
from stepback.embedded.server import Server

#: Nobody's data.
QUICK = {"fsync": "off"}

#: A process that uses both servers until it is told to end.
USER = """
import signal, sys, time
from pathlib import Path
from stepback.embedded import servers
signal.signal(signal.SIGTERM, signal.default_int_handler)
with servers(Path(sys.argv[1]), settings={"fsync": "off"}) as started:
    print(started.postgres.pid(), started.redis.pid(), flush=True)
    time.sleep(60)
"""

STARTERS = [
    pytest.param(lambda data: Postgres.start(data, settings=QUICK), id="postgres"),
    pytest.param(Redis.start, id="redis"),
]
each_server = pytest.mark.parametrize("start", STARTERS)

Start = Callable[[Path], Server]


@contextmanager
def another_user(data: Path, root: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Run a process that uses the servers of a folder; give it and the ids of its servers."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(data)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, [int(pid) for pid in process.stdout.readline().split()]
        finally:
            process.kill()


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody has reaped yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def living_in(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in a folder or were told of it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if not gone(process.pid) and str(folder) in f"{process.cwd()} {process.cmdline()}":
                found.append(process)
    return found


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something that will be true within seconds."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def pid_of(server: Server) -> int:
    """Return the id of a running server."""
    pid = server.pid()
    assert pid is not None
    return pid


# -- start and stop ------------------------------------------------------------


@each_server
def test_stop_leaves_nothing_behind(data_folder: Path, start: Start) -> None:
    """After stop() neither the process nor its socket is there."""
    server = start(data_folder)
    pid = pid_of(server)
    answered = server.answers()

    server.stop()

    assert answered
    assert gone(pid)
    assert not [path for path in data_folder.rglob("*") if path.is_socket()]


@each_server
def test_stop_may_be_called_again(data_folder: Path, start: Start) -> None:
    """A second stop() changes nothing, also when somebody else has started the server since."""
    first = start(data_folder)
    first.stop()

    with start(data_folder) as second:
        first.stop()

        assert second.answers()


@each_server
def test_a_server_opens_no_port(data_folder: Path, start: Start) -> None:
    """Only those who may enter the data folder reach the server."""
    with start(data_folder) as server:
        process = psutil.Process(pid_of(server))

        assert process.net_connections(kind="inet") == []


@each_server
def test_ctrl_c_does_not_reach_the_server(data_folder: Path, start: Start) -> None:
    """The server is in a session of its own: what a terminal sends to its users, it does not get."""
    with start(data_folder) as server:
        assert os.getsid(pid_of(server)) != os.getsid(0)


def test_rows_survive_a_restart(data_folder: Path) -> None:
    """What was committed is there when the data folder is used again."""
    with (
        Postgres.start(data_folder, settings=QUICK) as server,
        psycopg.connect(server.superuser_url("postgres")) as conn,
    ):
        conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    with Postgres.start(data_folder) as server, psycopg.connect(server.superuser_url("postgres")) as conn:
        assert conn.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_redis_keeps_nothing(data_folder: Path) -> None:
    """What Redis held is gone after a restart: nobody may come to rely on it."""
    with Redis.start(data_folder) as server, RedisClient.from_url(server.url) as client:
        client.set("key", "value")

    with Redis.start(data_folder) as server, RedisClient.from_url(server.url) as client:
        assert client.get("key") is None


def test_sigterm_ends_the_servers_with_their_user(data_folder: Path, pytestconfig: pytest.Config) -> None:
    """A process that turns SIGTERM into an exception leaves no server behind."""
    with another_user(data_folder, pytestconfig.rootpath) as (user, pids):
        user.terminate()
        user.wait(30)

    assert len(pids) == 2
    assert all(map(gone, pids))


@pytest.mark.parametrize(
    "moment", ["redis/redis.pid", "postgres.making", "postgres.making/PG_VERSION", "postgres/postmaster.pid"]
)
def test_sigterm_while_starting_leaves_nothing(data_folder: Path, pytestconfig: pytest.Config, moment: str) -> None:
    """Whatever the start has come to when it is interrupted, no process stays."""
    user = subprocess.Popen(
        [sys.executable, "-c", USER, str(data_folder)], cwd=pytestconfig.rootpath, stderr=subprocess.DEVNULL
    )
    wait_until((data_folder / moment).exists)

    user.terminate()
    user.wait(30)

    wait_until(lambda: not living_in(data_folder))


# -- sharing -------------------------------------------------------------------


def test_the_last_user_stops_the_servers(data_folder: Path, pytestconfig: pytest.Config) -> None:
    """A second process shares the servers of the first, and may leave again without ending them."""
    with servers(data_folder, settings=QUICK) as mine:
        with another_user(data_folder, pytestconfig.rootpath) as (user, pids):
            user.terminate()
            user.wait(30)

        assert pids == [mine.postgres.pid(), mine.redis.pid()]
        assert mine.postgres.answers()
        assert mine.redis.answers()
    assert all(map(gone, pids))


def test_the_first_user_may_leave_before_the_second(data_folder: Path, pytestconfig: pytest.Config) -> None:
    """Who started a server does not take it away from the others, and the last one ends it."""
    with another_user(data_folder, pytestconfig.rootpath) as (user, pids), servers(data_folder) as mine:
        user.terminate()
        user.wait(30)

        assert mine.postgres.answers()
        assert mine.redis.answers()
    assert all(map(gone, pids))


def test_many_may_start_at_once(data_folder: Path) -> None:
    """Of several who start in an empty folder one runs initdb and the rest share its server."""
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: Postgres.start(data_folder, settings=QUICK), range(4)))
    pids = {server.pid() for server in started}
    alive = all(server.answers() for server in started)
    for server in started:
        server.stop()

    assert alive
    assert len(pids) == 1
    assert all(gone(pid) for pid in pids if pid)


# -- left-overs ----------------------------------------------------------------


def test_servers_of_a_killed_user_are_replaced(data_folder: Path, pytestconfig: pytest.Config) -> None:
    """After kill -9 the next user gets working servers, and at its end none is left, old or new."""
    with another_user(data_folder, pytestconfig.rootpath) as (user, old):
        user.kill()
        user.wait(30)
    left = [pid for pid in old if not gone(pid)]

    with servers(data_folder, settings=QUICK) as mine:
        new = [pid_of(mine.postgres), pid_of(mine.redis)]
        answered = mine.postgres.answers() and mine.redis.answers()

    assert left == old
    assert answered
    assert all(map(gone, [*old, *new]))


def test_a_handle_that_was_never_started_stops_what_was_left(data_folder: Path, pytestconfig: pytest.Config) -> None:
    """Servers of a killed process can be ended without starting anything."""
    with another_user(data_folder, pytestconfig.rootpath) as (user, old):
        user.kill()
        user.wait(30)

    Postgres(data_folder).stop()
    Redis(data_folder).stop()

    assert all(map(gone, old))


@each_server
def test_a_server_that_hangs_is_replaced(data_folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A left-over that follows no signal is killed, with its children."""
    monkeypatch.setattr("stepback.embedded.server.STOP_SECONDS", 0.5)
    left = start(data_folder)
    family = [psutil.Process(pid_of(left)), *psutil.Process(pid_of(left)).children(recursive=True)]
    left._usage.give_up()
    family[0].suspend()

    with start(data_folder) as server:
        assert server.answers()

    assert all(gone(process.pid) for process in family)


@each_server
def test_a_pid_file_may_name_another_process(data_folder: Path, start: Start) -> None:
    """After a reboot the id in a pid file may be anybody's: the server starts and that process lives on."""
    server = start(data_folder)
    file = next(iter(server.home.glob("*.pid")))
    server.stop()
    file.write_text(f"{os.getppid()}\n{server.home}\n", encoding="ascii")

    with start(data_folder) as server:
        assert server.answers()
        assert server.pid() != os.getppid()


def test_an_interrupted_initdb_is_done_again(data_folder: Path) -> None:
    """Half a cluster is never taken for a whole one."""
    half = data_folder / "postgres.making"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n", encoding="ascii")

    with Postgres.start(data_folder, settings=QUICK) as server:
        assert server.answers()

    assert not half.exists()


# -- places --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a folder", "50%, or 'so'", 'quo"ted', "x" * 120], ids=["space", "comma", "quote", "long"]
)
def test_the_path_of_the_data_folder_may_be_anything(data_folder: Path, name: str) -> None:
    """psycopg, psql, SQLAlchemy and redis-py all reach the servers, wherever their sockets had to go."""
    with servers(data_folder / name, settings=QUICK) as started:
        url = started.postgres.url("postgres", "postgres")
        with psycopg.connect(url) as conn:
            by_psycopg = conn.execute("SELECT current_user").fetchone()
        by_psql = subprocess.check_output([started.postgres.psql, "-XAtc", "SELECT current_user", url], text=True)
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            by_sqlalchemy = connection.execute(text("SELECT current_user")).scalar_one()
        engine.dispose()
        with RedisClient.from_url(started.redis.url) as client:
            by_redis = client.ping()
        sockets = {started.postgres.socket_dir, started.redis.socket.parent}

    assert (by_psycopg, by_psql.strip(), by_sqlalchemy, by_redis) == (("postgres",), "postgres", "postgres", True)
    assert not [folder for folder in sockets if folder.parent != data_folder / name and folder.exists()]


def test_a_short_socket_folder_of_somebody_else_is_refused(data_folder: Path) -> None:
    """A folder that others can enter is not trusted with a socket, even under the right name."""
    data = data_folder / ("x" * 120)
    with Redis.start(data) as server:
        folder = server.socket.parent
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)

    with pytest.raises(BadConfiguration, match="not a private folder"):
        Redis.start(data)

    folder.rmdir()


def test_pgport_in_the_environment_changes_nothing(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables meant for another server are not for this one, nor for those who connect to it."""
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")

    with Postgres.start(data_folder, settings=QUICK) as server:
        assert server.answers()


# -- versions, settings, failures ----------------------------------------------


def test_settings_are_for_this_start_only(data_folder: Path) -> None:
    """What one start asked for is not written down for the next: a ledger never loses fsync by accident."""
    shown = []
    for settings in (QUICK, {}):
        with (
            Postgres.start(data_folder, settings=settings) as server,
            psycopg.connect(server.superuser_url("postgres")) as conn,
        ):
            shown.append(conn.execute("SHOW fsync").fetchone())

    assert shown == [("off",), ("on",)]


def test_a_folder_of_another_version_is_refused(data_folder: Path) -> None:
    """A cluster is never started by binaries of another major version."""
    with Postgres.start(data_folder, version=16, settings=QUICK) as server:
        assert server.answers()

    with pytest.raises(BadConfiguration, match=r"holds PostgreSQL 16, not 18"):
        Postgres.start(data_folder)


def test_a_version_that_is_not_there_is_refused(data_folder: Path) -> None:
    """The message says which versions come along."""
    with pytest.raises(BadConfiguration, match=r"PostgreSQL 9 is not installed \(embedded: 16, 18\)"):
        Postgres.start(data_folder, version=9)


def test_a_server_that_does_not_start_names_its_log(data_folder: Path) -> None:
    """The message leads to the reason, nothing is left running, and a proper start works afterwards."""
    with pytest.raises(EmbeddedServerFailed, match=r"see .*postgres\.log"):
        Postgres.start(data_folder, settings={**QUICK, "max_connections": "many"})

    assert "max_connections" in (data_folder / "postgres.log").read_text(encoding="utf-8")
    with Postgres.start(data_folder, settings=QUICK) as server:
        assert server.answers()


# -- roles and databases -------------------------------------------------------


def test_roles_and_databases_may_be_ensured_by_many(data_folder: Path) -> None:
    """Several processes may bring one server up to date at the same time, and again."""
    with Postgres.start(data_folder, settings=QUICK) as server:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: ensure_roles_and_databases(server, sample=True), range(8)))
        with psycopg.connect(server.superuser_url("postgres")) as conn:
            databases = conn.execute(
                "SELECT datname, datdba::regrole::text FROM pg_database WHERE datname ~ '_'"
            ).fetchall()

    assert sorted(databases) == [("goodbuy_hq", "goodbuy_app"), ("stepback_ledger", "stepback_owner")]


@pytest.mark.parametrize(
    ("role", "database", "may"),
    [
        ("stepback_app", "stepback_ledger", True),
        ("goodbuy_app", "stepback_ledger", False),
        ("stepback_worker", "stepback_ledger", False),
        ("stepback_owner", "stepback_ledger", False),
        ("goodbuy_app", "postgres", True),
        ("stepback_worker", "postgres", True),
    ],
)
def test_a_role_enters_only_where_it_has_business(postgres: Postgres, role: str, database: str, *, may: bool) -> None:
    """The ledger lets in Stepback's own login and no other; the owner of its objects never logs in."""
    try:
        psycopg.connect(postgres.url(database, role)).close()
        entered = True
    except psycopg.OperationalError:
        entered = False

    assert entered is may


def test_no_role_is_a_superuser(postgres: Postgres) -> None:
    """No login of an installation could get around its grants."""
    with psycopg.connect(postgres.superuser_url("postgres")) as conn:
        strong = conn.execute(
            "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'"
            " AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)"
        ).fetchall()

    assert strong == []


def test_the_worker_acts_for_the_application(empty_target_url: str, empty_target_admin_url: str) -> None:
    """The worker's role makes schemas in a target and changes what the application owns there."""
    with psycopg.connect(empty_target_admin_url) as conn:
        conn.execute("CREATE TABLE public.theirs (id int); ALTER TABLE public.theirs OWNER TO goodbuy_app")

    with psycopg.connect(empty_target_url) as conn:
        conn.execute("CREATE SCHEMA quarantine; ALTER TABLE public.theirs SET SCHEMA quarantine")
        moved = conn.execute("SELECT to_regclass('quarantine.theirs') IS NOT NULL").fetchone()

    assert moved == (True,)
