"""docs/producers.md: every block of code in it is run as it stands, each door's on a station of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import Engine

from ledger.database import transaction
from ledger.history import list_runs
from ledger.installation import installation_id
from ledger.keys import register_key
from ledger.model import TERMINAL, Run, State
from producers.keys import new_key
from stepback.embedded import Postgres
from stepback.embedded.postgres import binaries
from stepback_client import Client, Conflict, NotAllowed
from tests.acceptance import isolated
from tests.acceptance.blocks import read
from tests.acceptance.commandline import CommandLine, said, wait_for

_ROOT = Path(__file__).parent.parent.parent
_CLIENT = _ROOT / "producers" / "client"
_PAGE = read(_ROOT / "docs" / "producers.md")
#: A dozen processes a test, one after the other, on a machine that may have other things to do.
pytestmark = pytest.mark.timeout(300)

_DOORS = {"command_line", "http", "python", "sql", "stream", "approval"}


def of(door: str, language: str = "sh") -> str:
    """Return the blocks that are for somebody, one after the other."""
    return "\n".join(block.text for block in _PAGE if door in block.of and block.language == language)


@dataclass
class Station:
    """An installation as the page's reader has one."""

    line: CommandLine
    ledger: Engine
    #: Over the environment of commands: what the page calls by a variable.
    variables: dict[str, str] = field(default_factory=dict)

    def type(self, script: str) -> str:
        """Run a script in a shell, see that nothing in it fails, and return what it printed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.line.folder,
            env={**self.line.environment(), **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def first_run(self) -> Run:
        """Return the first run, once it has ended."""

        def found() -> Run | None:
            with transaction(self.ledger) as conn:
                first = [run for run in list_runs(conn) if run.run == 1]
            return first[0] if first and first[0].state in TERMINAL else None

        wait_for("a run that has ended", lambda: found() is not None)
        run = found()
        assert run is not None
        return run


@pytest.fixture
def bare_station(
    cli: CommandLine, ledger_engine: Engine, tmp_path: Path, pytestconfig: pytest.Config
) -> Iterator[Station]:
    """Give a station with a worker, with the rights that the page gives, and no key yet."""
    (cli.folder / "stepback.toml").write_text(of("setup", "toml"), encoding="utf-8")
    folder = tmp_path / "bin"
    folder.mkdir()
    # This environment's stepback, whichever is installed.
    (folder / "stepback").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m stepback "$@"\n', encoding="utf-8")
    (folder / "stepback").chmod(0o755)
    places = (folder, binaries(pytestconfig.getoption("--pg-version")), Path(sys.executable).parent, "/usr/bin", "/bin")
    with cli.running("worker", log=tmp_path / "worker.log"):
        yield Station(cli.but(PATH=":".join(map(str, places))), ledger_engine)


@pytest.fixture
def station(bare_station: Station) -> Station:
    """Give a station with the keys that the page makes; made here, since each command of the page takes a second."""
    for name, issuer in (("billing", "service:billing"), ("nightly", "service:nightly"), ("ada", "person:ada")):
        key = new_key(bare_station.line.folder / f"{name}.pem", issuer)
        with transaction(bare_station.ledger) as conn:
            register_key(conn, key.key_id, issuer, key.public_key)
    return bare_station


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Give a way to keep a door open for the rest of a test."""
    with ExitStack() as stack:

        def serve(line: CommandLine, command: str, *arguments: str) -> None:
            log = tmp_path / f"{command}.log"
            process = stack.enter_context(line.running(command, *arguments, log=log))
            has_started = said(log, f"{command}_started")
            wait_for(f"the {command}", lambda: process.poll() is not None or has_started())
            assert process.poll() is None, log.read_text(encoding="utf-8")

        yield serve


@pytest.fixture
def gateway(station: Station, serve: Callable[..., None]) -> Station:
    """Give a station with a gateway."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    serve(station.line.but(STEPBACK_GATEWAY_PORT=port), "gateway")
    station.variables["STEPBACK_URL"] = f"http://127.0.0.1:{port}"
    return station


def test_every_block_is_run() -> None:
    """Every block on the page says whose it is, and every door has one."""
    assert {"setup", *_DOORS} == {name for block in _PAGE for name in block.of}
    assert [block.text for block in _PAGE if not block.of] == []


def test_command_line(bare_station: Station) -> None:
    """Keys are made and registered as the page says, and speak for their issuers on the command line."""
    listed = bare_station.type(of("setup"))
    bare_station.type(of("command_line"))

    assert {"service:billing", "service:nightly", "person:ada"} <= set(listed.split())
    run = bare_station.first_run()
    assert (run.state, run.requested_by) == (State.COMPLETED, "service:billing")


def test_approval(station: Station) -> None:
    """What waits for an approval goes on once somebody else has approved it."""
    station.type(of("approval"))

    run = station.first_run()
    assert (run.state, run.requested_by) == (State.COMPLETED, "service:nightly")


def test_http(gateway: Station) -> None:
    """A shell with openssl and curl asks, waits, reads the run, its events and a plan."""
    told = gateway.type(of("http"))

    run = gateway.first_run()
    assert (run.state, run.requested_by) == (State.COMPLETED, "service:billing")
    # The answer to the command, and the run as it was read.
    assert told.count('"state":"completed"') == 2
    assert "stepback.run_completed" in told
    assert '"statements":' in told


def test_python(gateway: Station, tmp_path: Path) -> None:
    """The client, in an environment that has nothing of the house, asks and follows its run to the end."""
    (tmp_path / "service").mkdir()
    service = isolated.make(tmp_path / "service")

    done = service.run(of("python", "python"), folder=gateway.line.folder, **gateway.variables)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "1 completed None"
    assert "stepback.run_completed" in done.stdout
    run = gateway.first_run()
    assert (run.state, run.requested_by) == (State.COMPLETED, "service:billing")

    # What its own page shows asks the same under the same key.
    (example,) = [block.text for block in read(_CLIENT / "README.md") if block.language == "python"]
    again = service.run(example, folder=gateway.line.folder, **gateway.variables)
    assert (again.stdout, again.stderr) == ("1 completed None\n", "")


def test_python_decides(gateway: Station) -> None:
    """One issuer asks, another approves what was seen; nobody approves their own, or cancels what is over."""

    def client(name: str, issuer: str) -> Client:
        return Client(gateway.variables["STEPBACK_URL"], key=gateway.line.folder / f"{name}.pem", issuer=issuer)

    with client("nightly", "service:nightly") as asking, client("ada", "person:ada") as deciding:
        seen_before = asking.plan("add_health_alerts", target="goodbuy_hq")
        run = asking.rollback("add_health_alerts", target="goodbuy_hq", reason="left over").run
        wait_for("a run that waits", lambda: asking.status(run).state == "awaiting_approval")
        waiting = deciding.status(run)
        with pytest.raises(NotAllowed):
            asking.approve(waiting, "by myself")
        deciding.approve(waiting, "looked through")
        ended = deciding.wait(run, timeout=60)
        with pytest.raises(Conflict) as refusal:
            deciding.cancel(run, "too late")

    assert ended.completed
    assert ended.impact_sha256 == waiting.impact_sha256 == seen_before["impact_sha256"]
    assert refusal.value.code == "not_awaiting"


def test_sql(station: Station, serve: Callable[..., None], postgres: Postgres, empty_target_database: str) -> None:
    """A database role asks within its own transaction, and reads there what became of it."""
    database = empty_target_database
    relay = station.line.but(STEPBACK_OUTBOXES__SHOP__URL=postgres.url(database, "stepback_relay"))
    with psycopg.connect(postgres.superuser_url(database), autocommit=True) as conn:
        if conn.execute("SELECT FROM pg_roles WHERE rolname = 'shop_app'").fetchone() is None:
            conn.execute("CREATE ROLE shop_app LOGIN")
        station.type(f"stepback outbox --sql | psql -qX '{postgres.superuser_url(database)}'")
        conn.execute("GRANT stepback_requester TO shop_app")
    serve(relay, "outbox", "shop")
    station.variables["SHOP_URL"] = postgres.url(database, "shop_app")

    station.type(of("sql"))

    run = station.first_run()
    assert (run.state, run.requested_by) == (State.COMPLETED, "outbox:shop/shop_app")


def test_stream(station: Station, serve: Callable[..., None], redis_url: str) -> None:
    """An entry of the stream becomes a run, and the answer stands on the stream of answers."""
    station.variables["INSTALLATION"] = str(installation_id(station.ledger))
    # The embedded Redis listens on a socket only.
    station.variables["REDIS_SOCKET"] = urlsplit(redis_url).path
    serve(station.line, "stream")

    told = station.type(of("stream"))

    run = station.first_run()
    assert (run.state, run.requested_by) == (State.COMPLETED, "service:billing")
    assert str(run.command_id) in told
