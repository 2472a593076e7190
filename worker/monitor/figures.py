"""What a monitor counts of its own doing; the state of the house is in worker/monitor/collector.py."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from worker.monitor.trouble import Alert, Trouble

REGISTRY = CollectorRegistry()

STANDING = Gauge(
    "stepback_alerts_standing", "Alerts that the monitor holds up at Alertmanager", ["alertname"], registry=REGISTRY
)
POSTS = Counter("stepback_alert_posts", "Posts to an Alertmanager by what came of them", ["result"], registry=REGISTRY)
SCAN_SECONDS = Histogram(
    "stepback_monitor_scan_duration_seconds",
    "How long it took to look through the ledger for trouble",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
    registry=REGISTRY,
)


def initialise() -> None:
    """Create every label set at 0."""
    for alert in Alert:
        STANDING.labels(alert.value)
    for result in ("accepted", "rejected", "unreachable"):
        POSTS.labels(result)


def stand(troubles: Sequence[Trouble]) -> None:
    """Say how many alerts stand."""
    count = Tally(trouble.alert for trouble in troubles)
    for alert in Alert:
        STANDING.labels(alert.value).set(count[alert])
