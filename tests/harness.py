"""A harness for the engine: commands go through ledger and executor as in a worker, in this process, and are looked at.

The specification of every kind of object is written with it: picture, roll back, look, recover, same picture.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import sqlalchemy
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from ledger import audit, runs
from ledger.database import transaction
from ledger.installation import installation_id
from ledger.model import AuditEvent, Command, Kind, Run, State
from ledger.settings import Settings, TargetSettings, TrustSettings, WorkerSettings
from stepback.embedded import Postgres
from tests import signing
from worker import fingerprint
from worker.crash_points import pass_by
from worker.executor import Executor
from worker.fingerprint import Fingerprint
from worker.install import install
from worker.target import Session, connect

#: Who asks.
REQUESTER = "local:ada"
#: The target's name in every command.
TARGET = "shop"

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND c.relispopulated AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_%'
   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'emergency\\_backup%'
   AND c.oid <> coalesce(to_regclass('public.migration_rollbacks'), 0::oid)
 ORDER BY 1
"""


@dataclass(frozen=True)
class Picture:
    """A database as three witnesses tell it: our own fingerprint, pg_dump, and every row as JSON."""

    fingerprint: Fingerprint
    #: Lines of pg_dump's schema, sorted, without the commas that tell which column is the last.
    dump: tuple[str, ...]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]

    def lost(self, later: Picture) -> list[str]:
        """Return what this picture shows and a later one does not."""
        return sorted(set(self.fingerprint.schema) - set(later.fingerprint.schema)) + sorted(
            set(self.dump) - set(later.dump)
        )


@dataclass(frozen=True)
class KeptRow:
    """What emergency_backup.preserved_objects says of one object."""

    kind: str
    name: str
    how: str
    quarantine: str | None
    relation: str | None
    rows: int | None
    #: The table that values were copied from, or its partitions, as a picture names them; none for all else.
    sources: tuple[str, ...]

    def label(self) -> str:
        """Return it as the tables of cases write it."""
        return f"{self.how} {self.kind} {self.name}"

    @property
    def inside(self) -> str | None:
        """Where its rows are, qualified and quoted; None if it has none."""
        if self.quarantine is None or self.relation is None:
            return None
        return sql.Identifier(self.quarantine, self.relation).as_string()


@dataclass
class Engine:
    """One target with one ledger, and an executor between them."""

    postgres: Postgres
    ledger: sqlalchemy.Engine
    database: str
    plans: Path
    #: The worker's URL, where it is not the ordinary one.
    url: str = ""
    #: Folder of checks of one's own.
    checks: Path | None = None
    #: Over the defaults of a target: `lock_timeout_ms=100`.
    limits: Mapping[str, Any] = field(default_factory=dict)
    at: Callable[[str], None] = pass_by
    #: Whether what waits for an approval gets it at once.
    approving: bool = True

    def __post_init__(self) -> None:
        """Fill in the worker's ordinary URL."""
        self.url = self.url or self.postgres.url(self.database, "stepback_worker")

    # -- the two sides ----------------------------------------------------------

    @cached_property
    def installation(self) -> UUID:
        """The ledger's installation."""
        return installation_id(self.ledger)

    @cached_property
    def session(self) -> Session:
        """A session of the worker's role, outside any run."""
        return connect(self.postgres.url(self.database, "stepback_worker"), "harness")

    @cached_property
    def _all_seeing(self) -> Session:
        """A session of the superuser, whom no policy binds."""
        return connect(self.postgres.superuser_url(self.database), "harness")

    def install(self) -> None:
        """Install the target's side, and make known whose commands are carried out."""
        install(self.session)
        for issuer in (REQUESTER, signing.APPROVER):
            signing.known_key(self.ledger, issuer)

    def close(self) -> None:
        """Hang up."""
        for name in ("session", "_all_seeing"):
            if name in self.__dict__:
                self.__dict__[name].close()

    def connect(self, role: str) -> psycopg.Connection[dict[str, Any]]:
        """Open a connection to the target for a role, `postgres` being the superuser."""
        return psycopg.connect(self.postgres.url(self.database, role), autocommit=True, row_factory=dict_row)

    def run_sql(self, role: str, script: str) -> None:
        """Run a script in the target as a role."""
        with self.connect(role) as conn:
            conn.execute(script)

    def owner(self, script: str) -> None:
        """Run a script as the application that owns the tables."""
        self.run_sql("goodbuy_app", script)

    def admin(self, script: str) -> None:
        """Run a script as the superuser."""
        self.run_sql("postgres", script)

    def query(self, question: str, role: str = "postgres") -> list[dict[str, Any]]:
        """Ask the target something."""
        with self.connect(role) as conn:
            return conn.execute(question).fetchall()

    # -- plans ------------------------------------------------------------------

    def plan(
        self,
        rollback: str | None,
        *,
        verify: str | None = None,
        finish: str | None = None,
        accepts: Sequence[str] = (),
        members: Sequence[str] = (),
        migration: str = "m",
        online_rows: int | None = None,
    ) -> None:
        """Write a folder plan; without a script it is a composite one."""
        folder = self.plans / migration
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("rollback.sql", rollback), ("verify.sql", verify), ("finish.sql", finish)):
            if text is not None:
                (folder / name).write_text(text, encoding="utf-8")
        options = {"accepts": accepts, "members": members}
        told = "".join(f"{key} = {json.dumps(list(value))}\n" for key, value in options.items() if value)
        told += "" if online_rows is None else f"online_rows = {online_rows}\n"
        if told or (folder / "plan.toml").exists():
            (folder / "plan.toml").write_text(told, encoding="utf-8")

    def row(self, rollback: str, *, migration: str = "m", role: str = "goodbuy_app", recorded_by: str = "") -> None:
        """Write a bare registry row as a role, as the rollback plan document does."""
        columns, values = "migration_name, rollback_sql", [migration, rollback]
        if recorded_by:
            columns, values = f"{columns}, recorded_by", [*values, recorded_by]
        marks = ", ".join("%s" for _ in values)
        with self.connect(role) as conn:
            insert = f"INSERT INTO public.migration_rollbacks ({columns}) VALUES ({marks})"
            conn.execute(insert, values)

    def registry(self, migration: str = "m") -> list[str]:
        """Return the status of each registry row of a migration, the oldest first."""
        rows = self.session.rows(
            "SELECT rollback_status FROM public.migration_rollbacks WHERE migration_name = %s ORDER BY id", (migration,)
        )
        return [row["rollback_status"] for row in rows]

    # -- commands ---------------------------------------------------------------

    def rollback(self, migration: str = "m", **changes: Any) -> Run:  # noqa: ANN401 - any field of a command
        """Submit a rollback and carry it out."""
        return self.carry_out(self.command(kind=Kind.ROLLBACK, migration=migration, **changes))

    def recover(self, run: Run | int, **changes: Any) -> Run:  # noqa: ANN401 - any field of a command
        """Submit the recovery of a run and carry it out."""
        return self.carry_out(self.recovery_of(run, **changes))

    def recovery_of(self, run: Run | int, **changes: Any) -> Command:  # noqa: ANN401 - any field of a command
        """Make the command that recovers a run; nothing is written."""
        subject, migration = (run, "m") if isinstance(run, int) else (run.run, run.migration)
        return self.command(**{"kind": Kind.RECOVER, "subject_run": subject, "migration": migration, **changes})

    def validate(self, migration: str | None = None) -> Run:
        """Submit a validation, of everything or of one migration, and carry it out."""
        return self.carry_out(self.command(kind=Kind.VALIDATE, migration=migration))

    def purge(self, run: Run | int, **changes: Any) -> Run:  # noqa: ANN401 - any field of a command
        """Submit the purge of a run and carry it out."""
        subject, migration = (run, "m") if isinstance(run, int) else (run.run, run.migration)
        fields = {"migration": migration, **changes}
        return self.carry_out(self.command(kind=Kind.PURGE, subject_run=subject, **fields))

    def command(self, **changes: Any) -> Command:  # noqa: ANN401 - any field of a command
        """Make a command; nothing is written."""
        fields: dict[str, Any] = {
            "command_id": uuid4(),
            "kind": Kind.ROLLBACK,
            "target": TARGET,
            "migration": "m",
            "subject_run": None,
            "plan_sha256": None,
            "requested_by": REQUESTER,
            "reason": "a test",
            "not_after": datetime.now(UTC) + timedelta(hours=1),
        }
        return Command(**{**fields, **changes})

    def carry_out(self, command: Command) -> Run:
        """Record a command, deliver it once, and return what became of its run."""
        run = signing.record_signed(self.ledger, command)
        self.deliver(command.command_id)
        if self.find(run).state is State.AWAITING_APPROVAL and self.approving:
            signing.approve(self.ledger, run)
            self.deliver(command.command_id)
        return self.find(run)

    def deliver(self, command_id: UUID) -> bool:
        """Ring for a command as Redis would; return whether there was anything to claim."""
        claim = runs.claim(self.ledger, command_id, worker="w1", lease_seconds=60)
        if claim is None:
            return False
        Executor(self.ledger, self.settings, self.installation, self.at).carry_out(claim)
        return True

    @property
    def settings(self) -> Settings:
        """What a worker on this target would be configured with."""
        target = TargetSettings(url=SecretStr(self.url), plans=self.plans, checks=self.checks, **self.limits)
        # No heartbeat comes within a test, and what cannot be reached is a person's business at once.
        worker = WorkerSettings(lease_seconds=60, unreachable_seconds=0)
        return Settings(targets={TARGET: target}, worker=worker, trust=TrustSettings(local_operator="all"))

    # -- looking ----------------------------------------------------------------

    def find(self, run: int) -> Run:
        """Return a run as the ledger knows it."""
        with transaction(self.ledger) as conn:
            return runs.find(conn, run)

    def events(self, run: Run) -> list[AuditEvent]:
        """Return the audit events of a run, and see that the whole chain is sound."""
        with transaction(self.ledger) as conn:
            assert audit.verify(conn).ok
            return [event for event in audit.read(conn) if event.run == run.run]

    def kept(self, run: Run) -> list[KeptRow]:
        """Return what a run keeps in the target, in the order of removal."""
        rows = self.session.rows(
            "SELECT kind, p.name, how, quarantine, relation, rows,"
            " ARRAY(SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE how = 'copied' AND (c.oid = p.objid"
            " OR c.oid IN (SELECT relid FROM pg_partition_tree(p.objid::regclass) WHERE isleaf))) AS sources"
            " FROM emergency_backup.preserved_objects AS p WHERE installation = %s AND run = %s ORDER BY ordinal",
            (self.installation, run.run),
        )
        return [KeptRow(**{**row, "sources": tuple(row["sources"])}) for row in rows]

    def fingerprint(self) -> Fingerprint:
        """Take Stepback's own fingerprint of the target."""
        return fingerprint.of_database(self._all_seeing)

    def picture(self) -> Picture:
        """Take a picture of everything in the target that is not Stepback's."""
        with self.connect("postgres") as conn:
            names = [row["name"] for row in conn.execute(_TABLES).fetchall()]
            rows = {name: rows_of(conn, name) for name in names}
        return Picture(self.fingerprint(), self._dump(), rows)

    def _dump(self) -> tuple[str, ...]:
        command = [str(self.postgres.bin / "pg_dump"), "--schema-only", "--exclude-schema=emergency_backup*"]
        command += ["--exclude-table=public.migration_rollbacks*", "--exclude-table=public.rollback_status_monitor"]
        url = self.postgres.superuser_url(self.database)
        done = subprocess.run([*command, f"--dbname={url}"], check=True, capture_output=True, text=True)
        # pg_dump guards its output with a random key; comments repeat what the statements say.
        lines = (line.rstrip(",") for line in done.stdout.splitlines())
        return tuple(sorted(line for line in lines if line and not line.startswith(("--", "\\"))))


def rows_of(conn: psycopg.Connection[dict[str, Any]], table: str) -> list[dict[str, Any]]:
    """Return a table's rows, in an order that does not depend on where they lie or how columns are ordered."""
    # An alias that no column has: it would be taken for the column.
    found = conn.execute(f'SELECT to_jsonb("whole row") AS row FROM ONLY {table} AS "whole row"').fetchall()
    return in_order(row["row"] for row in found)


def in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in the order that pictures have."""
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


def ended(run: Run) -> str:
    """Return how a run ended, as one line: its state, and its error if it has one."""
    return str(run.state) if run.error is None else f"{run.state}: {run.error.code}: {run.error.message}"


def not_ok(run: Run) -> dict[str, tuple[str, int | None, str]]:
    """Return what a run's checks found amiss, by name: status, count, detail."""
    assert run.validation is not None
    found: Any = run.validation["checks"]
    return {c["check"]: (c["status"], c["count"], c["detail"]) for c in found if c["status"] != "ok"}


def completed(run: Run, broken: Collection[str] = ()) -> Run:
    """Return a run, and see that it completed with every step, and that no check fails after it but those `broken`."""
    assert run.state is State.COMPLETED, ended(run)
    if run.kind is not Kind.PURGE:
        # A purge changes nothing that checks look at.
        assert {name for name, (status, *_) in not_ok(run).items() if status == "fail"} <= {*broken}, not_ok(run)
    not_done = [step for step in run.steps if step.outcome != "completed" and not (broken and step.step == "validate")]
    assert run.steps
    assert not not_done, not_done
    return run


def labels(rows: Iterable[KeptRow]) -> list[str]:
    """Return what is kept as the tables of cases write it, sorted."""
    return sorted(row.label() for row in rows)
