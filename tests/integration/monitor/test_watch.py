"""The rounds of a monitor: what stands is told until the ledger says otherwise, whoever is away meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine

from ledger.incidents import acknowledge
from ledger.model import State
from ledger.settings import MonitorSettings
from stepback.embedded import Postgres
from tests.alerting.alertmanager import StartAlertmanager
from tests.endings import begin, settle
from tests.faults.processes import wait_for
from worker.monitor import figures
from worker.monitor.alertmanager import Heading, connect
from worker.monitor.limits import Limits
from worker.monitor.watch import LedgerView, Watch

_HEADING = Heading(UUID(int=7), "staging", "runbook.md", "")
_LIMITS = Limits.of(MonitorSettings(lease_grace_seconds=0.1))

MakeWatch = Callable[..., Watch]


@pytest.fixture
def make_watch(ledger_engine: Engine) -> Iterator[MakeWatch]:
    """Give a function that makes a watch over the ledger, which tells the Alertmanagers at some URLs."""
    with ExitStack() as stack:

        def make(*urls: str, patience: float = 0.5, post_seconds: float = 60) -> Watch:
            told = connect(urls, _HEADING)
            for each in told:
                stack.callback(each.client.close)
            view = LedgerView(ledger_engine, _LIMITS, {}, timedelta(seconds=patience))
            return Watch(view, (), told, post_seconds)

        yield make


@contextmanager
def _away(postgres: Postgres, database: str) -> Iterator[None]:
    """Let nobody into a database, nor stay there."""
    name = sql.Identifier(database)
    with psycopg.connect(postgres.superuser_url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])
        yield
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))


def _alerts(watch: Watch) -> list[str]:
    return [trouble.alert.value for trouble in watch.round()]


def _look_twice(watch: Watch) -> None:
    """Go two rounds: what one look misses, another monitor may just have seen."""
    watch.round()
    watch.round()


def _posts(result: str) -> float:
    value = figures.REGISTRY.get_sample_value("stepback_alert_posts_total", {"result": result})
    return value or 0


def test_a_failed_run_is_told_until_somebody_takes_note(
    make_watch: MakeWatch, start_alertmanager: StartAlertmanager, ledger_engine: Engine
) -> None:
    """In the next round; and so is the end of it."""
    alertmanager = start_alertmanager()
    watch = make_watch(alertmanager.url)
    run = settle(ledger_engine, begin(ledger_engine), State.FAILED)

    watch.round()
    told = alertmanager.names()
    acknowledge(ledger_engine, run, actor="local:ada", reason="-")
    _look_twice(watch)

    assert (told, alertmanager.names()) == (["StepbackRunFailed"], [])


def test_a_run_without_a_worker_is_told_until_it_goes_on(make_watch: MakeWatch, ledger_engine: Engine) -> None:
    """Stuck once the grace after its lease has passed; well as soon as the run has ended."""
    watch = make_watch()
    claim = begin(ledger_engine, lease_seconds=0.2)

    first = _alerts(watch)
    time.sleep(0.4)
    second = _alerts(watch)
    settle(ledger_engine, claim, State.COMPLETED)

    assert (first, second, _alerts(watch)) == ([], ["StepbackRunStuck"], [])


def test_nothing_new_is_told_every_so_often_only(
    make_watch: MakeWatch, start_alertmanager: StartAlertmanager, ledger_engine: Engine
) -> None:
    """A standing alert is posted again when its time has come, and not every round."""
    settle(ledger_engine, begin(ledger_engine), State.FAILED)
    seldom, often = (make_watch(start_alertmanager().url, post_seconds=seconds) for seconds in (60, 0))

    posts = []
    for watch in (seldom, often):
        before = _posts("accepted")
        for _ in range(3):
            watch.round()
        posts.append(_posts("accepted") - before)

    assert posts == [1, 3]


def test_while_the_ledger_is_away_what_stood_stands(
    make_watch: MakeWatch,
    start_alertmanager: StartAlertmanager,
    ledger_engine: Engine,
    ledger_database: str,
    postgres: Postgres,
) -> None:
    """After a while it is itself an alert; when it is back, that is over, and so is what was made good meanwhile."""
    alertmanager = start_alertmanager()
    watch = make_watch(alertmanager.url)
    run = settle(ledger_engine, begin(ledger_engine), State.FAILED)
    watch.round()
    told = []

    with _away(postgres, ledger_database):
        watch.round()
        told.append(alertmanager.names())
        time.sleep(0.6)
        watch.round()
        told.append(alertmanager.names())
    acknowledge(ledger_engine, run, actor="local:ada", reason="-")
    _look_twice(watch)

    assert told == [["StepbackRunFailed"], ["StepbackLedgerUnreachable", "StepbackRunFailed"]]
    assert alertmanager.names() == []


def test_a_monitor_that_starts_while_the_ledger_is_away_ends_no_alert(
    make_watch: MakeWatch,
    start_alertmanager: StartAlertmanager,
    ledger_engine: Engine,
    ledger_database: str,
    postgres: Postgres,
) -> None:
    """It knows nothing yet; what the one before it told stands."""
    alertmanager = start_alertmanager()
    settle(ledger_engine, begin(ledger_engine), State.FAILED)
    make_watch(alertmanager.url).round()

    with _away(postgres, ledger_database):
        another = make_watch(alertmanager.url, patience=0)
        another.round()
        told = alertmanager.names()
    _look_twice(another)

    assert told == ["StepbackLedgerUnreachable", "StepbackRunFailed"]
    assert alertmanager.names() == ["StepbackRunFailed"]


def test_a_ledger_that_hangs_is_one_that_does_not_answer(make_watch: MakeWatch, superuser: psycopg.Connection) -> None:
    """The rounds go on while the look waits, and it counts again once it is through."""
    watch = make_watch(patience=0)

    with superuser.transaction():
        superuser.execute("LOCK ledger.runs")
        began = time.monotonic()
        alerts = _alerts(watch)
        waited = time.monotonic() - began

    assert alerts == ["StepbackLedgerUnreachable"]
    assert waited < 10
    wait_for("the look to be through", lambda: not _alerts(watch))


def test_a_ledger_that_cannot_be_read_is_one_that_does_not_answer(
    make_watch: MakeWatch, superuser: psycopg.Connection
) -> None:
    """A monitor that only wrote a line to its log there would tell nobody anything."""
    watch = make_watch(patience=0)
    # The login of the tests is a member of every group.
    readers = "stepback_app, stepback_ledger_monitor, stepback_ledger_operator, stepback_ledger_auditor"
    superuser.execute(f"REVOKE SELECT ON ledger.incidents FROM {readers}")

    alerts = _alerts(watch)
    superuser.execute(f"GRANT SELECT ON ledger.incidents TO {readers}")

    assert alerts == ["StepbackLedgerUnreachable"]
    # The first look may still be writing its traceback.
    wait_for("the ledger to be read", lambda: not _alerts(watch))


def test_of_two_alertmanagers_one_may_be_down(
    make_watch: MakeWatch, start_alertmanager: StartAlertmanager, ledger_engine: Engine
) -> None:
    """The other hears everything; the first one hears it in the first round in which it is back."""
    first, second = start_alertmanager(), start_alertmanager()
    watch = make_watch(first.url, second.url)
    first.kill()
    settle(ledger_engine, begin(ledger_engine), State.FAILED)
    before = _posts("unreachable")

    watch.round()
    told = second.names()
    first.start()
    watch.round()

    assert told == ["StepbackRunFailed"]
    assert _posts("unreachable") == before + 1
    assert first.names() == second.names() == ["StepbackRunFailed"]


@pytest.mark.parametrize(
    "body",
    ["", "no JSON", "{}", '{"labels": {}}', "[1]", '[{"labels": [], "annotations": {}, "startsAt": ""}]', "[" * 9999],
)
def test_an_answer_that_is_no_alertmanager_s_keeps_nobody_from_hearing(
    make_watch: MakeWatch, start_alertmanager: StartAlertmanager, ledger_engine: Engine, body: str
) -> None:
    """Whatever listens at the first address: the second one is told."""
    alertmanager = start_alertmanager()
    settle(ledger_engine, begin(ledger_engine), State.FAILED)

    with _answering(body) as url:
        make_watch(url, alertmanager.url).round()

    assert alertmanager.names() == ["StepbackRunFailed"]


@contextmanager
def _answering(body: str) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the library's signature
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
