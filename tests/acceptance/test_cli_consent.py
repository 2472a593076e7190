"""`approve` and `cancel`, from the command line: who may, and what comes of it."""

from __future__ import annotations

import pytest

from tests.acceptance.commandline import CommandLine

_CONFIGURATION = """
[producers."service:nightly"]
kinds = ["rollback"]
targets = ["goodbuy_*"]
destructive_per_hour = 2
approval = true

[producers."person:ada"]
approves = ["goodbuy_hq"]
"""
_ROLLBACK = ("rollback", "add_health_metrics_table", "--target", "goodbuy_hq")


@pytest.fixture
def named(cli: CommandLine) -> CommandLine:
    """Give a command line where nobody has a right who is not named, and two have keys."""
    (cli.folder / "stepback.toml").write_text(_CONFIGURATION, encoding="utf-8")
    for issuer in ("service:nightly", "person:ada"):
        cli.succeed("keys", "new", "--issuer", issuer, "--out", str(cli.folder / f"{issuer[-3:]}.pem"))
    return cli.but(STEPBACK_TRUST_LOCAL_OPERATOR="none")


@pytest.fixture
def nightly(named: CommandLine) -> CommandLine:
    """Give that of the one who asks."""
    return named.but(STEPBACK_KEY=str(named.folder / "tly.pem"), STEPBACK_ISSUER="service:nightly")


@pytest.fixture
def ada(named: CommandLine) -> CommandLine:
    """Give that of the one who approves."""
    return named.but(STEPBACK_KEY=str(named.folder / "ada.pem"), STEPBACK_ISSUER="person:ada")


def test_what_waits_goes_on_when_somebody_else_approves(nightly: CommandLine, ada: CommandLine) -> None:
    """Whoever asked cannot approve; show says what it would do; exit code 4 while it waits."""
    log = nightly.folder / "worker.log"
    with nightly.running("worker", log=log):
        waiting = nightly.run(*_ROLLBACK, "--wait", "--json")
        shown = ada.run("show", "1")
        own = nightly.run("approve", "1", "--json")
        other = ada.run("approve", "1", "--impact", "0" * 64, "--json")
        done = ada.succeed("approve", "1", "--reason", "seen", "--wait")

    assert (waiting.code, waiting.document["state"]) == (4, "awaiting_approval")
    assert "health_metrics" in shown.out
    assert "it reaches what will be moved table public.health_metrics" in " ".join(shown.out.split())
    assert (own.code, own.error) == (3, "not_allowed")
    assert other.error == "impact_changed"
    assert done["state"] == "completed"
    (approved,) = [event for event in ada.succeed("audit", "1") if event["type"] == "run_approved"]
    assert approved["actor"] == "person:ada"


def test_what_waits_is_cancelled(nightly: CommandLine, ada: CommandLine) -> None:
    """Its own requester may, without any right to approve; what has ended cannot be."""
    log = nightly.folder / "worker.log"
    with nightly.running("worker", log=log):
        nightly.run(*_ROLLBACK, "--wait")
        done = nightly.succeed("cancel", "1", "--reason", "not today")
        late = ada.run("cancel", "1", "--reason", "neither", "--json")

    assert (done["state"], done["error"]["code"]) == ("cancelled", "cancelled")
    assert late.code in {0, 3}
    assert ada.succeed("show", "1")["state"] == "cancelled"


def test_who_is_not_named_may_nothing(named: CommandLine, ada: CommandLine) -> None:
    """Neither the local operator here, nor one who may only approve; the message says where rights are given."""
    for whoever in (named, ada):
        refused = whoever.run(*_ROLLBACK, "--json")

        assert (refused.code, refused.error) == (3, "not_allowed")
        assert "stepback.toml" in refused.document["error"]["message"]


def test_the_limit_of_an_hour(nightly: CommandLine) -> None:
    """Two rollbacks of the target are allowed; the third is told to wait."""
    codes = [nightly.run(*_ROLLBACK, "--json") for _ in range(3)]

    assert [done.code for done in codes] == [0, 0, 3]
    assert codes[-1].error == "limit_reached"


def test_a_queued_run_is_cancelled_at_once(nightly: CommandLine) -> None:
    """No worker has it in hand: there is nothing to wait for."""
    run = nightly.succeed(*_ROLLBACK)["run"]

    assert nightly.succeed("cancel", str(run))["state"] == "cancelled"
    assert nightly.run("show", str(run), "--json").document["state"] == "cancelled"
