"""The one way in: what is accepted is written down before it is rung for, what is refused leaves only its code."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from os import kill
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from dramatiq.brokers.redis import RedisBroker
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey
from joserfc.util import urlsafe_b64encode
from pydantic import SecretStr
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from ledger import audit, runs
from ledger.database import open_ledger, transaction
from ledger.doorbell import open_doorbell
from ledger.errors import (
    BadName,
    BadSignature,
    Expired,
    LedgerUnreachable,
    PlanChanged,
    PlanRefused,
    QueueUnreachable,
    Replayed,
    StepbackError,
    UnknownMigration,
    UnknownRun,
    UnknownTarget,
)
from ledger.installation import installation_id
from ledger.keys import register_key, revoke_key
from ledger.model import AuditEvent, Kind, State
from ledger.request import Request
from ledger.settings import Settings, TargetSettings, TrustSettings
from ledger.statements import encode
from producers.envelope import sign
from producers.keys import PrivateKey, local_operator, register_local_operator
from producers.refusals import refuse
from producers.submit import NotRung, OneWayIn, Submitted
from stepback.embedded import Postgres, Redis

PLAN = "5e" * 32
CANARY = "canary-7f3d9a"
DSN = f"postgresql://app:{CANARY}@db.example/goodbuy_hq"
NEVER_REACHED = TargetSettings(url=SecretStr("postgresql://never-reached/"))
SETTINGS = Settings(
    targets={"goodbuy_hq": NEVER_REACHED, "goodbuy_test": NEVER_REACHED}, trust=TrustSettings(local_operator="all")
)


def a_key(issuer: str = "local:ada") -> PrivateKey:
    """Return a key that nobody registered yet."""
    okp = OKPKey.generate_key("Ed25519")
    return PrivateKey(key_id=okp.thumbprint(), issuer=issuer, okp=okp)


def pin(target: str, migration: str) -> str:
    """Find one plan."""
    if (target, migration) != ("goodbuy_hq", "add_health_metrics_table"):
        raise UnknownMigration("no such plan")
    return PLAN


def never(target: str, migration: str) -> str:
    """Stand where no plan may be looked for."""
    raise AssertionError(f"nobody may look for the plan of {migration} on {target}")


@dataclass
class Door:
    """The door of one installation, with a key that it knows."""

    engine: Engine
    broker: RedisBroker
    key: PrivateKey
    installation: UUID

    def request(self, **changes: object) -> Request:
        """Return a proper request, with some of its fields changed."""
        now = datetime.now(UTC)
        fields: dict[str, Any] = {
            "kind": Kind.ROLLBACK,
            "target": "goodbuy_hq",
            "migration": "add_health_metrics_table",
            "reason": "wrong scores in production",
            "command_id": uuid4(),
            "audience": str(self.installation),
            "issuer": self.key.issuer,
            "issued_at": now,
            "not_after": now + timedelta(hours=1),
        }
        return Request(**{**fields, **changes})

    def envelope(self, **changes: object) -> str:
        """Return a proper request, with some of its fields changed, properly signed."""
        return sign(self.request(**changes), self.key)

    def submit(self, envelope: str, pin: Callable[[str, str], str] = pin) -> Submitted:
        """Come through the door."""
        return OneWayIn(self.engine, self.broker, SETTINGS, pin, via="command_line").submit(envelope)

    def events(self) -> list[AuditEvent]:
        """Return the audit log without the registration of the key."""
        with transaction(self.engine) as conn:
            assert audit.verify(conn).ok
            return [event for event in audit.read(conn) if event.type != "key_registered"]

    def refusal(self) -> AuditEvent:
        """Return the one event there is, which is a refusal, and see that nothing else was done."""
        (event,) = self.events()
        assert (event.type, event.outcome, event.run) == ("command_refused", "refused", None)
        assert self.runs() == []
        assert self.bells() == []
        return event

    def runs(self) -> list[int]:
        """Return the numbers of all runs."""
        with transaction(self.engine) as conn:
            return [run.run for run in runs.list_runs(conn)]

    def bells(self) -> list[dict[str, Any]]:
        """Return the messages that wait on Redis."""
        return [json.loads(body) for body in self.broker.client.hvals(f"{self.broker.namespace}:commands.msgs")]


@pytest.fixture
def broker(redis_url: str, redis_namespace: str) -> Iterator[RedisBroker]:
    """Give a doorbell of one's own."""
    broker = open_doorbell(redis_url, namespace=redis_namespace)
    yield broker
    broker.client.close()


@pytest.fixture
def door(ledger_engine: Engine, broker: RedisBroker) -> Door:
    """Give the door of a fresh installation."""
    key = a_key()
    register_local_operator(ledger_engine, key)
    return Door(ledger_engine, broker, key, installation_id(ledger_engine))


# -- accepted ---------------------------------------------------------------


def test_a_rollback_is_recorded_as_it_was_asked(door: Door) -> None:
    """The run stands in the ledger, queued, with everything that was asked and the plan of this moment."""
    request = door.request()

    submitted = door.submit(sign(request, door.key))

    with transaction(door.engine) as conn:
        run = runs.find(conn, submitted.run)
    assert submitted == Submitted(command_id=request.command_id, run=run.run, new=True)
    assert (run.command_id, run.kind, run.state) == (request.command_id, Kind.ROLLBACK, State.QUEUED)
    assert (run.target, run.migration, run.subject_run) == ("goodbuy_hq", "add_health_metrics_table", None)
    assert (run.requested_by, run.reason, run.plan_sha256) == ("local:ada", "wrong scores in production", PLAN)


def test_what_was_signed_is_what_a_worker_claims(door: Door) -> None:
    """A worker gets the signed time limit, and the envelope is kept byte for byte."""
    request = door.request()
    envelope = sign(request, door.key)

    door.submit(envelope)

    claim = runs.claim(door.engine, request.command_id, worker="test", lease_seconds=60)
    with transaction(door.engine) as conn:
        kept = conn.execute(text("SELECT envelope FROM ledger.commands")).scalar_one()
    assert claim is not None
    assert claim.command.not_after == request.not_after
    assert kept == envelope


def test_acceptance_is_audited(door: Door) -> None:
    """One event says who asked what; the signed text is bound to it by its hash, the free text not copied."""
    request = door.request()

    submitted = door.submit(sign(request, door.key))

    (event,) = door.events()
    assert (event.type, event.actor, event.outcome) == ("command_submitted", "local:ada", "ok")
    assert (event.run, event.target) == (submitted.run, "goodbuy_hq")
    assert event.detail["command_id"] == str(request.command_id)
    assert event.detail["migration"] == "add_health_metrics_table"
    assert event.detail["plan_sha256"] == PLAN
    assert "wrong scores" not in json.dumps(event.detail)


def test_the_doorbell_says_the_id_and_nothing_else(door: Door) -> None:
    """What goes to Redis is the command's id: no target, no reason, no envelope."""
    submitted = door.submit(door.envelope())

    (message,) = door.bells()
    assert (message["actor_name"], message["args"]) == ("carry_out", [str(submitted.command_id)])
    assert (message["kwargs"], "goodbuy" in json.dumps(message)) == ({}, False)


def test_a_pinned_plan_that_is_the_same_is_fine(door: Door) -> None:
    """A request may say which plan it means."""
    assert door.submit(door.envelope(plan_sha256=PLAN)).new


def test_a_recovery_takes_the_migration_of_its_run(door: Door) -> None:
    """A recovery names a run; what it is about comes from the ledger, and no plan is looked for."""
    subject = door.submit(door.envelope()).run

    recovery = door.submit(door.envelope(kind=Kind.RECOVER, migration=None, subject_run=subject), never)

    with transaction(door.engine) as conn:
        run = runs.find(conn, recovery.run)
    assert (run.kind, run.subject_run, run.migration) == (Kind.RECOVER, subject, "add_health_metrics_table")
    assert run.plan_sha256 is None


# -- once -------------------------------------------------------------------


def test_the_same_envelope_again_is_the_same_run(door: Door) -> None:
    """Sent twice, a command is recorded and audited once; only the bell rings again."""
    envelope = door.envelope()
    first = door.submit(envelope)

    second = door.submit(envelope)

    assert (first.new, second.new) == (True, False)
    assert (second.run, second.command_id) == (first.run, first.command_id)
    assert [event.type for event in door.events()] == ["command_submitted"]
    assert [bell["args"] for bell in door.bells()] == [[str(first.command_id)]] * 2


def test_the_same_envelope_many_times_at_once_is_one_run(door: Door) -> None:
    """Of many senders of one envelope at the same time exactly one makes the run."""
    envelope = door.envelope()

    with ThreadPoolExecutor(8) as pool:
        submitted = list(pool.map(lambda _: door.submit(envelope), range(16)))

    assert len({each.run for each in submitted}) == 1
    assert [each.new for each in submitted].count(True) == 1
    assert [event.type for event in door.events()] == ["command_submitted"]


def test_another_command_under_the_same_id_is_refused(door: Door) -> None:
    """An id is used once: other content under it is refused and audited, and the first run stays as it was."""
    request = door.request()
    first = door.submit(sign(request, door.key))

    with pytest.raises(Replayed):
        door.submit(sign(replace(request, reason="something else"), door.key))

    assert [event.type for event in door.events()] == ["command_submitted", "command_refused"]
    assert door.events()[-1].detail["code"] == "replayed"
    assert door.runs() == [first.run]
    assert len(door.bells()) == 1


def test_the_same_request_signed_by_another_key_is_refused(door: Door) -> None:
    """Nobody can take over the id of somebody else's command."""
    request = door.request()
    door.submit(sign(request, door.key))
    other = a_key("local:grace")
    register_local_operator(door.engine, other)

    with pytest.raises(Replayed):
        door.submit(sign(replace(request, issuer=other.issuer), other))


# -- refused ----------------------------------------------------------------


def test_the_wrong_audience_is_refused(door: Door) -> None:
    """A command for another installation, recorded there and replayed here, does nothing."""
    with pytest.raises(BadSignature, match="another installation"):
        door.submit(door.envelope(audience=str(uuid4())), never)

    event = door.refusal()
    assert (event.actor, event.target) == ("local:ada", "goodbuy_hq")
    assert event.detail == {"code": "bad_signature", "migration": "add_health_metrics_table", "via": "command_line"}


@pytest.mark.parametrize("spelling", ["{0.hex}", "{} ", "urn:uuid:{}", "{{{}}}"])
def test_the_audience_has_one_spelling(door: Door, spelling: str) -> None:
    """Only the id as text is the installation, not what could be read as the same."""
    with pytest.raises(BadSignature, match="another installation"):
        door.submit(door.envelope(audience=spelling.format(door.installation)), never)


def test_an_unknown_key_is_refused(door: Door) -> None:
    """A key that nobody registered is nobody: the claimed issuer is not written down as the actor."""
    with pytest.raises(BadSignature, match="not registered"):
        door.submit(sign(door.request(), a_key()), never)

    event = door.refusal()
    assert (event.actor, event.target) == ("unknown", None)
    assert event.detail == {"code": "bad_signature", "via": "command_line"}


def test_a_revoked_key_is_refused(door: Door, ledger_admin_url: str) -> None:
    """From the moment a key is revoked in the ledger its envelopes are refused, those signed before too."""
    envelope = door.envelope()
    with psycopg.connect(ledger_admin_url) as conn:
        conn.execute("UPDATE ledger.signing_keys SET revoked_at = now() WHERE key_id = %s", [door.key.key_id])

    with pytest.raises(BadSignature, match="revoked"):
        door.submit(envelope, never)

    assert door.refusal().detail == {"code": "bad_signature", "via": "command_line"}


def test_a_key_is_changed_without_a_pause(door: Door) -> None:
    """Both are accepted until the old one is revoked; then only the new one is."""
    new = a_key()
    with transaction(door.engine) as conn:
        register_key(conn, new.key_id, new.issuer, new.public_key)
    door.submit(door.envelope())
    door.submit(sign(door.request(), new))

    with transaction(door.engine) as conn:
        revoke_key(conn, door.key.key_id, actor="local:grace")
    with pytest.raises(BadSignature, match="revoked"):
        door.submit(door.envelope(), never)
    door.submit(sign(door.request(), new))

    assert len(door.runs()) == 3


def test_confused_algorithms_are_refused(door: Door) -> None:
    """Unsigned, or keyed with the public key: both are refused at the door too."""
    payload = encode(door.request())
    secret = OctKey.import_key({"kty": "oct", "k": str(door.key.okp.as_dict()["x"])})
    hmac = jws.serialize_compact({"alg": "HS256", "kid": door.key.key_id}, payload, secret)
    head = urlsafe_b64encode(json.dumps({"alg": "none", "kid": door.key.key_id}).encode()).decode()
    unsigned = f"{head}.{hmac.split('.')[1]}."

    for envelope in (hmac, unsigned, f"{unsigned}AAAA"):
        with pytest.raises(BadSignature):
            door.submit(envelope, never)

    assert [event.detail for event in door.events()] == [{"code": "bad_signature", "via": "command_line"}] * 3
    assert (door.runs(), door.bells()) == ([], [])


def test_an_oversize_envelope_is_refused(door: Door) -> None:
    """More than 64 KiB does not come in, and does not come into the audit log either."""
    with pytest.raises(BadSignature, match="64 KiB"):
        door.submit("a" * (64 * 1024 + 1), never)

    assert door.refusal().detail == {"code": "bad_signature", "via": "command_line"}


def test_an_expired_command_is_refused(door: Door) -> None:
    """What was to be begun before now is not begun, though it was properly signed."""
    now = datetime.now(UTC)

    with pytest.raises(Expired, match="passed"):
        door.submit(door.envelope(issued_at=now - timedelta(hours=1), not_after=now - timedelta(seconds=1)), never)

    assert door.refusal().detail["code"] == "expired"


@pytest.mark.parametrize(("hours", "problem"), [(2, "passed"), (-2, "future")])
def test_the_clock_is_that_of_the_ledger(
    door: Door, ledger_admin_url: str, ledger_database: str, hours: int, problem: str
) -> None:
    """Where the clocks differ the ledger's decides: what is valid by ours has expired there, or is yet to come."""
    with psycopg.connect(ledger_admin_url) as conn:
        conn.execute("CREATE SCHEMA shifted")
        conn.execute("GRANT USAGE ON SCHEMA shifted TO PUBLIC")
        conn.execute(
            "CREATE FUNCTION shifted.now() RETURNS timestamptz LANGUAGE sql"
            f" AS $$ SELECT pg_catalog.now() + interval '{hours} hours' $$"
        )
        conn.execute(f'ALTER DATABASE "{ledger_database}" SET search_path = shifted, pg_catalog')
    # The setting is that of new sessions.
    door.engine.dispose()

    with pytest.raises(Expired, match=problem):
        door.submit(door.envelope())


def test_a_command_from_the_future_is_refused(door: Door) -> None:
    """A signature dated ahead cannot stretch the 24 hours."""
    later = datetime.now(UTC) + timedelta(minutes=6)

    with pytest.raises(Expired, match="future"):
        door.submit(door.envelope(issued_at=later, not_after=later + timedelta(hours=1)), never)


def test_a_clock_that_is_a_little_ahead_is_forgiven(door: Door) -> None:
    """Clocks differ: some minutes ahead are allowed."""
    assert door.submit(door.envelope(issued_at=datetime.now(UTC) + timedelta(minutes=4))).new


def test_an_unknown_target_is_refused(door: Door) -> None:
    """A target that is not configured is refused; its name, being one, is written down."""
    with pytest.raises(UnknownTarget):
        door.submit(door.envelope(target="elsewhere"), never)

    event = door.refusal()
    assert (event.target, event.detail["code"]) == ("elsewhere", "unknown_target")


def test_a_rollback_needs_a_migration(door: Door) -> None:
    """A rollback of nothing is refused."""
    with pytest.raises(BadName, match="empty"):
        door.submit(door.envelope(migration=None), never)

    assert door.refusal().detail == {"code": "bad_name", "via": "command_line"}


def test_an_unknown_migration_is_refused(door: Door) -> None:
    """What the search for the plan refuses is a refusal of the command."""
    with pytest.raises(UnknownMigration):
        door.submit(door.envelope(migration="add_nothing"))

    assert door.refusal().detail == {"code": "unknown_migration", "migration": "add_nothing", "via": "command_line"}


def test_a_changed_plan_is_refused(door: Door) -> None:
    """A request that was signed for another plan than there is now is refused."""
    with pytest.raises(PlanChanged):
        door.submit(door.envelope(plan_sha256="0" * 64))

    assert door.refusal().detail["code"] == "plan_changed"


def test_the_run_to_recover_has_to_be_there(door: Door) -> None:
    """A recovery of a run that the ledger does not know is refused."""
    with pytest.raises(UnknownRun):
        door.submit(door.envelope(kind=Kind.RECOVER, migration=None, subject_run=4711), never)

    assert door.refusal().detail == {"code": "unknown_run", "via": "command_line"}


def test_the_run_to_recover_has_to_be_of_the_target_that_is_named(door: Door) -> None:
    """A recovery that names another target than its run is about is refused."""
    subject = door.submit(door.envelope()).run

    with pytest.raises(UnknownRun, match="another target"):
        door.submit(door.envelope(kind=Kind.RECOVER, subject_run=subject, target="goodbuy_test"), never)


def test_a_recovery_may_name_one_member(door: Door) -> None:
    """The migration that a recovery names is what is recovered; whether the run rolled it back, the target knows."""
    subject = door.submit(door.envelope()).run

    run = door.submit(door.envelope(kind=Kind.RECOVER, subject_run=subject, migration="add_health_alerts"), never).run

    with transaction(door.engine) as conn:
        assert runs.find(conn, run).migration == "add_health_alerts"


# -- nothing leaks ----------------------------------------------------------


def refused_plan(target: str, migration: str) -> str:
    """Refuse a plan with a message that quotes it."""
    raise PlanRefused(f"{DSN} for {migration} on {target}")


@pytest.mark.parametrize(
    "changes",
    [
        {"target": DSN},
        {"target": f"host=db password={CANARY}"},
        {"migration": DSN},
        {"migration": f"../{CANARY}"},
        {"migration": f"{CANARY}\n"},
        {"migration": f"{CANARY}\x00"},
        {"migration": f"{CANARY}é"},
        {"reason": f"{CANARY}\n"},
        {"reason": CANARY * 100},
        {"issuer": CANARY},
        {"audience": DSN},
        {"plan_sha256": CANARY},
        {},
    ],
    ids=str,
)
def test_a_password_in_the_wrong_place_stays_nowhere(
    door: Door, ledger_admin_url: str, capfd: pytest.CaptureFixture[str], changes: dict[str, str]
) -> None:
    """Whatever field a password was typed into, a refusal keeps it out of the audit log and out of every log line."""
    pin_ = pin if changes else refused_plan

    with capture_logs() as logs, pytest.raises(StepbackError):
        door.submit(door.envelope(**changes), pin_)

    door.refusal()
    assert [line["event"] for line in logs] == ["command_refused"]
    assert CANARY not in everything_written(ledger_admin_url, logs, capfd)


@pytest.mark.parametrize("envelope", [DSN, f"{CANARY}.{CANARY}.{CANARY}", CANARY * 10_000, f"\x00{CANARY}"], ids=len)
def test_a_password_instead_of_an_envelope_stays_nowhere(
    door: Door, ledger_admin_url: str, capfd: pytest.CaptureFixture[str], envelope: str
) -> None:
    """The same for text that is no envelope at all; the message to the sender does not repeat it either."""
    with capture_logs() as logs, pytest.raises(BadSignature) as refused:
        door.submit(envelope, never)

    door.refusal()
    assert [line["event"] for line in logs] == ["command_refused"]
    assert CANARY not in everything_written(ledger_admin_url, logs, capfd) + str(refused.value)


def everything_written(admin_url: str, logs: object, capfd: pytest.CaptureFixture[str]) -> str:
    """Return every row of the ledger's tables that the door writes, every log line, and both outputs."""
    tables = ("audit_events", "audit_head", "commands", "runs")
    with psycopg.connect(admin_url) as conn:
        rows = [conn.execute(f"SELECT to_jsonb(t)::text FROM ledger.{table} AS t").fetchall() for table in tables]
    assert rows[0], "the audit log is where it is looked for"
    return repr((rows, logs, capfd.readouterr()))


def test_refuse_writes_the_code_and_proper_names(door: Door) -> None:
    """A refusal from before signing, as the command line finds it, is audited in the same form."""
    refuse(door.engine, actor="local:ada", error=UnknownTarget("…"), target="elsewhere", migration="add_x")

    event = door.refusal()
    assert (event.actor, event.target) == ("local:ada", "elsewhere")
    assert event.detail == {"code": "unknown_target", "migration": "add_x"}


def test_refuse_leaves_out_what_is_no_name(door: Door) -> None:
    """What cannot be a name is left out, not shortened and not masked."""
    refuse(door.engine, actor="local:ada", error=BadName(DSN), target=DSN, migration=f"{CANARY}=1")

    event = door.refusal()
    assert (event.target, event.detail) == (None, {"code": "bad_name"})


# -- outages ----------------------------------------------------------------


def test_no_ledger_no_command(door: Door, tmp_path: Path) -> None:
    """With the ledger gone nothing is accepted and nothing is rung, and the message holds no part of the URL."""
    gone = open_ledger(f"postgresql://stepback_app:{CANARY}@/nowhere?host={tmp_path}")
    away = replace(door, engine=gone)

    with pytest.raises(LedgerUnreachable) as failure:
        away.submit(door.envelope(), never)

    gone.dispose()
    assert CANARY not in str(failure.value)
    assert (door.runs(), door.bells(), door.events()) == ([], [], [])


def test_a_ledger_that_goes_away_in_between(door: Door, postgres: Postgres, ledger_database: str) -> None:
    """A ledger that stops between check and record leaves nothing behind; the same envelope works afterwards."""
    envelope = door.envelope()

    def pin_while_the_ledger_goes(target: str, migration: str) -> str:
        set_open(postgres, ledger_database, is_open=False)
        return pin(target, migration)

    with pytest.raises(LedgerUnreachable, match="same envelope again"):
        door.submit(envelope, pin_while_the_ledger_goes)

    set_open(postgres, ledger_database, is_open=True)
    assert (door.runs(), door.bells(), door.events()) == ([], [], [])
    assert door.submit(envelope).new


def set_open(postgres: Postgres, database: str, *, is_open: bool) -> None:
    """Shut a database for everybody, those in it included, or open it again."""
    with psycopg.connect(postgres.superuser_url("postgres"), autocommit=True) as conn:
        conn.execute(f'ALTER DATABASE "{database}" WITH ALLOW_CONNECTIONS {is_open}')
        if not is_open:
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])


def test_a_refusal_without_a_ledger_keeps_its_reason(tmp_path: Path) -> None:
    """Where a refusal cannot be written down, that is added to the error and logged; it does not replace it."""
    gone = open_ledger(f"postgresql://stepback_app@/nowhere?host={tmp_path}")
    error = BadName("the target is empty")

    with capture_logs() as logs:
        refuse(gone, actor="local:ada", error=error, target=DSN)

    gone.dispose()
    assert error.__notes__ == ["command_refused is not in the audit log: the ledger does not answer"]
    assert [(line["event"], line["code"]) for line in logs] == [("audit_event_lost", "bad_name")]
    assert CANARY not in repr(logs)


def test_with_redis_stopped_the_command_is_recorded(door: Door, tmp_path: Path) -> None:
    """The ledger is written first: with Redis stopped the run waits there, and the error says which it is."""
    redis = Redis.start(tmp_path)
    broker = open_doorbell(redis.url, namespace="stepback")
    redis.stop()
    silent = replace(door, broker=broker)

    with pytest.raises(QueueUnreachable, match="will be carried out") as failure:
        silent.submit(door.envelope())

    assert isinstance(failure.value, NotRung)
    assert str(failure.value.run) in str(failure.value)
    assert door.runs() == [failure.value.run]
    submitted, failed = door.events()
    assert (submitted.type, submitted.run) == ("command_submitted", failure.value.run)
    assert (failed.type, failed.run, failed.outcome) == ("doorbell_failed", failure.value.run, "failed")
    assert failed.detail == {"code": "queue_unreachable"}


def test_when_redis_is_back_the_same_envelope_rings(door: Door, tmp_path: Path) -> None:
    """After an outage of Redis the sender may try the same envelope again: the same run, and this time it rings."""
    redis = Redis.start(tmp_path)
    redis.stop()
    broker = open_doorbell(redis.url, namespace="stepback")
    returning = replace(door, broker=broker)
    envelope = door.envelope()
    with pytest.raises(NotRung) as failure:
        returning.submit(envelope)

    with Redis.start(tmp_path) as again:
        returning.broker = open_doorbell(again.url, namespace="stepback")
        submitted = returning.submit(envelope)

        assert (submitted.run, submitted.new) == (failure.value.run, False)
        assert [bell["args"] for bell in returning.bells()] == [[str(submitted.command_id)]]


def test_with_redis_frozen_the_sender_is_not(door: Door, tmp_path: Path) -> None:
    """A Redis that takes connections and never answers is an outage too, noticed within seconds."""
    with Redis.start(tmp_path) as redis:
        frozen = replace(door, broker=open_doorbell(redis.url, namespace="stepback"))
        pid = redis.pid()
        assert pid is not None
        kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(NotRung) as failure:
                frozen.submit(door.envelope())
        finally:
            kill(pid, signal.SIGCONT)

    assert door.runs() == [failure.value.run]


def test_with_both_gone_after_recording_the_run_is_still_told(
    door: Door, tmp_path: Path, postgres: Postgres, ledger_database: str
) -> None:
    """If the ledger goes too before the failed bell is audited, the sender still learns the number of the run."""
    redis = Redis.start(tmp_path)
    redis.stop()
    broker = open_doorbell(redis.url, namespace="stepback")

    class GoingToo:
        """A doorbell whose failure takes the ledger with it."""

        def enqueue(self, message: object) -> None:
            set_open(postgres, ledger_database, is_open=False)
            broker.enqueue(message)  # type: ignore[arg-type]

    with pytest.raises(NotRung) as failure:
        replace(door, broker=GoingToo()).submit(door.envelope())  # type: ignore[arg-type]

    set_open(postgres, ledger_database, is_open=True)
    assert failure.value.__notes__ == ["doorbell_failed is not in the audit log: the ledger does not answer"]
    assert door.runs() == [failure.value.run]


# -- the operator's key -----------------------------------------------------


def test_the_operator_registers_once(ledger_engine: Engine, broker: RedisBroker, tmp_path: Path) -> None:
    """The key made on first use is registered once, audited once, and opens the door."""
    for _ in range(3):
        register_local_operator(ledger_engine, local_operator(tmp_path))

    operator = Door(ledger_engine, broker, local_operator(tmp_path), installation_id(ledger_engine))
    assert operator.submit(operator.envelope()).new
    with transaction(ledger_engine) as conn:
        types = [event.type for event in audit.read(conn)]
    assert types == ["key_registered", "command_submitted"]


def test_many_first_uses_register_once(ledger_engine: Engine, tmp_path: Path) -> None:
    """First uses at the same time do not get into each other's way."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: register_local_operator(ledger_engine, local_operator(tmp_path)), range(16)))

    with transaction(ledger_engine) as conn:
        assert [event.type for event in audit.read(conn)] == ["key_registered"]
