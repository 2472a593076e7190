"""The worker process: settings, logs, metrics, broker, actor, reconciler and sweeper put together."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import version

import dramatiq
import structlog

from ledger import audit, errors, workers
from ledger.database import open_ledger
from ledger.doorbell import open_doorbell
from ledger.errors import BadConfiguration, LedgerUnreachable, StepbackError
from ledger.installation import installation_id
from ledger.log import configure_logging, flush
from ledger.outlet import Outlet
from ledger.settings import Settings
from worker import metrics
from worker.actor import answer
from worker.crash_points import pass_by
from worker.executor import Executor
from worker.intake import Intake
from worker.reconcile import Reconciler
from worker.rounds import Rounds
from worker.stops import listen, wait
from worker.sweep import Sweeper

#: Out of a million polls, how many look for messages of dead workers: all.
_ALWAYS = 1_000_000
#: How long a run under way may take to end once the process was told to stop; then its lease lapses.
_STOP_MS = 30_000
#: How often a worker says that it lives, in parts of the time for which it says so.
_BEATS = 3

#: Audit events that a worker writes, for their counters.
EVENT_TYPES = frozenset(
    {
        "run_claimed",
        "step_completed",
        "step_failed",
        "step_left_out",
        "lock_waited",
        "copy_outdated",
        "attempt_postponed",
        "approval_awaited",
        "validation_failed",
        *(f"run_{state}" for state in ("completed", "failed", "refused", "cancelled", "needs_operator")),
    }
)

log = structlog.get_logger(__name__)


def serve(settings: Settings, *, at: Callable[[str], None] = pass_by) -> int:
    """Run a worker until SIGTERM or SIGINT; return the process's exit code.

    Args:
        settings: With URLs for ledger and Redis.
        at: Called at every crash point; tests kill the process there.

    Raises:
        StepbackError: It cannot start; the message says why.
    """
    configure_logging()
    stops = listen()
    if settings.ledger.url is None or settings.redis.url is None:
        raise BadConfiguration("a worker needs STEPBACK_LEDGER_URL and STEPBACK_REDIS_URL, or `stepback up`")
    engine = open_ledger(settings.ledger.url.get_secret_value())
    executor = Executor(engine, settings, installation_id(engine), at)
    port = _expose(settings)
    broker = open_doorbell(
        settings.redis.url.get_secret_value(),
        namespace=settings.redis.namespace,
        maintenance_chance=_ALWAYS,
        broker_class=Intake,
    )
    name = f"{socket.gethostname()}:{os.getpid()}"
    answer(broker, executor, name)
    crew = dramatiq.Worker(broker, worker_threads=settings.worker.threads)
    reconciler = Reconciler(engine, broker, settings.worker.reconcile_seconds)
    sweeper = Sweeper(engine, settings, executor.installation)
    outlet = Outlet(broker.client, settings.redis.namespace, executor.installation)
    audit.observe(outlet.put)
    beat = partial(workers.beat, engine, name, settings.worker.lease_seconds)
    chores = [
        Rounds("heartbeat", settings.worker.lease_seconds / _BEATS, beat, at_once=True),
        Rounds("reconciler", settings.worker.reconcile_seconds, reconciler.look),
        Rounds("sweeper", settings.worker.sweep_seconds, sweeper.round),
    ]
    outlet.start()
    crew.start()
    for chore in chores:
        chore.start()
    log.info("worker_started", worker=name, metrics_port=port, threads=settings.worker.threads)
    wait(stops)
    log.info("worker_stopping", worker=name)
    for chore in chores:
        chore.stop()
    crew.stop(timeout=_STOP_MS)
    outlet.stop()
    with suppress(LedgerUnreachable):
        workers.leave(engine, name)
    engine.dispose()
    log.info("worker_stopped", worker=name)
    flush()
    return 0


def _expose(settings: Settings) -> int:
    metrics.initialise(_codes(StepbackError), EVENT_TYPES, version("stepback-pg"))
    audit.observe_failures(metrics.AUDIT_WRITE_FAILURES.inc)
    audit.observe(lambda event: metrics.AUDIT_EVENTS.labels(event.type).inc())
    host, port = settings.worker.metrics_host, settings.worker.metrics_port
    try:
        _, bound = metrics.expose(host, port)
    except OSError as error:
        raise BadConfiguration(
            f"metrics cannot be served on {host}:{port}: {error.strerror}; set [worker] metrics_port (0: any free port)"
        ) from error
    return bound


def _codes(root: type[errors.StepbackError]) -> frozenset[str]:
    """Return the code of every error class."""
    below = [_codes(kind) for kind in root.__subclasses__()]
    return frozenset({root.code}).union(*below)
