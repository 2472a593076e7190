"""Commands that come in at the same time are submitted together: the more there are, the less each one costs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from ledger.errors import StepbackError
from producers.submit import Handed, Submitted

#: Commands in one batch.
MOST: Final = 64

Outcome = Submitted | StepbackError
SubmitAll = Callable[[Sequence[Handed]], list[Outcome]]


class Gathering:
    """Carries commands to the one way in, one batch at a time.

    Nobody waits for others to come: the first goes alone, and what comes while it is under way goes together.
    """

    def __init__(self, submit_all: SubmitAll) -> None:
        self._submit_all = submit_all
        self._waiting: deque[tuple[Handed, asyncio.Future[Outcome]]] = deque()
        self._carrier: asyncio.Task[None] | None = None
        self._one_at_a_time = CapacityLimiter(1)

    async def submit(self, handed: Handed) -> Submitted:
        """Submit a command and return what became of it.

        Raises:
            StepbackError: As of `OneWayIn.submit`.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((handed, future))
        if self._carrier is None:
            self._carrier = asyncio.create_task(self._carry(), name="gathering")
        outcome = await future
        if isinstance(outcome, StepbackError):
            raise outcome
        return outcome

    async def _carry(self) -> None:
        batch: list[tuple[Handed, asyncio.Future[Outcome]]] = []
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                await self._submit(batch)
        finally:
            self._carrier = None
            for _, future in (*batch, *self._waiting):
                future.cancel()

    async def _submit(self, batch: Sequence[tuple[Handed, asyncio.Future[Outcome]]]) -> None:
        try:
            handed = [handed for handed, _ in batch]
            outcomes = await run_sync(partial(self._submit_all, handed), limiter=self._one_at_a_time)
        except StepbackError as error:
            # The ledger is away, say: that is no one's fault, and the same for all.
            for _, future in batch:
                _settle(future, error)
        except Exception as error:  # noqa: BLE001 - it is told to whoever asked
            # What nobody foresaw may be the fault of one; the others must not suffer from it.
            if len(batch) == 1:
                _settle(batch[0][1], error)
                return
            for each in batch:
                await self._submit([each])
        else:
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)


def _settle(future: asyncio.Future[Outcome], error: Exception) -> None:
    # Whoever asked may have gone.
    if not future.done():
        future.set_exception(error)
