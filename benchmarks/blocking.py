"""How long a rollback and its recovery block the table: copy-then-drop against Stepback, side by side.

Method: one embedded PostgreSQL with its ordinary settings (fsync on). A template database holds the sample schema
with `health_metrics` grown to the wanted number of rows. For every measurement a fresh copy of it is made, so that
each begins with the same files. Per size and round the two ways follow each other: first the transaction that is
written by hand for this (backup by CREATE TABLE AS, registry update, DROP INDEX, DROP TABLE, check, registry update),
then a Stepback rollback of the same table, whole: fence, gates, proof, marker, COMMIT. Then the way back: by hand a
new table, INSERT … SELECT from the backup by column name, keys and indexes; by Stepback a recovery.

Blocked time is the time from a transaction's first lock on the table to the end of its COMMIT, which is what
Stepback reports as `blocked_seconds`. By hand that lock is ACCESS SHARE while the copy runs and ACCESS EXCLUSIVE
from the DROP on: rows written in between pass unhindered, and are lost. A copy that loses none of them needs a lock
that keeps writers out from its beginning, for just as long.

Ratios are taken within a round; the medians over rounds are printed and held against the requirements.

Run: python -m benchmarks.blocking [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from benchmarks.stage import LARGE, SMALL, Stage, copy, make_template, stage
from ledger.log import configure_logging
from ledger.model import Kind

#: What is required at LARGE, and between the two.
AT_LEAST_SHORTER, AT_MOST_GROWTH = 50.0, 1.5

_MIGRATION = "add_health_metrics_table"
_PLANS = Path(__file__).parent.parent / "sql" / "plans" / "goodbuy_hq"

_BY_HAND = """
CREATE TABLE emergency_backup.health_metrics_by_hand AS SELECT * FROM health_metrics;
UPDATE migration_rollbacks SET rollback_applied_at = CURRENT_TIMESTAMP, rollback_status = 'in_progress'
 WHERE migration_name = 'add_health_metrics_table';
DROP INDEX IF EXISTS idx_health_metrics_business_date;
DROP INDEX IF EXISTS idx_health_metrics_score;
DROP TABLE IF EXISTS health_metrics CASCADE;
DO $$ BEGIN
    IF to_regclass('public.health_metrics') IS NOT NULL THEN RAISE EXCEPTION 'still there'; END IF;
END $$;
UPDATE migration_rollbacks SET rollback_status = 'completed' WHERE migration_name = 'add_health_metrics_table';
"""

_BACK_BY_HAND = """
CREATE TABLE health_metrics (LIKE emergency_backup.health_metrics_by_hand);
INSERT INTO health_metrics SELECT * FROM emergency_backup.health_metrics_by_hand;
ALTER TABLE health_metrics ADD PRIMARY KEY (id);
ALTER TABLE health_metrics ADD FOREIGN KEY (business_id) REFERENCES businesses (id) ON DELETE CASCADE;
CREATE INDEX idx_health_metrics_business_date ON health_metrics (business_id, calculated_at);
CREATE INDEX idx_health_metrics_score ON health_metrics (overall_score);
"""


@dataclass(frozen=True)
class Figures:
    """Blocked seconds of one round at one size."""

    rows: int
    by_hand_rollback: float
    stepback_rollback: float
    by_hand_recover: float
    stepback_recover: float


def measure(rounds: int) -> list[Figures]:
    """Return the figures of every size and round, interleaved."""
    with stage() as here:
        for rows in (SMALL, LARGE):
            make_template(here.server, rows)
        return [_one(here, rows) for _ in range(rounds) for rows in (SMALL, LARGE)]


def _one(here: Stage, rows: int) -> Figures:
    server = here.server
    with copy(server, rows) as name:
        by_hand = _timed(server.url(name, "goodbuy_app"), _BY_HAND, server.superuser_url(name))
        back_by_hand = _timed(server.url(name, "goodbuy_app"), _BACK_BY_HAND, server.superuser_url(name))
    with copy(server, rows) as name:
        url = server.url(name, "stepback_worker")
        rollback = here.carry_out(url, _PLANS, Kind.ROLLBACK, _MIGRATION)
        recover = here.carry_out(url, _PLANS, Kind.RECOVER, _MIGRATION, rollback.run)
    assert rollback.blocked_seconds is not None
    assert recover.blocked_seconds is not None
    return Figures(rows, by_hand, rollback.blocked_seconds, back_by_hand, recover.blocked_seconds)


def _timed(url: str, script: str, admin_url: str) -> float:
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("GRANT CREATE, USAGE ON SCHEMA emergency_backup TO goodbuy_app")
        admin.execute("GRANT SELECT, UPDATE ON migration_rollbacks TO goodbuy_app")
    with psycopg.connect(url, autocommit=True) as session:
        began = time.monotonic()
        session.execute(f"BEGIN; {script} COMMIT".encode())
        return time.monotonic() - began


@dataclass(frozen=True)
class Verdict:
    """What came out, and whether it is what is required."""

    what: str
    by_hand_ms: dict[int, float]
    stepback_ms: dict[int, float]
    times_shorter: float
    growth: float

    @property
    def holds(self) -> bool:
        """Whether both requirements are met."""
        return self.times_shorter >= AT_LEAST_SHORTER and self.growth < AT_MOST_GROWTH


def judge(figures: list[Figures], what: str) -> Verdict:
    """Hold the medians of `rollback` or `recover` against the requirements."""
    hand = {rows: [getattr(f, f"by_hand_{what}") for f in figures if f.rows == rows] for rows in (SMALL, LARGE)}
    ours = {rows: [getattr(f, f"stepback_{what}") for f in figures if f.rows == rows] for rows in (SMALL, LARGE)}
    shorter = statistics.median(a / b for a, b in zip(hand[LARGE], ours[LARGE], strict=True))
    growth = statistics.median(large / small for small, large in zip(ours[SMALL], ours[LARGE], strict=True))
    return Verdict(
        what,
        {rows: round(statistics.median(values) * 1000, 1) for rows, values in hand.items()},
        {rows: round(statistics.median(values) * 1000, 1) for rows, values in ours.items()},
        round(shorter, 1),
        round(growth, 2),
    )


def main() -> int:
    """Measure, print, and return 0 only if what is required holds."""
    parser = argparse.ArgumentParser(description="How long a rollback and its recovery block the table")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    configure_logging(level="ERROR")
    figures = measure(options.rounds)
    verdicts = [judge(figures, what) for what in ("rollback", "recover")]
    if options.json:
        print(json.dumps({"rounds": [asdict(f) for f in figures], "verdicts": [asdict(v) for v in verdicts]}, indent=2))
    else:
        for v in verdicts:
            print(f"{v.what}: blocked milliseconds, median of {options.rounds} rounds")
            for rows in (SMALL, LARGE):
                print(f"  {rows:>9,} rows: by hand {v.by_hand_ms[rows]:>9.1f}   stepback {v.stepback_ms[rows]:>7.1f}")
            print(f"  {v.times_shorter:.0f} times shorter at {LARGE:,} rows (required: {AT_LEAST_SHORTER:.0f})")
            print(f"  grows {v.growth:.2f} times from {SMALL:,} rows (required: less than {AT_MOST_GROWTH})")
    return 0 if all(v.holds for v in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
