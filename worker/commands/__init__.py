"""One module per command: what it comes down to on a target, as a piece of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ledger.model import Json
from worker.target import Row, Session
from worker.work import FinishStep, Stage, Work


@dataclass(frozen=True)
class Outcome:
    """What came of a command beside its steps."""

    #: For the ledger, by the names that docs/recovering.md gives.
    result: Mapping[str, Json] = field(default_factory=dict)
    #: To be done after COMMIT, because of what came of it.
    finish: tuple[FinishStep, ...] = ()


class Procedure(Protocol):
    """What a command knows; the executor does it."""

    def prepare(self, session: Session) -> Work:
        """Say what is to be done as the catalog stands. Reads only; called again inside apply, before the locks."""

    def record(self, session: Session, work: Work) -> None:
        """Write down, in the same transaction, what the first stage preserves or brings back."""

    def stage(self, session: Session, number: int) -> Stage:
        """Compile a later stage, counted from 1, on the catalog as those before it have left it."""

    def record_stage(self, session: Session, number: int, created: Sequence[Row]) -> tuple[FinishStep, ...]:
        """Write down what a later stage preserved, and what it created; return what is to be done after COMMIT."""

    def outcome(self, session: Session, left: Mapping[str, str]) -> Outcome:
        """Say what came of it, after the last change and in the same transaction.

        Args:
            session: Inside apply.
            left: Steps that rows forbade, with the reason.
        """

    def registry_rows(self, session: Session) -> list[int]:
        """Return the registry rows that the run is about, made now where a plan has none yet."""
