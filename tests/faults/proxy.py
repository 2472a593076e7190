"""A way to a PostgreSQL server, over a Unix socket of its own, that breaks right when a certain COMMIT is sent."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

_SOCKET = ".s.PGSQL.5432"
#: A simple query: type, length, text, NUL. Source: PostgreSQL documentation, Message Formats.
_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
_COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
_HEADER = 5


class Cut(StrEnum):
    """What becomes of the COMMIT; the client sees its connection break in any case."""

    #: The server never gets it, and hears that the client is gone.
    LOST = "lost"
    #: The server carries it out; its answer is lost.
    UNANSWERED = "unanswered"
    #: The server gets it when `deliver` is called, and until then hears nothing.
    LATE = "late"


@dataclass
class Proxy:
    """Passes everything on, until a transaction that sent `after` is to be committed; that one COMMIT is cut."""

    #: Folder of the server's socket.
    server: Path
    after: bytes
    cut: Cut
    #: The cut has been made. From then on everything passes.
    made: threading.Event = field(default_factory=threading.Event)
    #: What the server said to it has come, and was kept.
    answered: threading.Event = field(default_factory=threading.Event)
    #: It was that all is committed.
    committed: bool = False

    def __enter__(self) -> Self:
        # Short: the path of a socket may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="proxy-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / _SOCKET))
        self._listener.listen(50)
        self._lines: list[socket.socket] = []
        self._late: socket.socket | None = None
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in [self._listener, *self._lines]:
            _hang_up(line)
        shutil.rmtree(self.folder)

    def url(self, database: str, user: str) -> str:
        """Return the URL of a database behind this proxy."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port=5432"

    def deliver(self) -> None:
        """Send the COMMIT that is late, and wait for the answer."""
        assert self._late is not None
        with suppress(OSError):
            # The server may have ended the connection, tired of waiting.
            self._late.sendall(_COMMIT)
        assert self.answered.wait(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self.server / _SOCKET))
                self._lines += [client, server]
                silent = threading.Event()
                for pump in (self._ask, self._answer):
                    threading.Thread(target=pump, args=(client, server, silent), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        """Pass messages from client to server, one by one."""
        seen = False
        with suppress(OSError, EOFError):
            # The first message has no type.
            length = _exactly(client, 4)
            server.sendall(length + _exactly(client, int.from_bytes(length) - 4))
            while True:
                header = _exactly(client, _HEADER)
                message = header + _exactly(client, int.from_bytes(header[1:]) - 4)
                seen = seen or self.after in message
                if seen and message == _COMMIT and not self.made.is_set():
                    return self._cut(client, server, silent)
                server.sendall(message)
        _hang_up(server)
        return None

    def _cut(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        silent.set()
        match self.cut:
            case Cut.LOST:
                _hang_up(server)
            case Cut.UNANSWERED:
                server.sendall(_COMMIT)
                assert self.answered.wait(10)
            case Cut.LATE:
                self._late = server
        self.made.set()
        _hang_up(client)

    def _answer(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        """Pass bytes from server to client, until they are to be kept."""
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if silent.is_set():
                    self.committed = data.startswith(_COMMITTED)
                    self.answered.set()
                    return _hang_up(server)
                client.sendall(data)
        if not silent.is_set():
            _hang_up(client)
        return _hang_up(server)


def _exactly(line: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = line.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)


def _hang_up(line: socket.socket) -> None:
    """Close a connection; whoever waits for it, in any thread, wakes."""
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()
