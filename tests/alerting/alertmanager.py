"""Alertmanager as a process: what is posted to it reaches the receivers, and it remembers whom it has paged."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from tests.alerting.asking import ask, tell
from tests.alerting.child import Child
from tests.alerting.receivers import DEAD_MAN, Receiver

#: As long as nothing changes nobody is told again: a second page is one too many.
_NEVER_AGAIN = "1d"

_CONFIGURATION = {
    # Of an alert that says no end. Short: who relies on it loses the alert within the test.
    "global": {"resolve_timeout": "3s"},
    "route": {
        "receiver": "ticket",
        "group_by": ["alertname", "environment", "target", "run"],
        "group_wait": "100ms",
        "group_interval": "1s",
        "repeat_interval": _NEVER_AGAIN,
        "routes": [
            {
                "matchers": ["severity = none"],
                "receiver": DEAD_MAN,
                "group_interval": "500ms",
                "repeat_interval": "500ms",
            },
            {"matchers": ["severity = critical"], "receiver": "page"},
        ],
    },
}

#: Where webhooks lead in the configuration that comes along, until somebody puts his own there.
_PLACEHOLDER = "http://127.0.0.1:9095"
#: How many times as fast that configuration is here.
_FASTER = 30
_WAITS = re.compile(r"\b(group_wait|group_interval|repeat_interval): (\d+)(s|m|h|d)\b")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Alertmanager(Child):
    """One Alertmanager without a cluster: critical alerts page, the watchdog's are heartbeats, others are tickets.

    It forgets alerts when it is killed, and learns of them again from who posts them. That nobody is paged twice then
    is the doing of its notification log, which outlives a SIGKILL under these conditions (0.25):

    - It is written to `--storage.path` every `--data.maintenance-interval`, and when Alertmanager is told to end. The
      interval is 15 minutes unless set: who was paged within that time before the kill is paged again.
    - The alert comes back with the same labels and in the same group (`group_by`); annotations may differ.
    - `repeat_interval` has not passed meanwhile, nor `--data.retention`.

    An alert stands until its `endsAt`, whether anybody posts it again or not; without one, for `resolve_timeout` from
    the last post. The latest post decides, so an `endsAt` that has come takes back an alert that had years to go, also
    in a process that never knew of it: the log knows who was paged.
    """

    name: ClassVar[str] = "alertmanager"

    def __init__(self, folder: Path, binary: str, receiver: Receiver) -> None:
        super().__init__(folder)
        #: How often what must not be forgotten is written to disk, from the next start on.
        self.maintenance_seconds = 0.2
        self._binary = binary
        self._receiver = receiver
        self._configuration = folder / "alertmanager.yml"
        receivers = [_webhook(receiver, name) for name in ("page", "ticket", DEAD_MAN)]
        # JSON is YAML too.
        self._configuration.write_text(json.dumps({**_CONFIGURATION, "receivers": receivers}), encoding="utf-8")

    def command(self) -> Sequence[str]:
        """Return its program and arguments."""
        return [
            self._binary,
            f"--config.file={self._configuration}",
            f"--storage.path={self.folder}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            f"--data.maintenance-interval={self.maintenance_seconds}s",
        ]

    def adopt(self, configuration: Path, faster: int = _FASTER) -> None:
        """Take a configuration from a file from the next start on: its webhooks lead to the receiver, all is faster.

        Args:
            configuration: The one that comes along, with its templates beside it.
            faster: How many times.
        """
        templates = configuration.parent / "templates"
        if templates.exists():
            shutil.copytree(templates, self.folder / "templates", dirs_exist_ok=True)
        text = configuration.read_text(encoding="utf-8")
        assert _PLACEHOLDER in text, f"{configuration} has no webhook to lead to the receiver"
        text = _WAITS.sub(lambda wait: f"{wait[1]}: {max(1, int(wait[2]) * _UNIT_MS[wait[3]] // faster)}ms", text)
        told = text.replace(_PLACEHOLDER, f"http://127.0.0.1:{self._receiver.port}")
        self._configuration.write_text(told, encoding="utf-8")

    def post(
        self,
        labels: Mapping[str, str],
        *,
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
        annotations: Mapping[str, str] | None = None,
        seconds: float = 10,
    ) -> None:
        """Post an alert, as the monitor does."""
        times = {"startsAt": starts_at, "endsAt": ends_at}
        given = {key: time.isoformat() for key, time in times.items() if time is not None}
        tell(
            self.port,
            "/api/v2/alerts",
            [{"labels": labels, "annotations": annotations or {}, **given}],
            seconds=seconds,
        )

    def has_noted(self, alert: str) -> bool:
        """Return whether its log on disk knows of an alert: a SIGKILL cannot make it forget that any more."""
        log = self.folder / "nflog"
        return log.exists() and alert.encode() in log.read_bytes()

    def alerts(self, alert: str = "", **labels: str) -> list[dict[str, Any]]:
        """Return the alerts that stand, all of them or those of a name and some labels; by name, then by run."""
        wanted = {**({"alertname": alert} if alert else {}), **labels}
        found: list[dict[str, Any]] = json.loads(ask(self.port, "/api/v2/alerts"))
        return sorted(
            (one for one in found if wanted.items() <= one["labels"].items()),
            key=lambda one: (one["labels"]["alertname"], one["labels"].get("run", "")),
        )

    def names(self) -> list[str]:
        """Return the names of the alerts that stand."""
        return [one["labels"]["alertname"] for one in self.alerts()]


#: What the fixture `start_alertmanager` gives.
StartAlertmanager = Callable[[], Alertmanager]


def _webhook(receiver: Receiver, name: str) -> dict[str, Any]:
    # A heartbeat that ends is no heartbeat.
    hook = {"url": receiver.url(name), "send_resolved": name != DEAD_MAN}
    return {"name": name, "webhook_configs": [hook]}
