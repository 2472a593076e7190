"""Live progress of runs on standard error: one table that changes on a terminal, one line a step elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table

from ledger.model import Run, State
from stepback.show import tables
from stepback.show.console import err, plain, table

#: How long a run may stay queued before that is remarked upon.
_WAITING_SECONDS = 5.0


class Progress:
    """Shows runs while they are followed; `tell` is called with them as they stand."""

    def __init__(self) -> None:
        self._console = err()
        self._live = Live(console=self._console, refresh_per_second=10) if self._console.is_terminal else None
        self._told: dict[int, int] = {}
        self._states: dict[int, State] = {}
        self._began = time.monotonic()
        self._remarked = False

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, runs: Sequence[Run]) -> None:
        """Show the runs."""
        if self._live is not None:
            self._live.update(_table(runs))
        else:
            for run in runs:
                self._print(run)
        self._remark(runs)

    def _print(self, run: Run) -> None:
        name = f"run {run.run} ({run.kind.value} {run.subject})"
        changed = self._states.get(run.run) is not run.state
        self._states[run.run] = run.state
        # It begins before its first step, and ends after its last.
        if changed and run.finished_at is None:
            self._line(f"{name}: {run.state.value}")
        for step in run.steps[self._told.get(run.run, 0) :]:
            spent = tables.milliseconds(step.seconds)
            self._line(f"{name}: {step.phase.value}: {step.step}: {step.outcome}, {spent} ms")
        self._told[run.run] = len(run.steps)
        if changed and run.finished_at is not None:
            self._line(f"{name}: {run.state.value}")

    def _line(self, text: str) -> None:
        self._console.print(plain(text), soft_wrap=True)

    def _remark(self, runs: Sequence[Run]) -> None:
        waiting = all(run.state is State.QUEUED for run in runs)
        if waiting and not self._remarked and time.monotonic() - self._began > _WAITING_SECONDS:
            self._remarked = True
            self._console.print("no worker has taken it yet: is `stepback up` or `stepback worker` running?")


def _table(runs: Sequence[Run]) -> Table:
    made = table("run", "kind", "migration", "state", "phase", "last step", numbers=frozenset({"run"}))
    for run in runs:
        last = plain(run.steps[-1].step if run.steps else "")
        # One line a run, so that nothing jumps.
        last.truncate(60, overflow="ellipsis")
        phase = run.phase.value if run.phase else ""
        made.add_row(str(run.run), run.kind.value, plain(run.subject), tables.state(run), phase, last)
    return made
