"""Following runs through the ledger until they end, however often the ledger is out of reach meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Engine

from ledger.database import transaction
from ledger.errors import LedgerUnreachable
from ledger.history import find
from ledger.model import TERMINAL, Run, State

#: How often the ledger is asked.
LOOK_SECONDS = 0.15
#: How long the ledger may be silent before following is given up; the runs go on without us.
PATIENCE_SECONDS = 30.0

#: States in which there is nothing to see for a while.
RESTING = TERMINAL | {State.AWAITING_APPROVAL}


def follow(
    engine: Engine,
    runs: Sequence[int],
    tell: Callable[[Sequence[Run]], None],
    *,
    timeout_seconds: float | None = None,
) -> tuple[Run, ...]:
    """Follow runs until all of them have ended, wait for approval, or the time is up.

    Args:
        engine: The ledger.
        runs: Their numbers.
        tell: Gets them as they stand, each time that they are looked at.
        timeout_seconds: None: as long as it takes.

    Returns:
        The runs as last seen, in the order given.

    Raises:
        LedgerUnreachable: For longer than is bearable.
    """
    end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    last_answer = time.monotonic()
    seen: tuple[Run, ...] = ()
    while True:
        try:
            seen = _look(engine, runs)
            last_answer = time.monotonic()
            tell(seen)
        except LedgerUnreachable as error:
            if time.monotonic() - last_answer > PATIENCE_SECONDS:
                numbers = ", ".join(map(str, runs))
                raise LedgerUnreachable(f"{error.message}; run {numbers} goes on without being watched") from error
        if seen and all(run.state in RESTING for run in seen):
            return seen
        if seen and end is not None and time.monotonic() >= end:
            return seen
        time.sleep(LOOK_SECONDS)


def _look(engine: Engine, runs: Sequence[int]) -> tuple[Run, ...]:
    with transaction(engine) as conn:
        return tuple(find(conn, run) for run in runs)
