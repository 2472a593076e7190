"""Refusals: written into the audit log, and counted, before they are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import Engine

from ledger import audit
from ledger.database import transaction
from ledger.errors import BadName, LedgerUnreachable, StepbackError
from ledger.model import Event, Json
from ledger.names import check_name

#: The actor of a refusal where no signature says who it was.
UNKNOWN_ACTOR = "unknown"

#: What the doors count; each process exposes it beside its own.
REGISTRY = CollectorRegistry()
ACCEPTED = Counter("stepback_commands_accepted", "Commands that were written down", ["kind", "via"], registry=REGISTRY)
REFUSED = Counter(
    "stepback_commands_refused", "Commands, approvals and cancellations refused", ["code", "via"], registry=REGISTRY
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Refusal:
    """That something asked for is not done: a code and proper names, never a text that may hold a password."""

    error: StepbackError
    #: Who asked.
    actor: str = UNKNOWN_ACTOR
    #: What was given for a target; left out unless it can be the name of one.
    target: str | None = None
    #: What was given for a migration; left out unless it can be the name of one.
    migration: str | None = None
    #: The run that it was about, where that is in the ledger.
    run: int | None = None

    def event(self, via: str | None) -> Event:
        """Return it as an audit event."""
        detail: dict[str, Json] = {"code": self.error.code}
        if name := _proper("migration", self.migration):
            detail["migration"] = name
        if via is not None:
            detail["via"] = via
        target = _proper("target", self.target)
        return Event("command_refused", actor=self.actor, outcome="refused", run=self.run, target=target, detail=detail)


def refuse(
    engine: Engine,
    *,
    actor: str,
    error: StepbackError,
    target: str | None = None,
    migration: str | None = None,
    run: int | None = None,
    via: str | None = None,
) -> None:
    """Write one refusal down; see `refuse_all`."""
    refuse_all(engine, [Refusal(error, actor, target, migration, run)], via=via)


def refuse_all(engine: Engine, refusals: Sequence[Refusal], *, via: str | None) -> None:
    """Write refusals into the audit log, and count them.

    A ledger that does not answer is noted on the errors and logged: it does not hide why something was refused.

    Args:
        engine: The ledger.
        refusals: Why, each.
        via: The door.
    """
    for refusal in refusals:
        REFUSED.labels(refusal.error.code, via or "command_line").inc()
    append_anyway(engine, [(refusal.event(via), refusal.error) for refusal in refusals])


def append_anyway(engine: Engine, events: Sequence[tuple[Event, StepbackError]]) -> None:
    """Append events about errors; where that fails too, the first error stays the one that is told."""
    if not events:
        return
    try:
        with transaction(engine) as conn:
            for event, _ in events:
                audit.append(conn, event)
    except LedgerUnreachable:
        for event, error in events:
            error.add_note(f"{event.type} is not in the audit log: the ledger does not answer")
            log.warning("audit_event_lost", type=event.type, code=error.code)


def _proper(what: str, name: str | None) -> str | None:
    try:
        return None if name is None else check_name(what, name)
    except BadName:
        return None
