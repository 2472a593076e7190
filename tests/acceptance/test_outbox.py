"""The SQL outbox from outside: it is installed with psql, an application asks with psql, and a run completes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepback.embedded import Postgres
from tests.acceptance.commandline import CommandLine, said, wait_for
from tests.databases import fresh_database
from tests.fix_outbox import STRANGER, Application

_CONFIGURATION = """
[outboxes.shop]
url = "{url}"
poll_seconds = 600

[producers."outbox:shop/shop_billing"]
kinds = ["rollback", "recover"]
targets = ["goodbuy_*"]
"""
ASK = """
BEGIN;
CREATE TABLE IF NOT EXISTS incidents (command_id uuid);
INSERT INTO incidents
SELECT stepback.request_rollback(target => 'goodbuy_hq', migration => 'add_health_alerts', reason => 'wrong alerts');
COMMIT;
"""


def psql(postgres: Postgres, url: str, script: str) -> str:
    """Run a script in psql, see that it succeeds, and return what it printed, unaligned and without headings."""
    command = [str(postgres.psql), url, "--no-psqlrc", "--quiet", "-At", "--set=ON_ERROR_STOP=1"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def empty_application(postgres: Postgres, application_template: str) -> Iterator[Application]:
    """Give an application's database without an outbox; the logins are there."""
    assert application_template
    with fresh_database(postgres, "application", owner="shop_owner") as name:
        yield Application(postgres, name)


def configured(cli: CommandLine, application: Application, login: str = "stepback_relay") -> CommandLine:
    """Return a command line with an outbox."""
    text = _CONFIGURATION.format(url=application.url(login))
    (cli.folder / "stepback.toml").write_text(text, encoding="utf-8")
    return cli


def test_from_a_session_of_psql_to_a_completed_run(
    cli: CommandLine, postgres: Postgres, empty_application: Application, tmp_path: Path
) -> None:
    """What `stepback outbox --sql` prints is all that the database needs; the answer is a number that `show` knows."""
    application, log, worker_log = empty_application, tmp_path / "outbox.log", tmp_path / "worker.log"
    psql(postgres, application.url("postgres"), cli.run("outbox", "--sql").out)
    psql(postgres, application.url("postgres"), "GRANT stepback_requester TO shop_billing")
    psql(postgres, application.url("postgres"), "GRANT CREATE ON SCHEMA public TO shop_billing")
    here = configured(cli, application)

    with here.running("worker", log=worker_log), here.running("outbox", log=log) as relay:
        wait_for("the worker to start", said(worker_log, "worker_started"))
        wait_for("the outbox to be opened", said(log, "outbox_opened"))
        psql(postgres, application.url("shop_billing"), ASK)
        look = "SELECT state, run, refused_code FROM stepback.requests"
        wait_for("an answer", lambda: not psql(postgres, application.url("shop_billing"), look).startswith("waiting"))
        answer = psql(postgres, application.url("shop_billing"), look).split("|")
        assert answer[0] == "accepted", answer
        wait_for("the run to end", lambda: here.succeed("show", answer[1])["finished_at"] is not None)
    assert relay.returncode == 0, log.read_text(encoding="utf-8")

    run = here.succeed("show", answer[1])
    assert (run["state"], run["requested_by"]) == ("completed", "outbox:shop/shop_billing")
    assert psql(postgres, application.url("shop_billing"), "TABLE incidents") == run["command_id"]
    assert f'"run": {answer[1]}' in log.read_text(encoding="utf-8")


def test_init_installs_where_the_login_may(cli: CommandLine, application: Application) -> None:
    """With an administrator's login the outbox is brought up to date, twice as well as once; requests stay."""
    application.execute("shop_billing", "SELECT stepback.request_rollback('m', 'why', 'shop')")
    before = application.rows()
    here = configured(cli, application, "postgres")

    for _ in range(2):
        (outbox,) = [each for each in _init(here, 0) if each["what"] == "outbox"]
        assert outbox == {"what": "outbox", "name": "shop", "error": None}
    assert application.rows() == before


def test_init_is_content_with_the_relays_login(cli: CommandLine, application: Application) -> None:
    """Where the outbox is there, the login that relays needs no more rights."""
    assert [each["error"] for each in _init(configured(cli, application), 0) if each["what"] == "outbox"] == [None]


def test_init_says_who_has_to_install_it(cli: CommandLine, empty_application: Application) -> None:
    """Where it is not there and the login may not install it, the error says what an administrator does."""
    (outbox,) = [each for each in _init(configured(cli, empty_application, STRANGER), 2) if each["what"] == "outbox"]

    assert outbox["error"]["code"] == "outbox_not_installed"
    assert "`stepback outbox --sql`" in outbox["error"]["message"]


def _init(here: CommandLine, code: int) -> list[dict[str, Any]]:
    admin = here.variables["STEPBACK_LEDGER_URL"].replace("stepback_app", "postgres")
    done = here.but(STEPBACK_LEDGER_ADMIN_URL=admin).run("init", "--json")
    assert done.code == code, done
    document: list[dict[str, Any]] = done.document
    return document


def test_an_outbox_has_to_be_configured(cli: CommandLine, application: Application) -> None:
    """Without any, or of another name, there is nothing to relay; what was given is not repeated."""
    none = cli.run("outbox")
    other = configured(cli, application).run("outbox", "postgresql://app:canary-5b1e@db/x")

    assert (none.code, other.code) == (2, 2)
    assert "[outboxes.NAME]" in none.err
    assert "known: shop" in " ".join(other.err.split())
    assert "canary" not in other.out + other.err
