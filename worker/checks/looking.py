"""Looking at a file of checks: its query is run, and so is each query that it gives; every row becomes a check.

Whatever goes wrong on the way is a check that fails, with the error for its detail: a validation says what it could not
look at, and looks at all the rest.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

from ledger.errors import LockNotAvailable, NotPossible, PlanRefused, StatementFailed
from ledger.model import Json
from worker.checks.files import CheckFile, query_of
from worker.checks.scope import Scope
from worker.target import Session

#: What each row of a check has.
COLUMNS: Final = frozenset({"check", "status", "count", "detail"})
STATUSES: Final = ("ok", "warn", "fail")
#: Rows that one file may give.
MOST_ROWS: Final = 20_000
#: Longest name and detail, in characters.
_MOST_NAME, _MOST_DETAIL = 300, 2000
#: A whole number as the server prints it, of whatever type.
_COUNT: Final = re.compile(r"(-?[0-9]{1,18})(\.0+)?")

#: What a query gave, by column.
Row: TypeAlias = Mapping[str, str | None]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    check: str
    #: One of STATUSES; those that warn do not make a validation fail.
    status: str
    #: What was counted, as the detail says; None: nothing.
    count: int | None
    detail: str


@dataclass(frozen=True)
class Findings:
    """What a validation found, in the order of the files."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """Those that do not hold."""
        return tuple(check for check in self.checks if check.status == "fail")

    def result(self) -> dict[str, Json]:
        """Return it as a run's result has it."""
        return {"ok": not self.failed, "checks": [{**asdict(check)} for check in self.checks]}

    def told(self) -> str:
        """Return it in a few words: "14 check(s): 12 ok, 2 warn, 0 fail"."""
        counted = (f"{sum(check.status == status for check in self.checks)} {status}" for status in STATUSES)
        return f"{len(self.checks)} check(s): {', '.join(counted)}"


class Allowance:
    """How long checks may take: a statement each, or altogether where something waits for their end."""

    def __init__(self, statement_ms: int, seconds: float | None = None) -> None:
        self._statement_ms = statement_ms
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left_ms(self) -> int:
        """How long the next statement may take; 0: there is no time left."""
        if self._end is None:
            return self._statement_ms
        return max(0, min(self._statement_ms, int((self._end - time.monotonic()) * 1000)))

    @property
    def is_short(self) -> bool:
        """Whether something waits: what would take longer is left to a validation of its own."""
        return self._end is not None

    def spent(self) -> str:
        """Say what became of a check that there was no time for."""
        return f"not looked at within {self._seconds:g} s after COMMIT; `stepback validate` takes its time"


@dataclass(frozen=True)
class Looking:
    """Looks at files of checks, one after the other."""

    #: In the target, outside any transaction.
    session: Session
    #: What a file is asked to look at; one's own may not care.
    scope: Scope
    allowance: Allowance

    def at(self, file: CheckFile) -> tuple[Check, ...]:
        """Look at one file.

        Raises:
            TargetUnreachable: The connection is gone.
        """
        if file.query is None:
            return (_failed(file.title, file.fault or "no query"),)
        found: list[Check] = []
        for row in self._ask(file, file.title, file.query):
            found += self._closer(file, row) if isinstance(row, Mapping) and row.get("query") else [_check(file, row)]
        return tuple(found)

    def _closer(self, file: CheckFile, row: Row) -> list[Check]:
        """Run the query that a row gives in the place of a finding; its rows are findings."""
        name = _name(row) or file.title
        try:
            query = query_of(row["query"] or "", f"the query of {name}")
        except PlanRefused as error:
            return [_failed(name, error.message)]
        return [_check(file, found) for found in self._ask(file, name, query)]

    def _ask(self, file: CheckFile, name: str, query: str) -> Sequence[Row | Check]:
        """Return the rows of a query, or the one check that says why there are none."""
        left = self.allowance.left_ms
        if not left:
            return [Check(name, "warn", None, self.allowance.spent())]
        settings = {**self.scope.settings(), "statement_timeout": str(left)}
        try:
            columns, rows = self.session.inquire(query, settings, most=MOST_ROWS + 1, own_names=file.own)
        except (StatementFailed, NotPossible, LockNotAvailable) as error:
            if self.allowance.is_short and (isinstance(error, LockNotAvailable) or not self.allowance.left_ms):
                return [Check(name, "warn", None, self.allowance.spent())]
            return [_failed(name, error.message)]
        if len(columns) != len(set(columns)) or set(columns) - {"query"} != COLUMNS:
            return [_failed(name, 'gives other columns than "check", status, count, detail and, perhaps, query')]
        if len(rows) > MOST_ROWS:
            return [_failed(name, f"gives more than {MOST_ROWS:,} rows")]
        return [dict(zip(columns, row, strict=True)) for row in rows]


def _check(file: CheckFile, row: Row | Check) -> Check:
    """Return the check that a row is, or one that says why it is none."""
    if isinstance(row, Check):
        return row
    told, status, count, detail = _name(row), row["status"], _whole(row["count"]), row["detail"]
    if told is None:
        return _failed(file.title, "gives a row without a name in its column check")
    if status not in STATUSES:
        return _failed(told, f"its status is none of {', '.join(STATUSES)}")
    if count is None and row["count"] is not None:
        return _failed(told, "its count is no whole number")
    return Check(told, status, count, (detail or "")[:_MOST_DETAIL])


def _name(row: Row) -> str | None:
    name = (row["check"] or "").strip()
    return name[:_MOST_NAME] or None


def _whole(count: str | None) -> int | None:
    """Return a count; sums come as numeric, and no canonical JSON holds a fraction."""
    found = _COUNT.fullmatch(count or "")
    return None if found is None else int(found[1])


def _failed(name: str, detail: str) -> Check:
    return Check(name, "fail", None, detail[:_MOST_DETAIL])
