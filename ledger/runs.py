"""Runs: what an attempt writes down, step by step, and how it ends. The face of all that is known of runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from ledger.canonical import canonical, sha256
from ledger.claims import Claim, append_as, claim, fence, holding, release, renew, unfinished, write_as
from ledger.database import transaction
from ledger.history import find, find_by_command, list_runs
from ledger.model import TERMINAL, Json, Phase, Preserved, RunError, State, StepRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

__all__ = [
    "Apply",
    "Claim",
    "applies",
    "claim",
    "enter",
    "find",
    "find_by_command",
    "list_runs",
    "note_apply",
    "pin",
    "record_event",
    "record_step",
    "release",
    "renew",
    "settle",
    "unfinished",
]

_ENTER = text(
    """
    UPDATE ledger.runs SET phase = :phase, progressed_at = clock_timestamp()
    WHERE run = :run AND attempt = :attempt AND state = 'in_progress'
    """
)

_PIN = text(
    """
    UPDATE ledger.runs SET plan_sha256 = :plan_sha256, impact_sha256 = :impact_sha256,
                           progressed_at = clock_timestamp()
    WHERE run = :run AND attempt = :attempt AND state = 'in_progress'
    """
)

_STEP = text(
    """
    INSERT INTO ledger.steps (run, ordinal, attempt, phase, step, outcome, seconds, section, detail, ended_at)
    SELECT :run, coalesce(max(ordinal), 0) + 1, :attempt, :phase, :step, :outcome, :seconds, :section, :detail,
           coalesce(:ended_at, clock_timestamp())
    FROM ledger.steps WHERE run = :run
    """
)

_APPLY = text(
    """
    INSERT INTO ledger.applies (run, attempt, ordinal, system_identifier, database_oid, xid)
    SELECT :run, :attempt, coalesce(max(ordinal), 0) + 1, :system_identifier, :database_oid, :xid
    FROM ledger.applies WHERE run = :run AND attempt = :attempt
    """
)

_APPLIES = text(
    """
    SELECT run, attempt, ordinal, system_identifier, database_oid, xid, begun_at
    FROM ledger.applies WHERE run = :run
    ORDER BY attempt, ordinal
    """
)

_SETTLE = text(
    """
    UPDATE ledger.runs
    SET state = :state, finished_at = clock_timestamp(), error_code = :error_code, error_message = :error_message,
        blocked_seconds = :blocked_seconds, result = CAST(:result AS jsonb)
    WHERE run = :run AND attempt = :attempt AND state = 'in_progress'
    RETURNING phase, plan_sha256, impact_sha256
    """
)

_PRESERVE = text(
    """
    INSERT INTO ledger.preserved (run, ordinal, kind, name, how, rows, bytes, quarantine)
    VALUES (:run, :ordinal, :kind, :name, :how, :rows, :bytes, :quarantine)
    """
)


@dataclass(frozen=True)
class Apply:
    """One transaction of apply, as noted before its first lock."""

    run: int
    attempt: int
    #: Which try of the attempt, from 1.
    ordinal: int
    system_identifier: str
    database_oid: int
    xid: str
    begun_at: datetime


def enter(engine: Engine, claim: Claim, phase: Phase) -> None:
    """Note that the run enters a phase.

    Raises:
        LeaseLost: Another attempt has the run, or it is finished.
    """
    with transaction(engine) as conn:
        write_as(conn, _ENTER, claim, {"phase": phase})


def pin(engine: Engine, claim: Claim, *, plan_sha256: str | None, impact_sha256: str | None) -> None:
    """Note which plan the run carries out, and what preflight found it to reach.

    Raises:
        LeaseLost: Another attempt has the run, or it is finished.
    """
    with transaction(engine) as conn:
        write_as(conn, _PIN, claim, {"plan_sha256": plan_sha256, "impact_sha256": impact_sha256})


def record_step(engine: Engine, claim: Claim, record: StepRecord, detail: Mapping[str, Json]) -> None:
    """Write down a step and its audit event `step_<outcome>`.

    Args:
        engine: The ledger.
        claim: Whose step.
        record: What was done and how it ended.
        detail: More, for the event; its duration in milliseconds is added.

    Raises:
        LeaseLost: Another attempt has the run, or it is finished; nothing was written.
    """
    with holding(engine, claim) as conn:
        conn.execute(_STEP, {**fence(claim), **asdict(record)})
        timed: dict[str, Json] = {"milliseconds": round(record.seconds * 1000), **detail}
        timed.update({key: told for key in ("section", "detail") if (told := getattr(record, key)) is not None})
        append_as(
            conn, claim, f"step_{record.outcome}", record.outcome, phase=record.phase, step=record.step, detail=timed
        )


def record_event(  # noqa: PLR0917 - the words of an event, in its own order
    engine: Engine,
    claim: Claim,
    type: str,  # noqa: A002 - the word of the audit event
    outcome: str,
    phase: Phase | None = None,
    step: str | None = None,
    detail: Mapping[str, Json] | None = None,
) -> None:
    """Append an audit event about the run.

    Raises:
        LeaseLost: Another attempt has the run, or it is finished; nothing was written.
    """
    with holding(engine, claim) as conn:
        append_as(conn, claim, type, outcome, phase=phase, step=step, detail=detail)


def note_apply(engine: Engine, claim: Claim, *, system_identifier: str, database_oid: int, xid: str) -> None:
    """Note where an apply is about to happen, so that an unclear COMMIT can be looked up.

    Args:
        engine: The ledger.
        claim: Whose apply.
        system_identifier: Of the target's cluster.
        database_oid: Of the target's database.
        xid: `pg_current_xact_id()` of the transaction.

    Raises:
        LeaseLost: Another attempt has the run, or it is finished; nothing was written.
    """
    where = {"system_identifier": system_identifier, "database_oid": database_oid, "xid": xid}
    with holding(engine, claim) as conn:
        conn.execute(_APPLY, {**fence(claim), **where})


def applies(engine: Engine, run: int) -> list[Apply]:
    """Return every apply that a run noted, over all attempts, in order."""
    with transaction(engine) as conn:
        return [Apply(**row._asdict()) for row in conn.execute(_APPLIES, {"run": run})]


def settle(
    engine: Engine,
    claim: Claim,
    *,
    state: State,
    error: RunError | None,
    blocked_seconds: float | None,
    preserved: Sequence[Preserved],
    detail: Mapping[str, Json] | None = None,
    result: Mapping[str, Json] | None = None,
    facts: Sequence[tuple[str, Mapping[str, Json]]] = (),
) -> None:
    """Write how the run ended, once and for all, and its audit event `run_<state>`.

    Args:
        engine: The ledger.
        claim: Whose end.
        state: One that nothing leaves.
        error: Why it ended so; None: as asked.
        blocked_seconds: How long apply held its first lock; None: it held none.
        preserved: What the run keeps in the target.
        detail: More, for the event.
        result: What it found; the event binds it to the chain by its hash.
        facts: Audit events that come with it, all or none: types and details.

    Raises:
        LeaseLost: Another attempt has the run, or it is finished; nothing was written.
    """
    if state not in TERMINAL:
        raise ValueError(f"a run does not end {state}")
    error = error and RunError(error.code, _storable(error.message))
    values = {
        "state": state,
        "error_code": error and error.code,
        "error_message": error and error.message,
        "blocked_seconds": blocked_seconds,
        "result": None if result is None else canonical(dict(result)),
    }
    objects: list[dict[str, Json]] = [{**asdict(item)} for item in preserved]
    with transaction(engine) as conn:
        settled = write_as(conn, _SETTLE, claim, values).one()
        if objects:
            numbered = [{"run": claim.run, "ordinal": place, **item} for place, item in enumerate(objects, start=1)]
            conn.execute(_PRESERVE, numbered)
        for fact, told in facts:
            append_as(conn, claim, fact, "ok", detail=told)
        summary: dict[str, Json] = {
            "error": None if error is None else {"code": error.code, "message": error.message},
            "blocked_milliseconds": None if blocked_seconds is None else round(blocked_seconds * 1000),
            "plan_sha256": settled.plan_sha256,
            "impact_sha256": settled.impact_sha256,
            "preserved": len(objects),
            # The list itself can be long; its hash binds it to the chain.
            "preserved_sha256": sha256(canonical([*objects])),
            **({} if result is None else {"result_sha256": sha256(canonical(dict(result)))}),
            **(detail or {}),
        }
        phase = None if settled.phase is None else Phase(settled.phase)
        append_as(conn, claim, f"run_{state}", state, phase=phase, detail=summary)


def _storable(message: str) -> str:
    """Return a message that any database keeps: a run must not be kept from ending by a NUL in what went wrong."""
    return message.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
