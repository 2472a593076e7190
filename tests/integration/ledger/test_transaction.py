"""Transactions in the ledger when its server sends somebody away."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import Engine, text

from ledger.database import after_commit, transaction
from ledger.errors import LedgerUnreachable


def test_cut_in_the_middle_is_told_as_such(ledger_engine: Engine, ledger_admin_url: str) -> None:
    """A connection that is cut between two statements is the ledger's silence; the next transaction goes on."""
    done: list[str] = []

    def cut() -> None:
        with transaction(ledger_engine) as conn, psycopg.connect(ledger_admin_url, autocommit=True) as admin:
            after_commit(conn, lambda: done.append("never"))
            pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
            admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
            conn.execute(text("SELECT 1"))

    with pytest.raises(LedgerUnreachable):
        cut()

    with transaction(ledger_engine) as conn:
        assert conn.execute(text("SELECT 1")).scalar_one() == 1
    assert done == []
