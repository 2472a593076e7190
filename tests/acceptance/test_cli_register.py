"""register: plans into the registry, all or none, each change in the audit log."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.acceptance.commandline import CommandLine
from tests.acceptance.conftest import PLANS

_TARGET = ("--target", "goodbuy_hq")


def _plan(folder: Path, sql: str | bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rollback.sql").write_bytes(sql if isinstance(sql, bytes) else sql.encode())
    return folder


def _rows(url: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as conn:
        return conn.execute("SELECT migration_name, rollback_status FROM migration_rollbacks ORDER BY id").fetchall()


def test_folder_of_plans(cli: CommandLine, target_owner_url: str) -> None:
    """A folder of plan folders registers each of them; once more changes nothing."""
    first = cli.succeed("register", str(PLANS), *_TARGET)
    again = cli.succeed("register", str(PLANS), *_TARGET)

    names = sorted(path.parent.name for path in PLANS.glob("*/plan.toml"))
    assert [(each["migration"], each["outcome"]) for each in first] == [(name, "registered") for name in names]
    assert {each["outcome"] for each in again} == {"unchanged"}
    assert _rows(target_owner_url) == [(name, "pending") for name in names]
    assert [event["type"] for event in cli.succeed("audit")].count("plan_registered") == len(names)


def test_changed_plan(cli: CommandLine, target_owner_url: str, tmp_path: Path) -> None:
    """A plan that changed is refused until it is registered again, in the same row."""
    mine = cli.but(STEPBACK_TARGETS__GOODBUY_HQ__PLANS=str(tmp_path / "plans"))
    plan = _plan(tmp_path / "plans" / "drop_alerts", "DROP TABLE price_alerts")
    mine.succeed("register", str(plan), *_TARGET)
    _plan(plan, "DROP TABLE price_alerts;")

    refused = mine.run("rollback", "drop_alerts", *_TARGET, "--json")
    (changed,) = mine.succeed("register", str(plan), *_TARGET)

    assert (refused.code, refused.error) == (3, "plan_changed")
    assert (changed["outcome"], changed["warning"]) == ("changed", None)
    assert _rows(target_owner_url) == [("drop_alerts", "pending")]
    assert mine.run("rollback", "drop_alerts", *_TARGET).code == 0


def test_warning_where_the_worker_does_not_look(cli: CommandLine, tmp_path: Path) -> None:
    """A plan outside the target's folder of plans is registered, with a warning that a rollback would not find it."""
    plan = _plan(tmp_path / "elsewhere" / "drop_alerts", "DROP TABLE price_alerts")

    done = cli.run("register", str(plan), *_TARGET)

    assert done.code == 0
    assert "drop_alerts: registered" in done.out
    assert "folder" in done.err


_BAD = {
    "empty": ("", "holds no statement"),
    "not SQL": ("DROP TABEL x", "not valid SQL"),
    "not UTF-8": (b"DROP TABLE \xff", "not UTF-8"),
    "NUL": ("DROP TABLE x;\x00 DROP TABLE y", "NUL"),
    "over 1 MiB": ("DROP TABLE x; -- " + "x" * (1 << 20), "1 MiB"),
    "COMMIT in mid-script": ("DROP TABLE x; COMMIT; DROP TABLE y", "line 1"),
    "SET ROLE": ("SET ROLE postgres; DROP TABLE x", "line 1"),
    "COPY PROGRAM": ("DROP TABLE x;\nCOPY y TO PROGRAM 'sh'", "line 2"),
    "ALTER SYSTEM": ("ALTER SYSTEM SET fsync = off", "line 1"),
}


@pytest.mark.parametrize(("sql", "words"), _BAD.values(), ids=_BAD)
def test_refused_plan(cli: CommandLine, target_owner_url: str, tmp_path: Path, sql: str | bytes, words: str) -> None:
    """A plan that cannot be made safe is refused with its reason, and takes the good one beside it along; audited."""
    _plan(tmp_path / "plans" / "a_good_one", "DROP TABLE price_alerts")
    _plan(tmp_path / "plans" / "bad", sql)

    done = cli.run("register", str(tmp_path / "plans"), *_TARGET, "--json")

    assert (done.code, done.error) == (3, "plan_refused")
    assert words in done.document["error"]["message"]
    assert _rows(target_owner_url) == []
    assert cli.succeed("audit")[-1]["detail"]["code"] == "plan_refused"


def test_no_plan_there(cli: CommandLine, tmp_path: Path) -> None:
    """A path without a plan is refused."""
    done = cli.run("register", str(tmp_path / "nothing"), *_TARGET, "--json")

    assert (done.code, done.error) == (3, "plan_refused")
