"""A gateway that serves on real sockets, in a thread of the test, on a real ledger and a real Redis."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from dramatiq.brokers.redis import RedisBroker
from pydantic import SecretStr
from sqlalchemy import Engine

from ledger import audit
from ledger.database import transaction
from ledger.errors import UnknownMigration
from ledger.history import find
from ledger.installation import installation_id
from ledger.model import AuditEvent, Kind
from ledger.request import Request
from ledger.settings import GatewaySettings, ProducerSettings, Settings, TargetSettings
from ledger.statements import Access, Approval, Cancellation, Statement
from producers.envelope import sign
from producers.gateway.gateway import VIA, Document, Gateway, Outside
from producers.gateway.server import listen, server_of, url_of
from producers.submit import OneWayIn
from stepback.show import documents
from tests.signing import known_key

PLAN = "5e" * 32
MIGRATION = "add_health_alerts"
BILLING, AUDITOR, STRANGER = "service:billing", "service:auditor", "service:stranger"
_NEVER_REACHED = TargetSettings(url=SecretStr("postgresql://never-reached/"))

SETTINGS = Settings(
    targets={"shop": _NEVER_REACHED, "shop_eu": _NEVER_REACHED, "vault": _NEVER_REACHED},
    producers={
        BILLING: ProducerSettings(
            kinds=frozenset({"rollback", "recover", "validate"}), targets=("shop*",), destructive_per_hour=1000
        ),
        AUDITOR: ProducerSettings(kinds=frozenset({"validate"}), targets=("vault",), approves=("vault",)),
    },
    gateway=GatewaySettings(port=0, max_per_second=10_000),
)


def pin(_target: str, migration: str) -> str:
    """Find one plan."""
    if migration != MIGRATION:
        raise UnknownMigration("no such plan")
    return PLAN


def dry_run(target: str, migration: str) -> Document:
    """Return what the composition would have found out."""
    pin(target, migration)
    return {
        **dict.fromkeys(("plan_sha256", "impact_sha256")),
        **{key: [] for key in ("statements", "impact", "locks", "refusals")},
        "migration": migration,
        "target": target,
    }


@dataclass(frozen=True)
class Site:
    """A gateway that serves, and what somebody needs who sends it signed things."""

    url: str
    engine: Engine
    installation: UUID
    client: httpx.Client
    gateway: Gateway

    def signed(self, kind: type[Statement], issuer: str, /, **fields: Any) -> str:  # noqa: ANN401 - any field
        """Return a statement of an issuer whose key is registered."""
        now = datetime.now(UTC)
        common = {
            "audience": str(self.installation),
            "issuer": issuer,
            "issued_at": now,
            "not_after": now + timedelta(minutes=10),
        }
        return sign(kind(**{**common, **fields}), known_key(self.engine, issuer))

    def rollback(self, issuer: str = BILLING, **fields: Any) -> str:  # noqa: ANN401 - any field
        """Return a proper request for a rollback, with some of its fields changed."""
        asked = {
            "kind": Kind.ROLLBACK,
            "target": "shop",
            "migration": MIGRATION,
            "reason": "wrong totals",
            "command_id": uuid4(),
        }
        return self.signed(Request, issuer, **{**asked, **fields})

    def submit(self, envelope: str, **headers: str) -> httpx.Response:
        """Bring an envelope."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/v1/commands", json={"envelope": envelope}, headers=named)

    def new_run(self, issuer: str = BILLING, **fields: Any) -> int:  # noqa: ANN401 - any field
        """Return the number of a run that was just asked for."""
        answer = self.submit(self.rollback(issuer, **fields))
        assert answer.status_code == 202, answer.text
        run: int = answer.json()["run"]
        return run

    def cancel(self, run: int, issuer: str = BILLING, target: str = "shop") -> httpx.Response:
        """Cancel a run, which ends it: no worker has it in hand."""
        with transaction(self.engine) as conn:
            command_id = find(conn, run).command_id
        envelope = self.signed(Cancellation, issuer, command_id=command_id, run=run, target=target, reason="not wanted")
        return self.client.post(f"/v1/runs/{run}/cancel", json={"envelope": envelope})

    def approval(self, run: int, issuer: str) -> str:
        """Return an approval of a run."""
        with transaction(self.engine) as conn:
            found = find(conn, run)
        return self.signed(
            Approval,
            issuer,
            command_id=found.command_id,
            run=run,
            target=found.target,
            plan_sha256=found.plan_sha256,
            impact_sha256="1a" * 32,
            reason="looks right",
        )

    def bearer(self, issuer: str = BILLING, **fields: Any) -> dict[str, str]:  # noqa: ANN401 - any field
        """Return the header of somebody who reads."""
        return {"Authorization": f"Bearer {self.signed(Access, issuer, **fields)}"}

    def get(self, path: str, issuer: str = BILLING, **more: Any) -> httpx.Response:  # noqa: ANN401 - as httpx
        """Read something."""
        headers = {**self.bearer(issuer), **more.pop("headers", {})}
        return self.client.get(path, headers=headers, **more)

    def events(self) -> list[AuditEvent]:
        """Return the audit log without the registration of keys."""
        with transaction(self.engine) as conn:
            return [event for event in audit.read(conn) if event.type != "key_registered"]


def code(answer: httpx.Response, status: int) -> str:
    """Return the code of a problem, and see that it is told as problems are."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() == {"type", "title", "status", "detail", "code"}
    assert (problem["type"], problem["status"]) == (f"urn:stepback:error:{problem['code']}", status)
    word: str = problem["code"]
    return word


@contextmanager
def serving(
    engine: Engine,
    broker: RedisBroker,
    *,
    settings: Settings = SETTINGS,
    **changes: Any,  # noqa: ANN401 - of Outside
) -> Iterator[Site]:
    """Serve during the block."""
    installation = installation_id(engine)
    outside = Outside(
        settings=settings,
        installation=installation,
        engine=engine,
        broker=broker,
        way_in=OneWayIn(engine, broker, settings, pin, via=VIA),
        show=documents.of_run,
        dry_run=dry_run,
    )
    bound = listen(settings.gateway)
    thread = _Thread(replace(outside, **changes))
    gateway = thread.start(lambda server: server.serve(sockets=[bound]))
    try:
        with httpx.Client(base_url=url_of(bound), timeout=20) as client:
            yield Site(url_of(bound), engine, installation, client, gateway)
    finally:
        thread.stop()


class _Thread:
    """A server with a loop of its own, in a thread of its own."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._ready: threading.Event = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, serve: Callable[[Any], Any]) -> Gateway:
        async def run() -> None:
            self._loop = asyncio.get_running_loop()
            self._gateway = Gateway(self._outside)
            self._server = server_of(self._gateway, "0")
            self._ready.set()
            await serve(self._server)

        self._thread = threading.Thread(target=asyncio.run, args=(run(),), name="gateway")
        self._thread.start()
        assert self._ready.wait(10)
        return self._gateway

    def stop(self) -> None:
        def end() -> None:
            self._gateway.close()
            self._server.should_exit = True

        assert self._thread is not None
        self._loop.call_soon_threadsafe(end)
        self._thread.join(30)
        assert not self._thread.is_alive()
