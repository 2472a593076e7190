"""The audit log: facts in the past tense, each bound by its hash to the one before it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import DBAPIError

from ledger.canonical import canonical, sha256
from ledger.database import after_commit
from ledger.errors import LedgerUnreachable
from ledger.model import AuditEvent, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = structlog.get_logger("ledger.audit")

#: prev_hash of the first event.
GENESIS: Final = "0" * 64

#: Events fetched at a time when many are read.
_BATCH: Final = 1000

_COLUMNS: Final = (
    "seq, event_id, type, occurred_at, actor, run, attempt, target, phase, step, outcome,"
    " CAST(detail AS text) AS detail, prev_hash, hash"
)

_APPEND = text(
    f"""
    SELECT {_COLUMNS}
    FROM ledger.append_own_event(
        :type, :actor, :outcome, CAST(:run AS bigint), CAST(:attempt AS integer), CAST(:target AS text),
        CAST(:phase AS text), CAST(:step AS text), CAST(:detail AS jsonb))
    """
)

_READ = text(
    f"""
    SELECT {_COLUMNS}
    FROM ledger.audit_events
    WHERE seq > :after AND (CAST(:run AS bigint) IS NULL OR run = :run)
    ORDER BY seq
    LIMIT :limit
    """
)

#: Before every number: what stands before the first event must be seen as well.
_BEFORE_ALL: Final = -(2**63)

# The head is read by the same statement, so from the same snapshot: appends may go on meanwhile.
_WALK = text(
    f"""
    SELECT {_COLUMNS},
           (SELECT seq FROM ledger.audit_head) AS head_seq, (SELECT hash FROM ledger.audit_head) AS head_hash
    FROM ledger.audit_events
    WHERE seq > :after
    ORDER BY seq
    """
)

_EMPTY = text(
    """
    SELECT head.seq AS head_seq, head.hash AS head_hash,
           EXISTS (SELECT FROM ledger.audit_events WHERE seq > :after) AS has_events
    FROM (VALUES (1)) AS one (row) LEFT JOIN ledger.audit_head AS head ON true
    """
)


_observers: list[Callable[[AuditEvent], None]] = []
_failure_observers: list[Callable[[], None]] = []


@dataclass(frozen=True)
class Link:
    """A place in the chain: everything up to it."""

    seq: int
    hash: str


#: Before the first event.
START: Final = Link(0, GENESIS)


@dataclass(frozen=True)
class Verification:
    """What walking the chain found."""

    ok: bool
    #: How many events were found in order.
    events: int
    #: Where the chain is broken: the first number that is missing, changed, or not its own; None if it holds.
    first_bad_seq: int | None = None
    reason: str | None = None
    #: Where it can be walked on from; None where it is broken.
    until: Link | None = field(default=None, compare=False)


def append(conn: Connection, event: Event) -> AuditEvent:
    """Append a fact, in the transaction at hand; until it ends nobody else can append.

    The same fact becomes a log line when the transaction is committed.

    Args:
        conn: A connection in a transaction. Do slow things before, not after.
        event: What happened.

    Returns:
        The event as stored, with number, time and hashes.

    Raises:
        TypeError: The detail holds what canonical JSON does not, such as a float.
        ValueError: The detail holds a NUL character.
    """
    parameters = {**asdict(event), "detail": canonical(event.detail)}
    try:
        appended = _event(conn.execute(_APPEND, parameters).one())
    except DBAPIError:
        for observer in _failure_observers:
            observer()
        raise
    after_commit(conn, partial(_tell, appended))
    return appended


def announce(conn: Connection, stored: dict[str, Any]) -> None:
    """Tell of an event that a function of the ledger has appended, once the transaction at hand is committed.

    Args:
        conn: The connection in whose transaction it was appended.
        stored: The row of audit_events as JSON.
    """
    event_id = UUID(stored["event_id"])
    after_commit(conn, partial(_tell, AuditEvent(**{**stored, "event_id": event_id})))


def try_append(engine: Engine) -> str | None:
    """Append an event and take it back; return what kept it from being appended, if anything did.

    Raises:
        LedgerUnreachable: There is nobody to ask.
    """
    event = Event("audit_tried", actor="monitor", outcome="ok")
    try:
        with engine.connect() as conn:
            conn.execute(_APPEND, {**asdict(event), "detail": "{}"})
            conn.rollback()
    except DBAPIError as error:
        sqlstate = getattr(error.orig, "sqlstate", None)
        if sqlstate is None or error.connection_invalidated:
            raise LedgerUnreachable("the ledger does not answer; check that its server runs") from error
        return f"the server refused it ({sqlstate})"
    return None


def observe(observer: Callable[[AuditEvent], None]) -> None:
    """Have every event of this process shown to an observer once it is committed; it must not raise."""
    _observers.append(observer)


def observe_failures(observer: Callable[[], None]) -> None:
    """Have an observer called for every event that the server did not take; it must not raise."""
    _failure_observers.append(observer)


def _tell(appended: AuditEvent) -> None:
    fields = {name: value for name, value in vars(appended).items() if name != "type"}
    log.info(appended.type, **{**fields, "event_id": str(appended.event_id)})
    for observer in _observers:
        observer(appended)


def read(conn: Connection, run: int | None = None, after: int = 0, limit: int | None = None) -> Iterator[AuditEvent]:
    """Give the events in order, fetched batch by batch.

    Args:
        conn: A connection to the ledger.
        run: Only the events of this run.
        after: Only events with a higher number.
        limit: At most so many; None: all.
    """
    while limit is None or limit > 0:
        size = _BATCH if limit is None else min(limit, _BATCH)
        rows = conn.execute(_READ, {"run": run, "after": after, "limit": size}).all()
        yield from map(_event, rows)
        if len(rows) < size:
            return
        after = rows[-1].seq
        limit = None if limit is None else limit - size


def _event(row: Row[Any]) -> AuditEvent:
    values = row._asdict()
    return AuditEvent(**{**values, "detail": json.loads(values["detail"])})


def verify(conn: Connection, after: Link = START) -> Verification:
    """Walk the chain and compute every hash anew, in Python, from what is stored.

    It finds what was changed, taken out, put in or moved. It cannot find a chain that was rewritten from some
    event to the end together with its head: compare the last hash with a copy kept elsewhere, such as a log line.

    Args:
        conn: A connection to the ledger.
        after: From where on; what stands before was walked another time.
    """
    expected, prev_hash, row = after.seq + 1, after.hash, None
    from_ = {"after": after.seq or _BEFORE_ALL}
    with conn.execute(_WALK, from_, execution_options={"yield_per": _BATCH}) as rows:
        for row in rows:
            if broken := _broken(row, expected, prev_hash):
                return broken
            expected, prev_hash = expected + 1, row.hash
    if row is None:
        row = conn.execute(_EMPTY, from_).one()
        if row.has_events:
            return verify(conn, after)
    if (row.head_seq, row.head_hash) != (expected - 1, prev_hash):
        return _broken_end(row.head_seq, expected - 1)
    return Verification(ok=True, events=expected - 1, until=Link(expected - 1, prev_hash))


def _broken(row: Row[Any], expected: int, prev_hash: str) -> Verification | None:
    events = expected - 1
    if row.seq > expected:
        return _bad(events, expected, f"event {expected} is missing")
    if row.seq < expected:
        return _bad(events, row.seq, f"event {row.seq} stands before the first")
    if row.prev_hash != prev_hash:
        return _bad(events, expected, f"event {expected} does not follow the one before it")
    if row.hash != _recomputed(row):
        return _bad(events, expected, f"event {expected} is not as it was written")
    return None


def _bad(events: int, first_bad_seq: int, reason: str) -> Verification:
    return Verification(ok=False, events=events, first_bad_seq=first_bad_seq, reason=reason)


def _recomputed(row: Row[Any]) -> str | None:
    """Return the hash that the stored values have; None for values that were never hashed, such as a fraction."""
    values = {key: value for key, value in row._asdict().items() if key not in {"hash", "head_seq", "head_hash"}}
    try:
        values["detail"] = json.loads(values["detail"])
        return sha256(canonical({**values, "event_id": str(values["event_id"])}))
    except (TypeError, ValueError, RecursionError):
        return None


def _broken_end(head_seq: int | None, last: int) -> Verification:
    if head_seq is None:
        return _bad(last, last + 1, "the head of the chain is missing")
    if head_seq > last:
        return _bad(last, last + 1, f"events {last + 1} to {head_seq} are missing at the end")
    if head_seq < last:
        return _bad(last, head_seq + 1, f"the head of the chain is {head_seq}, but events go on")
    return _bad(last, last, f"event {last} is not the one that the head of the chain names")
