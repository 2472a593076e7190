"""One copy from its beginning to the proof that it is complete, in steps that another attempt can go on from.

1. the copy is made as the table is at one moment, while everybody goes on writing
2. triggers are put on that keep it true from then on
3. what catalog and marks say about them is noted; then copy and table are compared, both ways, in one snapshot: first
   only what was written since the copy was begun, and how many rows there are; row by row if that does not do
4. what differs, since it was written between 1 and 2, is copied again, and 3 follows anew, until nothing differs
5. under the locks of apply everything must still be as it was noted in 3

From the comparison on, whoever changes the table changes the copy in the same transaction, unless a trigger is tampered
with or fails, the table is rewritten or gets relatives: all of which 5 sees without reading a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from ledger.errors import CopyNotComplete, CopyOutdated, LockNotAvailable
from ledger.model import Json
from worker.fence import Holder
from worker.objects.online_copy import OnlineCopy
from worker.online import comparison, keeper, leftovers
from worker.target import Session

#: Comparisons until it is given up, and the longest pause between two.
_ROUNDS = 12
_MAX_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class Copying:
    """What it takes to complete a copy."""

    session: Session
    holder: Holder
    copy: OnlineCopy
    #: Tries something again while a lock is not granted and the budget lasts.
    patiently: Callable[[Callable[[], None]], None]
    #: Sees that the run is still ours.
    check: Callable[[], None]
    at: Callable[[str], None]

    def complete(self) -> dict[str, Json]:
        """Bring the copy to where nothing differs; return how often it was compared, and how many rows differed.

        Raises:
            CopyNotComplete: Something differed every time.
            LockBudgetSpent: The table was in use all the time.
        """
        differed = 0
        for number in range(1, _ROUNDS + 1):
            found = self._round()
            if found == 0:
                return {"comparisons": number, "differences": differed}
            differed += found
            if number > 1:
                time.sleep(min(_MAX_PAUSE_SECONDS, 0.05 * 2**number))
        raise CopyNotComplete(
            f"columns of {self.copy.label} could not be copied while others write: {found} row(s) still differed after"
            f" {_ROUNDS} comparisons, since others lock them; let long transactions end, then ask again,"
            " or raise online_rows in plan.toml, so that they are copied under the lock"
        )

    def make(self) -> dict[str, Json]:
        """Make the copy, unless an earlier attempt has."""
        session, holder, copy = self.session, self.holder, self.copy
        if not keeper.is_begun(session, holder, copy):
            for left in leftovers.of_run(session, holder.installation, holder.run):
                if left["relation"] == copy.relation:
                    discard = partial(leftovers.let_go, session, holder.installation, left, holder.attempt)
                    self._act(discard, "copy_discarded")
            self._act(partial(keeper.begin, session, holder, copy), "copy_made")
        return {}

    def _round(self) -> int:
        """Compare, and put right what differs; return how many rows that was."""
        notes = self._noted()
        if comparison.is_same(self.session, self.copy):
            self._act(partial(keeper.declare_complete, self.session, self.holder, self.copy, notes), "copy_complete")
            return 0
        found = 0
        with closing(comparison.compare(self.session, self.copy)) as differences:
            for keys in differences:
                self.check()
                found += len(keys)
                self._act(partial(comparison.put_right, self.session, self.holder, self.copy, keys), "chunk_copied")
        if found == 0:
            self._act(partial(keeper.declare_complete, self.session, self.holder, self.copy, notes), "copy_complete")
        return found

    def _noted(self) -> dict[str, Any]:
        """Return the notes of a moment at which the triggers were on, and nobody with a mark was still writing."""
        session, holder, copy = self.session, self.holder, self.copy
        if not keeper.is_kept(session, copy):
            self._act(partial(keeper.keep, session, holder, copy), "copy_kept")
        for _ in range(_ROUNDS):
            noted = keeper.note(session, copy)
            if noted is None:
                raise CopyNotComplete(f"somebody took away the copy of the columns of {copy.label}; ask again")
            if noted["marks"] == noted["quiet"]:
                return _notes(noted)
            self.check()
            self._act(partial(keeper.wait_for_writers, session, holder, copy), "writers_waited_for")
        raise CopyNotComplete(
            f"the triggers that copy the columns of {copy.label} fail whenever somebody writes, whose write passes; ask"
            " again, or raise online_rows in plan.toml, so that they are copied under the lock"
        )

    def _act(self, act: Callable[[], None], point: str) -> None:
        def named() -> None:
            try:
                act()
            except LockNotAvailable as error:
                holders = ", ".join(str(blocker) for blocker in self.session.blockers(self.copy.relation))
                told = f"{self.copy.label} is held by {holders or 'somebody who has let go since'}"
                raise LockNotAvailable(told) from error

        self.patiently(named)
        self.at(point)


def _notes(noted: dict[str, Any]) -> dict[str, Any]:
    return {name: noted[name] for name in ("keeper", "marks", "files", "family")}


def look(session: Session, copies: Sequence[OnlineCopy]) -> list[dict[str, Any] | None]:
    """Look at copies as `prove` does; once before the locks, so that nothing is planned under them."""
    return [keeper.note(session, copy) for copy in copies]


def prove(session: Session, copies: Sequence[OnlineCopy]) -> None:
    """See under the locks that copies are complete: everything is as it was noted before nothing differed.

    Raises:
        CopyOutdated: Names the first that is not.
    """
    for copy, noted in zip(copies, look(session, copies), strict=True):
        if noted is None or noted["notes"] is None or noted["notes"] != _notes(noted):
            raise CopyOutdated(f"the copy of the columns of {copy.label} must be compared again")
