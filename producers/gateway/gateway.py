"""What every request of the gateway stands on: what it was given from outside, and what all requests share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, cast
from uuid import UUID

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from dramatiq.brokers.redis import RedisBroker
from fastapi import Request
from sqlalchemy import Engine

from ledger.database import transaction
from ledger.model import Run
from ledger.settings import Settings
from ledger.standing import Standing, standings
from producers.gateway.gathering import Gathering
from producers.gateway.limits import Limits
from producers.gateway.watch import Watch
from producers.submit import OneWayIn

#: How this door is called in the audit log and in metrics.
VIA: Final = "gateway"
#: Threads that talk to the ledger; its pool has more connections than that.
_LEDGER_THREADS: Final = 8
#: Dry runs at once: each looks through a target's catalog.
_DRY_RUNS: Final = 2

Document: TypeAlias = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Outside:
    """What whoever composes the gateway gives it."""

    settings: Settings
    installation: UUID
    engine: Engine
    broker: RedisBroker
    way_in: OneWayIn
    #: A run as a document.
    show: Callable[[Run], Document]
    #: What rolling a migration back on a target would do, as a document; changes nothing.
    dry_run: Callable[[str, str], Document]


class Gateway:
    """One gateway: its connections to the house, and what its requests share."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self.settings = outside.settings
        self.engine = outside.engine
        self.gathering = Gathering(outside.way_in.submit_all)
        self.limits = Limits(outside.settings.gateway.max_per_second)
        self.watch = Watch(self._look)
        self._ledger_threads = CapacityLimiter(_LEDGER_THREADS)
        self._watching = CapacityLimiter(1)
        self._dry_runs = CapacityLimiter(_DRY_RUNS)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Have something done that waits for the ledger or for Redis."""
        return await run_sync(work, limiter=self._ledger_threads)

    async def dry_run(self, target: str, migration: str) -> Document:
        """Return what a rollback would do."""
        return await run_sync(partial(self.outside.dry_run, target, migration), limiter=self._dry_runs)

    def close(self) -> None:
        """Let go whoever waits for a run, so that their connections end."""
        self.watch.close()

    async def _look(self, runs: Collection[int]) -> Mapping[int, Standing]:
        def look() -> Mapping[int, Standing]:
            with transaction(self.engine) as conn:
                return standings(conn, runs)

        # Apart from the others: however busy they are, those who wait hear of what happens.
        return await run_sync(look, limiter=self._watching)


def of(request: Request) -> Gateway:
    """Return the gateway that a request came to."""
    return cast("Gateway", request.app.state.gateway)


def address_of(request: Request) -> str:
    """Return the address of the connection; what a header says of it is not believed."""
    return "unknown" if request.client is None else request.client.host
