"""Whatever dies, freezes or falls silent on the way: each incident is paged once, and taken back once it is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from stepback.embedded import Postgres, Redis
from tests.alerting.alertmanager import Alertmanager, StartAlertmanager
from tests.alerting.incidents import (
    FAILED,
    SILENCE_SECONDS,
    STUCK,
    abandoned,
    failed,
    rules_in_a_hurry,
    stays_at_one_page,
    taken_over,
)
from tests.alerting.line import Line
from tests.alerting.monitor import StartMonitor
from tests.alerting.prometheus import StartPrometheus
from tests.alerting.receivers import Manner, Receiver
from tests.faults.processes import Station, wait_for

_UNREACHABLE = "StepbackLedgerUnreachable"


# -- the monitor dies -----------------------------------------------------------


def test_exporter_is_killed_while_a_run_is_stuck(
    station: Station,
    start_monitor: StartMonitor,
    start_prometheus: StartPrometheus,
    running_alertmanager: Alertmanager,
    receiver: Receiver,
    *,
    tmp_path: Path,
) -> None:
    """With the monitor dead the alert goes on standing, and Prometheus says that it is dead until it is back."""
    monitor = start_monitor(station)
    prometheus = start_prometheus(rules_in_a_hurry(tmp_path), {"stepback-monitor": monitor.port})
    run, _ = abandoned(station)
    receiver.wait_for_page(STUCK, run=run)
    wait_for("a scrape", lambda: prometheus.query('up{job="stepback-monitor"} == 1') != [])

    monitor.kill()

    wait_for("the alert", lambda: prometheus.fires("StepbackExporterDown", job="stepback-monitor"), 30)
    receiver.wait_for_page("StepbackExporterDown", job="stepback-monitor")
    stays_at_one_page(receiver, STUCK, run)
    assert len(running_alertmanager.alerts(STUCK, run=run)) == 1
    monitor.start()
    receiver.wait_for_page("StepbackExporterDown", status="resolved", job="stepback-monitor")
    stays_at_one_page(receiver, STUCK, run)


def test_monitor_is_killed_between_detecting_and_sending(
    station: Station, start_monitor: StartMonitor, running_alertmanager: Alertmanager, receiver: Receiver
) -> None:
    """What a killed monitor had found and could not tell is found and told by the next, once."""
    monitor = start_monitor(station)
    running_alertmanager.kill()
    run = failed(station)
    unreachable = 'stepback_alert_posts_total{result="unreachable"}'
    wait_for("the monitor to try", lambda: monitor.metrics()[unreachable] > 0, 30)

    monitor.kill()
    running_alertmanager.start()
    time.sleep(SILENCE_SECONDS)
    assert receiver.heard("page") == []
    monitor.start()

    receiver.wait_for_page(FAILED, run=run)
    stays_at_one_page(receiver, FAILED, run)


def test_monitor_is_told_to_end(
    station: Station, start_monitor: StartMonitor, running_alertmanager: Alertmanager, receiver: Receiver
) -> None:
    """A monitor that is told to end does so, and takes nothing back: what is stuck stays so without it."""
    monitor = start_monitor(station)
    run, _ = abandoned(station)
    receiver.wait_for_page(STUCK, run=run)

    assert monitor.end() == 0

    stays_at_one_page(receiver, STUCK, run)
    assert len(running_alertmanager.alerts(STUCK, run=run)) == 1


@pytest.mark.parametrize("both", [False, True], ids=["alone", "with Alertmanager"])
def test_run_goes_on_while_the_monitor_is_dead(
    station: Station, start_monitor: StartMonitor, running_alertmanager: Alertmanager, receiver: Receiver, *, both: bool
) -> None:
    """What is over by the time that a killed monitor is back is taken back then, also if Alertmanager died with it."""
    monitor = start_monitor(station)
    run, command = abandoned(station)
    receiver.wait_for_page(STUCK, run=run)
    wait_for("the page to be noted", lambda: running_alertmanager.has_noted(STUCK), 10)

    monitor.kill()
    if both:
        running_alertmanager.kill()
    taken_over(station, command)
    if both:
        running_alertmanager.start()
    time.sleep(SILENCE_SECONDS)
    assert receiver.heard("page") == [("firing", STUCK)]
    monitor.start()

    receiver.wait_for_page(STUCK, status="resolved", run=run)


# -- what it leans on dies ------------------------------------------------------


def test_alertmanager_is_killed_while_an_alert_stands(
    station: Station, start_monitor: StartMonitor, running_alertmanager: Alertmanager, receiver: Receiver
) -> None:
    """An Alertmanager that was killed hears of the alert again within a minute; nobody is paged twice."""
    start_monitor(station)
    run, command = abandoned(station)
    receiver.wait_for_page(STUCK, run=run)
    wait_for("the page to be noted", lambda: running_alertmanager.has_noted(STUCK), 10)

    running_alertmanager.kill()
    running_alertmanager.start()

    wait_for("the alert to stand", lambda: len(running_alertmanager.alerts(STUCK, run=run)) == 1, 60)
    stays_at_one_page(receiver, STUCK, run)
    taken_over(station, command)
    receiver.wait_for_page(STUCK, status="resolved", run=run)
    assert receiver.heard("page") == [("firing", STUCK), ("resolved", STUCK)]


def test_alertmanager_is_frozen(
    station: Station, start_monitor: StartMonitor, running_alertmanager: Alertmanager, receiver: Receiver
) -> None:
    """While Alertmanager hangs the exporter answers; woken, it pages for what failed meanwhile, once."""
    monitor = start_monitor(station)

    running_alertmanager.freeze()
    run = failed(station)
    time.sleep(SILENCE_SECONDS)
    assert monitor.metrics()['stepback_collector_up{part="ledger"}'] == 1
    running_alertmanager.thaw()

    receiver.wait_for_page(FAILED, run=run)
    stays_at_one_page(receiver, FAILED, run)


def test_run_goes_on_while_alertmanager_is_frozen(
    station: Station, start_monitor: StartMonitor, running_alertmanager: Alertmanager, receiver: Receiver
) -> None:
    """Woken, Alertmanager finds what was posted meanwhile, in any order: the end has the last word, and stays."""
    start_monitor(station)
    run, command = abandoned(station)
    receiver.wait_for_page(STUCK, run=run)

    running_alertmanager.freeze()
    time.sleep(SILENCE_SECONDS)
    taken_over(station, command)
    time.sleep(SILENCE_SECONDS)
    running_alertmanager.thaw()

    receiver.wait_for_page(STUCK, status="resolved", run=run)
    time.sleep(SILENCE_SECONDS)
    assert running_alertmanager.alerts(STUCK) == []


def test_alertmanager_is_killed_before_it_could_take_a_page_back(
    station: Station, start_monitor: StartMonitor, running_alertmanager: Alertmanager, receiver: Receiver
) -> None:
    """An end that Alertmanager took, and died before it could tell, is posted to the next one too."""
    start_monitor(station)
    run, command = abandoned(station)
    receiver.wait_for_page(STUCK, run=run)
    wait_for("the page to be noted", lambda: running_alertmanager.has_noted(STUCK), 10)

    with receiver.out_of_order(Manner.FAILS):
        taken_over(station, command)
        wait_for("the end to arrive", lambda: running_alertmanager.alerts(STUCK) == [], 30)
        running_alertmanager.kill()
    running_alertmanager.start()

    receiver.wait_for_page(STUCK, status="resolved", run=run)
    assert len(receiver.pages(STUCK)) == 1


@pytest.mark.parametrize("first", ["dead", "frozen"])
def test_one_of_two_alertmanagers_is_out_of_order(
    station: Station,
    start_monitor: StartMonitor,
    start_alertmanager: StartAlertmanager,
    running_alertmanager: Alertmanager,
    receiver: Receiver,
    *,
    first: str,
) -> None:
    """Each Alertmanager is told by itself: one that is {first} keeps no page from the other."""
    other = start_alertmanager()
    start_monitor(station, alertmanager_urls=f"{other.url},{running_alertmanager.url}")
    if first == "dead":
        other.kill()
    else:
        other.freeze()

    run = failed(station)

    receiver.wait_for_page(FAILED, run=run)
    stays_at_one_page(receiver, FAILED, run)


@pytest.mark.parametrize("when", ["before it starts", "while it runs"])
def test_redis_is_stopped(
    station: Station, start_monitor: StartMonitor, receiver: Receiver, data_folder: Path, when: str
) -> None:
    """Without Redis runs are watched all the same, and that Redis does not answer is shown."""
    redis = Redis.start(data_folder)
    station = replace(station, redis_url=redis.url)
    if when == "before it starts":
        redis.stop()
    monitor = start_monitor(station)
    redis.stop()

    run = failed(station)

    receiver.wait_for_page(FAILED, run=run)
    wait_for("the queue to be missed", lambda: monitor.metrics()['stepback_collector_up{part="queue"}'] == 0, 30)
    assert monitor.metrics()['stepback_collector_up{part="ledger"}'] == 1


@contextmanager
def _refusing(admin_url: str) -> Iterator[None]:
    """Let nobody but the superuser into the ledger as long as the block runs; whoever is in is thrown out."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {admin.info.dbname} CONNECTION LIMIT 0")
        admin.execute(f"{others} AND pid <> pg_backend_pid()")
        try:
            yield
        finally:
            admin.execute(f"ALTER DATABASE {admin.info.dbname} CONNECTION LIMIT -1")


@pytest.mark.parametrize("how", ["refuses", "is silent"])
def test_ledger_is_unreachable(
    station: Station,
    start_monitor: StartMonitor,
    running_alertmanager: Alertmanager,
    receiver: Receiver,
    *,
    postgres: Postgres,
    ledger_database: str,
    ledger_admin_url: str,
    how: str,
) -> None:
    """A ledger that {how} pages until it is back; what stood before goes on standing, since nobody knows better."""
    with Line(postgres.socket_dir) as line:
        watched = replace(station, ledger_url=line.url(ledger_database, "stepback_app"))
        monitor = start_monitor(watched)
        run, command = abandoned(station)
        receiver.wait_for_page(STUCK, run=run)

        with line.silent() if how == "is silent" else _refusing(ledger_admin_url):
            receiver.wait_for_page(_UNREACHABLE)
            stays_at_one_page(receiver, STUCK, run)
            assert len(running_alertmanager.alerts(STUCK, run=run)) == 1
            assert monitor.metrics()['stepback_collector_up{part="ledger"}'] == 0

        receiver.wait_for_page(_UNREACHABLE, status="resolved")
        taken_over(station, command)
        receiver.wait_for_page(STUCK, status="resolved", run=run)
    assert len(receiver.pages(STUCK)) == 1
    assert len(receiver.pages(_UNREACHABLE)) == 1
