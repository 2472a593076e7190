"""`stepback gateway`: the HTTP gateway put together with what only the front door sees."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import structlog
from prometheus_client import start_http_server

from ledger.errors import BadConfiguration
from ledger.installation import installation_id
from ledger.log import configure_logging, flush
from ledger.settings import GatewaySettings
from producers.gateway.gateway import VIA, Document, Outside
from producers.gateway.server import is_loopback, listen, run, url_of
from producers.refusals import REGISTRY
from producers.submit import OneWayIn
from stepback.asking import doorbell
from stepback.installation import Installation
from stepback.pins import Pins
from stepback.show import documents
from worker.preview import preview

log = structlog.get_logger(__name__)


def serve(here: Installation, say: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; return the process's exit code.

    Args:
        here: The installation.
        say: Hears where it listens.

    Raises:
        StepbackError: It cannot start; the message says why.
    """
    configure_logging()
    installation = installation_id(here.engine)
    bound = listen(here.settings.gateway)
    metrics_port = _expose(here.settings.gateway)
    url, loopback = url_of(bound), is_loopback(bound)

    def ready() -> None:
        log.info("gateway_started", url=url, loopback=loopback, metrics_port=metrics_port)
        reach = "this machine only, it is loopback" if loopback else "every machine that reaches it, without TLS"
        say(f"the gateway listens on {url}, for {reach}; {url}/openapi.json says what it does")

    with bound, doorbell(here) as broker, Pins(here.settings) as pins:
        outside = Outside(
            settings=here.settings,
            installation=installation,
            engine=here.engine,
            broker=broker,
            way_in=OneWayIn(here.engine, broker, here.settings, pins, via=VIA),
            show=documents.of_run,
            dry_run=lambda target, migration: _dry_run(here, target, migration),
        )
        run(outside, bound, version("stepback-pg"), ready=ready)
    log.info("gateway_stopped", url=url)
    flush()
    return 0


def _expose(settings: GatewaySettings) -> int:
    """Serve /metrics apart from what others reach; return the port."""
    host, port = settings.metrics_host, settings.metrics_port
    try:
        server, _ = start_http_server(port, addr=host, registry=REGISTRY)
    except OSError as error:
        raise BadConfiguration(
            f"metrics cannot be served on {host}:{port}: {error.strerror}; set [gateway] metrics_port (0: any free"
            " port)"
        ) from error
    return server.server_port


def _dry_run(here: Installation, target: str, migration: str) -> Document:
    with here.session(target) as session:
        return documents.of_preview(target, preview(session, here.settings.target(target), target, migration))
