"""purge, from the command line: what it shows, what it wants typed, what it does, what it tells scripts."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from tests.acceptance.commandline import PATIENCE_SECONDS, CommandLine
from worker.target import connect

_TARGET = ("--target", "goodbuy_hq")


@pytest.fixture
def kept(cli: CommandLine, worker: None) -> Any:  # noqa: ARG001, ANN401 - a worker has to run; a document
    """Give the run of a rollback that keeps a table."""
    return cli.succeed("rollback", "add_health_metrics_table", *_TARGET, "--wait")


@pytest.fixture
def grace(cli: CommandLine) -> CommandLine:
    """Give the command line of somebody else, who approves."""
    path = str(cli.folder / "grace.pem")
    cli.succeed("keys", "new", "--issuer", "local:grace", "--out", path)
    return cli.but(STEPBACK_KEY=path, STEPBACK_ISSUER="local:grace")


def purged(cli: CommandLine, grace: CommandLine, *arguments: str) -> list[Any]:
    """Ask for purges, of which each waits, have them approved, and return how they ended."""
    done = cli.run("purge", *arguments, "--yes-delete", "goodbuy_hq", "--json")
    waiting = [run for run in done.document if run["state"] == "awaiting_approval"]
    assert (done.code, len(waiting)) == (4, len(done.document)), done
    return [grace.succeed("approve", str(run["run"]), "--wait") for run in waiting]


def aged(url: str, run: int, days: int = 31) -> None:
    """Let what a run keeps be older."""
    with psycopg.connect(url, autocommit=True) as conn:
        for table, column in (("preserved_objects", "preserved_at"), ("marker", "applied_at")):
            conn.execute(
                f"UPDATE emergency_backup.{table} SET {column} = {column} - make_interval(days => {days})"
                f" WHERE run = {run}".encode()
            )


def schemas(url: str) -> int:
    """Return how many quarantine schemas there are."""
    session = connect(url, "test")
    count: int = session.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r%'")
    session.close()
    return count


def typed(cli: CommandLine, answer: str, *arguments: str) -> tuple[int, str]:
    """Run a command at a terminal of its own and answer the first question; return exit code and what was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "stepback", *arguments],
        cwd=cli.folder,
        # Wide enough for tables not to break words.
        env={**cli.environment(), "COLUMNS": "250"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    asked = False
    with suppress(OSError):
        while block := os.read(ours, 4096):
            shown += block
            if not asked and b"to delete it:" in b" ".join(shown.split()):
                asked = True
                os.write(ours, f"{answer}\n".encode())
    code = process.wait(PATIENCE_SECONDS)
    os.close(ours)
    return code, " ".join(shown.decode().split())


def test_name_typed_by_hand(cli: CommandLine, grace: CommandLine, kept: Any, target_url: str) -> None:  # noqa: ANN401 - as above
    """It is shown first what goes, with rows and bytes; the target's name is typed, somebody else approves, it goes."""
    code, shown = typed(cli, "goodbuy_hq", "purge", "--run", str(kept["run"]), "--wait")

    assert code == 4, shown
    assert "to be deleted for good from goodbuy_hq" in shown
    assert "public.health_metrics" in shown
    assert "This cannot be undone" in shown
    assert "run 2: purge of add_health_metrics_table on goodbuy_hq: awaiting_approval" in shown
    assert cli.run("approve", "2", "--json").error == "not_allowed"
    assert schemas(target_url) > 0
    assert grace.succeed("approve", "2", "--wait")["state"] == "completed"
    assert schemas(target_url) == 0
    assert cli.run("recover", "1", "--wait").err.count("nothing_to_recover: run 1 was purged by run 2") == 1


@pytest.mark.parametrize("answer", ["y", "yes", "", "goodbuy"])
def test_anything_else_typed(cli: CommandLine, kept: Any, target_url: str, answer: str) -> None:  # noqa: ANN401 - as above
    """Anything but the name deletes nothing, and asks for nothing."""
    code, shown = typed(cli, answer, "purge", "--run", str(kept["run"]))

    assert code == 2
    assert "that is not the target's name; nothing was deleted" in shown
    assert [run["kind"] for run in cli.succeed("runs")] == ["rollback"]
    assert schemas(target_url) > 0


def test_script_without_a_word(cli: CommandLine, kept: Any) -> None:  # noqa: ANN401 - as above
    """Without a terminal and without --yes-delete nothing is asked for: exit code 2, and the option is named."""
    done = cli.run("purge", "--run", str(kept["run"]), "--json")

    assert (done.code, done.error) == (2, "usage")
    assert "--yes-delete goodbuy_hq" in done.document["error"]["message"]
    assert [run["kind"] for run in cli.succeed("runs")] == ["rollback"]


def test_script_with_another_target_s_name(cli: CommandLine, kept: Any) -> None:  # noqa: ANN401 - as above
    """The name has to be that of the target."""
    done = cli.run("purge", "--run", str(kept["run"]), "--yes-delete", "shop")

    assert done.code == 2
    assert [run["kind"] for run in cli.succeed("runs")] == ["rollback"]


def test_older_than(cli: CommandLine, grace: CommandLine, kept: Any, target_url: str) -> None:  # noqa: ANN401 - as above
    """Only what has been kept for longer goes, run by run; what is younger stays and is not shown."""
    young = cli.succeed("rollback", "add_health_alerts", *_TARGET, "--wait")
    purge = (*_TARGET, "--older-than", "30d")

    nothing = cli.succeed("purge", *purge, "--yes-delete", "goodbuy_hq")
    aged(target_url, kept["run"])
    (done,) = purged(cli, grace, *purge)

    assert nothing == []
    assert (done["kind"], done["state"], done["subject_run"]) == ("purge", "completed", kept["run"])
    assert done["result"]["purged_run"] == kept["run"]
    assert any(each["was"] == "table public.health_metrics" for each in done["result"]["objects"])
    assert cli.succeed("recover", str(young["run"]), "--wait")["state"] == "completed"


def test_retention(cli: CommandLine, grace: CommandLine, kept: Any, target_url: str) -> None:  # noqa: ANN401 - as above
    """Without a time it is the target's retention, and without that a mistake of usage; targets tell when it passes."""
    limited = cli.but(STEPBACK_TARGETS__GOODBUY_HQ__RETENTION="30d")

    without = cli.run("purge", *_TARGET, "--json")
    (before,) = limited.succeed("targets")
    aged(target_url, kept["run"])
    (after,) = limited.succeed("targets")
    done = purged(limited, grace, *_TARGET)
    (gone,) = limited.succeed("targets")

    assert (without.code, without.error) == (2, "usage")
    assert "no retention" in without.document["error"]["message"]
    assert cli.succeed("targets")[0]["quarantine"]["next_expiry"] is None
    assert before["quarantine"]["next_expiry"] > after["quarantine"]["next_expiry"]
    assert [run["state"] for run in done] == ["completed"]
    assert gone["quarantine"] == {"schemas": 0, "objects": 0, "bytes": 0, "next_expiry": None}


def test_run_that_keeps_nothing(cli: CommandLine, kept: Any) -> None:  # noqa: ANN401 - as above
    """There is nothing to show, so nothing is asked for: exit code 3, and the refusal is in the audit log."""
    cli.succeed("recover", str(kept["run"]), "--wait")

    done = cli.run("purge", "--run", str(kept["run"]), "--json")

    assert (done.code, done.error) == (3, "nothing_to_purge")
    assert cli.succeed("audit")[-1]["detail"]["code"] == "nothing_to_purge"
    assert cli.run("purge", "--run", "99", "--json").error == "unknown_run"


@pytest.mark.parametrize("wrong", ["--older-than 30", "--older-than 1y", "--older-than 0d", "--run 1 --older-than 1d"])
def test_mistakes_of_usage(cli: CommandLine, wrong: str) -> None:
    """Exit code 2, nothing is asked for."""
    done = cli.run("purge", *_TARGET, *wrong.split())

    assert done.code == 2
