"""Canaries: secrets that are planted wherever Stepback is handed any, and looked for wherever it writes.

One story, in real processes: rollbacks that complete, fail and are refused, a validation, a recovery, bad arguments,
files, requests and configurations, with ledger, Redis and target going away meanwhile. Every canary names where it was
planted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import httpx
import psycopg
import pytest
import redis
from psycopg import sql

from ledger.database import open_ledger, transaction
from ledger.history import find
from ledger.model import TERMINAL, State
from stepback.cli.entry import run
from stepback.embedded import Postgres, Redis
from tests.acceptance.commandline import PATIENCE_SECONDS, CommandLine, Done, said, wait_for
from tests.acceptance.gateway import Outsider, gateway, give_rights

_MARK = "c4nary"
_SONG = re.compile(rf"{_MARK}\w*", re.IGNORECASE)


def canary(place: str) -> str:
    """Return a secret that says where it was planted."""
    return f"{_MARK}_{place}_{uuid4().hex[:6]}"


#: Rows of the tables that are rolled back.
_ROWS = ("moved", "checked", "cast", "unique", "raised", "column")

#: By migration: what makes the server put a row, or the plan's own text, into its message.
_PLANS = {
    "moved": "DROP TABLE moved",
    "column": 'ALTER TABLE "column" DROP COLUMN secret',
    "checked": "ALTER TABLE checked ADD CONSTRAINT harmless CHECK (secret = 'x')",
    "cast": 'ALTER TABLE "cast" ALTER COLUMN secret TYPE int USING secret::int',
    "unique": 'CREATE UNIQUE INDEX secrets ON "unique" (secret)',
    "raised": "DO $$ BEGIN RAISE EXCEPTION '%', (SELECT secret FROM raised LIMIT 1); END $$",
    "broken": f"DROP TABLE moved; SELECT '{_MARK}_broken_plan",
}


#: Forty commands are run, and each would import the house anew: a process that has done so is forked instead.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["stepback.cli.entry", "stepback.asking", "stepback.show.documents"])


def _run(line: CommandLine, arguments: Sequence[str]) -> Done:
    """Run a command to its end in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = _FORKS.Process(target=_be_command, args=(line.folder, line.environment(), arguments, out, err))
        process.start()
        process.join(PATIENCE_SECONDS)
        assert process.exitcode is not None, arguments
        return Done(process.exitcode, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


def _be_command(
    folder: Path, environment: Mapping[str, str], arguments: Sequence[str], out: Path, err: Path
) -> NoReturn:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.exit(run(arguments))


@dataclass
class Stage:
    """Where the story plays, and everything that was said in it."""

    cli: CommandLine
    ledger_admin_url: str
    ledger_url: str
    heard: list[str] = field(default_factory=list)

    def ask(self, *arguments: str, line: CommandLine | None = None) -> Done:
        """Run a command to its end and remember what it said."""
        done = _run(line or self.cli, arguments)
        self.heard.append(f"{done.out} {done.err}")
        return done

    def get(self, outsider: Outsider, *paths: str) -> None:
        """Read by HTTP and remember what was said."""
        for path in paths:
            answer = httpx.get(
                outsider.url + path, headers={"Authorization": f"Bearer {outsider.token()}"}, timeout=PATIENCE_SECONDS
            )
            self.hear(answer)

    def hear(self, answer: httpx.Response) -> None:
        """Remember what was said by HTTP."""
        self.heard.append(f"{answer.status_code} {answer.headers} {answer.text}")

    def ended(self, *arguments: str) -> dict[str, Any]:
        """Ask for something that becomes a run; return the run once it has ended."""
        document = self.ask(*arguments, "--json").document
        engine = open_ledger(self.ledger_url)

        def is_over() -> bool:
            with transaction(engine) as conn:
                return find(conn, document["run"]).state in TERMINAL

        wait_for(f"the end of {arguments}", is_over)
        engine.dispose()
        return dict(self.ask("show", str(document["run"]), "--json").document)


@pytest.fixture
def own_redis(data_folder: Path) -> Iterator[str]:
    """Give the URL of a Redis of one's own that wants a password."""
    with Redis.start(data_folder) as server:
        yield _guarded(server, canary("redis_password"))


def _guarded(server: Redis, password: str) -> str:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", password)
    return server.url.replace("unix://", f"unix://:{password}@")


@pytest.fixture
def stage(cli: CommandLine, own_redis: str, ledger_admin_url: str, target_owner_url: str) -> Stage:
    """Give a stage with a canary in every URL and in every table."""
    with psycopg.connect(target_owner_url, autocommit=True) as owner:
        for name in _ROWS:
            table = sql.Identifier(name)
            owner.execute(sql.SQL("CREATE TABLE {} (id int PRIMARY KEY, secret text)").format(table))
            secret = sql.Literal(canary(f"row_{name}"))
            owner.execute(sql.SQL("INSERT INTO {} VALUES (1, {}), (2, {})").format(table, secret, secret))
        for migration, script in _PLANS.items():
            owner.execute(
                "INSERT INTO migration_rollbacks (migration_name, rollback_sql) VALUES (%s, %s)", [migration, script]
            )
    ledger_url = cli.variables["STEPBACK_LEDGER_URL"]
    target = "STEPBACK_TARGETS__GOODBUY_HQ__URL"
    planted = cli.but(
        STEPBACK_LEDGER_URL=_with_password(ledger_url, "ledger_password"),
        STEPBACK_REDIS_URL=own_redis,
        **{target: _with_password(cli.variables[target], "target_password")},
        STEPBACK_MONITOR_CANARY_SECONDS="1",
        STEPBACK_MONITOR_TARGETS_SECONDS="1",
        STEPBACK_WORKER_UNREACHABLE_SECONDS="1",
    )
    return Stage(planted, ledger_admin_url, ledger_url)


def _with_password(url: str, place: str) -> str:
    return url.replace("@", f":{canary(place)}@", 1)


@contextmanager
def _away(postgres: Postgres, url: str) -> Iterator[None]:
    """Shut a database for everybody, those in it included."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    database = sql.Identifier(str(name))
    with psycopg.connect(postgres.superuser_url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(database))
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        admin.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(database))


@contextmanager
def _locked_out(url: str) -> Iterator[None]:
    """Throw everybody out of a Redis, and let nobody in with the password that they have."""
    with redis.Redis.from_url(url) as client:
        password = client.config_get("requirepass")["requirepass"]
        client.config_set("requirepass", canary("other_password"))
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub")
        yield
        client.config_set("requirepass", password)


def _rollback(migration: str) -> tuple[str, ...]:
    return ("rollback", migration, "--target", "goodbuy_hq", "--reason", "a test")


def _bad_ways_to_ask(stage: Stage, folder: Path) -> None:
    """Mistake secrets for arguments, files and settings."""
    url = f"postgresql://u:{canary('argument')}@h/db"
    pem = folder / "bad.pem"
    pem.write_text(f"-----BEGIN PRIVATE KEY-----\n{canary('key_file')}\n-----END PRIVATE KEY-----\n", encoding="utf-8")
    pem.chmod(0o600)
    toml = folder / "bad.toml"
    toml.write_text(f'[worker]\nthreads = "{canary("toml_value")}"\n[ledger]\nurl = ["x"]\n', encoding="utf-8")
    not_toml = folder / "not.toml"
    not_toml.write_text(f'[ledger]\nurl = "{canary("toml_cut")}\n', encoding="utf-8")
    plan = folder / "bad_plan"
    plan.mkdir()
    (plan / "rollback.sql").write_text(f"DROP TABLE moved '{canary('plan_text')}", encoding="utf-8")
    (plan / "plan.toml").write_text(f'accepts = ["{canary("plan_toml")}', encoding="utf-8")
    here = stage.cli
    asked: Sequence[tuple[CommandLine, tuple[str, ...]]] = (
        (here, ("rollback", url, "--target", "goodbuy_hq")),
        (here, ("rollback", "moved", "--target", url, "--json")),
        (here, ("show", url)),
        (here, ("register", str(plan), "--target", "goodbuy_hq")),
        (here, ("plan", "broken", "--target", "goodbuy_hq", "--json")),
        (here, ("keys", "add", str(pem), "--issuer", "service:x")),
        (here.but(STEPBACK_KEY=str(pem), STEPBACK_ISSUER="service:x"), _rollback("moved")),
        (here.but(STEPBACK_CONFIG=str(toml)), ("runs", "--json")),
        (here.but(STEPBACK_CONFIG=str(not_toml)), ("runs",)),
        (here.but(STEPBACK_LEDGER_URL=canary("no_url")), ("runs",)),
        (here.but(STEPBACK_LEDGER_URL=f"postgresql://u:{canary('bad_url')}@[h/db"), ("runs",)),
        (here.but(STEPBACK_LEDGER_URL=f"postgresql://u:{canary('gone_url')}@localhost:1/db"), ("runs", "--json")),
        (here.but(STEPBACK_REDIS_URL=f"redis://:{canary('wrong_redis')}@localhost:1/0"), _rollback("moved_not")),
        (here.but(STEPBACK_REDIS_URL=f"rediss:/{canary('bad_redis')}"), _rollback("moved_not")),
        (here.but(STEPBACK_TARGETS__GOODBUY_HQ__URL=canary("bad_target")), _rollback("moved_not")),
        (here.but(STEPBACK_WORKER_METRICS_PORT=canary("port")), ("worker",)),
    )
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: stage.ask(*one[1], line=one[0]), asked))


def _bad_ways_to_ask_by_http(stage: Stage, outsider: Outsider) -> None:
    """Mistake secrets for envelopes, bodies, tokens, keys and names."""
    json_body = {"Content-Type": "application/json"}
    envelope = {"envelope": outsider.rollback("moved_not")}
    asked: Sequence[tuple[str, str, dict[str, Any]]] = (
        ("POST", "/v1/commands", {"json": {"envelope": canary("envelope")}}),
        ("POST", "/v1/commands", {"json": {"envelope": ".".join([canary("jws")] * 3)}}),
        ("POST", "/v1/commands", {"json": {**envelope, canary("member"): canary("value")}}),
        ("POST", "/v1/commands", {"content": f'{{"envelope": "{canary("cut")}', "headers": json_body}),
        ("POST", "/v1/commands", {"content": canary("body"), "headers": {"Content-Type": canary("media_type")}}),
        ("POST", "/v1/commands", {"json": envelope, "headers": {"Prefer": f"wait={canary('prefer')}"}}),
        ("POST", "/v1/commands", {"json": envelope, "headers": {"Idempotency-Key": canary("header") * 20}}),
        ("POST", "/v1/runs/1/approvals", {"json": {"envelope": canary("approval")}}),
        ("GET", "/v1/runs", {"headers": {"Authorization": f"Bearer {canary('token')}"}}),
        ("GET", "/v1/runs", {"headers": {"Authorization": f"Basic {canary('basic')}"}}),
        ("GET", f"/v1/runs?state={canary('state')}", {}),
        ("GET", f"/v1/runs/{canary('number')}", {}),
        ("GET", f"/{canary('path')}?password={canary('query')}", {}),
    )
    for method, path, rest in asked:
        answer = httpx.request(method, outsider.url + path, timeout=PATIENCE_SECONDS, **rest)
        assert answer.is_client_error, (path, answer.text)
        stage.hear(answer)
    stage.get(outsider, f"/v1/runs?target={canary('target')}", f"/v1/targets/goodbuy_hq/plans/{canary('plan')}")


def _metrics(log: Path) -> str:
    """Return what a process serves at the port that it has logged."""
    started = next(line for line in log.read_text(encoding="utf-8").splitlines() if "_started" in line)
    port = json.loads(started)["metrics_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def _kept_in_redis(url: str) -> str:
    """Return every key with all that it holds."""
    reading = {"string": "get", "hash": "hgetall", "set": "smembers", "stream": "xrange"}
    with redis.Redis.from_url(url) as client:
        kept = []
        for key in client.scan_iter():
            match client.type(key).decode():
                case "list":
                    held = client.lrange(key, 0, -1)
                case "zset":
                    held = client.zrange(key, 0, -1, withscores=True)
                case kind:
                    held = getattr(client, reading[kind])(key)
            kept.append((key, held))
    assert kept, "Redis is where it is looked at"
    return repr(kept)


def _kept_in_ledger(admin_url: str) -> dict[str, str]:
    """Return every row of every table, as text."""
    with psycopg.connect(admin_url) as conn:
        tables = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r'"
        )
        return {
            name: repr(
                conn.execute(
                    sql.SQL("SELECT to_jsonb(t)::text FROM ledger.{} AS t").format(sql.Identifier(name))
                ).fetchall()
            )
            for (name,) in tables.fetchall()
        }


def test_no_canary_sings(
    stage: Stage, postgres: Postgres, own_redis: str, target_owner_url: str, tmp_path: Path
) -> None:
    """Nowhere: not in logs, audit log, ledger, metrics, Redis, nor in anything that command line and gateway say."""
    logs = {name: tmp_path / f"{name}.log" for name in ("worker", "monitor", "gateway")}
    said_elsewhere: dict[str, str] = {}
    give_rights(stage.cli)
    with ExitStack() as stack:
        for name in ("worker", "monitor"):
            stack.enter_context(stage.cli.running(name, log=logs[name]))
        outsider = stack.enter_context(gateway(stage.cli, tmp_path))
        for name, log in logs.items():
            wait_for(name, said(log, f"{name}_started"))
        _bad_ways_to_ask(stage, tmp_path)
        _bad_ways_to_ask_by_http(stage, outsider)

        states = {
            migration: stage.ended(*_rollback(migration))["state"] for migration in _PLANS if migration != "broken"
        }
        stage.ask(*_rollback("broken"), "--json")
        moved = next(run for run in stage.ask("runs", "--json").document if run["migration"] == "moved")
        with psycopg.connect(target_owner_url, autocommit=True) as owner:
            owner.execute("CREATE TABLE moved (id int PRIMARY KEY, secret text)")
            owner.execute(f"INSERT INTO moved VALUES (1, '{canary('row_newer')}')")
            in_the_way = stage.ended("recover", str(moved["run"]), "--reason", "a test")
            owner.execute("DROP TABLE moved")
        back = stage.ended("recover", str(moved["run"]), "--reason", "a test")
        stage.ended("validate", "--target", "goodbuy_hq", "--reason", "a test")

        with _away(postgres, stage.cli.variables["STEPBACK_TARGETS__GOODBUY_HQ__URL"]):
            stage.ask(*_rollback("moved"))
        with _away(postgres, stage.ledger_url):
            stage.ask(*_rollback("moved"), "--json")
            stage.ask("audit", "verify")
            stage.hear(httpx.get(f"{outsider.url}/readyz", timeout=PATIENCE_SECONDS))
        with _locked_out(own_redis):
            stage.ask(*_rollback("add_health_metrics_table"))
            stage.hear(httpx.get(f"{outsider.url}/readyz", timeout=PATIENCE_SECONDS))
        for command in (
            ("runs",),
            ("audit",),
            ("show", str(moved["run"])),
            ("audit", "verify", "--json"),
            ("targets",),
        ):
            stage.ask(*command)
        plans = (f"/v1/targets/goodbuy_hq/plans/{migration}" for migration in _PLANS)
        runs = (f"/v1/runs/{run['run']}" for run in stage.ask("runs", "--json").document if run["finished_at"])
        stage.get(outsider, "/v1/runs", *plans, *(path for run in runs for path in (run, f"{run}/events")))
        said_elsewhere |= {f"metrics of {name}": _metrics(log) for name, log in logs.items()}
        said_elsewhere["Redis"] = _kept_in_redis(own_redis)

    said_elsewhere |= {f"log of {name}": log.read_text(encoding="utf-8") for name, log in logs.items()}
    said_elsewhere |= {f"ledger.{table}": rows for table, rows in _kept_in_ledger(stage.ledger_admin_url).items()}
    said_elsewhere |= {f"answer {number}": words for number, words in enumerate(stage.heard)}
    singing = {
        where: sorted(set(_SONG.findall(text))) for where, text in said_elsewhere.items() if _MARK in text.lower()
    }

    # The story was told: some of everything came to pass.
    assert {states["moved"], back["state"]} == {State.COMPLETED}
    assert {State.FAILED, State.REFUSED} & set(states.values())
    assert in_the_way["state"] != State.COMPLETED
    assert singing == {}, json.dumps(singing, indent=1)
