"""Incidents: bad ends that somebody has to look at, until they are made good or taken note of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from ledger import audit, runs
from ledger.database import transaction
from ledger.errors import NothingToAcknowledge, UnknownRun
from ledger.incidents import acknowledge
from ledger.model import Kind, State
from ledger.watching import look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from ledger.model import Json
    from tests.integration.ledger.conftest import End, Queue, Take

_HOLDS: dict[str, Json] = {"ok": True, "checks": []}
_DOES_NOT: dict[str, Json] = {"ok": False, "checks": []}


def _open(engine: Engine) -> list[tuple[int, str]]:
    with transaction(engine) as conn:
        return [(found.run, found.incident) for found in look(conn).incidents]


def _resolved_by(superuser: psycopg.Connection) -> list[tuple[int, str]]:
    asked = "SELECT run, resolved_by FROM ledger.incidents WHERE resolved_at IS NOT NULL ORDER BY run"
    return superuser.execute(asked).fetchall()


@pytest.mark.parametrize("state", [State.FAILED, State.NEEDS_OPERATOR])
def test_a_bad_end_opens_an_incident(ledger_engine: Engine, end: End, state: State) -> None:
    """Of its own word, with all that a page needs to name it."""
    run = end(state)

    with transaction(ledger_engine) as conn:
        (found,) = look(conn).incidents
    assert (found.run, found.incident, found.kind) == (run, state.value, Kind.ROLLBACK)
    assert (found.target, found.migration, found.requested_by) == ("shop", "add_prices", "operator")
    assert (found.error_code, found.error_message) == ("gate_failed", "a check did not hold")


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        (Kind.ROLLBACK, {"validation": _DOES_NOT}),
        (Kind.RECOVER, {"validation": _DOES_NOT}),
        (Kind.VALIDATE, _DOES_NOT),
    ],
)
def test_checks_that_do_not_hold_open_an_incident(
    ledger_engine: Engine, end: End, kind: Kind, result: Mapping[str, Json]
) -> None:
    """Whether they are all that was asked for, or what a run ends with."""
    subject = end(State.COMPLETED) if kind is Kind.RECOVER else None

    run = end(State.COMPLETED, kind=kind, subject_run=subject, result=result)

    assert _open(ledger_engine) == [(run, "validation_failed")]


@pytest.mark.parametrize("state", [State.REFUSED, State.CANCELLED, State.COMPLETED])
def test_other_ends_open_none(ledger_engine: Engine, end: End, state: State) -> None:
    """A refusal is an answer, and whoever cancels knows of it."""
    end(state, result={"validation": _HOLDS})
    end(state, kind=Kind.VALIDATE, result=_HOLDS)

    assert _open(ledger_engine) == []


@pytest.mark.parametrize("state", [State.FAILED, State.NEEDS_OPERATOR])
def test_a_canary_opens_none(ledger_engine: Engine, end: End, state: State) -> None:
    """Nobody waits for it; that the last good one is long ago tells."""
    end(state, kind=Kind.CANARY, target="canary", migration=None)

    assert _open(ledger_engine) == []


def test_the_same_thing_succeeding_later_makes_it_good(
    ledger_engine: Engine, end: End, superuser: psycopg.Connection
) -> None:
    """All of its earlier bad ends, and the ledger says which run did."""
    bad = [end(State.FAILED), end(State.NEEDS_OPERATOR)]

    good = end(State.COMPLETED)

    assert _open(ledger_engine) == []
    assert _resolved_by(superuser) == [(run, f"run {good}") for run in bad]


@pytest.mark.parametrize("other", [{"target": "depot"}, {"migration": "add_costs"}, {"kind": Kind.VALIDATE}])
def test_another_thing_succeeding_does_not(ledger_engine: Engine, end: End, other: Mapping[str, object]) -> None:
    """Another target, another migration, another kind: each is a matter of its own."""
    bad = end(State.FAILED)

    end(State.COMPLETED, result={"validation": _HOLDS, "ok": True}, **other)  # type: ignore[arg-type]  # one of its keywords

    assert _open(ledger_engine) == [(bad, "failed")]


@pytest.mark.parametrize("state", [State.FAILED, State.REFUSED, State.CANCELLED])
def test_only_success_makes_it_good(ledger_engine: Engine, end: End, state: State) -> None:
    """To have tried again is not enough."""
    bad = end(State.FAILED)

    end(state)

    assert (bad, "failed") in _open(ledger_engine)


@pytest.mark.parametrize("kind", [Kind.RECOVER, Kind.PURGE])
def test_a_recovery_is_made_good_by_one_of_the_same_run(ledger_engine: Engine, end: End, kind: Kind) -> None:
    """Two runs of one migration keep two different things."""
    first, second = end(State.COMPLETED), end(State.COMPLETED)
    bad = end(State.FAILED, kind=kind, subject_run=first)

    end(State.COMPLETED, kind=kind, subject_run=second)
    still = _open(ledger_engine)
    end(State.COMPLETED, kind=kind, subject_run=first)

    assert (still, _open(ledger_engine)) == ([(bad, "failed")], [])


def test_an_earlier_run_that_ends_late_makes_nothing_good(ledger_engine: Engine, take: Take, end: End) -> None:
    """What was asked for before the bad end says nothing about it."""
    early = take()
    bad = end(State.FAILED)

    runs.settle(ledger_engine, early, state=State.COMPLETED, error=None, blocked_seconds=None, preserved=[])

    assert _open(ledger_engine) == [(bad, "failed")]


@pytest.mark.parametrize(
    ("migration", "kind", "result", "left"),
    [
        (None, Kind.VALIDATE, _HOLDS, 0),
        ("add_prices", Kind.VALIDATE, _HOLDS, 0),
        ("add_costs", Kind.VALIDATE, _HOLDS, 1),
        (None, Kind.VALIDATE, _DOES_NOT, 1),
        ("add_prices", Kind.ROLLBACK, {"validation": _HOLDS}, 0),
        ("add_prices", Kind.ROLLBACK, None, 1),
        ("add_costs", Kind.ROLLBACK, {"validation": _HOLDS}, 1),
    ],
)
def test_checks_that_hold_later_make_a_failed_validation_good(  # noqa: PLR0917 - a table
    ledger_engine: Engine, end: End, migration: str | None, kind: Kind, result: Mapping[str, Json] | None, left: int
) -> None:
    """Those of everything, or of the same migration; not those of another, none, or such as do not hold either."""
    bad = end(State.COMPLETED, result={"validation": _DOES_NOT})

    end(State.COMPLETED, kind=kind, migration=migration, result=result)

    assert _open(ledger_engine).count((bad, "validation_failed")) == left


def test_checks_of_one_migration_do_not_make_those_of_everything_good(ledger_engine: Engine, end: End) -> None:
    """What did not hold may have been elsewhere."""
    bad = end(State.COMPLETED, kind=Kind.VALIDATE, migration=None, result=_DOES_NOT)

    end(State.COMPLETED, kind=Kind.VALIDATE, result=_HOLDS)

    assert _open(ledger_engine) == [(bad, "validation_failed")]


def test_a_run_is_acknowledged(ledger_engine: Engine, end: End, superuser: psycopg.Connection) -> None:
    """Its incident is resolved by whoever did, other runs' are not, and the audit log has the reason."""
    bad, other = end(State.FAILED), end(State.FAILED, migration="add_costs")

    run = acknowledge(ledger_engine, bad, actor="local:ada", reason="known since Monday")

    assert (run.run, run.state) == (bad, State.FAILED)
    assert _open(ledger_engine) == [(other, "failed")]
    assert _resolved_by(superuser) == [(bad, "local:ada")]
    with transaction(ledger_engine) as conn:
        *_, event = audit.read(conn)
    assert (event.type, event.actor, event.run, event.target) == ("run_acknowledged", "local:ada", bad, "shop")
    assert event.detail == {"state": "failed", "incidents": ["failed"], "reason": "known since Monday"}


def test_a_run_that_is_under_way_can_be_acknowledged(ledger_engine: Engine, take: Take) -> None:
    """A stuck one is; the ledger says when."""
    claim = take()

    acknowledge(ledger_engine, claim.run, actor="local:ada", reason="I am on it")

    with transaction(ledger_engine) as conn:
        (found,) = look(conn).runs
    assert found.progressed_at is not None
    assert found.acknowledged_at is not None
    assert found.acknowledged_at > found.progressed_at


@pytest.mark.parametrize("state", [State.COMPLETED, State.REFUSED, State.CANCELLED])
def test_there_may_be_nothing_to_acknowledge(ledger_engine: Engine, end: End, state: State) -> None:
    """A run that has ended well enough pages nobody; the refusal leaves no trace."""
    run = end(state)

    with pytest.raises(NothingToAcknowledge, match=f"run {run} is {state}"):
        acknowledge(ledger_engine, run, actor="local:ada", reason="-")

    with transaction(ledger_engine) as conn:
        assert "run_acknowledged" not in {event.type for event in audit.read(conn)}


def test_nobody_acknowledges_twice(ledger_engine: Engine, end: End) -> None:
    """The second hears that there is nothing left."""
    run = end(State.FAILED)
    acknowledge(ledger_engine, run, actor="local:ada", reason="-")

    with pytest.raises(NothingToAcknowledge):
        acknowledge(ledger_engine, run, actor="local:bob", reason="-")


def test_what_does_not_exist_cannot_be_acknowledged(ledger_engine: Engine) -> None:
    """And is told to be unknown."""
    with pytest.raises(UnknownRun):
        acknowledge(ledger_engine, 7, actor="local:ada", reason="-")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO ledger.incidents (run, incident) VALUES (1, 'failed')",
        "DELETE FROM ledger.incidents",
        "TRUNCATE ledger.incidents",
        "UPDATE ledger.incidents SET incident = 'needs_operator'",
        "UPDATE ledger.incidents SET opened_at = now()",
        "UPDATE ledger.tally SET runs = 0",
        "INSERT INTO ledger.tally VALUES ('rollback', 'failed', 0)",
        "DELETE FROM ledger.tally",
        "UPDATE ledger.acknowledgements SET reason = ''",
        "DELETE FROM ledger.acknowledgements",
        "SELECT ledger.note_end()",
        "SELECT ledger.count_run()",
        "ALTER TABLE ledger.runs DISABLE TRIGGER runs_note_end",
    ],
)
def test_what_no_process_may_do(ledger_url: str, statement: str) -> None:
    """Bad ends are noted and counted by the ledger itself: the processes' role can neither make nor unmake them."""
    with psycopg.connect(ledger_url) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(statement)


def test_an_incident_survives_replica_role(ledger_engine: Engine, queue: Queue, superuser: psycopg.Connection) -> None:
    """Ordinary triggers sleep there; the one that notes bad ends does not."""
    command = queue()
    superuser.execute("SET session_replication_role = replica")

    superuser.execute(
        "UPDATE ledger.runs SET state = 'in_progress', attempt = 1, started_at = now(), lease_until = now()"
        " WHERE command_id = %s",
        [command.command_id],
    )
    superuser.execute(
        "UPDATE ledger.runs SET state = 'failed', finished_at = now() WHERE command_id = %s", [command.command_id]
    )

    assert [incident for _, incident in _open(ledger_engine)] == ["failed"]
