"""What docker-compose.yml starts, as far as it can be tried without Docker: files, database script, processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from ledger.schema import upgrade
from stepback.embedded import Postgres, ensure_roles_and_databases
from stepback.embedded.redis_server import binary as redis_server
from stepback.embedded.roles import LEDGER_DATABASE, ROLES
from tests.acceptance.commandline import CommandLine, said, wait_for
from tests.alerting.child import free_port
from tests.compose import ROOT, environment, filled, healthcheck, lay_out, mounts, password, services
from tests.fix_tools import Tool

_SETTINGS = {"fsync": "off", "log_statement": "all", "log_min_duration_statement": "0"}
#: Of sql/roles.sql, one for each kind of process.
_GROUPS = ("producer", "consent", "worker", "monitor", "auditor", "operator")
_DEPLOYING = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")

#: What each role may do to each relation and function of the ledger.
_RIGHTS = """
    SELECT a.grantee::regrole::text, c.relname, a.privilege_type
    FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
    WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'v', 'p')
    UNION ALL
    SELECT a.grantee::regrole::text, p.proname, a.privilege_type
    FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE p.pronamespace = 'ledger'::regnamespace
    ORDER BY 1, 2, 3
"""
#: What each is, and whose member.
_ATTRIBUTES = """
    SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolinherit,
           ARRAY(SELECT m.roleid::regrole::text FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1)
    FROM pg_roles r WHERE rolname = ANY(%s) ORDER BY rolname
"""
#: What each may do with each database.
_ON_DATABASES = """
    SELECT r, datname, p, has_database_privilege(r, datname, p)
    FROM unnest(%s::text[]) r, pg_database, unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) p
    ORDER BY 1, 2, 3
"""

#: Passwords are asked for, as over a network.
_HBA = "local all postgres trust\nlocal all all scram-sha-256\n"


def _run_script(server: Postgres, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the script of the service as its image does: psql, as the superuser, with the service's environment."""
    (script,) = (ROOT / mount.source for mount in mounts("postgres") if mount.target.endswith(".sql"))
    return subprocess.run(
        [server.psql, "--no-psqlrc", "--no-password", "-v", "ON_ERROR_STOP=1", "-f", script, "-d", _admin(server)],
        env={**{key: value for key, value in os.environ.items() if not key.startswith("PG")}, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _ping(port: int, **variables: str) -> int:
    """Run the healthcheck of Redis, with another port than in its container."""
    (line,) = healthcheck("redis")
    return subprocess.run(
        ["sh", "-c", line.replace("redis-cli", f"{redis_server().with_name('redis-cli')} -p {port}")],
        env={**os.environ, **environment("redis"), **variables},
        capture_output=True,
        check=False,
    ).returncode


def _admin(server: Postgres, database: str = "postgres") -> str:
    return server.superuser_url(database)


def _at(server: Postgres, url: str) -> str:
    """Return a URL of the file with the server's socket in the place of host and port."""
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    return f"postgresql://{user}@{parts.path}?host={quote(str(server.socket_dir))}&port=5432"


@pytest.fixture(scope="module")
def cluster(shared_data_folder: Path) -> Iterator[Postgres]:
    """Give a server of one's own on which the service's script has been run; it asks for passwords."""
    with Postgres.start(shared_data_folder / "cluster", settings=_SETTINGS) as server:
        done = _run_script(server, environment("postgres"))
        assert done.returncode == 0, done.stderr
        (server.home / "pg_hba.conf").write_text(_HBA, encoding="ascii")
        with psycopg.connect(_admin(server), autocommit=True) as admin:
            admin.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="module")
def embedded(shared_data_folder: Path) -> Iterator[Postgres]:
    """Give an embedded server of the same version, as `stepback up` makes it."""
    with Postgres.start(shared_data_folder / "embedded", settings=_SETTINGS) as server:
        ensure_roles_and_databases(server, sample=True)
        upgrade(_admin(server, LEDGER_DATABASE))
        yield server


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Give the port of a Redis that is started by the service's command, in an empty folder."""
    name, *arguments = (filled(word) for word in services()["redis"]["command"])
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    assert name == redis_server().name
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [redis_server(), *arguments, "--port", str(port), "--bind", "127.0.0.1"], cwd=folder, stdout=log
        )
    try:
        wait_for("Redis to be well", lambda: _ping(port) == 0)
        yield port
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def installed(cluster: Postgres, tmp_path_factory: pytest.TempPathFactory, redis_port: int) -> CommandLine:
    """Give the command line with the monitor's environment, after `stepback init` with that of its own service."""
    folder = tmp_path_factory.mktemp("here")
    variables = {
        name: _at(cluster, value) if value.startswith("postgresql://") else value
        for name, value in environment("init").items()
    }
    variables |= {
        "STEPBACK_DATA": str(folder / "data"),
        "STEPBACK_REDIS_URL": variables["STEPBACK_REDIS_URL"].replace("redis:6379", f"127.0.0.1:{redis_port}"),
        "STEPBACK_TARGETS__GOODBUY_HQ__PLANS": str(ROOT / "sql" / "plans" / "goodbuy_hq"),
        "STEPBACK_WORKER_METRICS_PORT": "0",
        "STEPBACK_MONITOR_METRICS_PORT": "0",
        # Nobody answers there.
        "STEPBACK_MONITOR_ALERTMANAGER_URLS": "http://127.0.0.1:9",
    }
    done = CommandLine(folder, variables).run("init")
    assert done.code == 0, done
    return CommandLine(folder, {name: value for name, value in variables.items() if "ADMIN" not in name})


# -- files as they are mounted -------------------------------------------------


def test_prometheus_would_start(promtool: Tool, tmp_path: Path) -> None:
    """Its configuration is valid where it is mounted, and finds both files of rules beside it."""
    (option,) = (each for each in services()["prometheus"]["command"] if each.startswith("--config.file="))

    said = promtool.run("check", "config", lay_out("prometheus", tmp_path) / option.partition("=/")[2])

    assert said.count("SUCCESS") == 3 + 1
    assert "FAILED" not in said


def test_alertmanager_would_start(amtool: Tool, tmp_path: Path) -> None:
    """Its configuration is valid where it is mounted, and finds its templates."""
    (option,) = (each for each in services()["alertmanager"]["command"] if each.startswith("--config.file="))

    said = amtool.run("check-config", lay_out("alertmanager", tmp_path) / option.partition("=/")[2])

    assert "1 templates" in said


# -- roles and databases -------------------------------------------------------


@pytest.mark.usefixtures("installed")
def test_roles_are_those_of_embedded_servers(cluster: Postgres, embedded: Postgres) -> None:
    """After `stepback init` they may log in, belong to each other and stand out no more than there."""
    found, expected = (_asked(server, _ATTRIBUTES, [*ROLES]) for server in (cluster, embedded))

    assert found == expected
    assert len(found) == len(ROLES)


def test_rights_on_databases_are_those_of_embedded_servers(cluster: Postgres, embedded: Postgres) -> None:
    """Who may enter the ledger or make schemas in the target may so there, and nobody else."""
    found, expected = (_asked(server, _ON_DATABASES, [*ROLES]) for server in (cluster, embedded))

    assert found == expected
    assert ("stepback_worker", "stepback_ledger", "CONNECT", False) in found
    assert ("stepback_worker", "goodbuy_hq", "CREATE", True) in found


@pytest.mark.usefixtures("installed")
def test_rights_in_the_ledger_are_those_of_embedded_servers(cluster: Postgres, embedded: Postgres) -> None:
    """After `stepback init` nobody may read, write or call more of it than there."""
    found, expected = (_asked(server, _RIGHTS) for server in (cluster, embedded))

    assert found == expected
    groups = {f"stepback_ledger_{group}" for group in _GROUPS}
    assert {role for role, _, _ in found} == {"stepback_app", "stepback_owner", *groups}


def _asked(server: Postgres, query: str, *arguments: list[str]) -> list[tuple[object, ...]]:
    with psycopg.connect(_admin(server, LEDGER_DATABASE)) as conn:
        return conn.execute(query, arguments).fetchall()


@pytest.mark.parametrize(
    ("user", "variable", "database", "may"),
    [
        ("stepback_app", "LEDGER_PASSWORD", "stepback_ledger", True),
        ("stepback_app", "TARGET_PASSWORD", "stepback_ledger", False),
        ("stepback_worker", "TARGET_PASSWORD", "goodbuy_hq", True),
        ("stepback_worker", "TARGET_PASSWORD", "stepback_ledger", False),
        ("stepback_worker", "APPLICATION_PASSWORD", "goodbuy_hq", False),
        ("goodbuy_app", "APPLICATION_PASSWORD", "goodbuy_hq", True),
        ("goodbuy_app", "APPLICATION_PASSWORD", "stepback_ledger", False),
        ("stepback_owner", "LEDGER_PASSWORD", "stepback_ledger", False),
    ],
)
def test_each_login_has_its_password_and_its_place(
    cluster: Postgres, user: str, variable: str, database: str, *, may: bool
) -> None:
    """A role gets in with its own password, where it has business, and in no other way."""
    url = _at(cluster, f"postgresql://{user}:{password(variable)}@postgres:5432/{database}")
    try:
        psycopg.connect(url).close()
        entered = True
    except psycopg.OperationalError:
        entered = False

    assert entered is may


@pytest.mark.parametrize("missing", ["LEDGER_PASSWORD", "TARGET_PASSWORD", "APPLICATION_PASSWORD"])
def test_without_a_password_nothing_is_made(data_folder: Path, missing: str) -> None:
    """The script ends with an error before there is any database that could be taken for an installation."""
    with Postgres.start(data_folder, settings=_SETTINGS) as server:
        done = _run_script(server, {key: value for key, value in environment("postgres").items() if key != missing})
        with psycopg.connect(_admin(server)) as conn:
            databases = conn.execute("SELECT datname FROM pg_database WHERE datname ~ '_'").fetchall()

    assert done.returncode != 0
    assert databases == []


def test_the_server_logs_no_password(cluster: Postgres) -> None:
    """Not even one that logs every statement."""
    logged = cluster.log.read_text(encoding="utf-8")

    assert "pg_reload_conf" in logged
    assert not re.findall(r"secret[a-z]+", logged)


# -- Redis ---------------------------------------------------------------------


def test_redis_keeps_what_it_has_and_asks_for_its_password(installed: CommandLine, redis_port: int) -> None:
    """As its command says; its healthcheck needs the password too."""
    with Redis.from_url(installed.variables["STEPBACK_REDIS_URL"]) as client:
        kept = client.config_get("appendonly")

    assert kept == {"appendonly": "yes"}
    assert _ping(redis_port) == 0
    assert _ping(redis_port, REDISCLI_AUTH="another") != 0
    with Redis(port=redis_port) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()


# -- processes -----------------------------------------------------------------


def test_the_steps_of_the_documentation_succeed(cluster: Postgres, installed: CommandLine, tmp_path: Path) -> None:
    """docs/deploying.md's migration is rolled back and recovered by a worker with the environment of its service."""
    sql, *_logins = re.findall(r"^```sql\n(.*?)^```$", _DEPLOYING, re.MULTILINE | re.DOTALL)
    typed = re.findall(r"^\$ docker compose exec monitor stepback (.*)$", _DEPLOYING, re.MULTILINE)
    log = tmp_path / "worker.log"
    application = f"postgresql://goodbuy_app:{password('APPLICATION_PASSWORD')}@postgres:5432/goodbuy_hq"

    with psycopg.connect(_at(cluster, application)) as conn:
        conn.execute(sql)
    with installed.running("worker", log=log) as worker:
        wait_for("the worker to start", said(log, "worker_started"))
        well = _ask("worker", 9464, log)
        done = [installed.run(*line.split()) for line in typed]
    runs = installed.succeed("runs")
    with psycopg.connect(_at(cluster, application)) as conn:
        rows = conn.execute("SELECT title FROM offers ORDER BY id").fetchall()

    assert [line.split()[0] for line in typed] == ["plan", "rollback", "recover", "audit"]
    assert [each.code for each in done] == [0, 0, 0, 0], done
    assert [(run["kind"], run["state"]) for run in runs] == [("recover", "completed"), ("rollback", "completed")]
    assert rows == [("bicycle",), ("lamp",)]
    assert (worker.returncode, well) == (0, 0)


def test_the_monitor_is_asked_for_its_health(installed: CommandLine, tmp_path: Path) -> None:
    """With the environment of its service it serves metrics, its healthcheck succeeds, and fails once it is gone."""
    log = tmp_path / "monitor.log"

    with installed.running("monitor", log=log) as monitor:
        wait_for("the monitor to start", said(log, "monitor_started"))
        well = _ask("monitor", 9465, log)
    gone = _ask("monitor", 9465, log)

    assert (monitor.returncode, well) == (0, 0)
    assert gone != 0


def _ask(service: str, port: int, log: Path) -> int:
    """Run a service's healthcheck against the process of a log, with its port in the place of the configured one."""
    (bound,) = re.findall(r'"?metrics_port"?[=:]\s*(\d+)', log.read_text(encoding="utf-8"))
    python, option, code = healthcheck(service)
    assert (python, option) == ("python", "-c")
    return subprocess.run(
        [sys.executable, option, code.replace(f":{port}/", f":{bound}/")], stderr=subprocess.DEVNULL, check=False
    ).returncode
