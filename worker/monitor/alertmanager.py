"""The way to Alertmanager: every one of several is told everything, again and again, and told when it is over.

Alertmanager keeps alerts in memory, so what stands is posted until it is over; and what it holds of ours that does
not stand any more is resolved, whoever posted it: this process, or one before it.

Source: Alertmanager API v2, api/v2/openapi.yaml.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx
import structlog

from worker.monitor.trouble import Trouble

#: Who posts, as a label of every alert.
SOURCE: Final = "stepback-monitor"

#: How long an alert stands without being posted again: a monitor that is away does not make anything well. That the
#: monitor is away is for Prometheus to tell.
_STANDS: Final = timedelta(hours=24)
_TIMEOUT_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)

Labels = dict[str, str]


@dataclass(frozen=True)
class Heading:
    """What is the same for all alerts of one installation."""

    installation: UUID
    environment: str
    runbook_url: str
    dashboard_url: str

    def labels(self, trouble: Trouble) -> Labels:
        """Return what an alert is known by."""
        return {
            "alertname": trouble.alert.value,
            "severity": trouble.alert.severity,
            "source": SOURCE,
            "installation": str(self.installation),
            "environment": self.environment,
            **{name: value for name, value in trouble.about.items() if value},
        }

    def alert(self, trouble: Trouble, until: datetime) -> dict[str, Any]:
        """Return an alert as Alertmanager takes it; it stands until then."""
        annotations = {
            "summary": trouble.summary,
            "description": trouble.description,
            "command": trouble.command,
            "contact": trouble.contact,
            "runbook_url": f"{self.runbook_url}#{trouble.alert.value.lower()}",
            "dashboard_url": self.dashboard_url,
        }
        return {
            "labels": self.labels(trouble),
            "annotations": {name: text for name, text in annotations.items() if text},
            "startsAt": trouble.since.isoformat(),
            "endsAt": until.isoformat(),
        }


@dataclass
class Alertmanager:
    """One Alertmanager."""

    url: str
    client: httpx.Client
    heading: Heading
    #: Alerts that it held at the last telling and that we did not see: over, unless another monitor has just seen them.
    doubts: set[frozenset[tuple[str, str]]] = field(default_factory=set)

    def tell(
        self, troubles: Sequence[Trouble], is_over: Callable[[Labels], bool], over: Sequence[Trouble] = ()
    ) -> None:
        """Post what stands, and end what it holds of ours that does not: what is missing from two looks in a row.

        Args:
            troubles: All that stands.
            is_over: Whether an alert that is not among them is known to be over.
            over: What is lately over. Told again and again: an end is lost when Alertmanager dies before it has passed
                it on, and one that it never knew the beginning of does no harm.

        Raises:
            httpx.HTTPError: It did not take all of that.
        """
        now = datetime.now(UTC)
        standing = {frozenset(self.heading.labels(trouble).items()) for trouble in troubles}
        held = {frozenset(alert["labels"].items()): alert for alert in self._held()}
        gone = {known for known, alert in held.items() if known not in standing and is_over(alert["labels"])}
        ends = [{**held[known], "endsAt": now.isoformat()} for known in gone & self.doubts]
        ends += [
            self.heading.alert(trouble, until=max(now, trouble.since))
            for trouble in over
            if frozenset(self.heading.labels(trouble).items()) not in standing
        ]
        alerts = [*(self.heading.alert(trouble, until=now + _STANDS) for trouble in troubles), *ends]
        if alerts:
            answer = self.client.post(f"{self.url}/api/v2/alerts", json=alerts)
            answer.raise_for_status()
        self.doubts = gone - self.doubts

    def _held(self) -> list[dict[str, Any]]:
        """Return the alerts that it holds of this installation, from whichever monitor."""
        ours = [f'source="{SOURCE}"', f'installation="{self.heading.installation}"']
        answer = self.client.get(f"{self.url}/api/v2/alerts", params={"filter": ours})
        answer.raise_for_status()
        kept = ("labels", "annotations", "startsAt")
        return [{key: alert[key] for key in kept} for alert in answer.json()]


def connect(urls: Sequence[str], heading: Heading) -> list[Alertmanager]:
    """Return the Alertmanagers at some addresses; nothing is connected yet."""
    # It logs every URL that it asks, and one may hold a password.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    client = httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False)
    return [Alertmanager(url.rstrip("/"), client, heading) for url in urls]


def reason(error: httpx.HTTPError) -> Mapping[str, str]:
    """Return what may be logged of a failure: never the URL, which may hold a password."""
    if isinstance(error, httpx.HTTPStatusError):
        return {"result": "rejected", "status": str(error.response.status_code)}
    return {"result": "unreachable", "reason": type(error).__name__}
