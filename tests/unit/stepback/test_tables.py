"""Numbers, and what checks found, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from uuid import UUID

import pytest
from rich.console import Console

from ledger.model import Json, Kind, Phase, Run, State
from stepback.show import checks, tables


@pytest.mark.parametrize(
    ("number", "told"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (21_300_000, "21.3 MB"), (5 * 10**15, "5000.0 TB")],
)
def test_size(number: int | None, told: str) -> None:
    """Bytes have the unit that keeps them short."""
    assert tables.size(number) == told


def test_count() -> None:
    """Thousands stand apart; what is not known is left empty."""
    assert (tables.count(52_800), tables.count(None)) == ("52,800", "")


def test_milliseconds() -> None:
    """Seconds become whole milliseconds."""
    assert (tables.milliseconds(0.3094), tables.milliseconds(None)) == ("309", "")


_FOUND: list[Json] = [
    {"check": "a", "status": "ok", "count": 1200, "detail": "fine"},
    {"check": "b", "status": "warn", "count": None, "detail": "hidden"},
    {"check": "c", "status": "fail", "count": 3, "detail": "bad [red]\x1b[0m"},
]


def _printed(run: Run) -> list[list[str]]:
    console = Console(file=StringIO(), width=120)
    console.print(checks.of_run(run))
    assert isinstance(console.file, StringIO)
    return [line.split() for line in console.file.getvalue().splitlines()]


def _run(kind: Kind, result: dict[str, Json]) -> Run:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return Run(
        *(1, UUID(int=1), kind, "t", None, None, State.COMPLETED, Phase.FINISH, 1, "local:ada", "", now, now, now),
        *(None, None, None, None),
        result=result,
    )


def test_checks_of_a_validation() -> None:
    """All checks of a validation are shown, the worst first, and nothing in them speaks to the terminal."""
    assert _printed(_run(Kind.VALIDATE, {"ok": False, "checks": _FOUND})) == [
        ["3", "checks:", "1", "ok,", "1", "warn,", "1", "fail"],
        ["status", "check", "count", "detail"],
        ["fail", "c", "3", "bad", "[red]\\x1b[0m"],
        ["warn", "b", "hidden"],
        ["ok", "a", "1,200", "fine"],
    ]


def test_checks_after_a_rollback() -> None:
    """Of what a rollback ended with, a sentence, and what does not hold."""
    printed = _printed(_run(Kind.ROLLBACK, {"validation": {"ok": False, "checks": _FOUND}}))

    assert printed[0][:4] == ["validation", "after", "it:", "3"]
    assert [line[0] for line in printed[1:]] == ["status", "fail", "warn"]
    assert len(_printed(_run(Kind.ROLLBACK, {"validation": {"ok": True, "checks": _FOUND[:1]}}))) == 1
