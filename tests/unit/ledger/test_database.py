"""The ledger's URL: what libpq understands goes there as it is, and nothing of it into a message."""

from __future__ import annotations

import pytest

from ledger.database import open_ledger
from ledger.errors import BadConfiguration


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app@db.example:5433/stepback_ledger",
        "postgres://app@db.example/stepback_ledger?sslmode=verify-full",
        "postgresql+psycopg://app@/stepback_ledger?host=/run/postgresql",
        "postgresql://app@one:5432,two:5432/stepback_ledger?target_session_attrs=read-write",
    ],
)
def test_opening_connects_to_nothing(url: str) -> None:
    """An engine is made from any URL that libpq understands, whether or not somebody is there."""
    engine = open_ledger(url)

    assert engine.dialect.name == "postgresql"
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://u:hunter2@h/db",
        "host=h password=hunter2",
        "postgresql://u:hunter2@h:port/db?no_such_option=1",
        "postgresql://u:hunter2%zz@h/db",
    ],
)
def test_a_bad_url_is_refused_without_repeating_it(url: str) -> None:
    """The words of libpq would repeat what it stumbled over."""
    with pytest.raises(BadConfiguration) as refusal:
        open_ledger(url)

    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_an_engine_does_not_show_its_password() -> None:
    """Neither the engine's own words nor its URL hold it."""
    engine = open_ledger("postgresql://app:hunter2@h/stepback_ledger")

    assert "hunter2" not in f"{engine!r} {engine.url!r}"
    engine.dispose()
