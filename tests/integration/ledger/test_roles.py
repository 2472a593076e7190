"""Least privilege in the ledger: each group may do what its process does, and nothing else.

Each group has a real login that is a member of nothing else. What is tried runs in a transaction that is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine

from ledger import audit, runs
from ledger.commands import Entry, record
from ledger.database import open_ledger, transaction
from ledger.model import Command, Kind, Phase, RunError, State, StepRecord
from ledger.schema import upgrade
from stepback.embedded import Postgres
from tests.databases import fresh_database

PRODUCER: Final = "stepback_ledger_producer"
CONSENT: Final = "stepback_ledger_consent"
WORKER: Final = "stepback_ledger_worker"
MONITOR: Final = "stepback_ledger_monitor"
AUDITOR: Final = "stepback_ledger_auditor"
OPERATOR: Final = "stepback_ledger_operator"
GROUPS: Final = (PRODUCER, CONSENT, WORKER, MONITOR, AUDITOR, OPERATOR)
#: The login of installations that do not tell processes apart.
APP: Final = "stepback_app"
OWNER: Final = "stepback_owner"

_SHOWS: Final = frozenset({PRODUCER, CONSENT, WORKER, MONITOR, OPERATOR, AUDITOR})


@dataclass(frozen=True)
class Ledger:
    """A ledger with a run that is queued, one under way, one that waits for approval, and one that has failed."""

    server: Postgres
    database: str
    #: By group.
    logins: Mapping[str, str]
    queued: int
    started: int
    waiting: int
    failed: int

    @property
    def superuser_url(self) -> str:
        """Where everything may be done."""
        return self.server.superuser_url(self.database)

    def url(self, group: str) -> str:
        """Return the URL of the login that is a member of a group and of nothing else."""
        return self.server.url(self.database, self.logins[group])

    def connect(self, group: str) -> psycopg.Connection:
        """Connect as that login."""
        return psycopg.connect(self.url(group))


@pytest.fixture(scope="module")
def logins(postgres: Postgres, ledger_template: str) -> Iterator[Mapping[str, str]]:
    """Give the name of a login for each group, and of the one that is a member of all."""
    assert ledger_template
    made = {group: f"as_{group.removeprefix('stepback_ledger_')}_{uuid4().hex[:8]}" for group in GROUPS}
    with psycopg.connect(postgres.superuser_url("postgres"), autocommit=True) as admin:
        for group, login in made.items():
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(login)))
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(login)))
        yield {**made, APP: APP}
        for login in made.values():
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


@pytest.fixture(scope="module")
def ledger(postgres: Postgres, ledger_template: str, logins: Mapping[str, str]) -> Iterator[Ledger]:
    """Give a ledger that nothing here changes."""
    with fresh_database(postgres, "roles", owner=OWNER, template=ledger_template) as name:
        # As in production; a copy of a database does not take its rights along.
        with psycopg.connect(postgres.superuser_url(name), autocommit=True) as admin:
            admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
        upgrade(postgres.superuser_url(name))
        engine = open_ledger(postgres.url(name, APP))
        states = (None, State.IN_PROGRESS, State.AWAITING_APPROVAL, State.FAILED)
        numbers = [_run(engine, state) for state in states]
        engine.dispose()
        yield Ledger(postgres, name, logins, *numbers)


def _run(engine: Engine, state: State | None) -> int:
    command = Command(
        command_id=uuid4(),
        kind=Kind.ROLLBACK,
        target="shop",
        migration="m",
        subject_run=None,
        plan_sha256="a" * 64,
        requested_by="service:billing",
        reason="test",
        not_after=datetime.now(UTC) + timedelta(hours=1),
    )
    with transaction(engine) as conn:
        (recorded,) = record(conn, [Entry(command, envelope="signed")])
    claim = None if state is None else runs.claim(engine, command.command_id, worker="w", lease_seconds=3600)
    if claim is not None:
        runs.pin(engine, claim, plan_sha256="a" * 64, impact_sha256="b" * 64)
    if claim is not None and state is State.AWAITING_APPROVAL:
        with transaction(engine) as conn:
            conn.exec_driver_sql(
                f"UPDATE ledger.runs SET state = 'awaiting_approval', lease_until = NULL WHERE run = {claim.run}"
            )
    if claim is not None and state is State.FAILED:
        error = RunError("gate_failed", "a check did not hold")
        runs.settle(engine, claim, state=state, error=error, blocked_seconds=None, preserved=[])
    return recorded.run  # type: ignore[union-attr]  # a refusal has none


def _state(event: str, actor: str, run: str = "NULL", attempt: str = "NULL") -> str:
    return (
        f"SELECT ledger.append_own_event('{event}', '{actor}', 'ok', {run}, {attempt}, 'shop', NULL, NULL,"
        " '{{}}'::jsonb)"
    )


def _record(kind: str) -> str:
    command = (
        f'{{{{"command_id": "{uuid4()}", "kind": "{kind}", "target": "shop", "migration": "m", "reason": "r",'
        ' "requested_by": "x", "not_after": "2099-01-01T00:00:00Z", "envelope": "e"}}'
    )
    return f'SELECT * FROM ledger.record_commands(\'[{{{{"command": {command}, "detail": {{{{}}}}}}}}]\'::jsonb)'


_APPROVE: Final = (
    f"SELECT * FROM ledger.approve({{waiting}}, 'ada', '{'a' * 64}', '{'b' * 64}', clock_timestamp() + '1 hour', 'e')"
)

#: What is tried, and which groups may do it; {waiting} and the like are runs of the ledger.
TRIED: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    # -- runs ------------------------------------------------------------------
    "claim": (
        (
            "UPDATE ledger.runs SET state = 'in_progress', attempt = 1, worker = 'w', started_at = now(),"
            " lease_until = now() + '1 minute' WHERE run = {queued}"
        ),
        frozenset({WORKER}),
    ),
    "renew": ("UPDATE ledger.runs SET lease_until = now() WHERE run = {started}", frozenset({WORKER})),
    "settle": (
        "UPDATE ledger.runs SET state = 'completed', finished_at = now() WHERE run = {started}",
        frozenset({WORKER}),
    ),
    "end what waits": (
        "UPDATE ledger.runs SET state = 'cancelled', finished_at = now() WHERE run = {queued}",
        frozenset({WORKER}),
    ),
    "write a step": (
        (
            "INSERT INTO ledger.steps (run, ordinal, attempt, phase, step, outcome, seconds, ended_at)"
            " VALUES ({started}, 1, 1, 'apply', 's', 'completed', 0, now())"
        ),
        frozenset({WORKER}),
    ),
    "note an apply": (
        (
            "INSERT INTO ledger.applies (run, attempt, ordinal, system_identifier, database_oid, xid)"
            " VALUES ({started}, 1, 1, '1', 1, '1')"
        ),
        frozenset({WORKER}),
    ),
    "say what is preserved": (
        "INSERT INTO ledger.preserved (run, ordinal, kind, name, how) VALUES ({started}, 1, 'table', 't', 'moved')",
        frozenset({WORKER}),
    ),
    "say that one lives": (
        "INSERT INTO ledger.workers (worker, alive_until) VALUES ('w2', now())",
        frozenset({WORKER}),
    ),
    "make a run": (
        "INSERT INTO ledger.runs (command_id) SELECT command_id FROM ledger.commands LIMIT 1",
        frozenset(),
    ),
    "take a run away": ("DELETE FROM ledger.runs WHERE run = {queued}", frozenset()),
    "give a run another command": ("UPDATE ledger.runs SET command_id = gen_random_uuid()", frozenset()),
    "change a step": ("UPDATE ledger.steps SET outcome = 'completed'", frozenset()),
    "take steps away": ("DELETE FROM ledger.steps", frozenset()),
    # -- commands --------------------------------------------------------------
    "record a rollback": (_record("rollback"), frozenset({PRODUCER})),
    "record a canary": (_record("canary"), frozenset({PRODUCER, MONITOR})),
    "write a command by hand": (
        (
            "INSERT INTO ledger.commands (command_id, kind, target, migration, requested_by, reason, not_after,"
            " envelope) VALUES (gen_random_uuid(), 'rollback', 'shop', 'm', 'x', 'r', now(), 'e')"
        ),
        frozenset(),
    ),
    "change a command": ("UPDATE ledger.commands SET needs_approval = false", frozenset()),
    "prolong a command": ("UPDATE ledger.commands SET not_after = 'infinity'", frozenset()),
    "take a command away": ("DELETE FROM ledger.commands", frozenset()),
    # -- consent ---------------------------------------------------------------
    "approve": (_APPROVE, frozenset({CONSENT, OPERATOR})),
    "cancel": ("SELECT * FROM ledger.cancel({queued}, 'ada', 'e')", frozenset({CONSENT, OPERATOR})),
    "approve by hand": (
        (
            "INSERT INTO ledger.approvals (run, approved_by, impact_sha256, not_after, envelope)"
            f" VALUES ({{waiting}}, 'ada', '{'b' * 64}', 'infinity', 'e')"
        ),
        frozenset(),
    ),
    "let it go on by hand": ("UPDATE ledger.runs SET state = 'queued' WHERE run = {waiting}", frozenset()),
    "change an approval": ("UPDATE ledger.approvals SET not_after = 'infinity'", frozenset()),
    "cancel by hand": (
        "INSERT INTO ledger.cancellations (run, cancelled_by, envelope) VALUES ({queued}, 'ada', 'e')",
        frozenset(),
    ),
    "take a cancellation away": ("DELETE FROM ledger.cancellations", frozenset()),
    # -- keys ------------------------------------------------------------------
    "register a key": (
        "INSERT INTO ledger.signing_keys (key_id, issuer, public_key) VALUES ('k2', 'x', '\\x00')",
        frozenset({OPERATOR}),
    ),
    "revoke a key": ("UPDATE ledger.signing_keys SET revoked_at = now()", frozenset({OPERATOR})),
    "change a key": ("UPDATE ledger.signing_keys SET public_key = '\\x00'", frozenset()),
    "give a key to somebody else": ("UPDATE ledger.signing_keys SET issuer = 'x'", frozenset()),
    "take a key away": ("DELETE FROM ledger.signing_keys", frozenset()),
    # -- incidents -------------------------------------------------------------
    "acknowledge": (
        "INSERT INTO ledger.acknowledgements (run, acknowledged_by, reason) VALUES ({failed}, 'ada', 'r')",
        frozenset({OPERATOR}),
    ),
    "resolve": (
        "UPDATE ledger.incidents SET resolved_at = now(), resolved_by = 'ada' WHERE run = {failed}",
        frozenset({OPERATOR}),
    ),
    "hide an incident": ("DELETE FROM ledger.incidents", frozenset()),
    "change the tally": ("UPDATE ledger.tally SET runs = 0", frozenset()),
    # -- the audit log -----------------------------------------------------------
    "state a refusal": (_state("command_refused", "x"), frozenset({PRODUCER, CONSENT, MONITOR, OPERATOR})),
    "state a silent bell": (_state("doorbell_failed", "x"), frozenset({PRODUCER, CONSENT, MONITOR, OPERATOR})),
    "state a registered plan": (_state("plan_registered", "x"), frozenset({PRODUCER, OPERATOR})),
    "state a registered key": (_state("key_registered", "x"), frozenset({OPERATOR})),
    "state an acknowledgement": (_state("run_acknowledged", "x", "{failed}"), frozenset({OPERATOR})),
    "try the log": (_state("audit_tried", "monitor"), frozenset({MONITOR})),
    "state a step": (_state("step_completed", "worker:w", "{started}", "1"), frozenset({WORKER})),
    "state a run's end": (_state("run_completed", "worker:w", "{started}", "1"), frozenset({WORKER})),
    "state an end as somebody else": (_state("run_completed", "ada", "{started}", "1"), frozenset()),
    "state an end without an attempt": (_state("run_completed", "ada", "{started}"), frozenset()),
    "state a refusal as a worker": (_state("command_refused", "worker:w"), frozenset()),
    "state an approval": (_state("run_approved", "ada", "{waiting}"), frozenset()),
    "state an approval as a worker": (_state("run_approved", "worker:w", "{waiting}", "1"), frozenset()),
    "state a submission": (_state("command_submitted", "x", "{queued}"), frozenset()),
    "state anything at all": (_state("anything", "x"), frozenset()),
}

#: What nobody may do, stepback_app as little as the others.
FORBIDDEN: Final[tuple[LiteralString, ...]] = (
    "UPDATE ledger.audit_events SET actor = 'x'",
    "DELETE FROM ledger.audit_events",
    "TRUNCATE ledger.audit_events",
    "TRUNCATE ledger.audit_events CASCADE",
    "INSERT INTO ledger.audit_events SELECT * FROM ledger.audit_events",
    "COPY ledger.audit_events FROM STDIN",
    "SELECT * FROM ledger.audit_events FOR UPDATE",
    "UPDATE ledger.audit_head SET seq = seq + 1",
    "DELETE FROM ledger.audit_head",
    "TRUNCATE ledger.audit_head",
    "UPDATE ledger.installation SET id = gen_random_uuid()",
    "UPDATE ledger.alembic_version SET version_num = '0001'",
    "TRUNCATE ledger.commands CASCADE",
    "ALTER TABLE ledger.audit_events DISABLE TRIGGER ALL",
    "ALTER TABLE ledger.runs DISABLE TRIGGER runs_keep_history",
    "SET session_replication_role = replica",
    "DROP TABLE ledger.audit_events",
    "CREATE TABLE ledger.mine (id int)",
    "CREATE FUNCTION ledger.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    (
        "CREATE OR REPLACE FUNCTION ledger.may_state(login name, type text, actor text, attempt integer)"
        " RETURNS boolean LANGUAGE sql AS 'SELECT true'"
    ),
    "CREATE TRIGGER mine BEFORE INSERT ON ledger.commands EXECUTE FUNCTION ledger.refuse_change()",
    "CREATE RULE mine AS ON INSERT TO ledger.steps DO INSTEAD NOTHING",
    "CREATE SCHEMA mine",
    "CREATE TEMPORARY TABLE mine (id int)",
    "SELECT ledger.may_state('postgres', 'x', 'x', NULL)",
    "SELECT ledger.refuse_change()",
    "SELECT ledger.same_party('a', 'a')",
    "ALTER ROLE stepback_owner LOGIN",
    "CREATE ROLE mine",
    "SET ROLE stepback_owner",
    "SET ROLE stepback_worker",
    "SET SESSION AUTHORIZATION stepback_owner",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('postgresql.conf')",
)


def _may(ledger: Ledger, group: str, statement: str) -> bool:
    """Try something, take it back, and return whether it was allowed; it must not fail for another reason."""
    runs_there = {name: getattr(ledger, name) for name in ("queued", "started", "waiting", "failed")}
    with ledger.connect(group) as conn:
        try:
            conn.execute(statement.format(**runs_there).encode())
        except InsufficientPrivilege:
            return False
        finally:
            conn.rollback()
    return True


@pytest.mark.parametrize("tried", sorted(TRIED))
def test_each_group_may_do_what_its_process_does_and_no_other(ledger: Ledger, tried: str) -> None:
    """Allowed for those named, refused by the server for everybody else."""
    statement, allowed = TRIED[tried]

    assert {group for group in GROUPS if _may(ledger, group, statement)} == allowed


@pytest.mark.parametrize("tried", sorted(name for name, (_, allowed) in TRIED.items() if allowed))
def test_stepback_app_may_do_all_of_it(ledger: Ledger, tried: str) -> None:
    """One login for every process goes on working."""
    assert _may(ledger, APP, TRIED[tried][0])


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_nobody_may_touch_what_is_written_or_who_may_write(ledger: Ledger, statement: str) -> None:
    """Not even stepback_app."""
    assert [group for group in (*GROUPS, APP) if _may(ledger, group, statement.replace("{", "{{"))] == []


@pytest.mark.parametrize("group", GROUPS)
def test_nobody_becomes_somebody_else(ledger: Ledger, group: str) -> None:
    """A login may act as its own group and as no other; a group lets nobody in."""
    others = [
        *(other for other in GROUPS if other != group),
        APP,
        OWNER,
        *(set(ledger.logins.values()) - {ledger.logins[group]}),
    ]

    assert [other for other in others if _may(ledger, group, f'SET ROLE "{other}"')] == []
    with psycopg.connect(ledger.superuser_url) as conn:
        may_log_in = conn.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [group]).fetchone()
    assert may_log_in == (False,)


@pytest.mark.parametrize("group", [CONSENT, OPERATOR, APP])
def test_nobody_approves_what_the_same_party_asks_for(ledger: Ledger, group: str) -> None:
    """The function knows who has asked, whoever calls it; a part of the same party is the same party."""
    for by in ("service:billing", "service:billing/ada"):
        with ledger.connect(group) as conn:
            approve = _APPROVE.format(waiting=ledger.waiting).replace("'ada'", f"'{by}'")
            verdict = conn.execute(approve.encode()).fetchall()
            conn.rollback()
        assert verdict == [("not_allowed", None)]


def test_what_has_waited_too_long_may_be_taken_up_to_be_refused(ledger: Ledger) -> None:
    """By a worker, which has no consent to give."""
    with psycopg.connect(ledger.superuser_url) as conn:
        conn.execute(
            "UPDATE ledger.commands SET not_after = now() FROM ledger.runs AS run"
            " WHERE run.command_id = commands.command_id AND run.run = %s",
            [ledger.waiting],
        )
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(WORKER)))
        woken = conn.execute("UPDATE ledger.runs SET state = 'queued' WHERE run = %s", [ledger.waiting]).rowcount
        conn.rollback()

    assert woken == 1


def test_a_revoked_key_stays_revoked(ledger: Ledger) -> None:
    """Even for whoever may revoke it."""
    with ledger.connect(OPERATOR) as conn:
        conn.execute(
            "INSERT INTO ledger.signing_keys (key_id, issuer, public_key, revoked_at) VALUES ('k', 'x', '\\x00', now())"
        )
        with pytest.raises(InsufficientPrivilege, match="stays revoked"):
            conn.execute("UPDATE ledger.signing_keys SET revoked_at = NULL")
        conn.rollback()


# -- reading -------------------------------------------------------------------

_READERS: Final[Mapping[str, frozenset[str]]] = {
    "installation": _SHOWS,
    "signing_keys": _SHOWS,
    "commands": _SHOWS,
    "runs": _SHOWS,
    "steps": _SHOWS,
    "preserved": _SHOWS,
    "audit_events": _SHOWS,
    "approvals": _SHOWS,
    "cancellations": _SHOWS,
    "applies": frozenset({WORKER, AUDITOR}),
    "workers": frozenset({WORKER, MONITOR, AUDITOR}),
    "audit_head": frozenset({MONITOR, OPERATOR, AUDITOR}),
    "incidents": frozenset({MONITOR, OPERATOR, AUDITOR}),
    "acknowledgements": frozenset({MONITOR, OPERATOR, AUDITOR}),
    "tally": frozenset({MONITOR, AUDITOR}),
    "alembic_version": frozenset({AUDITOR}),
}


def test_each_group_reads_what_it_needs(ledger: Ledger) -> None:
    """The table of who reads what is the whole truth, for every table that there is."""
    with psycopg.connect(ledger.superuser_url) as conn:
        tables = [
            name
            for (name,) in conn.execute(
                "SELECT relname FROM pg_class"
                " WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p', 'v')"
            ).fetchall()
        ]

    found = {
        table: frozenset(group for group in GROUPS if _may(ledger, group, f"SELECT * FROM ledger.{table}"))
        for table in tables
    }

    assert found == dict(_READERS)


def test_the_auditor_writes_nothing(ledger: Ledger) -> None:
    """By the catalog: no right to change anything, and no function but one that computes."""
    with ledger.connect(AUDITOR) as conn:
        writable = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace AND relkind <> 'i' AND"
            " CASE relkind WHEN 'S' THEN has_sequence_privilege(oid, 'USAGE, UPDATE')"
            "      ELSE has_any_column_privilege(oid, 'INSERT, UPDATE')"
            "           OR has_table_privilege(oid, 'DELETE, TRUNCATE, TRIGGER') END"
        ).fetchall()
        callable_ = conn.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace"
            " AND has_function_privilege(oid, 'EXECUTE')"
        ).fetchall()

    assert (writable, callable_) == ([], [("canonical_json",)])


def test_the_auditor_reads_what_later_revisions_add(ledger: Ledger) -> None:
    """Whatever the owner makes, without another grant."""
    with psycopg.connect(ledger.superuser_url) as conn:
        conn.execute("SET LOCAL ROLE stepback_owner")
        conn.execute("CREATE TABLE ledger.added_later (id int)")
        readers = [
            g
            for g in GROUPS
            for (may,) in conn.execute("SELECT has_table_privilege(%s, 'ledger.added_later', 'SELECT')", [g]).fetchall()
            if may
        ]
        conn.rollback()

    assert readers == [AUDITOR]


def test_the_auditor_verifies_the_chain(ledger: Ledger) -> None:
    """`stepback audit verify` needs no right to write."""
    engine = open_ledger(ledger.url(AUDITOR))
    with transaction(engine) as conn:
        found = audit.verify(conn)
    engine.dispose()

    assert found.ok
    assert found.events > 0


def test_a_worker_carries_a_run_through_the_ledger(ledger: Ledger) -> None:
    """Claim, steps, and end, with its audit events: nothing else is needed."""
    app, engine = (open_ledger(ledger.url(role)) for role in (APP, WORKER))
    number = _run(app, None)
    with transaction(app) as conn:
        command_id = runs.find(conn, number).command_id

    claim = runs.claim(engine, command_id, worker="w", lease_seconds=60)
    assert claim is not None
    runs.enter(engine, claim, Phase.APPLY)
    runs.record_step(engine, claim, StepRecord(Phase.APPLY, "s", "completed", 0.1), {})
    runs.note_apply(engine, claim, system_identifier="1", database_oid=1, xid="1")
    runs.settle(engine, claim, state=State.COMPLETED, error=None, blocked_seconds=0.1, preserved=[])

    with transaction(app) as conn:
        assert runs.find(conn, number).state is State.COMPLETED
    app.dispose()
    engine.dispose()


def test_installing_again_gives_nobody_more(ledger: Ledger) -> None:
    """The rights are the same afterwards."""
    rights = (
        "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'ledger'::regnamespace"
        " UNION ALL SELECT oid::regprocedure::text, proacl::text FROM pg_proc"
        " WHERE pronamespace = 'ledger'::regnamespace ORDER BY 1"
    )
    with psycopg.connect(ledger.superuser_url, autocommit=True) as conn:
        before = conn.execute(rights).fetchall()
        upgrade(ledger.superuser_url)
        assert conn.execute(rights).fetchall() == before
