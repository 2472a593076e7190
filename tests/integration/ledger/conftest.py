"""What the ledger's tests share: a command as it comes through the door, a run of it, and the superuser's hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID, uuid4

import psycopg
import pytest

from ledger import runs
from ledger.model import Command, Json, Kind, State
from tests import signing
from tests.endings import begin, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from ledger.runs import Claim


class MakeCommand(Protocol):
    """Makes a command; nothing is written."""

    def __call__(  # noqa: D102 - the class says it
        self,
        *,
        command_id: UUID | None = None,
        kind: Kind = Kind.ROLLBACK,
        target: str = "shop",
        subject_run: int | None = None,
    ) -> Command: ...


class Queue(Protocol):
    """Writes a new command into the ledger and returns it."""

    def __call__(self, *, target: str = "shop") -> Command: ...  # noqa: D102 - the class says it


class Take(Protocol):
    """Claims a command, a new one unless it is given."""

    def __call__(self, command: Command | None = None, *, lease_seconds: float = 60) -> Claim: ...  # noqa: D102 - see above


class End(Protocol):
    """Takes a new command all the way to an end, and returns its run."""

    def __call__(  # noqa: D102 - the class says it
        self,
        state: State,
        *,
        kind: Kind = Kind.ROLLBACK,
        target: str = "shop",
        migration: str | None = "add_prices",
        subject_run: int | None = None,
        result: Mapping[str, Json] | None = None,
    ) -> int: ...


@pytest.fixture
def make_command() -> MakeCommand:
    """Give a maker of commands that differ in their id only, unless asked."""

    def make(
        *,
        command_id: UUID | None = None,
        kind: Kind = Kind.ROLLBACK,
        target: str = "shop",
        subject_run: int | None = None,
    ) -> Command:
        return Command(
            command_id=command_id or uuid4(),
            kind=kind,
            target=target,
            migration="add_prices",
            subject_run=subject_run,
            plan_sha256="a" * 64,
            requested_by="operator",
            reason="test",
            not_after=datetime.now(UTC) + timedelta(hours=1),
        )

    return make


@pytest.fixture
def queue(ledger_engine: Engine, make_command: MakeCommand) -> Queue:
    """Give a function that puts a new command into the ledger."""

    def put(*, target: str = "shop") -> Command:
        command = make_command(target=target)
        signing.record(ledger_engine, command)
        return command

    return put


@pytest.fixture
def take(ledger_engine: Engine, queue: Queue) -> Take:
    """Give a function that claims a run."""

    def claim(command: Command | None = None, *, lease_seconds: float = 60) -> Claim:
        command = command or queue()
        claimed = runs.claim(ledger_engine, command.command_id, worker="w1", lease_seconds=lease_seconds)
        assert claimed is not None
        return claimed

    return claim


@pytest.fixture
def end(ledger_engine: Engine) -> End:
    """Give a function that has a command recorded, claimed and settled."""

    def all_the_way(
        state: State,
        *,
        kind: Kind = Kind.ROLLBACK,
        target: str = "shop",
        migration: str | None = "add_prices",
        subject_run: int | None = None,
        result: Mapping[str, Json] | None = None,
    ) -> int:
        claim = begin(ledger_engine, kind=kind, target=target, migration=migration, subject_run=subject_run)
        return settle(ledger_engine, claim, state, result)

    return all_the_way


@pytest.fixture
def superuser(ledger_admin_url: str) -> Iterator[psycopg.Connection]:
    """Give a connection that may do everything in the ledger's database."""
    with psycopg.connect(ledger_admin_url, autocommit=True) as conn:
        yield conn
