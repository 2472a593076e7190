"""What apply does, step by step, as it goes into the marker: the ledger hears of it only after COMMIT."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ledger.errors import Failed, Refused, StatementFailed
from worker.work import Section


@dataclass
class Journal:
    """The steps of one try at apply."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    #: Steps that rows forbade, with the reason.
    left: dict[str, str] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def timed(self, step: str, act: Callable[[], str | None], section: Section | None = None) -> None:
        """Do a step and note how long it took, how long after the beginning it ended, and what it says of itself."""
        began = time.monotonic()
        try:
            detail = act()
        except (Failed, Refused) as error:
            error.add_note(f"in step {step!r}")
            raise
        self._note(step, "completed", began, detail, section)

    def tried(self, step: str, act: Callable[[], str | None], section: Section | None = None) -> None:
        """Do a step that rows may forbid; where they do, note that it was left out.

        Args:
            step: Its name.
            act: Leaves nothing behind when it raises.
            section: What it is for.
        """
        began = time.monotonic()
        try:
            self.timed(step, act, section)
        except StatementFailed as error:
            if not error.of_rows:
                raise
            self.left[step] = error.message
            self._note(step, "left_out", began, error.message, section)

    def _note(self, step: str, outcome: str, began: float, detail: str | None, section: Section | None) -> None:
        ended = time.monotonic()
        self.steps.append(
            {
                "step": step,
                "outcome": outcome,
                "seconds": round(ended - began, 6),
                "section": section,
                "detail": detail,
                "after": round(ended - self._began, 6),
            }
        )
