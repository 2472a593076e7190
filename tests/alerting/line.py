"""A way to a PostgreSQL server, over a Unix socket of its own, that can be silent: open, and nothing comes through."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_SOCKET = ".s.PGSQL.5432"
_CHUNK = 1 << 16


class Line:
    """Passes bytes on both ways as long as it is not silent; what came meanwhile is passed on afterwards."""

    def __init__(self, server: Path) -> None:
        """Lead to a server.

        Args:
            server: The folder of its socket.
        """
        self._server = server / _SOCKET
        self._open = threading.Event()
        self._open.set()
        self._ends: list[socket.socket] = []

    def url(self, database: str, user: str) -> str:
        """Return the URL of a database at the other end."""
        return f"postgresql://{user}@/{database}?host={self._folder}&port=5432"

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Pass nothing on as long as the block runs, as a network that drops every packet; nobody is told."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def __enter__(self) -> Self:
        # Short: the path of a socket may have 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="line-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / _SOCKET))
        self._listener.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in [self._listener, *self._ends]:
            _hang_up(end)
        self._open.set()
        shutil.rmtree(self._folder)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                self._ends += [near, far]
                far.connect(str(self._server))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._open.wait()
                sink.sendall(data)
        self._open.wait()
        for end in (source, sink):
            _hang_up(end)


def _hang_up(end: socket.socket) -> None:
    """Close a connection; whoever waits for it, in any thread, wakes."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
