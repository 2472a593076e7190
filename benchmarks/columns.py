"""Dropping columns of a large table while others write: copied before the lock, against copied under it.

Method: as in benchmarks/blocking.py, a fresh copy of the same database for each measurement, both ways in turn. The
plan drops two columns of `health_metrics`; writers update its rows 200 times a second, before, during and after. Under
the lock: `online_rows` is so high that apply makes the copy, as a transaction that locks, copies and drops would do.
Blocked is what Stepback reports, from the first lock to the end of COMMIT; the longest wait is the writers' own.

Throughput, without writers: rows a second of the copy with its key, and of all with triggers and comparison, each
against CREATE TABLE AS of the same columns right before, in the same database.

Catalog: closing check and proof together, under the lock, in a database with 5,000 more tables.

Run: python -m benchmarks.columns [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import errors as pg

from benchmarks.stage import LARGE, SMALL, Stage, copy, make_template, stage
from ledger.log import configure_logging
from ledger.model import Kind, Phase, Run
from ledger.settings import TargetSettings

#: What is required: of blocked time at LARGE, between SMALL and LARGE, of rows a second, of time under the lock.
AT_LEAST_SHORTER, AT_MOST_GROWTH, AT_LEAST_AS_FAST, AT_MOST_CHECKS_MS = 20.0, 1.5, 0.5, 150.0
LOCK_TIMEOUT_SECONDS = TargetSettings.model_fields["lock_timeout_ms"].default / 1000

_WRITERS, _WRITES_A_SECOND = 4, 200
_TABLES = 5_000
_DROP = "ALTER TABLE health_metrics DROP COLUMN data_sources, DROP COLUMN calculation_metadata;"
_AS = "CREATE TABLE emergency_backup.by_hand AS SELECT id, data_sources, calculation_metadata FROM health_metrics"


@dataclass(frozen=True)
class Figures:
    """One round at one size: seconds, but for `writes`."""

    rows: int
    under_lock: float
    online: float
    longest_wait_under_lock: float
    longest_wait_online: float
    writes: int


@dataclass
class _Writers:
    """Updates rows at a steady pace, each by its own connection."""

    url: str
    longest: float = 0.0
    writes: int = 0

    @contextmanager
    def writing(self) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._write, args=(stop, number)) for number in range(_WRITERS)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        try:
            yield
        finally:
            time.sleep(0.2)
            stop.set()
            for thread in threads:
                thread.join()

    def _write(self, stop: threading.Event, number: int) -> None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            found = conn.execute("SELECT id FROM health_metrics TABLESAMPLE SYSTEM (5) LIMIT 500").fetchall()
            column, due = "data_sources = jsonb_build_object('at', clock_timestamp())", time.monotonic()
            for place in range(sys.maxsize):
                if stop.is_set():
                    return
                began = time.monotonic()
                key = found[(place * _WRITERS + number) % len(found)]
                try:
                    conn.execute(f"UPDATE health_metrics SET {column} WHERE id = %s".encode(), key)
                except pg.UndefinedColumn:
                    column = "updated_at = clock_timestamp()"
                self.longest = max(self.longest, time.monotonic() - began)
                self.writes += 1
                due += _WRITERS / _WRITES_A_SECOND
                time.sleep(max(0.0, due - time.monotonic()))


def _plans(folder: Path, online_rows: int) -> Path:
    plan = folder / str(online_rows) / "drop_columns"
    plan.mkdir(parents=True, exist_ok=True)
    (plan / "rollback.sql").write_text(_DROP, encoding="utf-8")
    (plan / "plan.toml").write_text(f"online_rows = {online_rows}\n", encoding="utf-8")
    return plan.parent


def _blocked(here: Stage, rows: int, plans: Path) -> tuple[float, _Writers]:
    with copy(here.server, rows) as name:
        writers = _Writers(here.server.url(name, "goodbuy_app"))
        with writers.writing():
            done = here.carry_out(here.server.url(name, "stepback_worker"), plans, Kind.ROLLBACK, "drop_columns")
    assert done.blocked_seconds is not None
    return done.blocked_seconds, writers


def measure(here: Stage, rounds: int, folder: Path) -> list[Figures]:
    """Return the figures of every size and round, interleaved."""
    figures = []
    for rows in (SMALL, LARGE) * rounds:
        under_lock, hindered = _blocked(here, rows, _plans(folder, 10**9))
        online, writers = _blocked(here, rows, _plans(folder, 0))
        figures.append(Figures(rows, under_lock, online, hindered.longest, writers.longest, writers.writes))
    return figures


def throughput(here: Stage, rounds: int, folder: Path) -> list[tuple[float, float]]:
    """Return, for each round, how many times as fast as CREATE TABLE AS copy and whole phase are at LARGE."""
    ratios = []
    for _ in range(rounds):
        with copy(here.server, LARGE) as name:
            with psycopg.connect(here.server.superuser_url(name), autocommit=True) as conn:
                began = time.monotonic()
                conn.execute(_AS)
                by_hand = time.monotonic() - began
                conn.execute("DROP TABLE emergency_backup.by_hand")
                conn.execute("CHECKPOINT")
            url = here.server.url(name, "stepback_worker")
            done = here.carry_out(url, _plans(folder, 0), Kind.ROLLBACK, "drop_columns")
            made = _seconds(done, Phase.PRESERVE, "copy columns of public.health_metrics")
            compared = _seconds(done, Phase.PRESERVE, "compare columns of public.health_metrics")
            ratios.append((by_hand / made, by_hand / (made + compared)))
    return ratios


def checks(here: Stage, rounds: int, folder: Path) -> list[float]:
    """Return, for each round, the seconds of closing check and proof under the lock among many tables."""
    found = []
    for _ in range(rounds):
        with copy(here.server, SMALL) as name:
            with psycopg.connect(here.server.url(name, "goodbuy_app"), autocommit=True) as owner:
                for low in range(0, _TABLES, 500):
                    owner.execute(
                        f"DO $$BEGIN FOR i IN {low} + 1 .. {low} + 500 LOOP EXECUTE format('CREATE TABLE many_%s ("
                        "id int PRIMARY KEY, a text DEFAULT ''x'', b int CHECK (b > 0))', i); END LOOP; END$$".encode()
                    )
            url = here.server.url(name, "stepback_worker")
            done = here.carry_out(url, _plans(folder, 0), Kind.ROLLBACK, "drop_columns")
            found.append(sum(_seconds(done, Phase.APPLY, step) for step in ("check closing", "prove")))
    return found


def _seconds(run: Run, phase: Phase, step: str) -> float:
    return sum(record.seconds for record in run.steps if record.phase is phase and record.step == step)


@dataclass(frozen=True)
class Verdict:
    """What came out: medians, but for the longest wait of all."""

    under_lock_ms: dict[int, float]
    online_ms: dict[int, float]
    times_shorter: float
    growth: float
    longest_wait_ms: float
    longest_wait_under_lock_ms: float
    as_fast: float
    as_fast_compared: float
    checks_ms: float

    @property
    def holds(self) -> bool:
        """Whether all that is required is met."""
        return (
            self.times_shorter >= AT_LEAST_SHORTER
            and self.growth < AT_MOST_GROWTH
            and self.longest_wait_ms <= LOCK_TIMEOUT_SECONDS * 1000
            and self.as_fast >= AT_LEAST_AS_FAST
            and self.checks_ms < AT_MOST_CHECKS_MS
        )


def judge(figures: list[Figures], ratios: list[tuple[float, float]], checked: list[float]) -> Verdict:
    """Hold the medians against the requirements; ratios are taken within a round."""
    small, large = ([f for f in figures if f.rows == rows] for rows in (SMALL, LARGE))
    return Verdict(
        {rows: _ms(f.under_lock for f in figures if f.rows == rows) for rows in (SMALL, LARGE)},
        {rows: _ms(f.online for f in figures if f.rows == rows) for rows in (SMALL, LARGE)},
        round(statistics.median(f.under_lock / f.online for f in large), 1),
        round(statistics.median(b.online / a.online for a, b in zip(small, large, strict=True)), 2),
        round(max(f.longest_wait_online for f in figures) * 1000, 1),
        round(max(f.longest_wait_under_lock for f in figures) * 1000, 1),
        round(statistics.median(made for made, _ in ratios), 2),
        round(statistics.median(compared for _, compared in ratios), 2),
        _ms(checked),
    )


def _ms(seconds: Iterator[float] | list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 1)


def main() -> int:
    """Measure, print, and return 0 only if what is required holds."""
    parser = argparse.ArgumentParser(description="Dropping columns while others write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    configure_logging(level="ERROR")
    with stage() as here, tempfile.TemporaryDirectory() as folder:
        for rows in (SMALL, LARGE):
            make_template(here.server, rows)
        figures = measure(here, options.rounds, Path(folder))
        ratios = throughput(here, options.rounds, Path(folder))
        verdict = judge(figures, ratios, checks(here, options.rounds, Path(folder)))
    if options.json:
        print(json.dumps({"rounds": [asdict(f) for f in figures], "verdict": asdict(verdict)}, indent=2))
        return 0 if verdict.holds else 1
    print(
        f"dropping columns under {_WRITES_A_SECOND} writes/s: blocked milliseconds, median of {options.rounds} rounds"
    )
    for rows in (SMALL, LARGE):
        told = f"copied under the lock {verdict.under_lock_ms[rows]:>9.1f}   online {verdict.online_ms[rows]:>7.1f}"
        print(f"  {rows:>9,} rows: {told}")
    print(f"  {verdict.times_shorter:.0f} times shorter at {LARGE:,} rows (required: {AT_LEAST_SHORTER:.0f})")
    print(f"  grows {verdict.growth:.2f} times from {SMALL:,} rows (required: less than {AT_MOST_GROWTH})")
    print(f"  longest wait of a writer: {verdict.longest_wait_ms:.0f} ms (at most {LOCK_TIMEOUT_SECONDS * 1000:.0f};")
    print(f"    {verdict.longest_wait_under_lock_ms:.0f} ms where it is copied under the lock)")
    print(f"  copies {verdict.as_fast:.2f} times as fast as CREATE TABLE AS (required: {AT_LEAST_AS_FAST});")
    print(f"    {verdict.as_fast_compared:.2f} times with the comparison that proves it")
    checked = f"{verdict.checks_ms:.0f} ms (at most {AT_MOST_CHECKS_MS:.0f})"
    print(f"  closing check and proof among {_TABLES:,} tables: {checked}")
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
