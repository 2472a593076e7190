"""What the tests of consent in the worker share: a run that waits, hands that approve and cancel, and hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from ledger import consent, runs
from ledger.database import transaction
from ledger.model import Command, Run
from ledger.settings import ProducerSettings, Settings
from ledger.statements import Approval, Cancellation
from producers.envelope import sign
from producers.keys import PrivateKey
from tests import signing
from tests.harness import TARGET, Engine
from worker.executor import Executor

#: Whose commands wait for an approval.
CAREFUL = "service:careful"
#: Whose commands do not.
BOLD = "service:bold"
APPROVER = "service:auditor"
#: Another name of the target.
TWIN = "twin"

_ASKS = frozenset({"rollback", "recover", "validate"})
PRODUCERS: Mapping[str, ProducerSettings] = {
    CAREFUL: ProducerSettings(kinds=_ASKS, targets=(TARGET, TWIN), approval=True),
    BOLD: ProducerSettings(kinds=_ASKS, targets=(TARGET, TWIN)),
    APPROVER: ProducerSettings(approves=(TARGET, TWIN)),
}
ROWS = "CREATE TABLE items (id int PRIMARY KEY, price numeric); INSERT INTO items VALUES (1, 2.5), (2, 3.5);"


@dataclass
class Hands:
    """A target with rows, a plan that drops their table, and everybody who has a say in it."""

    engine: Engine
    #: The superuser's URL of the ledger.
    admin_url: str
    producers: Mapping[str, ProducerSettings] = field(default_factory=lambda: PRODUCERS)

    def __post_init__(self) -> None:
        """Make the rows and the plan."""
        self.engine.owner(ROWS)
        self.engine.plan("DROP TABLE items;")

    @property
    def settings(self) -> Settings:
        """What the worker is configured with: nobody is trusted but the producers that are named."""
        settings = self.engine.settings
        # Two names of one database: what is asked for on one must not be carried out on the other.
        targets = {**settings.targets, TWIN: settings.targets[TARGET]}
        return settings.model_copy(update={"producers": dict(self.producers), "targets": targets})

    # -- commands ---------------------------------------------------------------

    def queue(self, asked_by: str = CAREFUL, **changes: Any) -> tuple[Command, int]:  # noqa: ANN401 - any field
        """Record a properly signed command, as the door does with these rights; return it and its run."""
        fields = {"requested_by": asked_by, "needs_approval": asked_by == CAREFUL, **changes}
        command = self.engine.command(**fields)
        return command, signing.record_signed(self.engine.ledger, command)

    def deliver(self, command: Command) -> bool:
        """Ring for a command; return whether there was anything to claim."""
        claim = runs.claim(self.engine.ledger, command.command_id, worker="w1", lease_seconds=60)
        if claim is None:
            return False
        executor = Executor(self.engine.ledger, self.settings, self.engine.installation, self.engine.at)
        executor.carry_out(claim)
        return True

    def carry_out(self, asked_by: str = CAREFUL, **changes: Any) -> Run:  # noqa: ANN401 - any field of a command
        """Record a command, deliver it once, and return what became of its run."""
        command, run = self.queue(asked_by, **changes)
        assert self.deliver(command)
        return self.find(run)

    def find(self, run: int | Run) -> Run:
        """Return a run as the ledger knows it."""
        return self.engine.find(run if isinstance(run, int) else run.run)

    def again(self, run: Run) -> Run:
        """Deliver a run's command once more."""
        assert self.deliver(self.engine.command(command_id=run.command_id))
        return self.find(run)

    # -- consent ----------------------------------------------------------------

    def key(self, issuer: str) -> PrivateKey:
        """Return an issuer's key, registered."""
        return signing.known_key(self.engine.ledger, issuer)

    def approval(self, of: Run, issuer: str = APPROVER, **changes: object) -> Approval:
        """Return a proper approval of what a run waits with, with some fields changed."""
        return Approval(
            **{
                **self._common(of, issuer),
                "plan_sha256": of.plan_sha256,
                "impact_sha256": of.impact_sha256 or "0" * 64,
                **changes,
            }
        )

    def cancellation(self, of: Run, issuer: str = APPROVER, **changes: object) -> Cancellation:
        """Return a proper cancellation of a run, with some fields changed."""
        return Cancellation(**{**self._common(of, issuer), **changes})

    def approve(self, run: Run, issuer: str = APPROVER, **changes: object) -> None:
        """Approve a run, as the door does."""
        approval = self.approval(run, issuer, **changes)
        with transaction(self.engine.ledger) as conn:
            consent.approve(conn, approval, sign(approval, self.key(issuer)))

    def cancel(self, run: int | Run, issuer: str = APPROVER) -> None:
        """Cancel a run, as the door does."""
        cancellation = self.cancellation(self.find(run), issuer)
        with transaction(self.engine.ledger) as conn:
            consent.cancel(conn, cancellation, sign(cancellation, self.key(issuer)))

    def _common(self, run: Run, issuer: str) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "command_id": run.command_id,
            "run": run.run,
            "target": run.target,
            "reason": "a test",
            "audience": str(self.engine.installation),
            "issuer": issuer,
            "issued_at": now,
            "not_after": now + timedelta(minutes=50),
        }

    # -- looking ----------------------------------------------------------------

    def sql(self, statement: str, *values: object) -> None:
        """Execute a statement in the ledger as its superuser, past every trigger."""
        with psycopg.connect(self.admin_url, autocommit=True) as conn:
            conn.execute("SET session_replication_role = replica")
            conn.execute(statement, values)

    def is_untouched(self) -> bool:
        """Return whether the application's table is as it was, and nothing of Stepback's says anything else."""
        rows = self.engine.query("SELECT id, price FROM items ORDER BY id")
        kept = self.engine.query("SELECT FROM emergency_backup.preserved_objects")
        marks = self.engine.query("SELECT FROM emergency_backup.marker")
        return [row["id"] for row in rows] == [1, 2] and (kept, marks) == ([], [])

    def told(self, run: Run) -> list[str]:
        """Return the types of a run's audit events, and see that the chain is sound."""
        return [event.type for event in self.engine.events(run)]


def once_at(point: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Return a hook that acts the first time that a run passes a point."""
    passed: list[str] = []

    def at(passing: str) -> None:
        if passing == point and point not in passed:
            passed.append(point)
            act()

    return at
