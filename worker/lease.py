"""The lease on a run: renewed by a heartbeat while the attempt lasts."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from sqlalchemy import Engine

from ledger import runs
from ledger.errors import LeaseLost, LedgerUnreachable
from ledger.runs import Claim


class Lease:
    """Keeps a claim alive in the background; ask `check` before anything that must not happen twice."""

    def __init__(self, engine: Engine, claim: Claim, seconds: float) -> None:
        self._engine = engine
        self._claim = claim
        self._seconds = seconds
        self._lost = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{claim.run}", daemon=True)

    def __enter__(self) -> Self:
        """Start the heartbeat."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the heartbeat."""
        self._done.set()
        self._thread.join(timeout=self._seconds)

    def check(self) -> None:
        """Renew now; whoever asks is getting on, which a heartbeat alone does not say.

        Raises:
            LeaseLost: Another attempt has the run.
            LedgerUnreachable: Nobody can say.
        """
        if self._lost.is_set() or not runs.renew(self._engine, self._claim, self._seconds, progressed=True):
            self._lost.set()
            raise LeaseLost(f"run {self._claim.run} was taken over by another attempt")

    def _beat(self) -> None:
        while not self._done.wait(self._seconds / 3):
            try:
                if not runs.renew(self._engine, self._claim, self._seconds):
                    self._lost.set()
                    return
            except LedgerUnreachable:
                # The lease may lapse; the next write to the ledger or the fence in the target decides.
                continue
