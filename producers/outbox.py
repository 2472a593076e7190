"""The SQL outbox: what an application asked for within its own transaction is signed and goes the one way in.

Each effect is committed before the next: the envelope in the application's database, the command in the ledger, the
answer in the application's database. A relay that dies in between leaves a row that is taken up again; the envelope
that was kept is handed in once more, and the ledger knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from ledger.errors import BadRequest, StepbackError
from producers import outbox_rows as rows
from producers.envelope import sign
from producers.keys import PrivateKey
from producers.outbox_database import Connection, reaching
from producers.submit import Handed, NotRung, OneWayIn, Submitted

#: How many requests are handed in at once.
BATCH: Final = 64

#: Every place between two effects on a request's way, in order: a relay may be killed at any of them.
CRASH_POINTS: Final = ("begun", "signed", "envelope_kept", "taken", "handed_in", "answered", "answer_kept")

#: What became of a request, by the id of its command.
Answer = tuple[UUID, Submitted | StepbackError]

log = structlog.get_logger(__name__)


def pass_by(_point: str) -> None:
    """Go on: what happens at a crash point in production."""


@dataclass(frozen=True)
class Relay:
    """What takes requests from one outbox to the door."""

    #: The outbox's configured name.
    name: str
    #: Its issuer is `outbox:NAME`.
    key: PrivateKey
    #: The id of the installation that is meant.
    installation: UUID
    door: OneWayIn
    #: Called at every crash point; tests kill the process there.
    at: Callable[[str], None] = pass_by

    def relay(self, conn: Connection) -> int:
        """Relay the oldest requests; return how many were answered: 0 means that none waits.

        Args:
            conn: The application's database, outside any transaction.

        Raises:
            OutboxUnreachable: It went away; what was not finished is taken up again.
            LedgerUnreachable: The same of the ledger.
        """
        with reaching(self.name):
            self.at("begun")
            answers = self._sign(conn)
            self.at("envelope_kept")
            answers += self._hand_in(conn)
            self.at("answer_kept")
        for command_id, answer in answers:
            self._tell(command_id, answer)
        return len(answers)

    def _sign(self, conn: Connection) -> list[Answer]:
        """Sign what is not signed yet; what cannot be is answered."""
        envelopes: list[tuple[UUID, str]] = []
        refused: list[Answer] = []
        with conn.transaction():
            for asked in rows.take_unsigned(conn, BATCH):
                try:
                    request = asked.request(audience=str(self.installation), issuer=self.key.issuer)
                except BadRequest as error:
                    refused.append((asked.command_id, error))
                else:
                    envelopes.append((asked.command_id, sign(request, self.key)))
            rows.keep(conn, envelopes)
            _answer(conn, refused)
            self.at("signed")
        return refused

    def _hand_in(self, conn: Connection) -> list[Answer]:
        with conn.transaction():
            batch = rows.take_signed(conn, BATCH)
            self.at("taken")
            answers = self.door.submit_all([Handed(each.envelope, each.idempotency_key) for each in batch])
            self.at("handed_in")
            told = [(each.command_id, answer) for each, answer in zip(batch, answers, strict=True)]
            _answer(conn, told)
            self.at("answered")
        return told

    def _tell(self, command_id: UUID, answer: Submitted | StepbackError) -> None:
        told = log.bind(outbox=self.name, command_id=str(command_id))
        match answer:
            case Submitted(run=run) | NotRung(run=run):
                told.info("request_relayed", run=run)
            case StepbackError():
                told.info("request_refused", code=answer.code)


def _answer(conn: Connection, answers: Sequence[Answer]) -> None:
    accepted: list[tuple[UUID, int]] = []
    for command_id, answer in answers:
        match answer:
            # Without the bell it is in the ledger all the same, and the reconciler will find it there.
            case Submitted(run=run) | NotRung(run=run):
                accepted.append((command_id, run))
            case StepbackError():
                rows.refuse(conn, command_id, answer)
    rows.accept(conn, accepted)
