"""validate, from the command line through the queue to a worker process and back."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.acceptance.commandline import CommandLine

_VALIDATE = ("validate", "--target", "goodbuy_hq", "--wait")


@pytest.mark.usefixtures("worker")
def test_sound_target(cli: CommandLine) -> None:
    """On a sound target it completes with exit code 0, and its document has ok and every check."""
    done = cli.succeed(*_VALIDATE, "--reason", "before the release")

    assert (done["kind"], done["migration"], done["state"], done["reason"]) == (
        *("validate", None, "completed"),
        "before the release",
    )
    assert done["ok"] is True
    assert {frozenset(check) for check in done["checks"]} == {frozenset({"check", "status", "count", "detail"})}
    assert {check["status"] for check in done["checks"]} == {"ok"}
    assert cli.succeed("show", str(done["run"])) == done
    assert cli.succeed("audit", "verify")["ok"] is True


@pytest.mark.usefixtures("worker")
def test_broken_target(cli: CommandLine, target_owner_url: str) -> None:
    """Where checks fail the run completes with exit code 1, and a person reads the worst first."""
    with psycopg.connect(target_owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE businesses DISABLE TRIGGER businesses_touch_updated_at")

    as_json, told = cli.run(*_VALIDATE, "--json"), cli.run(*_VALIDATE)

    assert (as_json.code, told.code) == (1, 1)
    assert (as_json.document["state"], as_json.document["ok"]) == ("completed", False)
    lines = [line.strip() for line in told.out.splitlines()]
    first = next(place for place, line in enumerate(lines) if line.startswith("status "))
    assert "validate of everything on goodbuy_hq: completed" in told.out
    assert "1 fail" in lines[first - 1]
    assert lines[first + 1].startswith("fail    disabled triggers of public.businesses")
    assert all(line.startswith("ok ") for line in lines[first + 2 :] if line)
    assert cli.run("runs").code == 0


def test_own_checks_and_what_a_rollback_says(cli: CommandLine, tmp_path: Path) -> None:
    """Checks of the target's own folder are looked at; `show` of a rollback says plainly that one fails after it."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.sql").write_text(
        "SELECT 'too few users' AS \"check\", 'fail' AS status, count(*) AS count, 'of 1,000' AS detail FROM users"
    )
    cli = cli.but(STEPBACK_TARGETS__GOODBUY_HQ__CHECKS=str(tmp_path / "own"))

    with cli.running("worker", log=tmp_path / "worker.log"):
        rolled = cli.run("rollback", "add_health_alerts", "--target", "goodbuy_hq", "--wait", "--json")
        shown = cli.run("show", "1")
        found = cli.run(*_VALIDATE, "--json")

    assert (rolled.code, rolled.document["state"]) == (0, "completed")
    assert rolled.document["result"]["validation"]["ok"] is False
    assert "validation after it: " in shown.out
    assert "too few users" in shown.out
    assert "core table" not in shown.out
    assert (found.code, found.document["ok"]) == (1, False)


def test_not_waited_for(cli: CommandLine) -> None:
    """Without --wait it is queued, and the way to follow it is said; a name that is none is refused at the door."""
    queued = cli.run("validate", "--target", "goodbuy_hq", "--migration", "add_health_alerts")
    refused = cli.run("validate", "--target", "goodbuy_hq", "--migration", "../x", "--json")

    assert (queued.code, "run 1 is queued" in queued.out) == (0, True)
    assert (refused.code, refused.error) == (3, "bad_name")
    assert "validate" in cli.run("runs").out


@pytest.mark.usefixtures("worker")
def test_unknown_migration(cli: CommandLine) -> None:
    """A migration that nothing is known of is refused, with exit code 3."""
    done = cli.run(*_VALIDATE, "--migration", "add_helth_alerts", "--json")

    assert (done.code, done.document["error"]["code"]) == (3, "unknown_migration")
    assert "ok" not in done.document
