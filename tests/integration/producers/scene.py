"""The scene of the attacks: one installation, producers of different rights, and all that a door may change."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

import psycopg
from dramatiq.brokers.redis import RedisBroker
from pydantic import SecretStr
from sqlalchemy import Engine

from ledger import audit, consent, runs
from ledger.database import transaction
from ledger.errors import UnknownMigration
from ledger.installation import installation_id
from ledger.model import AuditEvent, Kind, Run
from ledger.request import Request
from ledger.settings import ProducerSettings, Settings, TargetSettings, TrustSettings
from ledger.statements import Access, Approval, Cancellation
from producers.consent import approve, cancel
from producers.envelope import sign
from producers.keys import PrivateKey
from producers.submit import Handed, OneWayIn, Submitted
from tests import signing

#: Stands in every text that an attacker hands in, and may be found nowhere afterwards.
MARK = "mark-7f3d9a"
PLAN = "5e" * 32
IMPACT = "1a" * 32

#: May ask for rollbacks and recoveries on its targets, three destructive ones an hour.
BILLING = "service:billing"
#: The same, but somebody else has to approve.
CAREFUL = "service:careful"
#: Speaks for those behind it; only `/ada` has rights.
RELAY = "outbox:shop"
RELAYED = "outbox:shop/ada"
#: May approve and cancel what others ask for on goodbuy_hq.
APPROVER = "service:auditor"
#: May do so on other targets only.
APPROVER_ELSEWHERE = "service:elsewhere"
#: Has a key, and no rights.
STRANGER = "service:stranger"
#: Runs the command line.
LOCAL = "local:ada"

_ASKS = frozenset({"rollback", "recover"})
_NEVER_REACHED = TargetSettings(url=SecretStr("postgresql://never-reached/"))
SETTINGS = Settings(
    targets=dict.fromkeys(("goodbuy_hq", "goodbuy_test", "ledgers", "shop"), _NEVER_REACHED),
    producers={
        BILLING: ProducerSettings(kinds=_ASKS, targets=("goodbuy_*",), destructive_per_hour=3),
        CAREFUL: ProducerSettings(kinds=_ASKS | {"purge"}, targets=("goodbuy_*",), approval=True, approves=("*",)),
        RELAYED: ProducerSettings(kinds=_ASKS, targets=("goodbuy_hq",), approval=True),
        f"{RELAY}/grace": ProducerSettings(approves=("*",)),
        APPROVER: ProducerSettings(approves=("goodbuy_hq",)),
        APPROVER_ELSEWHERE: ProducerSettings(approves=("goodbuy_t*", "goodbuy_h", "[!g]*", "GOODBUY_HQ")),
        # The command line is trusted here, but this one's hands are tied.
        LOCAL: ProducerSettings(kinds=_ASKS, targets=("goodbuy_test",), approval=True),
    },
    trust=TrustSettings(local_operator="all"),
)


def pin(_target: str, migration: str) -> str:
    """Find one plan, on any target."""
    if migration != "add_health_metrics_table":
        raise UnknownMigration("no such plan")
    return PLAN


@dataclass(frozen=True)
class Written:
    """Everything that a door may change: rows of the ledger, and bells."""

    rows: tuple[str, ...]
    bells: int
    events: tuple[AuditEvent, ...]


@dataclass(frozen=True)
class Scene:
    """One installation under attack."""

    engine: Engine
    broker: RedisBroker
    #: The superuser's URL of the ledger.
    admin_url: str
    settings: Settings = SETTINGS

    @cached_property
    def installation(self) -> UUID:
        """The id that has to stand in every statement."""
        return installation_id(self.engine)

    def key(self, issuer: str) -> PrivateKey:
        """Return an issuer's key, registered."""
        return signing.known_key(self.engine, issuer)

    # -- statements -------------------------------------------------------------

    def _common(self, issuer: str, valid: timedelta) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {"audience": str(self.installation), "issuer": issuer, "issued_at": now, "not_after": now + valid}

    def request(self, issuer: str = BILLING, **changes: object) -> Request:
        """Return a proper request, with some of its fields changed."""
        fields: dict[str, Any] = {
            "kind": Kind.ROLLBACK,
            "target": "goodbuy_hq",
            "migration": "add_health_metrics_table",
            "reason": MARK,
            "command_id": uuid4(),
            **self._common(issuer, timedelta(minutes=50)),
        }
        return Request(**{**fields, **changes})

    def approval(self, of: Run, issuer: str = APPROVER, **changes: object) -> Approval:
        """Return a proper approval of a run, with some of its fields changed."""
        fields: dict[str, Any] = {
            "command_id": of.command_id,
            "run": of.run,
            "target": of.target,
            "plan_sha256": of.plan_sha256,
            "impact_sha256": of.impact_sha256 or IMPACT,
            "reason": MARK,
            **self._common(issuer, timedelta(minutes=50)),
        }
        return Approval(**{**fields, **changes})

    def cancellation(self, of: Run, issuer: str = APPROVER, **changes: object) -> Cancellation:
        """Return a proper cancellation of a run, with some of its fields changed."""
        fields: dict[str, Any] = {
            "command_id": of.command_id,
            "run": of.run,
            "target": of.target,
            "reason": MARK,
            **self._common(issuer, timedelta(minutes=50)),
        }
        return Cancellation(**{**fields, **changes})

    def access(self, issuer: str = BILLING) -> Access:
        """Return a proper access token, not signed yet."""
        return Access(**self._common(issuer, timedelta(minutes=10)))

    def envelope(self, issuer: str = BILLING, **changes: object) -> str:
        """Return a request, with some of its fields changed, properly signed by its issuer's key."""
        return sign(self.request(issuer, **changes), self.key(issuer))

    # -- doors ------------------------------------------------------------------

    @property
    def door(self) -> OneWayIn:
        """The one way in."""
        return OneWayIn(self.engine, self.broker, self.settings, pin, via="gateway")

    def submit(self, handed: Handed) -> Submitted:
        """Hand a command in."""
        return self.door.submit(handed.envelope, idempotency_key=handed.idempotency_key)

    def approve(self, handed: Handed) -> Run:
        """Hand an approval in."""
        return approve(handed.envelope, engine=self.engine, broker=self.broker, settings=self.settings, via="gateway")

    def cancel(self, handed: Handed) -> Run:
        """Hand a cancellation in."""
        return cancel(handed.envelope, engine=self.engine, settings=self.settings, via="gateway")

    # -- runs -------------------------------------------------------------------

    def queued(self, issuer: str = CAREFUL, **changes: object) -> Run:
        """Have a proper command recorded; return its run."""
        return self.find(self.door.submit(self.envelope(issuer, **{"reason": "proper", **changes})).run)

    def waiting(self, issuer: str = CAREFUL, **changes: object) -> Run:
        """Have a run wait for an approval, as after a worker's preflight."""
        run = self.queued(issuer, **changes)
        self.await_again(run, IMPACT)
        return self.find(run.run)

    def await_again(self, run: Run, impact: str) -> None:
        """Have a queued run claimed, and wait for an approval of an impact."""
        claim = runs.claim(self.engine, run.command_id, worker="w1", lease_seconds=60)
        assert claim is not None
        runs.pin(self.engine, claim, plan_sha256=PLAN, impact_sha256=impact)
        consent.await_approval(self.engine, claim, "nobody has approved it yet")

    def ended(self) -> Run:
        """Have a run that has ended."""
        run = self.queued()
        self.cancel(Handed(sign(self.cancellation(run, reason="proper"), self.key(APPROVER))))
        return self.find(run.run)

    def find(self, run: int) -> Run:
        """Return a run as the ledger knows it."""
        with transaction(self.engine) as conn:
            return runs.find(conn, run)

    # -- looking ----------------------------------------------------------------

    def sql(self, statement: str, values: tuple[object, ...] = ()) -> None:
        """Execute a statement in the ledger as its superuser."""
        with psycopg.connect(self.admin_url, autocommit=True) as conn:
            conn.execute(statement, values)

    def an_hour_later(self) -> None:
        """Let what was asked for until now be so long ago that it counts for no limit any more."""
        self.sql("UPDATE ledger.commands SET submitted_at = submitted_at - interval '1 hour'")

    def is_sound(self) -> bool:
        """Return whether the audit chain is."""
        with transaction(self.engine) as conn:
            return audit.verify(conn).ok

    def written(self) -> Written:
        """Look at everything that a door may change."""
        tables = ("commands", "runs", "approvals", "cancellations", "signing_keys")
        with psycopg.connect(self.admin_url) as conn:
            rows = [
                row
                for table in tables
                for (row,) in conn.execute(f"SELECT to_jsonb(t)::text FROM ledger.{table} AS t ORDER BY 1").fetchall()
            ]
        with transaction(self.engine) as conn:
            events = tuple(audit.read(conn))
        return Written(tuple(rows), self.broker.client.hlen(f"{self.broker.namespace}:commands.msgs"), events)


@dataclass(frozen=True)
class Attack:
    """One attack, and how it has to end."""

    name: str
    #: The code of the refusal.
    code: str
    #: Prepares what has to be there, and returns what is handed in.
    make: Callable[[Scene], str | Handed]
    #: Whom the audit log names: nobody, unless a signature says who it was.
    actor: str = "unknown"
    #: Which door it comes to.
    door: Callable[[Scene, Handed], object] = field(default=Scene.submit)


def told(event: AuditEvent) -> str:
    """Return everything that an audit event says, as text."""
    return json.dumps([event.actor, event.target, event.run, event.detail])
