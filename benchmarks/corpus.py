"""Other people's down scripts, out and back: does everything come back, and what is refused, why?

Method: one server, one scratch database, the migrations of one project in their order. Each goes up as its own tool
runs it, by the owner of the database; tables that are empty get a few rows, columns that are NULL everywhere a value
(benchmarks/seeding.py). Then, for each that has a way down:

1. fingerprint A of schema and data, column order aside (worker/fingerprint.py)
2. its own down script is a plan's rollback.sql, rolled back through Stepback; then the run is recovered
3. the fingerprint must be A again; a refusal must have left it alone
4. rolled back once more, which must come to the same; up again by hand, and on to the next migration

What is not exact is left applied, in the database as it was before. For comparison the same is done by hand, in a
copy: down, then up again.

Run: python -m benchmarks.corpus DIR [--json] [--target-version 15]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

import psycopg
from pglast import parse_sql, split
from pglast.parser import ParseError
from psycopg import errors as pg

from benchmarks.scripts import Migration, Script, read_project
from benchmarks.seeding import Seeder
from benchmarks.stage import Stage, admin, stage
from ledger.errors import Refused, WouldLoseData
from ledger.log import configure_logging
from ledger.model import Kind, Run, State
from ledger.names import MAX_NAME_BYTES
from stepback.embedded.postgres import DEFAULT_VERSION
from worker import fingerprint
from worker.fingerprint import Fingerprint, TableSum
from worker.install import install
from worker.plan.parse import line_of
from worker.target import connect

#: Nothing here has to survive a crash.
_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_OWNER, _WORKER = "goodbuy_app", "stepback_worker"
#: Longest statement and shortest list of differences that a report repeats.
_STATEMENT_CHARS, _DIFFERENCES = 400, 12


#: Everything came back, and then the up script failed on what the down script leaves.
_UP_AGAIN = "up_again"
#: Codes that say no, be it that it is said only once statements have run.
_DECLINED = {error.code for error in Refused.__subclasses__()} | {WouldLoseData.code}


class Outcome(StrEnum):
    """What became of a migration."""

    EXACT = "round trip exact"
    REFUSED = "refused"
    DIFFERENT = "recovered with differences"
    FAILED = "failed"
    NO_DOWN = "no way down"
    NOT_SQL = "not SQL"
    UP_FAILED = "up fails by itself"
    DOWN_FAILED = "down fails by itself"
    PASSED = "not asked for"


#: What a round trip was tried for.
TRIED = (Outcome.EXACT, Outcome.REFUSED, Outcome.DIFFERENT, Outcome.FAILED)


@dataclass(frozen=True)
class Report:
    """One migration, and what is to be said about it."""

    migration: str
    outcome: Outcome
    code: str | None = None
    reason: str = ""
    statement: str = ""
    #: Whether going down and up by hand gives the same schema and data; None if it was not tried.
    by_hand_exact: bool | None = None


@dataclass(frozen=True)
class _Found:
    """What the round trip came to, before it is known what a hand would have done."""

    outcome: Outcome
    code: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class _ByHand:
    """What going down and up again without Stepback came to."""

    down_failed: str | None = None
    up_failed: str | None = None
    #: Whether all was as before.
    exact: bool = False


@dataclass
class Corpus:
    """One project on one scratch database."""

    here: Stage
    plans: Path
    #: The others only go up.
    only: re.Pattern[str] = re.compile("")
    #: Made when it begins.
    database: str = "corpus"
    seeder: Seeder = field(default_factory=Seeder)
    #: How often an up script could only run once the quarantine was emptied.
    purges: int = 0

    def go_through(self, migrations: Sequence[Migration]) -> Iterator[Report]:
        """Take one migration after the other out and back."""
        self._begin()
        for migration in migrations:
            yield self._one(migration)

    def _begin(self) -> None:
        admin(self.here.server, f"CREATE DATABASE {self.database} OWNER {_OWNER} TEMPLATE template0")
        target = connect(self._url(_WORKER), "corpus")
        install(target)
        target.close()

    def _one(self, migration: Migration) -> Report:
        if migration.up is None:
            for statement in migration.stand_in:
                self._up(Script(statement))
            return Report(migration.name, Outcome.NOT_SQL)
        failure = self._up_for_good(migration.up)
        self._seed()
        if failure is not None:
            return Report(migration.name, Outcome.UP_FAILED, reason=failure)
        if not self.only.search(migration.name):
            return Report(migration.name, Outcome.PASSED)
        if migration.down is None or migration.down.is_empty:
            return Report(migration.name, Outcome.NO_DOWN)
        return self._tried(migration.name, migration.down, migration.up)

    def _tried(self, name: str, down: Script, up: Script) -> Report:
        with self._copied() as before:
            image = self._fingerprint()
            found = self._there_and_back(name, down, up, image)
            if found.outcome is not Outcome.EXACT:
                self._go_back_to(before)
            by_hand = self._by_hand(before, down, up, image)
        if by_hand.down_failed is not None and found.outcome in {Outcome.REFUSED, Outcome.FAILED}:
            return Report(name, Outcome.DOWN_FAILED, found.code, f"{by_hand.down_failed} ({found.reason})")
        if found.code == _UP_AGAIN and by_hand.up_failed is not None:
            told = f"out and back; its up cannot follow its own down, by hand neither: {by_hand.up_failed}"
            return Report(name, Outcome.EXACT, found.code, told, by_hand_exact=False)
        statement = "" if found.outcome is Outcome.EXACT else _statement(down.text, found.reason)
        return Report(name, found.outcome, found.code, found.reason, statement, by_hand.exact)

    # -- the round trip -----------------------------------------------------------

    def _there_and_back(self, migration: str, down: Script, up: Script, image: Fingerprint) -> _Found:
        name = self._plan(migration, down)
        rolled_back = self._carry_out(Kind.ROLLBACK, name)
        if rolled_back.state is not State.COMPLETED:
            return self._not_done(rolled_back, image)
        between = self._fingerprint()
        recovered = self._carry_out(Kind.RECOVER, name, rolled_back.run)
        if recovered.state is not State.COMPLETED:
            return _failed(recovered, "recovery")
        unlike = _differences(image, self._fingerprint()) + _unfinished(recovered)
        if unlike:
            return _Found(Outcome.DIFFERENT, reason="; ".join(unlike))
        return self._once_more(name, up, between)

    def _once_more(self, name: str, up: Script, between: Fingerprint) -> _Found:
        """Roll back again, which must come to the same, and go up."""
        again = self._carry_out(Kind.ROLLBACK, name)
        if again.state is not State.COMPLETED:
            return _failed(again, "the second time")
        # Down scripts ask what time it is: of rows only their number is the same.
        unlike = _differences(_counted(between), _counted(self._fingerprint()))
        if unlike:
            return _Found(Outcome.DIFFERENT, reason="the second time: " + "; ".join(unlike))
        failure = self._up_for_good(up)
        if failure is not None:
            return _Found(Outcome.FAILED, _UP_AGAIN, failure)
        self._seed()
        return _Found(Outcome.EXACT)

    def _not_done(self, run: Run, image: Fingerprint) -> _Found:
        """Tell a refusal from a failure: it says why, and has changed nothing."""
        touched = _differences(image, self._fingerprint())
        if touched:
            return _Found(Outcome.FAILED, _code(run), "not done, and yet: " + "; ".join(touched))
        # Under the locks a refusal ends the run as a failure; nothing is changed either way.
        declined = run.state is State.REFUSED or _code(run) in _DECLINED
        return _Found(Outcome.REFUSED if declined else Outcome.FAILED, _code(run), _reason(run))

    def _plan(self, migration: str, down: Script) -> str:
        """Write the plan's folder and return its name: the migration's, cut where it is too long."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", migration)
        if len(name) > MAX_NAME_BYTES:
            name = f"{name[: MAX_NAME_BYTES - 9]}_{sha256(name.encode()).hexdigest()[:8]}"
        (self.plans / name).mkdir(parents=True, exist_ok=True)
        (self.plans / name / "rollback.sql").write_text(down.text, encoding="utf-8")
        return name

    def _carry_out(self, kind: Kind, name: str, subject: int | None = None) -> Run:
        return self.here.attempt(self._url(_WORKER), self.plans, kind, name, subject)

    # -- by hand ------------------------------------------------------------------

    def _up(self, script: Script, database: str | None = None) -> str | None:
        return run_by_hand(self._url(_OWNER, database), self._url("postgres", database), script)

    def _up_for_good(self, script: Script) -> str | None:
        """Go up, on empty tables if it cannot be otherwise: some steps were only ever run before there were rows."""
        failure = self._up(script)
        if failure is None:
            return None
        # What an earlier rollback keeps may hold fast what this changes; whoever goes on for good purges it.
        self._purge()
        if self._up(script) is None:
            self.purges += 1
            return None
        with psycopg.connect(self._url("postgres"), autocommit=True) as conn:
            self.seeder.empty_all(conn)
        return failure if self._up(script) is not None else None

    def _purge(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as conn:
            for (name,) in conn.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r%'"
            ):
                conn.execute(f'DROP SCHEMA "{name}" CASCADE'.encode())

    def _by_hand(self, database: str, down: Script, up: Script, image: Fingerprint) -> _ByHand:
        """Go down and up in a copy, with the scripts alone."""
        failure = self._up(down, database)
        if failure is not None:
            return _ByHand(down_failed=failure)
        failure = self._up(up, database)
        if failure is not None:
            return _ByHand(up_failed=failure)
        return _ByHand(exact=not _differences(image, self._fingerprint(database)))

    # -- the database -------------------------------------------------------------

    def _seed(self) -> None:
        # By the owner: triggers may create things.
        with psycopg.connect(self._url(_OWNER), autocommit=True) as conn:
            conn.execute("SET statement_timeout = '10s'")
            self.seeder.seed(conn)

    def _fingerprint(self, database: str | None = None) -> Fingerprint:
        session = connect(self._url("postgres", database), "corpus")
        try:
            return fingerprint.of_database(session)
        finally:
            session.close()

    def _url(self, role: str, database: str | None = None) -> str:
        return self.here.server.url(database or self.database, role)

    @contextmanager
    def _copied(self) -> Iterator[str]:
        name = f"{self.database}_before"
        admin(self.here.server, f"CREATE DATABASE {name} TEMPLATE {self.database} OWNER {_OWNER}")
        try:
            yield name
        finally:
            admin(self.here.server, f"DROP DATABASE {name} WITH (FORCE)")

    def _go_back_to(self, copy: str) -> None:
        admin(self.here.server, f"DROP DATABASE {self.database} WITH (FORCE)")
        admin(self.here.server, f"CREATE DATABASE {self.database} TEMPLATE {copy} OWNER {_OWNER}")


def run_by_hand(url: str, superuser_url: str, script: Script) -> str | None:
    """Run a script as its tool does, by the owner; what is about extensions by whoever may. Return why it failed."""
    try:
        _run(url, script.parts)
    except (pg.InsufficientPrivilege, pg.UndefinedFile):
        parts = split(script.text)
        ours = [part for part in parts if re.match(r"\s*(CREATE|COMMENT\s+ON)\s+EXTENSION\b", part, re.IGNORECASE)]
        try:
            _run(superuser_url, ours)
            _run(url, [part for part in parts if part not in ours])
        except psycopg.Error as error:
            return _told(error)
    except (psycopg.Error, ParseError) as error:
        return _told(error)
    return None


def _run(url: str, parts: Sequence[str]) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET statement_timeout = '60s'")
        for part in parts:
            conn.execute(part.encode())


def _told(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


# -- what is said about it --------------------------------------------------------


def _code(run: Run) -> str | None:
    return None if run.error is None else run.error.code


def _reason(run: Run) -> str:
    return str(run.state) if run.error is None else run.error.message


def _failed(run: Run, when: str) -> _Found:
    return _Found(Outcome.FAILED, _code(run), f"{when}: {_reason(run)}")


def _unfinished(run: Run) -> list[str]:
    """Return what did not end well after COMMIT: steps, and checks that do not hold."""
    steps = [f"step {step.step} {step.outcome}" for step in run.steps if step.outcome != "completed"]
    checks = (run.validation or {}).get("checks")
    found = [check for check in checks if isinstance(check, dict)] if isinstance(checks, list) else []
    return steps + [f"{each['check']}: {each['detail']}" for each in found if each["status"] == "fail"]


def _differences(one: Fingerprint, other: Fingerprint) -> list[str]:
    """Return what a fingerprint has and the other has not."""
    schema = [f"- {fact}" for fact in one.schema if fact not in set(other.schema)]
    schema += [f"+ {fact}" for fact in other.schema if fact not in set(one.schema)]
    before, after = dict(one.data), dict(other.data)
    rows = [f"rows of {name}" for name in before if name in after and before[name] != after[name]]
    return [*schema, *rows][:_DIFFERENCES]


def _counted(image: Fingerprint) -> Fingerprint:
    return Fingerprint(image.schema, tuple((name, TableSum(found.rows, "")) for name, found in image.data))


def _statement(script: str, reason: str) -> str:
    """Return the statement of a script that a message names by its line, or all of it."""
    line = re.search(r"\bline (\d+):", reason)
    text = script.strip()
    if line is not None:
        for raw in parse_sql(script):
            end = (raw.stmt_location or 0) + (raw.stmt_len or len(script))
            if line_of(raw, script) >= int(line.group(1)):
                text = script[raw.stmt_location or 0 : end].strip()
                break
    text = re.sub(r"\s+", " ", re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)).strip()
    return text if len(text) <= _STATEMENT_CHARS else text[:_STATEMENT_CHARS] + " …"


def summary(reports: Sequence[Report]) -> dict[str, object]:
    """Return the counts: by outcome, by code of refusals, and how many are exact by hand alone."""
    outcomes = Counter(report.outcome for report in reports)
    tried = [report for report in reports if report.outcome in TRIED]
    return {
        "migrations": len(reports),
        "tried": len(tried),
        "outcomes": {outcome.value: outcomes[outcome] for outcome in Outcome},
        "refusals": dict(Counter(report.code for report in reports if report.outcome is Outcome.REFUSED).most_common()),
        "exact_by_hand": sum(1 for report in tried if report.by_hand_exact),
    }


def _print(reports: Sequence[Report], seconds: float, corpus: Corpus) -> None:
    for report in reports:
        if report.outcome is not Outcome.EXACT:
            print(f"\n{report.migration}: {report.outcome}{f' ({report.code})' if report.code else ''}")
            for told in filter(None, (report.statement, report.reason)):
                print(f"    {told}")
    counts = summary(reports)
    print(f"\n{counts['migrations']} migrations, {counts['tried']} taken out and back, in {seconds:.0f} s")
    for outcome in Outcome:
        print(f"  {outcome.value:<28} {sum(1 for report in reports if report.outcome is outcome):>5}")
    for code, count in Counter(r.code for r in reports if r.outcome is Outcome.REFUSED).most_common():
        print(f"    {code:<26} {count:>5}")
    print(f"  {'exact by hand alone':<28} {counts['exact_by_hand']:>5}")
    print(f"  {'up only after a purge':<28} {corpus.purges:>5}")
    for table, reason in corpus.seeder.empty.items():
        print(f"  without rows: {table}: {reason}")


def main() -> int:
    """Go through a project, print what came of it, and return 0 only if nothing failed or came back different."""
    parser = argparse.ArgumentParser(description="Other people's down scripts, out and back")
    parser.add_argument("folder", type=Path, help="folder of migrations")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--target-version", type=int, default=DEFAULT_VERSION, help="major version of PostgreSQL")
    parser.add_argument("--only", default="", help="take out and back only migrations whose name matches this")
    options = parser.parse_args()
    configure_logging(level="ERROR")
    migrations = read_project(options.folder)
    began, reports = time.monotonic(), list[Report]()
    with stage(options.target_version, _SETTINGS) as here, tempfile.TemporaryDirectory() as plans:
        corpus = Corpus(here, Path(plans), re.compile(options.only))
        for report in corpus.go_through(migrations):
            reports.append(report)
            print(f"{report.outcome:<26} {report.migration}  {report.code or ''}", file=sys.stderr, flush=True)
            if report.outcome is not Outcome.EXACT and report.reason:
                print(f"    {report.statement}\n    {report.reason}", file=sys.stderr, flush=True)
    if options.json:
        told = {
            **summary(reports),
            "purges": corpus.purges,
            "reports": [asdict(r) for r in reports],
            "without_rows": corpus.seeder.empty,
        }
        print(json.dumps(told, indent=2))
    else:
        _print(reports, time.monotonic() - began, corpus)
    return 1 if any(report.outcome in {Outcome.DIFFERENT, Outcome.FAILED} for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
