"""The server: uvicorn in this process, with our logs, on a socket that is bound before anybody is told of it."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from ledger.errors import BadConfiguration
from ledger.settings import GatewaySettings
from producers.gateway.app import create_app
from producers.gateway.connections import bounded
from producers.gateway.gateway import Gateway, Outside

#: How long requests under way may take to end once the process was told to stop.
_STOP_SECONDS: Final = 20
#: Connections that wait to be accepted.
_BACKLOG: Final = 128


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: whoever waits for a run has to hear of them first."""
        yield


def listen(settings: GatewaySettings) -> socket.socket:
    """Return a socket that takes connections; they wait until somebody serves.

    Raises:
        BadConfiguration: It cannot be had.
    """
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(_BACKLOG)
        except BaseException:
            bound.close()
            raise
    except OSError as error:
        raise BadConfiguration(
            f"the gateway cannot listen on {host}:{port}: {error.strerror}; set [gateway] host and port (0: any free"
            " port)"
        ) from error
    return bound


def url_of(bound: socket.socket) -> str:
    """Return the URL that leads to a socket from this machine."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(bound: socket.socket) -> bool:
    """Return whether only this machine reaches a socket."""
    return ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback


def run(outside: Outside, bound: socket.socket, version: str, *, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered, whoever waits for a run is let go.

    Args:
        outside: What the gateway stands on.
        bound: Where it listens.
        version: Of Stepback.
        ready: Called once signals are heard.
    """
    asyncio.run(_serve(Gateway(outside), bound, version, ready))


def server_of(gateway: Gateway, version: str) -> uvicorn.Server:
    """Return the server of a gateway; it hears no signals.

    Args:
        gateway: What it serves.
        version: Of Stepback.
    """
    config = uvicorn.Config(
        create_app(gateway, version),
        http=bounded(gateway.settings.gateway.max_connections),
        ws="none",
        # Ours: JSON lines on standard error. An access log would repeat what strangers send.
        log_config=None,
        log_level="warning",
        access_log=False,
        # Whoever connects could say anything about where they come from.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    return _Server(config)


async def _serve(gateway: Gateway, bound: socket.socket, version: str, ready: Callable[[], None]) -> None:
    server = server_of(gateway, version)

    def stop() -> None:
        gateway.close()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    ready()
    await server.serve(sockets=[bound])
