"""Commands: written once, however often and by however many they are sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from ledger import audit, runs
from ledger.commands import Entry, Recorded, record
from ledger.database import transaction
from ledger.errors import LimitReached, Replayed
from ledger.model import Command, Kind, State
from tests import signing

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tests.integration.ledger.conftest import MakeCommand


def _record(engine: Engine, command: Command, envelope: str = "e", key: str | None = None) -> tuple[int, bool]:
    recorded = signing.record(engine, command, envelope=envelope, key=key)
    return recorded.run, recorded.new


def test_a_new_command_is_a_queued_run(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """With everything that was asked, and no attempt yet."""
    command = make_command()

    number, new = _record(ledger_engine, command)

    with transaction(ledger_engine) as conn:
        run = runs.find(conn, number)
    assert new
    assert (run.state, run.attempt, run.phase, run.started_at, run.finished_at) == (State.QUEUED, 0, None, None, None)
    assert (run.command_id, run.kind, run.target, run.migration) == (
        command.command_id,
        Kind.ROLLBACK,
        "shop",
        "add_prices",
    )
    assert (run.requested_by, run.reason, run.plan_sha256) == ("operator", "test", "a" * 64)


def test_the_same_command_again_is_the_same_run(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """The producer may send it as often as it likes."""
    command = make_command()
    number, _ = _record(ledger_engine, command)

    assert _record(ledger_engine, command) == (number, False)


def test_another_envelope_under_a_known_id_is_a_replay(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """Even if it asks for the same."""
    command = make_command()
    _record(ledger_engine, command)

    with pytest.raises(Replayed):
        _record(ledger_engine, command, envelope="other")


def test_an_idempotency_key_makes_two_commands_one(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """A requester that lost the answer asks again, with a new id."""
    number, _ = _record(ledger_engine, make_command(), envelope="one", key="monday")

    assert _record(ledger_engine, make_command(), envelope="two", key="monday") == (number, False)


def test_an_idempotency_key_does_not_cover_another_request(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """Nobody takes the answer to one question for that to another."""
    _record(ledger_engine, make_command(), envelope="one", key="monday")

    with pytest.raises(Replayed):
        _record(ledger_engine, make_command(target="bank"), envelope="two", key="monday")


def test_an_idempotency_key_is_its_requester_s_own(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """Two requesters may have hit on the same word."""
    first, _ = _record(ledger_engine, make_command(), envelope="one", key="monday")

    second, new = _record(ledger_engine, replace(make_command(), requested_by="robot"), envelope="two", key="monday")

    assert new
    assert second != first


def test_the_id_says_more_than_the_key(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """A command that is known is its own run, whatever other run its key leads to."""
    other, _ = _record(ledger_engine, make_command(), envelope="one", key="monday")
    command = make_command()
    number, _ = _record(ledger_engine, command, envelope="two")

    assert _record(ledger_engine, command, envelope="two", key="monday") == (number, False)
    assert number != other


def test_eight_that_send_it_at_once_get_one_run(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """One of them made it."""
    command = make_command()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _record(ledger_engine, command), range(8)))

    assert len({number for number, _ in answers}) == 1
    assert sum(new for _, new in answers) == 1


def test_run_numbers_have_no_gap_for_a_replay(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """Sending it ten times uses up one number."""
    command = make_command()
    number, _ = _record(ledger_engine, command)
    for _ in range(9):
        _record(ledger_engine, command)

    assert _record(ledger_engine, make_command(), envelope="next") == (number + 1, True)


def test_a_recovery_names_a_run_that_exists(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """The database holds it, whoever writes."""
    number, _ = _record(ledger_engine, make_command())

    _, new = _record(ledger_engine, make_command(kind=Kind.RECOVER, subject_run=number), envelope="two")

    assert new
    with pytest.raises(IntegrityError):
        _record(ledger_engine, make_command(kind=Kind.RECOVER, subject_run=number + 100), envelope="three")
    with pytest.raises(IntegrityError):
        _record(ledger_engine, make_command(kind=Kind.RECOVER), envelope="four")


# -- many at once -----------------------------------------------------------


def test_one_batch_knows_what_stands_earlier_in_it(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """By id and by key, as if each had come by itself."""
    one, other = make_command(), make_command()
    entries = [
        Entry(one, "one", "monday"),
        Entry(one, "one"),
        Entry(one, "changed"),
        Entry(other, "two", "monday"),
        Entry(make_command(target="bank"), "three", "monday"),
        Entry(other, "two"),
    ]

    with transaction(ledger_engine) as conn:
        first, again, changed, by_key, other_wish, second = record(conn, entries)

    assert isinstance(first, Recorded)
    assert first.new
    assert again == by_key == Recorded(first.run, new=False)
    assert isinstance(changed, Replayed)
    assert isinstance(other_wish, Replayed)
    assert second == Recorded(first.run + 1, new=True)


def test_the_hourly_limit_counts_within_a_batch(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """And what was there before, for each requester and target apart; what is known, or refused, counts for nothing."""
    before = make_command()
    _record(ledger_engine, before, envelope="before")
    commands = [make_command() for _ in range(4)]
    entries = [
        Entry(before, "before", limit=3),
        *(Entry(command, str(command.command_id), limit=3) for command in commands),
        Entry(make_command(target="bank"), "elsewhere", limit=1),
        Entry(replace(make_command(), requested_by="robot"), "another", limit=1),
        Entry(make_command(), "unlimited"),
        Entry(make_command(), "one more", limit=5),
        Entry(make_command(), "too many", limit=5),
    ]

    with transaction(ledger_engine) as conn:
        outcomes = record(conn, entries)

    accepted = [isinstance(outcome, Recorded) for outcome in outcomes]
    assert accepted == [True, True, True, False, False, True, True, True, True, False]
    refused = [outcome for outcome in outcomes if not isinstance(outcome, Recorded)]
    assert {type(outcome) for outcome in refused} == {LimitReached}


def test_a_batch_is_a_chain_of_events_in_its_order(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """Each new command has one, numbers and hashes go on, and the runs are numbered alike."""
    with transaction(ledger_engine) as conn:
        outcomes = record(conn, [Entry(make_command(), str(number), detail={"n": number}) for number in range(64)])

    with transaction(ledger_engine) as conn:
        events = list(audit.read(conn))
        assert audit.verify(conn).ok
    runs_of = [outcome.run for outcome in outcomes if isinstance(outcome, Recorded)]
    assert [event.run for event in events] == runs_of == sorted(runs_of)
    assert [event.detail for event in events] == [{"n": number} for number in range(64)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.commands SET reason = 'other'",
        "DELETE FROM ledger.commands",
        "TRUNCATE ledger.commands CASCADE",
        "UPDATE ledger.runs SET command_id = gen_random_uuid()",
        "DELETE FROM ledger.runs",
    ],
)
def test_the_processes_cannot_change_a_command(ledger_engine: Engine, statement: str) -> None:
    """What was asked stays as it was asked."""
    with pytest.raises(ProgrammingError) as refusal, transaction(ledger_engine) as conn:
        conn.execute(text(statement))

    assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege)


def test_a_command_that_is_taken_back_leaves_nothing(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """Command and run are written together or not at all."""
    command = make_command(command_id=UUID(int=7))
    with ledger_engine.connect() as conn:
        record(conn, [Entry(command, "e")])
        conn.rollback()

    assert runs.claim(ledger_engine, UUID(int=7), worker="w", lease_seconds=1) is None
    assert runs.claim(ledger_engine, uuid4(), worker="w", lease_seconds=1) is None
