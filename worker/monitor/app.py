"""The monitor process: what is looked at, how often, and who is told, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from queue import SimpleQueue

import structlog
from prometheus_client import start_http_server
from redis import Redis
from sqlalchemy import Engine

from ledger.database import open_ledger
from ledger.doorbell import open_doorbell
from ledger.errors import BadConfiguration, StepbackError
from ledger.installation import installation_id
from ledger.log import configure_logging, flush
from ledger.settings import Settings
from worker.monitor import alertmanager, figures, queue
from worker.monitor.alertmanager import Heading
from worker.monitor.chain import Chain
from worker.monitor.collector import House
from worker.monitor.limits import Limits
from worker.monitor.listener import Listener
from worker.monitor.quarantines import Quarantines
from worker.monitor.watch import LedgerView, Watch
from worker.rounds import Rounds
from worker.stops import listen, stopped

#: How often the audit chain is walked on, and tried.
_CHAIN_SECONDS = 5.0
#: How often it is seen whether a signal has come.
_LOOK_SECONDS = 0.5

log = structlog.get_logger(__name__)


def serve(settings: Settings, *, canary: Callable[[], object]) -> int:
    """Watch until SIGTERM or SIGINT; return the process's exit code.

    Args:
        settings: With URLs for ledger and Redis.
        canary: Sends one command through the house that touches no target.

    Raises:
        StepbackError: It cannot start; the message says why.
    """
    configure_logging()
    stops = listen()
    if settings.ledger.url is None or settings.redis.url is None:
        raise BadConfiguration("a monitor needs STEPBACK_LEDGER_URL and STEPBACK_REDIS_URL, or `stepback up`")
    engine = open_ledger(settings.ledger.url.get_secret_value())
    client = _redis(settings)
    chain = Chain(engine, settings.monitor.verify_seconds)
    quarantines = Quarantines(settings.targets, settings.monitor.expiry_notice)
    counted = partial(queue.look, client, settings.redis.namespace)
    house = House(engine, counted, chain, quarantines, version("stepback-pg"))
    watch = _watch(settings, engine, chain, quarantines)
    port = _expose(settings, house)
    chores = [
        Rounds("chain", min(_CHAIN_SECONDS, settings.monitor.verify_seconds), chain.round, at_once=True),
        Rounds("targets", settings.monitor.targets_seconds, house.look_at_targets, at_once=True),
    ]
    if settings.monitor.canary_seconds > 0:
        chores.append(Rounds("canary", settings.monitor.canary_seconds, _harmless(canary), at_once=True))
    listener = Listener(client, settings.redis.namespace, watch.happened)
    listener.start()
    for chore in chores:
        chore.start()
    log.info("monitor_started", metrics_port=port, alertmanagers=len(settings.monitor.alertmanager_urls))
    _go_on(watch, stops, settings.monitor.scan_seconds)
    log.info("monitor_stopping")
    listener.stop()
    for chore in chores:
        chore.stop()
    engine.dispose()
    log.info("monitor_stopped")
    flush()
    return 0


def _go_on(watch: Watch, stops: SimpleQueue[int], scan_seconds: float) -> None:
    while not stopped(stops):
        try:
            watch.round()
        except Exception:
            # A monitor that ended here would leave everybody without one.
            log.exception("round_broke", of="watch")
        _wait(watch, stops, time.monotonic() + scan_seconds)


def _wait(watch: Watch, stops: SimpleQueue[int], until: float) -> None:
    """Wait for the next round, or until something happens or a signal has come."""
    while (left := until - time.monotonic()) > 0 and not stopped(stops):
        if watch.wait(min(left, _LOOK_SECONDS)):
            return


def _watch(settings: Settings, engine: Engine, chain: Chain, quarantines: Quarantines) -> Watch:
    monitor = settings.monitor
    contacts = {name: target.contact for name, target in settings.targets.items()}
    heading = Heading(installation_id(engine), monitor.environment, monitor.runbook_url, monitor.dashboard_url)
    told = alertmanager.connect([str(url) for url in monitor.alertmanager_urls], heading)
    ledger = LedgerView(engine, Limits.of(monitor), contacts, timedelta(seconds=monitor.ledger_seconds))
    return Watch(ledger, (chain, quarantines), told, monitor.post_seconds)


def _redis(settings: Settings) -> Redis:
    assert settings.redis.url is not None  # noqa: S101 - the caller looked
    client: Redis = open_doorbell(settings.redis.url.get_secret_value(), namespace=settings.redis.namespace).client
    return client


def _expose(settings: Settings, house: House) -> int:
    figures.initialise()
    figures.REGISTRY.register(house)
    host, port = settings.monitor.metrics_host, settings.monitor.metrics_port
    try:
        server, _ = start_http_server(port, addr=host, registry=figures.REGISTRY)
    except OSError as error:
        raise BadConfiguration(
            f"metrics cannot be served on {host}:{port}: {error.strerror};"
            " set [monitor] metrics_port (0: any free port)"
        ) from error
    return server.server_port


def _harmless(canary: Callable[[], object]) -> Callable[[], None]:
    """Send a canary; that it does not get through is seen by when the last one did."""

    def send() -> None:
        try:
            canary()
        except StepbackError as error:
            log.warning("canary_failed", code=error.code)

    return send
