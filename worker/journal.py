"""What apply does, step by step, as it goes into the marker: the ledger hears of it only after COMMIT."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ledger.errors import Failed, Refused
from worker.work import Section


@dataclass
class Journal:
    """The steps of one try at apply."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def timed(self, step: str, act: Callable[[], str | None], section: Section | None = None) -> None:
        """Do a step and note how long it took, how long after the beginning it ended, and what it says of itself."""
        began = time.monotonic()
        try:
            detail = act()
        except (Failed, Refused) as error:
            error.add_note(f"in step {step!r}")
            raise
        ended = time.monotonic()
        self.steps.append(
            {
                "step": step,
                "outcome": "completed",
                "seconds": round(ended - began, 6),
                "section": section,
                "detail": detail,
                "after": round(ended - self._began, 6),
            }
        )
