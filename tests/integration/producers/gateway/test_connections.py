"""Connections: nobody keeps one for ever by saying nothing, or by saying it slowly."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from producers.gateway.connections import bounded

_HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"
_SECONDS = 0.5


@contextmanager
def connected() -> Iterator[socket.socket]:
    """Give a connection to a server that waits half a second for heads."""
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))])
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, http=bounded(5, _SECONDS), timeout_keep_alive=60, log_config=None, lifespan="off")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with socket.create_connection(listening.getsockname()) as connection:
            connection.settimeout(10)
            yield connection
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.mark.parametrize("said", [b"", b"GET", _HEAD])
def test_a_head_that_does_not_come_ends_the_connection(said: bytes) -> None:
    """Whether nothing was said, or not all."""
    with connected() as connection:
        began = time.monotonic()
        connection.sendall(said)

        assert connection.recv(1024) == b""
        assert time.monotonic() - began >= _SECONDS * 0.9


def test_a_head_that_comes_byte_by_byte_has_no_more_time() -> None:
    """Each byte does not set the time anew; an answer before does."""
    with connected() as connection:
        connection.sendall(_HEAD + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()
        # A reset or a broken pipe, as it falls.
        with suppress(OSError):
            for byte in b"X-Slow: " + b"x" * 1000:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)

        assert time.monotonic() - began < 5
