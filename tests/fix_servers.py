"""Plugin: one PostgreSQL and one Redis, shared by all processes of a test session, started when first needed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from ledger.errors import BadConfiguration
from stepback.embedded import Postgres, Redis, ensure_roles_and_databases
from stepback.embedded.postgres import DEFAULT_VERSION, binaries
from stepback.embedded.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.workermanage import WorkerController

#: The data folder that all processes of the session share, and the session's claim on it.
_DATA = pytest.StashKey[Path]()
_USAGE = pytest.StashKey[Usage]()

#: Memory, where there is plenty of it: copying a database takes a twentieth of the time.
_MEMORY = Path("/dev/shm")  # noqa: S108 - only a place for mkdtemp
_MEMORY_BYTES = 4 << 30

_PREFIX = "stepback-tests-"

#: A test's databases may be lost in a crash, but it may not wait for a disk.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "256MB",
    # Hundreds of databases come and go: it would look through all of them.
    "autovacuum": "off",
    "max_prepared_transactions": "10",
    "wal_level": "logical",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a session choose its PostgreSQL."""
    parser.addoption(
        "--pg-version",
        type=int,
        default=DEFAULT_VERSION,
        help="major version of PostgreSQL: 18 (default) and 16 are brought along, others are Debian's",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a data folder; in a worker process of xdist, that of its controller."""
    handed = getattr(config, "workerinput", None)
    if handed is not None:
        config.stash[_DATA] = Path(handed["stepback_data"])
        return
    try:
        binaries(config.getoption("--pg-version"))
    except BadConfiguration as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_DATA], config.stash[_USAGE] = _new_data_folder()
    # `timeout` and CI stop a session by SIGTERM: let it end as for Ctrl-C, servers included.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a worker process where the servers are."""
    node.workerinput["stepback_data"] = str(node.config.stash[_DATA])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what a killed worker process may have left behind, and take the folder away."""
    if hasattr(config, "workerinput") or _DATA not in config.stash:
        return
    _remove(config.stash[_DATA])
    config.stash[_USAGE].give_up()


def _new_data_folder() -> tuple[Path, Usage]:
    place = Path(tempfile.gettempdir())
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES:
        place = _MEMORY
    for old in place.glob(f"{_PREFIX}*"):
        _sweep(old)
    # Claimed before it gets the name that others sweep by.
    new = Path(tempfile.mkdtemp(prefix=".stepback-", dir=place))
    usage = Usage(new / "session.lock")
    usage.share()
    return new.rename(place / f"{_PREFIX}{uuid4().hex[:8]}"), usage


def _sweep(old: Path) -> None:
    """Remove the folder of a session that was killed, with its servers."""
    if os.access(old, os.W_OK):
        usage = Usage(old / "session.lock")
        if usage.alone():
            _remove(old)
        usage.give_up()


def _remove(data: Path) -> None:
    """Remove a data folder and those within, with their servers unless somebody uses them."""
    for lock in [*data.glob("*.lock"), *data.glob("*/*.lock")]:
        if lock.name == "postgres.lock":
            Postgres(lock.parent).stop()
        elif lock.name == "redis.lock":
            Redis(lock.parent).stop()
    shutil.rmtree(data)


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Iterator[Postgres]:
    """Give the session's PostgreSQL, with the roles of an installation."""
    version = pytestconfig.getoption("--pg-version")
    with Postgres.start(pytestconfig.stash[_DATA], version=version, settings=_SETTINGS) as server:
        ensure_roles_and_databases(server)
        yield server


@pytest.fixture(scope="session")
def redis_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """Give the URL of the session's Redis; keep to `redis_namespace` there."""
    with Redis.start(pytestconfig.stash[_DATA]) as server:
        yield server.url


def _own_folder(config: pytest.Config) -> Iterator[Path]:
    folder = config.stash[_DATA] / f"data-{uuid4().hex[:8]}"
    folder.mkdir(mode=0o700)
    yield folder
    _remove(folder)


@pytest.fixture
def data_folder(pytestconfig: pytest.Config) -> Iterator[Path]:
    """Give an empty data folder of one's own; servers that a killed process left in it are stopped at the end."""
    yield from _own_folder(pytestconfig)


@pytest.fixture(scope="module")
def shared_data_folder(pytestconfig: pytest.Config) -> Iterator[Path]:
    """Give the tests of a module an empty data folder together.

    Not pytest's own folder for that: a session that begins meanwhile shuts it, and root's PostgreSQL out.
    """
    yield from _own_folder(pytestconfig)


@pytest.fixture
def redis_namespace() -> str:
    """Give a prefix for keys that no other test has."""
    return f"test-{uuid4().hex}"
