"""What comes out of a real Alertmanager with the configuration of dashboards/, and when: no wait is shortened."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from tests.alerting.alertmanager import Alertmanager, StartAlertmanager
from tests.alerting.receivers import DEAD_MAN, Receiver
from tests.alerts import DASHBOARDS
from tests.faults.processes import wait_for

_STUCK = "StepbackRunStuck"
_LABELS = {
    "alertname": _STUCK,
    "severity": "critical",
    "source": "stepback-monitor",
    "environment": "production",
    "target": "shop",
    "run": "7",
}
_ANNOTATIONS = {"summary": "Run 7 is stuck", "command": "stepback show 7"}
#: Longer than any wait that is waited for here.
_PATIENCE_SECONDS = 60.0


@pytest.fixture
def manager(start_alertmanager: StartAlertmanager) -> Alertmanager:
    """Give an Alertmanager with that configuration, which tells the receiver."""
    made = start_alertmanager()
    made.end()
    made.adopt(DASHBOARDS / "alertmanager" / "alertmanager.yml", faster=1)
    return made.start()


def test_a_page_comes_at_once_with_what_to_type(manager: Alertmanager, receiver: Receiver) -> None:
    """The monitor's alert is one incident: nothing is waited for, and two runs are two pages."""
    began = time.monotonic()
    for run in ("7", "8"):
        manager.post({**_LABELS, "run": run}, annotations=_ANNOTATIONS)

    pages = [receiver.wait_for_page(_STUCK, run=run) for run in ("7", "8")]

    assert time.monotonic() - began < 10
    assert pages[0].annotations["command"] == "stepback show 7"


def test_the_dead_mans_switch_is_fed_at_once(manager: Alertmanager, receiver: Receiver) -> None:
    """The Watchdog waits for no group."""
    manager.post({"alertname": "StepbackWatchdog", "severity": "none", "source": "prometheus"})

    fed = receiver.wait_for("the Watchdog", lambda one: one.receiver == DEAD_MAN)

    assert (fed.alert, fed.status) == ("StepbackWatchdog", "firing")


@pytest.mark.timeout(180)
def test_a_page_is_sent_once_though_alertmanager_crashes(manager: Alertmanager, receiver: Receiver) -> None:
    """Writing down often what it has sent, it knows that after a crash; the end is still told."""
    manager.post(_LABELS)
    receiver.wait_for_page(_STUCK)
    wait_for("its log on disk", lambda: manager.has_noted(_STUCK))
    manager.kill()

    manager.start()
    manager.post(_LABELS)
    # Longer than group_wait: a second page would have come.
    time.sleep(4)

    assert len(receiver.pages(_STUCK)) == 1
    manager.post(_LABELS, ends_at=datetime.now(UTC))
    # At the end of group_interval.
    receiver.wait_for_page(_STUCK, status="resolved", seconds=_PATIENCE_SECONDS)
    assert len(receiver.pages(_STUCK)) == 1
