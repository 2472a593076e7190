"""What benchmarks stand on: one server with its ordinary settings, the sample grown to a size, a run carried out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
from joserfc.jwk import OKPKey
from pydantic import SecretStr
from sqlalchemy import Engine

from ledger import commands, runs
from ledger.commands import Entry, Recorded
from ledger.database import open_ledger, transaction
from ledger.installation import installation_id
from ledger.keys import register_key
from ledger.model import Kind, Run, State
from ledger.request import Request
from ledger.schema import upgrade
from ledger.settings import Settings, TargetSettings, TrustSettings
from producers.admission import command_of
from producers.envelope import sign
from producers.keys import PrivateKey
from stepback.embedded import Postgres, ensure_roles_and_databases
from stepback.embedded.postgres import DEFAULT_VERSION
from stepback.sample import load_sample
from worker.executor import Executor
from worker.install import install
from worker.target import connect

#: Rows of health_metrics to compare.
SMALL, LARGE = 100_000, 1_000_000
#: Signs what is measured.
KEY = PrivateKey.of(OKPKey.generate_key("Ed25519"), "local:benchmark")


@dataclass(frozen=True)
class Stage:
    """A server with a ledger."""

    server: Postgres
    engine: Engine

    def carry_out(self, url: str, plans: Path, kind: Kind, migration: str, subject: int | None = None) -> Run:
        """Carry out one command on a target, whole, in this process; return its run, which completed."""
        done = self.attempt(url, plans, kind, migration, subject)
        assert done.state is State.COMPLETED, done.error
        return done

    def attempt(self, url: str, plans: Path, kind: Kind, migration: str, subject: int | None = None) -> Run:
        """Do the same, and return the run however it ended."""
        settings = Settings(
            targets={"goodbuy_hq": TargetSettings(url=SecretStr(url), plans=plans)},
            trust=TrustSettings(local_operator="all"),
        )
        request = self._request(kind, migration, subject)
        with transaction(self.engine) as conn:
            register_key(conn, KEY.key_id, KEY.issuer, KEY.public_key)
            command = command_of(request, migration, None, needs_approval=False)
            (recorded,) = commands.record(conn, [Entry(command, sign(request, KEY))])
        assert isinstance(recorded, Recorded)
        claim = runs.claim(self.engine, request.command_id, worker="benchmark", lease_seconds=60)
        assert claim is not None
        Executor(self.engine, settings, installation_id(self.engine)).carry_out(claim)
        with transaction(self.engine) as conn:
            return runs.find(conn, recorded.run)

    def _request(self, kind: Kind, migration: str, subject: int | None) -> Request:
        now = datetime.now(UTC)
        return Request(
            kind=kind,
            target="goodbuy_hq",
            migration=migration,
            subject_run=subject,
            reason="a benchmark",
            command_id=uuid4(),
            audience=str(installation_id(self.engine)),
            issuer=KEY.issuer,
            issued_at=now,
            not_after=now + timedelta(hours=1),
        )


@contextmanager
def stage(version: int = DEFAULT_VERSION, settings: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """Start a server of one's own, with fsync on unless `settings` say otherwise, and a ledger in it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Postgres.start(Path(folder), version=version, settings=settings) as server,
    ):
        ensure_roles_and_databases(server)
        upgrade(server.superuser_url("stepback_ledger"))
        engine = open_ledger(server.url("stepback_ledger", "stepback_app"))
        try:
            yield Stage(server, engine)
        finally:
            engine.dispose()


def make_template(server: Postgres, rows: int) -> None:
    """Make a template database with the sample, `health_metrics` grown to some rows."""
    name = f"template_{rows}"
    admin(server, f"CREATE DATABASE {name} OWNER goodbuy_app")
    load_sample(server.url(name, "goodbuy_app"))
    with psycopg.connect(server.url(name, "goodbuy_app"), autocommit=True) as owner:
        columns = [
            row[0]
            for row in owner.execute(
                "SELECT attname::text FROM pg_attribute WHERE attrelid = 'health_metrics'::regclass AND attnum > 1"
                " AND NOT attisdropped ORDER BY attnum"
            )
        ]
        told = ", ".join(columns)
        owner.execute(
            f"INSERT INTO health_metrics ({told}) SELECT {told} FROM health_metrics,"
            f" generate_series(1, 1 + {rows} / (SELECT count(*) FROM health_metrics))"
            f" LIMIT {rows} - (SELECT count(*) FROM health_metrics)".encode()
        )
        owner.execute("VACUUM ANALYZE health_metrics")
    target = connect(server.url(name, "stepback_worker"), "benchmark")
    install(target)
    target.execute(
        "INSERT INTO public.migration_rollbacks (migration_name, rollback_sql) VALUES"
        " ('add_health_metrics_table', 'DROP TABLE IF EXISTS health_metrics CASCADE')"
    )
    target.close()
    admin(server, "CHECKPOINT")


@contextmanager
def copy(server: Postgres, rows: int) -> Iterator[str]:
    """Give the name of a fresh copy of a template."""
    name = f"copy_{uuid4().hex[:8]}"
    admin(server, f"CREATE DATABASE {name} TEMPLATE template_{rows} OWNER goodbuy_app STRATEGY file_copy")
    admin(server, "CHECKPOINT")
    try:
        yield name
    finally:
        admin(server, f"DROP DATABASE {name} WITH (FORCE)")


def admin(server: Postgres, statement: str) -> None:
    """Run one statement as the superuser."""
    with psycopg.connect(server.superuser_url("postgres"), autocommit=True) as conn:
        conn.execute(statement.encode())
