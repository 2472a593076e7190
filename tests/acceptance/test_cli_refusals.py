"""What the command line refuses before anything is recorded, and what it never repeats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.commandline import CommandLine

_DSN = "postgresql://ada:s3cret@db.example/goodbuy_hq"
_TARGET = ("--target", "goodbuy_hq")

_REFUSED = {
    "dsn for a migration": (("rollback", _DSN, *_TARGET), "bad_name"),
    "conninfo for a migration": (("rollback", "host=db password=s3cret", *_TARGET), "bad_name"),
    "dsn for a target": (("rollback", "add_health_alerts", "--target", _DSN), "bad_name"),
    "path": (("rollback", "../add_health_alerts", *_TARGET), "bad_name"),
    "control character": (("rollback", "add_health\nalerts", *_TARGET), "bad_name"),
    "not UTF-8": (("rollback", "add_health\udcff", *_TARGET), "bad_name"),
    "64 bytes": (("rollback", "m" * 64, *_TARGET), "bad_name"),
    "empty": (("rollback", "", *_TARGET), "bad_name"),
    "unknown target": (("rollback", "add_health_alerts", "--target", "nowhere"), "unknown_target"),
    "unknown migration": (("rollback", "add_nothing", *_TARGET), "unknown_migration"),
    "long reason": (("rollback", "add_health_alerts", *_TARGET, "--reason", "x" * 501), "bad_name"),
    "unknown run": (("recover", "99"), "unknown_run"),
}


@pytest.mark.parametrize(("arguments", "code"), _REFUSED.values(), ids=_REFUSED)
def test_refused(cli: CommandLine, arguments: tuple[str, ...], code: str) -> None:
    """Exit code 3 and one error document; nothing is recorded but the refusal, and no secret is anywhere."""
    done = cli.run(*arguments, "--json")

    assert (done.code, done.error) == (3, code)
    log = cli.run("audit", "export").out
    events = [json.loads(line) for line in log.splitlines()]
    assert [event["type"] for event in events] == ["key_registered", "command_refused"]
    assert events[1]["detail"]["code"] == code
    assert "s3cret" not in done.out + done.err + log


_USAGE = {
    "no target": ("rollback", "add_health_alerts"),
    "extra argument": ("rollback", "add_health_alerts", _DSN, *_TARGET),
    "no such command": (_DSN,),
    "no such option": ("rollback", "add_health_alerts", *_TARGET, f"--url={_DSN}"),
    "dsn for a run": ("recover", _DSN),
    "dsn for a state": ("runs", "--state", _DSN),
    "run 0": ("show", "0"),
    "run beyond bigint": ("show", str(2**63)),
    "negative timeout": ("rollback", "add_health_alerts", *_TARGET, "--timeout", "-1"),
}


@pytest.mark.parametrize("arguments", _USAGE.values(), ids=_USAGE)
def test_usage(bare: CommandLine, arguments: tuple[str, ...]) -> None:
    """A wrong command line is exit code 2, an error of one line, and no secret in it."""
    done = bare.run(*arguments)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("usage: ")
    assert done.err.count("\n") == 1
    assert "s3cret" not in done.err


def test_usage_as_document(bare: CommandLine) -> None:
    """With --json a wrong command line is an error document, and nothing is said beside it."""
    done = bare.run("runs", "--state", _DSN, "--json")

    assert (done.code, done.error, done.err) == (2, "usage", "")
    assert "s3cret" not in done.out


def test_bad_configuration(bare: CommandLine) -> None:
    """A bad value is exit code 2, and the message names the key."""
    done = bare.but(STEPBACK_WORKER_THREADS="0").run("runs", "--json")

    assert (done.code, done.error) == (2, "bad_configuration")
    assert "worker.threads" in done.document["error"]["message"]


def test_no_server(bare: CommandLine, tmp_path: Path) -> None:
    """With nothing configured and nothing running, exit code 2 says what to start, and no folder is made."""
    done = bare.run("runs", "--json")

    assert (done.code, done.error) == (2, "no_server")
    assert "stepback up" in done.document["error"]["message"]
    assert not (tmp_path / "data").exists()
