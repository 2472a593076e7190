"""Following runs for many at once: the ledger is asked one question a round, however many wait for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from ledger.errors import LedgerUnreachable
from ledger.model import TERMINAL
from ledger.standing import Standing

#: How often the ledger is asked while somebody waits, and while it does not answer.
LOOK_SECONDS: Final = 0.1
_AWAY_SECONDS: Final = 1.0

Look = Callable[[Collection[int]], Awaitable[Mapping[int, Standing]]]

log = structlog.get_logger(__name__)


class Stopping(Exception):
    """The gateway ends; whoever waits is let go."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    run: int
    seen: Standing | None
    changed: asyncio.Future[Standing]


class Watch:
    """Tells when runs change."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._waiting: set[_Waiting] = set()
        self._rounds: asyncio.Task[None] | None = None
        self._closed = False

    async def change(self, run: int, seen: Standing | None) -> Standing:
        """Wait until a run stands otherwise than it was seen; with None, until it was looked at.

        An outage of the ledger is waited out: limit it by a timeout of your own.

        Raises:
            Stopping: The gateway ends.
        """
        if self._closed:
            raise Stopping
        waiting = _Waiting(run, seen, asyncio.get_running_loop().create_future())
        self._waiting.add(waiting)
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._go_round(), name="watch")
        try:
            return await waiting.changed
        finally:
            self._waiting.discard(waiting)

    async def ended(self, run: int, seconds: float) -> bool:
        """Return whether a run ends, or has ended, within some seconds."""
        seen: Standing | None = None
        try:
            async with asyncio.timeout(seconds):
                while seen is None or seen.state not in TERMINAL:
                    seen = await self.change(run, seen)
        except (TimeoutError, Stopping):
            return False
        return True

    def close(self) -> None:
        """Let everybody go who waits, now and later."""
        self._closed = True
        for waiting in self._waiting:
            _fail(waiting, Stopping())

    async def _go_round(self) -> None:
        try:
            while self._waiting:  # noqa: ASYNC110 - what is waited for happens in the ledger
                await asyncio.sleep(await self._round())
        finally:
            self._rounds = None

    async def _round(self) -> float:
        """Look once; return for how many seconds to rest."""
        try:
            standings = await self._look({waiting.run for waiting in self._waiting})
        except LedgerUnreachable as error:
            log.warning("ledger_unreachable", code=error.code)
            return _AWAY_SECONDS
        except Exception as error:  # noqa: BLE001 - it is told to everybody who waits
            for waiting in self._waiting:
                _fail(waiting, error)
            return LOOK_SECONDS
        for waiting in list(self._waiting):
            standing = standings.get(waiting.run)
            if standing is not None and standing != waiting.seen and not waiting.changed.done():
                waiting.changed.set_result(standing)
        return LOOK_SECONDS


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.changed.done():
        waiting.changed.set_exception(error)
