"""What comes out of a real Alertmanager with the configuration of dashboards/, and when."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.alertmanager import receiving, running
from tests.fix_tools import Tool

_LABELS = {
    "alertname": "StepbackRunStuck",
    "severity": "critical",
    "source": "stepback-monitor",
    "environment": "production",
    "target": "shop",
    "run": "7",
}


def _alert(**changed: str) -> dict[str, Any]:
    return {
        "labels": {**_LABELS, **changed},
        "annotations": {"summary": "Run 7 is stuck", "command": "stepback show 7"},
    }


def test_a_page_comes_at_once_with_what_to_type(alertmanager: Tool, tmp_path: Path) -> None:
    """The monitor's alert is one incident: nothing is waited for, and two runs are two pages."""
    with receiving() as receiver, running(alertmanager, tmp_path, receiver=receiver) as manager:
        began = time.monotonic()
        manager.post(_alert(run="7"), _alert(run="8"))

        pages = receiver.wait_for(2)

        assert time.monotonic() - began < 10
        assert {(page.path, page.status, page.labels["run"]) for page in pages} == {
            ("/page", "firing", "7"),
            ("/page", "firing", "8"),
        }
        assert pages[0].annotations["command"] == "stepback show 7"


def test_the_dead_mans_switch_is_fed_at_once(alertmanager: Tool, tmp_path: Path) -> None:
    """The Watchdog waits for no group."""
    with receiving() as receiver, running(alertmanager, tmp_path, receiver=receiver) as manager:
        labels = {"alertname": "StepbackWatchdog", "severity": "none", "source": "prometheus"}
        manager.post({"labels": labels})

        (fed,) = receiver.wait_for(1)

        assert (fed.path, fed.status) == ("/dead-man", "firing")


def test_a_page_is_sent_once_though_alertmanager_crashes(alertmanager: Tool, tmp_path: Path) -> None:
    """Writing down often what it has sent, it knows that after a crash; the end is still told."""
    often = "--data.maintenance-interval=1s"
    with receiving() as receiver:
        with running(alertmanager, tmp_path, often, receiver=receiver) as manager:
            manager.post(_alert())
            receiver.wait_for(1)
            time.sleep(3)
            manager.kill()
        with running(alertmanager, tmp_path, often, receiver=receiver) as manager:
            manager.post(_alert())
            # Longer than group_wait: a second page would have come.
            time.sleep(4)
            assert [each.status for each in receiver.heard] == ["firing"]

            manager.post({**_alert(), "endsAt": datetime.now(UTC).isoformat()})

            # At the end of group_interval.
            assert [each.status for each in receiver.wait_for(2)] == ["firing", "resolved"]
