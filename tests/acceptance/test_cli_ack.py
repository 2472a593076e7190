"""ack: somebody has taken note, the audit log says so, and nobody is paged for it any more."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from ledger import audit
from ledger.database import transaction
from ledger.model import State
from ledger.watching import look
from tests.acceptance.commandline import CommandLine
from tests.endings import begin, settle

_WHY = ("--reason", "the disk was full, it is mended")


def _open(engine: Engine) -> int:
    with transaction(engine) as conn:
        return len(look(conn).incidents)


def test_a_failed_run_is_acknowledged(cli: CommandLine, ledger_engine: Engine) -> None:
    """Once: whoever comes second hears that there is nothing left to take note of."""
    run = settle(ledger_engine, begin(ledger_engine), State.FAILED)

    done = cli.run("ack", str(run), *_WHY)
    again = cli.run("ack", str(run), *_WHY, "--json")

    assert (done.code, done.err) == (0, "")
    assert f"run {run} is failed; you have taken note of it" in " ".join(done.out.split())
    assert (again.code, again.error) == (3, "nothing_to_acknowledge")
    assert _open(ledger_engine) == 0
    with transaction(ledger_engine) as conn:
        *_, event = audit.read(conn, run=run)
    assert (event.type, event.detail["reason"]) == ("run_acknowledged", _WHY[1])
    assert event.actor.startswith("local:")


def test_a_run_that_is_under_way_is_acknowledged(cli: CommandLine, ledger_engine: Engine) -> None:
    """It goes on as it was; with --json the run is printed."""
    run = begin(ledger_engine).run

    document = cli.succeed("ack", str(run), *_WHY)

    assert (document["run"], document["state"]) == (run, "in_progress")
    with transaction(ledger_engine) as conn:
        (seen,) = look(conn).runs
    assert seen.acknowledged_at is not None


def test_what_ended_well_needs_nobody(cli: CommandLine, ledger_engine: Engine) -> None:
    """It is refused, with the state that the run is in."""
    run = settle(ledger_engine, begin(ledger_engine), State.COMPLETED)

    done = cli.run("ack", str(run), *_WHY)

    assert done.code == 3
    assert f"run {run} is completed" in " ".join((done.out + done.err).split())


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("7", *_WHY), 3, "unknown_run"),
        (("1", "--reason", "two\nlines"), 3, "bad_name"),
        (("1", "--reason", "x" * 501), 3, "bad_name"),
    ],
)
def test_what_is_refused(
    cli: CommandLine, ledger_engine: Engine, arguments: tuple[str, ...], code: int, error: str
) -> None:
    """By its code; nothing is acknowledged."""
    settle(ledger_engine, begin(ledger_engine), State.FAILED)

    done = cli.run("ack", *arguments, "--json")

    assert (done.code, done.error) == (code, error)
    assert _open(ledger_engine) == 1


@pytest.mark.parametrize("arguments", [("1",), ("-1", *_WHY), ("one", *_WHY), _WHY])
def test_a_number_and_a_reason_are_needed(cli: CommandLine, arguments: tuple[str, ...]) -> None:
    """Without them it is a slip of the keyboard: exit code 2. A canary has no number that anybody could type."""
    assert cli.run("ack", *arguments).code == 2
