"""The Redis stream: a producer that reads entries in batches, hands their commands in, and settles what came of them.

An entry is acknowledged once its command is in the ledger or refused there. Whatever comes between is done again, by
this consumer or by one that takes over: the same envelope never makes a second run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from sqlalchemy import Engine

from ledger import audit
from ledger.database import transaction
from ledger.errors import EntryGone, LedgerUnreachable, QueueUnreachable, Refused, StepbackError
from producers.refusals import REFUSED, Refusal
from producers.stream_entries import Entry, read
from producers.stream_group import BEGINNING, Group, Outcome
from producers.submit import Handed, NotRung, OneWayIn, Submitted

#: How long one look for new entries waits for some; a signal to stop may go unheard so long.
_WAIT_MS: Final = 1000
#: Pauses after a round that came to nothing because ledger or Redis did not answer.
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0
#: How often abandoned entries are looked for, in parts of the time after which an entry counts as abandoned.
_LOOKS: Final = 2

#: The door's name in metrics and in the audit log.
VIA: Final = "stream"

log = structlog.get_logger(__name__)

#: Waits some seconds at most, and says whether it is time to end.
Stopped = Callable[[float], bool]


class Consumer:
    """Carries commands from the stream to the ledger, one batch after the other."""

    def __init__(self, group: Group, way_in: OneWayIn, engine: Engine, *, claim_seconds: float) -> None:
        """Say between what; nothing is read yet.

        Args:
            group: This consumer's side of the stream.
            way_in: Takes the commands.
            engine: The ledger, for the audit log.
            claim_seconds: When an entry that somebody has read and not settled counts as abandoned.
        """
        self._group = group
        self._way_in = way_in
        self._engine = engine
        self._every = claim_seconds / _LOOKS
        self._look_at = 0.0
        #: Where to go on among entries that were read and are not settled; None: there are none to look at now.
        self._after: str | None = None

    def run(self, stopped: Stopped) -> None:
        """Go round until it is time to end; what does not answer is waited for.

        Raises:
            BadConfiguration: One of the streams' names is taken by something else.
        """
        trouble = _Trouble()
        begun = False
        while not stopped(trouble.pause_seconds):
            try:
                if not begun:
                    self._begin()
                    begun = True
                self.round()
            except (LedgerUnreachable, QueueUnreachable) as error:
                trouble.met(error)
                begun = False
            else:
                trouble.over()

    def _begin(self) -> None:
        """Begin, for the first time or after trouble: what was read before it may not be settled."""
        self._group.make()
        self._after = BEGINNING

    def round(self) -> None:
        """Read one batch, hand it in and settle it.

        Raises:
            LedgerUnreachable: Nothing of the batch is settled.
            QueueUnreachable: What was read is in the ledger, and may not be settled.
        """
        if time.monotonic() >= self._look_at:
            gone = self._group.take_over()
            self._carry(gone)
            self._look_at = time.monotonic() + self._every
            self._after = BEGINNING
        self._carry(self._next())

    def _next(self) -> list[Entry]:
        if self._after is not None:
            entries = self._group.mine(after=self._after)
            self._after = entries[-1].entry_id if entries else None
            if entries:
                return entries
        return self._group.new(wait_ms=_WAIT_MS)

    def _carry(self, entries: Sequence[Entry]) -> None:
        """Hand in what entries hold and settle those of which it is known what came of it."""
        handed: dict[Entry, Handed] = {}
        refused: dict[Entry, StepbackError] = {}
        for entry in entries:
            try:
                handed[entry] = read(entry)
            except StepbackError as error:
                refused[entry] = error
        results = dict(zip(handed, self._hand_in([*handed.values()]), strict=True))
        self._write_down(refused)
        settled = [_outcome(entry, result) for entry, result in {**results, **refused}.items()]
        self._group.settle([outcome for outcome in settled if outcome is not None])

    def _hand_in(self, handed: Sequence[Handed]) -> list[Submitted | StepbackError | None]:
        """Submit commands together; None stands for one that Stepback itself broke on."""
        if not handed:
            return []
        try:
            return [*self._way_in.submit_all(handed)]
        except StepbackError:
            raise
        except Exception:
            # Whatever it is, it must not keep the others from getting in; alone, the culprit is found.
            log.exception("stream_batch_broke", entries=len(handed))
        return [None] if len(handed) == 1 else [result for each in handed for result in self._hand_in([each])]

    def _write_down(self, refused: Mapping[Entry, StepbackError]) -> None:
        """Write refusals of entries that held nothing to submit into the audit log, before they are taken away.

        Raises:
            LedgerUnreachable: None of them is settled then.
        """
        if not refused:
            return
        with transaction(self._engine) as conn:
            for error in refused.values():
                audit.append(conn, Refusal(error).event(VIA))
        for error in refused.values():
            REFUSED.labels(error.code, VIA).inc()


def _outcome(entry: Entry, result: Submitted | StepbackError | None) -> Outcome | None:
    """Return what is told of an entry; None: nothing yet, it stays and is looked at again."""
    match result:
        case NotRung(submitted=accepted) | (Submitted() as accepted):
            return Outcome(entry.entry_id, accepted.command_id, accepted.run)
        case Refused() | EntryGone():
            log.warning("stream_entry_refused", entry=entry.entry_id, code=result.code)
            return Outcome(entry.entry_id, code=result.code, message=result.message)
        case StepbackError():
            # Not a decision: a target that does not answer will. The signature says until when the command is meant.
            log.warning("stream_entry_put_off", entry=entry.entry_id, code=result.code)
    return None


class _Trouble:
    """Ledger or Redis does not answer: said once, not every round, and tried again more and more slowly."""

    def __init__(self) -> None:
        self._code: str | None = None
        self._next_pause = _FIRST_PAUSE_SECONDS
        #: How long to wait before the next round.
        self.pause_seconds = 0.0

    def met(self, error: StepbackError) -> None:
        """Wait longer than the last time, and not in step with other consumers."""
        if error.code != self._code:
            log.warning("stream_impeded", code=error.code)
        self._code = error.code
        self.pause_seconds = self._next_pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
        self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE_SECONDS)

    def over(self) -> None:
        """Go on at once."""
        if self._code is not None:
            log.info("stream_resumed")
        self._code, self._next_pause, self.pause_seconds = None, _FIRST_PAUSE_SECONDS, 0.0
