"""What a worker counts and times, for Prometheus; every label set exists from the start, at 0."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from ledger.log import dropped
from ledger.model import TERMINAL, Kind, Phase, Preserved, State

#: A registry of our own: no process or platform metrics of the library's default one.
REGISTRY = CollectorRegistry()

#: Locks are held for milliseconds; a run may take an hour.
_BLOCKED_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_DURATION_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)

RUNS = Counter("stepback_runs", "Runs that reached a final state", ["kind", "outcome"], registry=REGISTRY)
RUN_SECONDS = Histogram(
    "stepback_run_duration_seconds",
    "From claim to final state, of the attempt that settled",
    ["kind"],
    buckets=_DURATION_BUCKETS,
    registry=REGISTRY,
)
STEP_SECONDS = Histogram(
    "stepback_step_duration_seconds",
    "Duration of steps by phase",
    ["phase"],
    buckets=_DURATION_BUCKETS,
    registry=REGISTRY,
)
BLOCKED_SECONDS = Histogram(
    "stepback_blocked_seconds",
    "How long apply held its first lock, for each apply that committed",
    ["kind"],
    buckets=_BLOCKED_BUCKETS,
    registry=REGISTRY,
)
LOCK_TIMEOUTS = Counter("stepback_lock_timeouts", "Tries at the locks that were given up in time", registry=REGISTRY)
LOCK_WAITS = Counter("stepback_lock_waits", "Locks that were not had at the first try", registry=REGISTRY)
LEASES_LOST = Counter("stepback_leases_lost", "Attempts whose run another attempt has taken", registry=REGISTRY)
PRESERVED_OBJECTS = Counter("stepback_preserved_objects", "Objects preserved", ["how"], registry=REGISTRY)
PRESERVED_ROWS = Counter("stepback_preserved_rows", "Rows in preserved tables", registry=REGISTRY)
PRESERVED_BYTES = Counter("stepback_preserved_bytes", "Bytes of preserved tables", registry=REGISTRY)
DELIVERIES = Counter("stepback_deliveries", "Doorbell messages by what came of them", ["result"], registry=REGISTRY)
REFUSALS = Counter("stepback_refusals", "Runs refused or failed, by error code", ["code"], registry=REGISTRY)
VALIDATIONS_FAILED = Counter(
    "stepback_validations_failed", "Runs whose checks did not all hold", ["kind"], registry=REGISTRY
)
AUDIT_EVENTS = Counter("stepback_audit_events", "Audit events written by this worker", ["type"], registry=REGISTRY)

AUDIT_WRITE_FAILURES = Counter(
    "stepback_audit_write_failures", "Audit events that the ledger did not take", registry=REGISTRY
)
BUILD = Gauge("stepback_build_info", "Which Stepback this is", ["version", "python"], registry=REGISTRY)


class _Log(Collector):
    """What the log has dropped, as it counts by itself."""

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("stepback_log_records_dropped", "Log lines that nobody took in time", value=dropped())


REGISTRY.register(_Log())

#: What can come of a delivery: carried out, nothing to claim, the ledger did not answer, or not a doorbell message.
DELIVERY_RESULTS = ("claimed", "nothing_to_do", "ledger_unreachable", "poison")


def initialise(codes: frozenset[str], event_types: frozenset[str], version: str) -> None:
    """Create every label set at 0: `increase()` never sees a counter that is born at 1.

    Args:
        codes: Every error code that a run can end with.
        event_types: Every audit event that a worker writes.
        version: Of Stepback.
    """
    BUILD.labels(version, platform.python_version()).set(1)
    for kind in Kind:
        for state in TERMINAL:
            RUNS.labels(kind.value, state.value)
        RUN_SECONDS.labels(kind.value)
        BLOCKED_SECONDS.labels(kind.value)
        VALIDATIONS_FAILED.labels(kind.value)
    for phase in Phase:
        STEP_SECONDS.labels(phase.value)
    for how in ("moved", "copied", "defined"):
        PRESERVED_OBJECTS.labels(how)
    for result in DELIVERY_RESULTS:
        DELIVERIES.labels(result)
    for code in codes:
        REFUSALS.labels(code)
    for event_type in event_types:
        AUDIT_EVENTS.labels(event_type)


def count_run(kind: Kind, state: State, seconds: float, code: str | None) -> None:
    """Count a run that reached a final state."""
    RUNS.labels(kind.value, state.value).inc()
    RUN_SECONDS.labels(kind.value).observe(seconds)
    if code is not None:
        REFUSALS.labels(code).inc()


def count_preserved(preserved: Sequence[Preserved]) -> None:
    """Count what a completed run keeps; the columns of one table share their copy, so it counts once."""
    for item in preserved:
        PRESERVED_OBJECTS.labels(item.how).inc()
    tables = {(item.quarantine, item.rows, item.bytes) for item in preserved if item.rows is not None}
    PRESERVED_ROWS.inc(sum(rows or 0 for _, rows, _ in tables))
    PRESERVED_BYTES.inc(sum(size or 0 for _, _, size in tables))


def expose(host: str, port: int) -> tuple[WSGIServer, int]:
    """Serve /metrics in a thread of its own.

    Args:
        host: Address to bind; loopback unless configured otherwise.
        port: 0 takes any free one.

    Returns:
        The server, and the port it listens on.
    """
    server, _ = start_http_server(port, addr=host, registry=REGISTRY)
    return server, server.server_port
