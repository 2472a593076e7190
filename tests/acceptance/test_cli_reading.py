"""The commands that read: their documents have the promised keys, and they change nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.commandline import CommandLine
from worker.fingerprint import Fingerprint, of_database
from worker.target import connect

_TARGET = ("--target", "goodbuy_hq")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

#: The promised keys, in the order in which they come.
_RUN = (
    "run command_id kind target migration subject_run state phase attempt requested_by reason submitted_at started_at"
    " finished_at blocked_seconds plan_sha256 impact_sha256 accept_sha256 policy conditions error steps preserved notes"
    " result summary"
)
_PLAN = "migration target plan_sha256 impact_sha256 statements impact locks refusals notes mentions pins conflicts next"
_EVENT = "seq event_id type occurred_at actor run attempt target phase step outcome detail prev_hash hash"


def _catalog(url: str) -> tuple[Fingerprint, list[object]]:
    """Return everything in a target, Stepback's own tables too."""
    session = connect(url, "test")
    try:
        own = session.rows(
            "SELECT c::text FROM pg_class AS c WHERE relnamespace::regnamespace::text !~ '^pg_' ORDER BY oid"
        )
        rows = session.rows("SELECT r::text FROM public.migration_rollbacks AS r ORDER BY id")
        return of_database(session), [*own, *rows]
    finally:
        session.close()


@pytest.mark.usefixtures("worker")
def test_runs_and_show(cli: CommandLine) -> None:
    """`show` gives a run with the promised keys; `runs` gives the same ones, the newest first, and filters."""
    cli.succeed("rollback", "add_health_alerts", *_TARGET, "--wait")
    cli.run("rollback", "add_health_alerts", *_TARGET, "--wait")

    newest, first = cli.succeed("runs")
    shown = cli.succeed("show", "1")

    assert (newest["run"], newest["state"]) == (2, "refused")
    assert list(shown) == _RUN.split()
    assert first == shown
    assert _TIME.fullmatch(shown["submitted_at"])
    assert shown["blocked_seconds"] > 0
    assert {tuple(step) for step in shown["steps"]} == {
        ("phase", "step", "outcome", "seconds", "section", "detail", "ended_at")
    }
    assert {tuple(kept) for kept in shown["preserved"]} == {("kind", "name", "how", "rows", "bytes", "quarantine")}
    assert cli.succeed("runs", "--state", "completed", "--target", "goodbuy_hq", "--limit", "5") == [first]
    assert cli.succeed("runs", "--target", "other") == []


@pytest.mark.usefixtures("worker")
def test_for_people(cli: CommandLine) -> None:
    """People get tables with whole words in them, on standard output."""
    cli.succeed("rollback", "add_health_alerts", *_TARGET, "--wait")

    runs, shown, events = cli.run("runs"), cli.run("show", "1"), cli.run("audit", "1")

    assert "add_health_alerts" in runs.out
    assert "move table public.health_alerts" in shown.out
    assert "run_completed" in events.out
    assert [runs.err, shown.err, events.err] == ["", "", ""]


def test_unknown_run(cli: CommandLine) -> None:
    """A run that is not there is exit code 3."""
    done = cli.run("show", "7", "--json")

    assert (done.code, done.error) == (3, "unknown_run")


def test_plan(cli: CommandLine, target_url: str) -> None:
    """`plan` gives exact SQL, impact and locks, with the promised keys, and leaves every catalog row as it is."""
    before = _catalog(target_url)

    found = cli.succeed("plan", "add_health_metrics_table", *_TARGET)

    assert list(found) == _PLAN.split()
    assert any(s.startswith('ALTER TABLE "public"."health_metrics" SET SCHEMA') for s in found["statements"])
    assert {tuple(item) for item in found["impact"]} == {("kind", "name", "because", "action", "rows", "bytes")}
    assert {"name": "public.health_metrics", "mode": "ACCESS EXCLUSIVE"} in found["locks"]
    assert found["refusals"] == []
    assert found["next"] == "stepback rollback add_health_metrics_table --target goodbuy_hq"
    assert _catalog(target_url) == before


def test_plan_for_people(cli: CommandLine) -> None:
    """People see the same: impact, locks, statements."""
    done = cli.run("plan", "add_health_metrics_table", *_TARGET)

    assert (done.code, done.err) == (0, "")
    assert "moved" in done.out
    assert 'ALTER TABLE "public"."health_metrics" SET SCHEMA' in done.out


def test_plan_that_would_be_refused(cli: CommandLine, target_owner_url: str) -> None:
    """A plan that a run would refuse is exit code 3, with the reason and its line in the document."""
    with psycopg.connect(target_owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO migration_rollbacks (migration_name, rollback_sql)"
            " VALUES ('by_hand', E'\\nCOPY users TO STDOUT')"
        )

    done = cli.run("plan", "by_hand", *_TARGET, "--json")
    for_people = cli.run("plan", "by_hand", *_TARGET)

    assert done.code == 3
    assert [(refusal["code"], refusal["line"]) for refusal in done.document["refusals"]] == [("plan_refused", 2)]
    assert for_people.code == 3
    assert for_people.err.startswith("plan_refused: line 2: ")


def test_plan_that_nobody_accepted(cli: CommandLine, target_owner_url: str) -> None:
    """All of the impact is shown with its hash, why it would be refused, and the command that accepts it."""
    with psycopg.connect(target_owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO migration_rollbacks (migration_name, rollback_sql)"
            " VALUES ('by_hand', 'DROP TYPE sync_status_enum CASCADE')"
        )

    done = cli.run("plan", "by_hand", *_TARGET, "--json")
    for_people = cli.run("plan", "by_hand", *_TARGET)

    command = f"stepback rollback by_hand --target goodbuy_hq --accept {done.document['impact_sha256']}"
    assert done.code == for_people.code == 3
    assert [refusal["code"] for refusal in done.document["refusals"]] == ["impact_not_accepted"]
    assert "public.quickbooks_sync_logs.status" in {item["name"] for item in done.document["impact"]}
    assert done.document["next"] == command
    assert "public.quickbooks_sync_logs.status" in for_people.out
    assert f"next: {command}" in for_people.out
    assert for_people.err.startswith("impact_not_accepted: CASCADE would take 2 object(s)")


def test_plan_tells_mentions_and_pins(cli: CommandLine, target_owner_url: str) -> None:
    """What speaks of a table that goes, and what it holds fast, stands beside the impact."""
    with psycopg.connect(target_owner_url, autocommit=True) as conn:
        conn.execute("CREATE TYPE shade AS ENUM ('a'); ALTER TABLE health_alerts ADD shade shade")
        conn.execute("CREATE FUNCTION tidy() RETURNS void LANGUAGE plpgsql AS 'BEGIN DELETE FROM health_alerts; END'")

    found = cli.succeed("plan", "add_health_alerts", *_TARGET)
    for_people = cli.run("plan", "add_health_alerts", *_TARGET)

    mention = {"kind": "function", "name": "public.tidy()", "mentions": ["table public.health_alerts"]}
    pin = {"kind": "type", "name": "public.shade", "held_by": "table public.health_alerts"}
    assert mention in found["mentions"]
    assert pin in found["pins"]
    assert "mentions: function public.tidy() mentions table public.health_alerts" in for_people.out
    assert "pins: type public.shade cannot be dropped while table public.health_alerts is kept" in for_people.out


def test_plan_of_nothing(cli: CommandLine) -> None:
    """A migration that has no plan is an error, not a plan with a refusal."""
    done = cli.run("plan", "add_nothing", *_TARGET, "--json")

    assert (done.code, done.error) == (3, "unknown_migration")


def test_audit(cli: CommandLine) -> None:
    """Events have the promised keys; those of a run can be asked for, and the newest of all."""
    cli.succeed("rollback", "add_health_alerts", *_TARGET)
    cli.succeed("rollback", "add_business_ai_columns", *_TARGET)

    everything = cli.succeed("audit")

    assert [event["type"] for event in everything] == ["key_registered", "command_submitted", "command_submitted"]
    assert list(everything[0]) == _EVENT.split()
    assert cli.succeed("audit", "1") == everything[1:2]
    assert cli.succeed("audit", "--limit", "1") == everything[2:]


def test_audit_export(cli: CommandLine) -> None:
    """`audit export` writes one event a line, the same ones; a reader that goes away is no trouble."""
    cli.succeed("rollback", "add_health_alerts", *_TARGET)

    lines = cli.run("audit", "export").out.splitlines()
    piped = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m stepback audit export | head -c 1"],
        cwd=cli.folder,
        env=cli.environment(),
        capture_output=True,
        check=True,
    )

    assert [json.loads(line) for line in lines] == cli.succeed("audit")
    assert (piped.stdout, piped.stderr) == (b"{", b"")


def test_audit_verify(cli: CommandLine, ledger_admin_url: str) -> None:
    """`audit verify` is exit code 0 for a whole chain, and 1 with the first bad event once somebody changed one."""
    cli.succeed("rollback", "add_health_alerts", *_TARGET)
    whole = cli.succeed("audit", "verify")
    with psycopg.connect(ledger_admin_url, autocommit=True) as conn:
        conn.execute("ALTER TABLE ledger.audit_events DISABLE TRIGGER ALL")
        conn.execute("UPDATE ledger.audit_events SET actor = 'nobody' WHERE seq = 2")

    broken = cli.run("audit", "verify", "--json")

    assert whole == {"ok": True, "events": 2, "first_bad_seq": None, "reason": None}
    assert broken.code == 1
    assert (broken.document["ok"], broken.document["first_bad_seq"]) == (False, 2)
    assert cli.run("audit", "verify").err.startswith("audit_broken: from event 2 on")


def test_targets(cli: CommandLine) -> None:
    """`targets` tells of each target whether it answers and what it keeps; one that is away does not hide another."""
    both = cli.but(
        STEPBACK_TARGETS__AWAY__URL="postgresql://ada:s3cret@127.0.0.1:1/none",
        STEPBACK_TARGETS__AWAY__CONTACT="DBA on call",
    )

    away, here = both.succeed("targets")

    assert (away["name"], away["reachable"], away["contact"]) == ("away", False, "DBA on call")
    assert away["error"]["code"] == "target_unreachable"
    assert (here["name"], here["reachable"], here["error"]) == ("goodbuy_hq", True, None)
    assert here["quarantine"] == {"schemas": 0, "objects": 0, "bytes": 0, "next_expiry": None}
    assert "s3cret" not in both.run("targets").out


def test_env(cli: CommandLine, tmp_path: Path) -> None:
    """A shell that evaluates `env` gets every value as it is, quotes and spaces included."""
    url = "postgresql://ada:o'clock%20$HOME@127.0.0.1:1/none"
    odd = cli.but(STEPBACK_TARGETS__ODD__URL=url)

    shell = subprocess.run(
        ["sh", "-c", f'eval "$({sys.executable} -m stepback env)"; printf "%s" "$STEPBACK_TARGETS__ODD__URL"'],
        cwd=odd.folder,
        env=odd.environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert shell.stdout == url
    assert odd.succeed("env")["STEPBACK_DATA"] == str(tmp_path / "data")


def test_init_twice(cli: CommandLine, ledger_admin_url: str) -> None:
    """`init` brings both sides up to date, and again does no harm."""
    admin = cli.but(STEPBACK_LEDGER_ADMIN_URL=ledger_admin_url)

    first, second = admin.succeed("init"), admin.succeed("init")

    assert first == second
    assert [(each["what"], each["error"]) for each in first] == [("ledger", None), ("target", None)]


def test_init_tells_which_target_is_away(cli: CommandLine, ledger_admin_url: str) -> None:
    """A target that does not answer is named, the others are installed, and the exit code is 1."""
    admin = cli.but(
        STEPBACK_LEDGER_ADMIN_URL=ledger_admin_url, STEPBACK_TARGETS__AWAY__URL="postgresql://127.0.0.1:1/x"
    )

    done = admin.run("init", "--json")

    assert done.code == 1
    assert [(each["name"], bool(each["error"])) for each in done.document[1:]] == [
        ("away", True),
        ("goodbuy_hq", False),
    ]
