"""The bench itself: what is posted to Alertmanager arrives, once, whatever dies or misbehaves on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.alerting.alertmanager import Alertmanager
from tests.alerting.prometheus import StartPrometheus, hastened
from tests.alerting.receivers import DeadMan, Manner, Receiver
from tests.faults.processes import wait_for

#: Several rounds of Alertmanager and of the watchdog: what has not come by then does not come.
_SILENCE_SECONDS = 3.0
_DEFAULT_MAINTENANCE_SECONDS = 900

_WATCHDOG = """
groups:
  - name: watchdog
    rules:
      - alert: StepbackWatchdog
        expr: vector(1)
        labels: {severity: none}
"""
_DOWN = """
groups:
  - name: down
    rules:
      - alert: Down
        expr: up == 0
        for: 1h
        keep_firing_for: 1h
        labels: {severity: critical}
"""


def _stuck(run: int = 7, target: str = "shop") -> Mapping[str, str]:
    return {
        "alertname": "StepbackRunStuck",
        "severity": "critical",
        "environment": "test",
        "target": target,
        "run": str(run),
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _in_an_hour() -> datetime:
    return _now() + timedelta(hours=1)


# -- alerts ---------------------------------------------------------------------


def test_alert_pages(running_alertmanager: Alertmanager, receiver: Receiver) -> None:
    """What is posted arrives as a page, with its labels and annotations."""
    running_alertmanager.post(_stuck(), ends_at=_in_an_hour(), annotations={"summary": "run 7 is stuck"})

    page = receiver.wait_for_page("StepbackRunStuck", run="7")

    assert page.labels == _stuck()
    assert page.annotations == {"summary": "run 7 is stuck"}


def test_alert_that_does_not_page(running_alertmanager: Alertmanager, receiver: Receiver) -> None:
    """A warning goes to the tickets."""
    running_alertmanager.post({**_stuck(), "severity": "warning"}, ends_at=_in_an_hour())

    receiver.wait_for("a ticket", lambda one: one.receiver == "ticket")

    assert receiver.pages("StepbackRunStuck") == []


def test_alert_resolves(running_alertmanager: Alertmanager, receiver: Receiver) -> None:
    """Posted again with an end that has come, an alert is taken back, however far off its end was before."""
    running_alertmanager.post(_stuck(), ends_at=_in_an_hour())
    receiver.wait_for_page("StepbackRunStuck")

    running_alertmanager.post(_stuck(), ends_at=_now())

    receiver.wait_for_page("StepbackRunStuck", status="resolved")
    assert running_alertmanager.alerts() == []


def test_alert_without_an_end(running_alertmanager: Alertmanager, receiver: Receiver) -> None:
    """An alert that says no end ends by itself when nobody posts it again: who may die has to say one."""
    running_alertmanager.post(_stuck())

    receiver.wait_for_page("StepbackRunStuck")
    receiver.wait_for_page("StepbackRunStuck", status="resolved", seconds=15)


def test_end_of_an_alert_is_posted_again(running_alertmanager: Alertmanager, receiver: Receiver) -> None:
    """An end may be posted over and over, as one must who does not know whether it arrived: it is told once."""
    running_alertmanager.post(_stuck(), ends_at=_in_an_hour())
    receiver.wait_for_page("StepbackRunStuck")

    for _ in range(6):
        running_alertmanager.post(_stuck(), ends_at=_now())
        time.sleep(0.5)

    assert len(receiver.taken("page", "StepbackRunStuck", "resolved")) == 1
    assert len(receiver.pages("StepbackRunStuck")) == 1


def test_alert_again_after_its_end(running_alertmanager: Alertmanager, receiver: Receiver) -> None:
    """An alert that comes back after it was taken back pages again."""
    running_alertmanager.post(_stuck(), ends_at=_in_an_hour())
    receiver.wait_for_page("StepbackRunStuck")
    running_alertmanager.post(_stuck(), ends_at=_now())
    receiver.wait_for_page("StepbackRunStuck", status="resolved")

    running_alertmanager.post(_stuck(), ends_at=_in_an_hour())

    wait_for("a second page", lambda: len(receiver.pages("StepbackRunStuck")) == 2, 15)


# -- Alertmanager dies ----------------------------------------------------------


def test_alertmanager_is_killed(running_alertmanager: Alertmanager, receiver: Receiver) -> None:
    """Killed while an alert stands, it knows of none; told again, the alert stands again, and nobody is paged twice."""
    since = _now()
    running_alertmanager.post(_stuck(), starts_at=since, ends_at=_in_an_hour())
    receiver.wait_for_page("StepbackRunStuck")
    wait_for("the page to be noted", lambda: running_alertmanager.has_noted("StepbackRunStuck"), 10)

    running_alertmanager.kill()
    running_alertmanager.start()
    assert running_alertmanager.alerts() == []
    running_alertmanager.post(_stuck(), starts_at=since, ends_at=_in_an_hour())

    wait_for("the alert to stand", lambda: len(running_alertmanager.alerts("StepbackRunStuck", run="7")) == 1, 10)
    time.sleep(_SILENCE_SECONDS)
    assert len(receiver.pages("StepbackRunStuck")) == 1


@pytest.mark.parametrize(("ended_by", "pages"), [(Alertmanager.end, 1), (Alertmanager.kill, 2)], ids=["end", "kill"])
def test_alertmanager_ends_before_it_wrote_its_log(
    running_alertmanager: Alertmanager, receiver: Receiver, ended_by: Callable[[Alertmanager], object], pages: int
) -> None:
    """With its default interval it has not noted yet whom it paged: told to end it does so, killed it pages again."""
    running_alertmanager.end()
    running_alertmanager.maintenance_seconds = _DEFAULT_MAINTENANCE_SECONDS
    running_alertmanager.start()
    since = _now()
    running_alertmanager.post(_stuck(), starts_at=since, ends_at=_in_an_hour())
    receiver.wait_for_page("StepbackRunStuck")
    # It knows that it was heard a moment after we do.
    time.sleep(1)

    ended_by(running_alertmanager)
    running_alertmanager.start()
    running_alertmanager.post(_stuck(), starts_at=since, ends_at=_in_an_hour())

    time.sleep(_SILENCE_SECONDS)
    assert len(receiver.pages("StepbackRunStuck")) == pages


def test_alert_ends_while_alertmanager_is_dead(running_alertmanager: Alertmanager, receiver: Receiver) -> None:
    """What ended meanwhile is taken back if its end is posted to the new process, which never knew of the alert."""
    since = _now()
    running_alertmanager.post(_stuck(), starts_at=since, ends_at=_in_an_hour())
    receiver.wait_for_page("StepbackRunStuck")
    wait_for("the page to be noted", lambda: running_alertmanager.has_noted("StepbackRunStuck"), 10)

    running_alertmanager.kill()
    running_alertmanager.start()
    running_alertmanager.post(_stuck(), starts_at=since, ends_at=_now())

    receiver.wait_for_page("StepbackRunStuck", status="resolved")


def test_alertmanager_is_frozen(running_alertmanager: Alertmanager, receiver: Receiver) -> None:
    """A frozen Alertmanager takes nothing in time; woken, it pages for what it found waiting."""
    running_alertmanager.freeze()

    with pytest.raises(TimeoutError):
        running_alertmanager.post(_stuck(), ends_at=_in_an_hour(), seconds=0.5)
    running_alertmanager.thaw()

    receiver.wait_for_page("StepbackRunStuck")


# -- the receiver misbehaves ----------------------------------------------------


@pytest.mark.parametrize("manner", [Manner.FAILS, Manner.HANGS, Manner.RESETS])
def test_receiver_is_out_of_order(running_alertmanager: Alertmanager, receiver: Receiver, manner: Manner) -> None:
    """A receiver that {manner} is paged once it recovers."""
    with receiver.out_of_order(manner):
        running_alertmanager.post(_stuck(), ends_at=_in_an_hour())
        receiver.wait_until_turned_away()
        time.sleep(2)
        assert receiver.pages("StepbackRunStuck") == []

    receiver.wait_for_page("StepbackRunStuck")

    time.sleep(_SILENCE_SECONDS)
    assert len(receiver.pages("StepbackRunStuck")) == 1


# -- Prometheus -----------------------------------------------------------------


def test_prometheus_alerts(start_prometheus: StartPrometheus, receiver: Receiver, tmp_path: Path) -> None:
    """What Prometheus scrapes can be asked for, and what its rules find pages, with the environment's label."""
    rules = tmp_path / "rules.yml"
    rules.write_text(_DOWN, encoding="utf-8")
    prometheus = start_prometheus([hastened(rules, tmp_path / "quick")], {"nobody": 1})

    page = receiver.wait_for_page("Down", job="nobody")

    assert page.labels["environment"] == "test"
    assert prometheus.fires("Down", job="nobody")
    assert [value for _, value in prometheus.query('up{job="nobody"}')] == [0]


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_prometheus_stops(start_prometheus: StartPrometheus, dead_man: DeadMan, tmp_path: Path, how: str) -> None:
    """As long as Prometheus runs the watchdog's heartbeats come; {how}, the dead-man switch trips."""
    rules = tmp_path / "rules.yml"
    rules.write_text(_WATCHDOG, encoding="utf-8")
    prometheus = start_prometheus([rules])
    wait_for("heartbeats", lambda: dead_man.heartbeats() > 3, 30)

    if how == "killed":
        prometheus.kill()
    else:
        prometheus.freeze()

    wait_for("the switch to trip", lambda: dead_man.tripped(_SILENCE_SECONDS), 30)
