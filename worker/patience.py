"""Trying again, with jitter, while a lock is not granted and the budget of the target lasts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from ledger.errors import LockBudgetSpent, LockNotAvailable
from worker import metrics

#: Longest pause between two tries.
_MAX_PAUSE_SECONDS: Final = 2.0

_T = TypeVar("_T")


@dataclass(frozen=True)
class Patience:
    """How long it is tried, and who hears of it."""

    budget_seconds: float
    #: Writes down that it waits: how often it was tried, and who holds the lock.
    tell: Callable[[int, str], None]

    def __call__(self, act: Callable[[], _T]) -> _T:
        """Do something that changes nothing when a lock is not granted; try until it is done.

        Raises:
            LockBudgetSpent: The locks could not be had in time; the message names who holds them.
        """
        deadline = time.monotonic() + self.budget_seconds
        tries = 0
        while True:
            tries += 1
            try:
                return act()
            except LockNotAvailable as error:
                metrics.LOCK_TIMEOUTS.inc()
                if tries == 1:
                    metrics.LOCK_WAITS.inc()
                pause = random.uniform(0.1, min(_MAX_PAUSE_SECONDS, 0.2 * 2**tries))  # noqa: S311 - jitter
                self.tell(tries, error.message)
                if time.monotonic() + pause > deadline:
                    raise LockBudgetSpent(
                        f"the locks could not be had within {self.budget_seconds:g} s ({tries} tries):"
                        f" {error.message}; let that session finish, or end it, then ask again"
                    ) from error
                time.sleep(pause)
