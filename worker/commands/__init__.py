"""One module per command: what it comes down to on a target, as a piece of work."""

from __future__ import annotations

from typing import Protocol

from worker.target import Session
from worker.work import Work


class Procedure(Protocol):
    """What a command knows; the executor does it."""

    def prepare(self, session: Session) -> Work:
        """Say what is to be done as the catalog stands. Reads only; called again under the locks."""

    def record(self, session: Session, work: Work) -> None:
        """Write down, in the same transaction, what is now preserved or brought back."""

    def registry_row(self, session: Session) -> int | None:
        """Return the registry row that the run is about, made now if the plan has none yet."""
