"""Each process under a login of its own: what it may do is enough, and what it may not is told in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine

from ledger import runs
from ledger.database import open_ledger, transaction
from ledger.keys import register_key
from ledger.model import State
from producers.keys import new_key
from stepback.embedded import Postgres
from tests.acceptance.commandline import CommandLine, said, wait_for

_RIGHTS = """
[producers."service:billing"]
kinds = ["rollback", "recover"]
targets = ["goodbuy_*"]
approval = true

[producers."service:oncall"]
approves = ["goodbuy_*"]
"""

_ROLLBACK = ("rollback", "add_health_metrics_table", "--target", "goodbuy_hq", "--reason", "bad release")

#: A command line whose ledger login is a member of one group, and which signs as somebody.
As = Callable[..., CommandLine]


@pytest.fixture
def as_group(cli: CommandLine, postgres: Postgres, ledger_database: str, tmp_path: Path) -> Iterator[As]:
    """Give a function that makes command lines: for a group of the ledger, and a key that the operator has made."""
    (cli.folder / "stepback.toml").write_text(_RIGHTS, encoding="utf-8")
    here = cli.but(STEPBACK_TRUST_LOCAL_OPERATOR="none", STEPBACK_MONITOR_CANARY_SECONDS="0.5")
    with psycopg.connect(postgres.superuser_url("postgres"), autocommit=True) as admin, ExitStack() as stack:

        def make(group: str, issuer: str | None = None) -> CommandLine:
            login = f"{group}_{uuid4().hex[:8]}"
            role, of = sql.Identifier(login), sql.Identifier(f"stepback_ledger_{group}")
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN; GRANT {} TO {}").format(role, of, role))
            stack.callback(admin.execute, sql.SQL("DROP ROLE {}").format(role))
            made = here.but(STEPBACK_LEDGER_URL=postgres.url(ledger_database, login))
            if issuer is None:
                return made
            key = new_key(tmp_path / f"{login}.pem", issuer)
            with _ledger(make("operator")) as engine, transaction(engine) as conn:
                register_key(conn, key.key_id, issuer, key.public_key)
            return made.but(STEPBACK_KEY=str(tmp_path / f"{login}.pem"), STEPBACK_ISSUER=issuer)

        yield make


@contextmanager
def _ledger(line: CommandLine) -> Iterator[Engine]:
    """Open the ledger as the login of a command line."""
    engine = open_ledger(line.variables["STEPBACK_LEDGER_URL"])
    yield engine
    engine.dispose()


def test_a_rollback_is_asked_for_approved_carried_out_watched_and_audited_by_five_logins(
    as_group: As, tmp_path: Path
) -> None:
    """None of them may do what another does, and together they do all of it."""
    billing, oncall = as_group("producer", "service:billing"), as_group("consent", "service:oncall")
    auditor = as_group("auditor")
    logs = {name: tmp_path / f"{name}.log" for name in ("worker", "monitor")}
    with (
        as_group("worker").running("worker", log=logs["worker"]),
        as_group("monitor", "monitor:one").running("monitor", log=logs["monitor"]),
    ):
        asked = billing.run(*_ROLLBACK, "--json").document["run"]
        with _ledger(auditor) as engine:

            def stands(state: State) -> Callable[[], bool]:
                def look() -> bool:
                    with transaction(engine) as conn:
                        return runs.find(conn, asked).state is state

                return look

            wait_for("an approval to be wanted", stands(State.AWAITING_APPROVAL))
            oncall.succeed("approve", str(asked), "--reason", "seen")
            wait_for("the rollback", stands(State.COMPLETED))
        wait_for("a canary", said(logs["worker"], '"run": -'))
        told = [event["type"] for event in auditor.succeed("audit", str(asked))]

    assert auditor.succeed("audit", "verify")["ok"]
    assert [told.count(fact) for fact in ("command_submitted", "run_approved", "run_completed")] == [1, 1, 1]
    for log in logs.values():
        written = log.read_text(encoding="utf-8")
        assert [word for word in ("InsufficientPrivilege", "42501", "canary_failed", "broke") if word in written] == []


@pytest.mark.parametrize("group", ["auditor", "monitor"])
def test_who_may_not_ask_is_told_so_and_nothing_is_recorded(as_group: As, group: str) -> None:
    """With a key that counts, but a login that may not write commands."""
    asking = as_group(group, "service:billing")

    refused = asking.run(*_ROLLBACK, "--json")

    assert (refused.code, refused.error) == (3, "not_allowed")
    assert "docs/deploying.md" in refused.out
    assert as_group("auditor").succeed("runs") == []


def test_who_may_not_register_keys_is_told_so(as_group: As) -> None:
    """A producer's login cannot give a voice to anybody, to itself as little as to others."""
    producer = as_group("producer")

    made = producer.run("keys", "new", "--issuer", "service:mine", "--out", "mine.pem", "--json")
    own = producer.run(*_ROLLBACK, "--json")

    assert (made.error, own.error) == ("not_allowed", "not_allowed")
    assert as_group("auditor").succeed("keys", "list") == []
