"""What a run's checks found, for people: the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from ledger.model import Kind, Run
from stepback.show.console import plain, table

_STYLES = {"fail": "bold red", "warn": "yellow", "ok": "green"}


def counts(checks: Sequence[Mapping[str, Any]]) -> str:
    """Return how many there are of each status: "38 checks: 37 ok, 1 warn, 0 fail"."""
    told = (f"{sum(check['status'] == status for check in checks)} {status}" for status in reversed(_STYLES))
    return f"{len(checks)} checks: {', '.join(told)}"


def found_by(run: Run) -> list[Mapping[str, Any]]:
    """Return a run's checks, the worst first, else in the order in which they were looked at."""
    found: Any = [] if run.validation is None else run.validation["checks"]
    return sorted(found, key=lambda check: [*_STYLES].index(check["status"]))


def of_run(run: Run) -> RenderableType:
    """Return what was found: all of it for a validation, else what does not hold."""
    found = found_by(run)
    whole = run.kind is Kind.VALIDATE
    failed = any(check["status"] == "fail" for check in found)
    told = plain(f"{'' if whole else 'validation after it: '}{counts(found)}", "bold red" if failed else "")
    shown = found if whole else [check for check in found if check["status"] != "ok"]
    return Group(told, _table(shown)) if shown else told


def _table(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    made = table("status", "check", "count", "detail", numbers=frozenset({"count"}))
    for check in found:
        count = "" if check["count"] is None else f"{check['count']:,}"
        status = plain(check["status"], _STYLES[check["status"]])
        made.add_row(status, plain(check["check"]), count, plain(check["detail"]))
    return made
