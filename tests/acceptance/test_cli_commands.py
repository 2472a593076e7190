"""rollback and recover, from the command line through the queue to a worker process and back."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.commandline import CommandLine, wait_for
from tests.acceptance.conftest import PLANS
from worker.fingerprint import Fingerprint, of_database
from worker.target import connect

_ROLLBACK = ("rollback", "add_health_metrics_table", "--target", "goodbuy_hq")


def _fingerprint(url: str) -> Fingerprint:
    session = connect(url, "test")
    try:
        return of_database(session)
    finally:
        session.close()


@pytest.mark.usefixtures("worker")
def test_rollback_and_recovery_travel_the_whole_way(cli: CommandLine, target_url: str) -> None:
    """A rollback and its recovery, each followed to its end with exit code 0, leave schema and data as they were."""
    before = _fingerprint(target_url)

    rolled = cli.succeed(*_ROLLBACK, "--reason", "bad release", "--wait")
    between = _fingerprint(target_url)
    back = cli.succeed("recover", str(rolled["run"]), "--wait")

    assert (rolled["state"], rolled["reason"]) == ("completed", "bad release")
    assert ("table", "public.health_metrics", "moved", 200) in {
        (kept["kind"], kept["name"], kept["how"], kept["rows"]) for kept in rolled["preserved"]
    }
    assert between != before
    assert (back["state"], back["subject_run"]) == ("completed", rolled["run"])
    assert _fingerprint(target_url) == before


@pytest.mark.usefixtures("worker")
def test_only_some_rows_come_back(cli: CommandLine, target_url: str) -> None:
    """What a recovery would do is shown first; then the plan's own rule chooses, and the rest comes when asked for."""
    before = _fingerprint(target_url)
    rolled = str(cli.succeed(*_ROLLBACK, "--wait")["run"])
    between = _fingerprint(target_url)

    shown = cli.succeed("plan", "--recover", rolled)
    assert _fingerprint(target_url) == between
    some = cli.succeed("recover", rolled, "--selective", "--wait")
    for_people = cli.run("show", str(some["run"]))
    no_more = cli.run("plan", "--recover", rolled, "--json")
    rest = cli.succeed("recover", str(some["run"]), "--wait")

    assert "ALTER TABLE" in " ".join(shown["statements"])
    assert shown["next"] == f"stepback recover {rolled}"
    (table,) = some["result"]["tables"]
    assert (table["recovered"] + table["left"], 0 < table["recovered"] < 200) == (200, True)
    assert some["result"]["report"]["total_recovered"] == str(table["recovered"])
    assert f"{table['left']} stay preserved" in for_people.out
    assert (no_more.code, no_more.document["refusals"][0]["code"]) == (3, "nothing_to_recover")
    assert rest["state"] == "completed"
    assert _fingerprint(target_url) == before


@pytest.mark.usefixtures("worker")
def test_conditions_by_hand(cli: CommandLine) -> None:
    """--where takes a table and a condition; what is none of these is a matter of usage, or refused by the run."""
    rolled = str(cli.succeed(*_ROLLBACK, "--wait")["run"])

    assert cli.run("recover", rolled, "--where", "health_metrics").code == 2
    assert cli.run("recover", rolled, "--where", "t=true", "--selective").code == 2
    refused = cli.run("recover", rolled, "--where", "users=true", "--wait", "--json")
    assert (refused.code, refused.document["error"]["code"]) == (3, "conflict")
    done = cli.succeed("recover", rolled, "--where", "health_metrics=overall_score < 50", "--wait")
    assert done["conditions"] == {"health_metrics": "overall_score < 50"}


@pytest.mark.usefixtures("worker")
def test_the_migration_was_applied_again(cli: CommandLine, target_url: str) -> None:
    """The refusal says what to type; the dry run counts what would meet newer rows; then rows are merged."""
    rolled = str(cli.succeed(*_ROLLBACK, "--wait")["run"])
    migration = (PLANS / "add_health_metrics_table" / "migration.sql").read_text(encoding="utf-8")
    with psycopg.connect(target_url) as conn:
        conn.execute(migration.encode())

    refused = cli.run("recover", rolled, "--wait")
    shown = cli.succeed("plan", "--recover", rolled, "--policy", "aside")
    merged = cli.succeed("recover", rolled, "--policy", "aside", "--wait")
    for_people = cli.run("show", str(merged["run"]))

    assert refused.code == 3
    assert "--policy skip, overwrite or aside" in refused.err
    assert (shown["conflicts"], shown["next"]) == ([], f"stepback recover {rolled} --policy aside")
    assert (merged["policy"], merged["state"]) == ("aside", "completed")
    assert "table public.health_metrics is there again: 200 of 200 row(s) are in it" in for_people.out
    assert "type public.health_trajectory is there again: the newer one stays" in for_people.out
    assert cli.run("recover", rolled, "--policy", "both").code == 2


@pytest.mark.usefixtures("worker")
def test_progress_goes_to_standard_error(cli: CommandLine) -> None:
    """For people each step is a line on standard error; standard output has the end, and what brings it back."""
    done = cli.run(*_ROLLBACK, "--wait")

    assert done.code == 0
    assert "apply: move table public.health_metrics: completed" in done.err
    assert "completed" not in done.err.splitlines()[0]
    assert "run 1: rollback of add_health_metrics_table on goodbuy_hq: completed, blocked" in done.out
    assert "stepback recover 1" in done.out


@pytest.mark.usefixtures("worker")
def test_refused_run_exits_3(cli: CommandLine) -> None:
    """A second rollback has nothing to roll back: exit code 3, and the run says so."""
    cli.succeed(*_ROLLBACK, "--wait")

    done = cli.run(*_ROLLBACK, "--wait", "--json")

    assert (done.code, done.document["state"]) == (3, "refused")
    assert done.document["error"]["code"] == "nothing_to_roll_back"


@pytest.mark.usefixtures("worker")
def test_recovering_what_keeps_nothing_exits_3(cli: CommandLine) -> None:
    """A run that was recovered cannot be recovered again; people get the code word first."""
    run = str(cli.succeed(*_ROLLBACK, "--wait")["run"])
    cli.succeed("recover", run, "--wait")

    done = cli.run("recover", run, "--wait")

    assert done.code == 3
    assert "nothing_to_recover: run 1 was recovered already, by run 2" in done.err


@pytest.mark.usefixtures("worker")
def test_accepted_impact_travels_with_the_command(cli: CommandLine, target_owner_url: str) -> None:
    """The hash that a dry run prints goes with the signed command; the run says so, and the audit log."""
    with psycopg.connect(target_owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO migration_rollbacks (migration_name, rollback_sql)"
            " VALUES ('by_hand', 'DROP TYPE sync_status_enum CASCADE')"
        )

    typed = cli.run("plan", "by_hand", "--target", "goodbuy_hq", "--json").document["next"].split()
    rolled = cli.succeed(*typed[1:], "--wait")
    shown = cli.run("show", str(rolled["run"]))

    assert rolled["accept_sha256"] == rolled["impact_sha256"] == typed[-1]
    assert f"the impact with hash {typed[-1]}" in shown.out
    (submitted,) = [event for event in cli.succeed("audit", str(rolled["run"])) if event["type"] == "command_submitted"]
    assert submitted["detail"]["accept_sha256"] == typed[-1]


def test_hash_that_is_none_is_a_mistake_of_usage(cli: CommandLine) -> None:
    """Exit code 2, and the text is not repeated."""
    done = cli.run(*_ROLLBACK, "--accept", "s3cret")

    assert done.code == 2
    assert "64 hexadecimal digits" in done.err
    assert "s3cret" not in done.err


def test_failed_run_exits_1(cli: CommandLine, target_url: str, tmp_path: Path) -> None:
    """A gate that does not hold fails the run: exit code 1, the target is as before."""
    plan = tmp_path / "plans" / "add_health_metrics_table"
    shutil.copytree(PLANS / plan.name, plan)
    (plan / "verify.sql").write_text("SELECT false;", encoding="utf-8")
    gated = cli.but(STEPBACK_TARGETS__GOODBUY_HQ__PLANS=str(plan.parent))
    before = _fingerprint(target_url)

    with gated.running("worker", log=tmp_path / "worker.log"):
        done = gated.run(*_ROLLBACK, "--wait", "--json")

    assert (done.code, done.document["state"]) == (1, "failed")
    assert done.document["error"]["code"] == "gate_failed"
    assert _fingerprint(target_url) == before


def test_without_wait_the_run_is_named(cli: CommandLine) -> None:
    """Without --wait the exit code is 0 as soon as the command is recorded, and people learn how to follow it."""
    done = cli.run(*_ROLLBACK)

    assert (done.code, done.out) == (0, "run 1 is queued; `stepback show 1` tells how it stands\n")
    assert cli.succeed("show", "1")["state"] == "queued"


def test_timeout_exits_4(cli: CommandLine) -> None:
    """When the time is up and no worker came, the exit code is 4 and the run is shown as it stands."""
    done = cli.run(*_ROLLBACK, "--timeout", "0.5", "--json")

    assert (done.code, done.document["state"]) == (4, "queued")


def test_ctrl_c_leaves_the_run_alone(cli: CommandLine) -> None:
    """Ctrl-C while following ends with 130 and the number of the run, which goes on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stepback", *_ROLLBACK, "--wait"],
        cwd=cli.folder,
        env=cli.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for("the command to be recorded", lambda: cli.succeed("runs") != [])
    assert process.stderr is not None
    process.stderr.readline()

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out) == (130, "")
    assert "run 1 goes on; `stepback show 1` tells how it ended" in err
    assert "Traceback" not in err


def test_redis_away(cli: CommandLine, tmp_path: Path) -> None:
    """Without Redis the command is recorded all the same: exit code 1, and the error names the run."""
    away = cli.but(STEPBACK_REDIS_URL=f"unix://{tmp_path}/nothing.sock")

    done = away.run(*_ROLLBACK, "--json")

    assert (done.code, done.error, done.document["run"]) == (1, "queue_unreachable", 1)
    assert cli.succeed("show", "1")["state"] == "queued"


def test_redis_away_can_be_waited_for(cli: CommandLine, tmp_path: Path) -> None:
    """With --wait the run is followed although Redis did not answer: the reconciler rings for it."""
    away = cli.but(STEPBACK_REDIS_URL=f"unix://{tmp_path}/nothing.sock")

    with cli.running("worker", log=tmp_path / "worker.log"):
        done = away.run(*_ROLLBACK, "--wait")

    assert done.code == 0, done
    assert done.err.startswith("queue_unreachable: ")


def test_target_away(cli: CommandLine) -> None:
    """Without the target no plan can be pinned: exit code 1, nothing is recorded but the refusal."""
    away = cli.but(STEPBACK_TARGETS__GOODBUY_HQ__URL="postgresql://ada:s3cret@127.0.0.1:1/none")

    done = away.run(*_ROLLBACK, "--json")

    assert (done.code, done.error) == (1, "target_unreachable")
    assert "s3cret" not in done.out + done.err
    assert cli.succeed("runs") == []
    assert cli.succeed("audit")[-1]["detail"]["code"] == "target_unreachable"


def test_key_is_private(cli: CommandLine, tmp_path: Path) -> None:
    """The operator's key is made on first use, for its owner's eyes only."""
    cli.succeed(*_ROLLBACK)

    assert (tmp_path / "data" / "keys" / "operator.pem").stat().st_mode & 0o777 == 0o600


def test_ledger_away(cli: CommandLine) -> None:
    """Without the ledger nothing happens: exit code 1, and the password stays out of the message."""
    done = cli.but(STEPBACK_LEDGER_URL="postgresql://ada:s3cret@127.0.0.1:1/none").run(*_ROLLBACK, "--json")

    assert (done.code, done.error) == (1, "ledger_unreachable")
    assert "s3cret" not in done.out + done.err


def test_ledger_not_installed(cli: CommandLine, empty_target_url: str) -> None:
    """A database without the ledger's schema is bad configuration that names the way out."""
    done = cli.but(STEPBACK_LEDGER_URL=empty_target_url).run("runs")

    assert done.code == 2
    assert done.err.startswith("bad_configuration: ")
    assert "stepback init" in done.err


def test_target_not_installed(cli: CommandLine, target_admin_url: str) -> None:
    """A target without Stepback's side is refused, with the way out."""
    with psycopg.connect(target_admin_url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA emergency_backup CASCADE")

    done = cli.run(*_ROLLBACK, "--json")

    assert (done.code, done.error) == (3, "not_possible")
    assert "stepback init" in done.document["error"]["message"]


@pytest.mark.usefixtures("worker")
def test_composite_is_summed_up_and_one_member_comes_back(cli: CommandLine, target_url: str) -> None:
    """The composite plan's run shows the eight sections and what is left; a member comes back alone, then the rest."""
    before = _fingerprint(target_url)
    rolled = cli.succeed("rollback", "complete_ai_schema", "--target", "goodbuy_hq", "--wait")

    shown = cli.run("show", str(rolled["run"]))
    alone = cli.succeed("recover", str(rolled["run"]), "--member", "add_health_alerts", "--wait")
    rest = cli.succeed("recover", str(rolled["run"]), "--wait")

    sections = [line["step"] for line in cli.succeed("show", str(rolled["run"]))["summary"]]
    assert sections[0] == "ROLLBACK_START"
    assert sections[-1] == "ROLLBACK_COMPLETE"
    assert len(sections) == 10
    assert all(section in shown.out for section in sections)
    assert "count what is left: 0 of 5 tables, 0 of 5 types, 0 of 4 columns" in " ".join(shown.out.split())
    assert (alone["migration"], rest["migration"]) == ("add_health_alerts", "complete_ai_schema")
    assert _fingerprint(target_url) == before


def test_runs_that_are_needed_are_recovered_first(
    cli: CommandLine, target_url: str, target_owner_url: str, tmp_path: Path
) -> None:
    """A table whose type a later run took is refused alone; --with-dependencies recovers both, in the right order."""
    plans = {
        "one": "DROP TABLE health_metrics;",
        "two": "DROP TYPE health_trajectory;",
    }
    with psycopg.connect(target_owner_url, autocommit=True) as conn:
        insert = "INSERT INTO migration_rollbacks (migration_name, rollback_sql) VALUES (%s, %s)"
        conn.cursor().executemany(insert, list(plans.items()))
    before = _fingerprint(target_url)
    bare = cli.but(STEPBACK_TARGETS__GOODBUY_HQ__PLANS=str(tmp_path))

    with bare.running("worker", log=tmp_path / "worker.log"):
        first = bare.succeed("rollback", "one", "--target", "goodbuy_hq", "--wait")
        bare.succeed("rollback", "two", "--target", "goodbuy_hq", "--wait")
        refused = bare.run("recover", str(first["run"]), "--wait", "--json")
        done = bare.run("recover", str(first["run"]), "--with-dependencies", "--wait", "--json")

    assert (refused.code, refused.document["error"]["code"]) == (3, "recover_first")
    assert (done.code, done.document["state"], done.document["subject_run"]) == (0, "completed", first["run"])
    assert "run 1 needs what run 2 keeps" in done.err
    assert _fingerprint(target_url) == before
