"""Both embedded servers at once, for as long as a block runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stepback.embedded.postgres import DEFAULT_VERSION, Postgres
from stepback.embedded.redis_server import Redis


@dataclass(frozen=True)
class Servers:
    """The servers of one data folder."""

    postgres: Postgres
    redis: Redis


@contextmanager
def servers(
    data: Path,
    *,
    version: int = DEFAULT_VERSION,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Servers]:
    """Start both servers and stop them at the end of the block, unless another process uses them too.

    A signal has to become an exception for the end of the block to be reached: Ctrl-C does, SIGTERM
    only where the caller sees to it.

    Args:
        data: The data folder; made if it is not there.
        version: Major version of PostgreSQL.
        settings: PostgreSQL settings besides ours.
    """
    with (
        Redis.start(data) as redis,
        Postgres.start(data, version=version, settings=settings) as postgres,
    ):
        yield Servers(postgres=postgres, redis=redis)
