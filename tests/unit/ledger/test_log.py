"""What a log line says of an exception: our own words, and only the kind of everybody else's."""

from __future__ import annotations

import json

import psycopg

from ledger.errors import LedgerUnreachable
from ledger.log import _explain_exception


def _line(error: BaseException) -> str:
    return json.dumps(_explain_exception(None, "error", {"event": "failed", "exc_info": error}))


def test_our_own_errors_are_told_in_full() -> None:
    """Their messages are written to be read."""
    line = _line(LedgerUnreachable("the ledger does not answer"))

    assert "the ledger does not answer" in line
    assert "ledger.errors.LedgerUnreachable" in line


def test_a_driver_s_words_are_left_out() -> None:
    """They may hold a row or a password: the class and the SQLSTATE tell enough."""
    line = _line(psycopg.errors.UniqueViolation("Key (email)=(jane@example.org) already exists"))

    assert "jane" not in line
    assert "UniqueViolation" in line
    assert "23505" in line


def test_the_causes_are_told_in_order() -> None:
    """First what was raised last, then why, each with where."""
    try:
        try:
            raise psycopg.OperationalError("password=hunter2")  # noqa: TRY301 - to have a cause
        except psycopg.OperationalError as cause:
            raise LedgerUnreachable("the ledger does not answer") from cause
    except LedgerUnreachable as error:
        entry = _explain_exception(None, "error", {"event": "failed", "exc_info": error})

    assert [told["type"] for told in entry["exception"]] == [
        "ledger.errors.LedgerUnreachable",
        "psycopg.OperationalError",
    ]
    assert all("test_the_causes_are_told_in_order" in told["at"][-1] for told in entry["exception"])
    assert "hunter2" not in json.dumps(entry)


def test_a_line_without_an_exception_stays_as_it_is() -> None:
    """Nothing is added where nothing was raised."""
    assert _explain_exception(None, "info", {"event": "ok", "exc_info": None}) == {"event": "ok"}
