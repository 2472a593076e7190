"""`stepback monitor` as a process: it watches a station's ledger, in a hurry, and tells an Alertmanager."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.alerting.alertmanager import Alertmanager
from tests.alerting.child import Child
from tests.alerting.prometheus import ENVIRONMENT
from tests.faults.processes import Station, shown

#: What makes it look more often, and lose patience sooner, than it would; times in seconds.
_IN_A_HURRY = {
    "SCAN_SECONDS": "0.5",
    "POST_SECONDS": "1",
    "STUCK_PREFLIGHT_SECONDS": "3",
    "STUCK_PRESERVE_SECONDS": "3",
    "STUCK_APPLY_SECONDS": "3",
    "STUCK_FINISH_SECONDS": "3",
    "LEASE_GRACE_SECONDS": "1",
    "LEDGER_SECONDS": "3",
    "TARGETS_SECONDS": "1",
    # What is watched here is what the tests do.
    "CANARY_SECONDS": "0",
}

#: Where pages lead to.
RUNBOOK = "https://runbook.example/stepback.md"


@dataclass(frozen=True)
class Watch:
    """What a monitor watches and whom it tells."""

    station: Station
    alertmanager: Alertmanager
    #: Over those of the hurry, without their prefix: `LEASE_GRACE_SECONDS`.
    settings: Mapping[str, str]


class Monitor(Child):
    """One monitor; its exporter's port stays the same however often it is killed and started."""

    name: ClassVar[str] = "monitor"
    ready: ClassVar[str] = "/metrics"

    def __init__(self, folder: Path, watch: Watch) -> None:
        super().__init__(folder)
        self._watch = watch

    def command(self) -> Sequence[str]:
        """Return its program and arguments."""
        return [sys.executable, "-m", "stepback", "monitor"]

    def environment(self) -> Mapping[str, str]:
        """Return its whole environment: the station's, and the monitor's own settings."""
        own = {
            **_IN_A_HURRY,
            "ALERTMANAGER_URLS": self._watch.alertmanager.url,
            "ENVIRONMENT": ENVIRONMENT,
            "METRICS_PORT": str(self.port),
            "RUNBOOK_URL": RUNBOOK,
            **self._watch.settings,
        }
        return {**self._watch.station.environment(), **{f"STEPBACK_MONITOR_{key}": own[key] for key in own}}

    def metrics(self) -> dict[str, float]:
        """Return every sample that it shows, `name{label="value"}` by value."""
        return shown(self.port)


#: What the fixture `start_monitor` gives.
StartMonitor = Callable[..., Monitor]
