"""How long a monitor's look through the ledger takes, with few finished runs and with a million.

Method: one embedded PostgreSQL with its ordinary settings (fsync on) and a ledger. Finished runs are put in, of which
one in a hundred ended badly and was taken note of, then twenty that are under way. A look is what `stepback monitor`
does every `scan_seconds` (worker/monitor/watch.py), and a scrape what its exporter reads of the ledger; each is done
many times and the median is printed, first with few finished runs, then with a million in the same ledger.

Run: python -m benchmarks.scanning [--runs 1000000] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass

import psycopg
from sqlalchemy import Engine

from benchmarks.stage import Stage, stage
from ledger.database import transaction
from ledger.log import configure_logging
from ledger.watching import figures, look

#: What a look may take at most, in milliseconds.
AT_MOST_MS = 50.0
_FEW, _ROUNDS = 100, 50

#: As the owner, past the triggers that would count them one by one.
_FINISHED = """
ALTER TABLE ledger.runs DISABLE TRIGGER runs_count_new;
WITH asked AS (
    INSERT INTO ledger.commands (command_id, kind, target, migration, requested_by, reason, not_after, envelope)
    SELECT gen_random_uuid(), 'rollback', 'goodbuy_hq', 'add_health_alerts', 'benchmark', '', now(), n::text
      FROM generate_series(1, {runs}) AS n RETURNING command_id
), ended AS (
    INSERT INTO ledger.runs (command_id, state, attempt, worker, lease_until, started_at, progressed_at, finished_at,
                             rung_at)
    SELECT command_id, CASE WHEN random() < 0.01 THEN 'failed' ELSE 'completed' END, 1, 'w', now(), now(), now(), now(),
           NULL
      FROM asked RETURNING run, state
)
INSERT INTO ledger.incidents (run, incident, resolved_at, resolved_by)
SELECT run, 'failed', now(), 'benchmark' FROM ended WHERE state = 'failed';
ALTER TABLE ledger.runs ENABLE ALWAYS TRIGGER runs_count_new;
INSERT INTO ledger.tally AS known VALUES ('rollback', 'completed', {runs})
    ON CONFLICT (kind, state) DO UPDATE SET runs = known.runs + excluded.runs;
"""

_UNDER_WAY = """
WITH asked AS (
    INSERT INTO ledger.commands (command_id, kind, target, migration, requested_by, reason, not_after, envelope)
    SELECT gen_random_uuid(), 'rollback', 'goodbuy_hq', 'add_health_alerts', 'benchmark', '', now(), 'open ' || n
      FROM generate_series(1, 20) AS n RETURNING command_id
)
INSERT INTO ledger.runs (command_id, state, phase, attempt, worker, lease_until, started_at, progressed_at)
SELECT command_id, 'in_progress', 'apply', 1, 'w', now(), now(), now() FROM asked;
"""


@dataclass(frozen=True)
class Measured:
    """Medians, in milliseconds."""

    runs: int
    look_ms: float
    scrape_ms: float


def measure(here: Stage, runs: int) -> Measured:
    """Put finished runs into the ledger, and look at it."""
    with psycopg.connect(here.server.superuser_url("stepback_ledger"), autocommit=True) as owner:
        owner.execute(_FINISHED.format(runs=runs).encode())
        if runs == _FEW:
            owner.execute(_UNDER_WAY.encode())
        owner.execute("VACUUM ANALYZE")
    return Measured(runs, _median(here.engine, scrape=False), _median(here.engine, scrape=True))


def _median(engine: Engine, *, scrape: bool) -> float:
    taken = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        with transaction(engine) as conn:
            sight = look(conn)
            if scrape:
                figures(conn)
        taken.append((time.perf_counter() - began) * 1000)
    assert len(sight.runs) == 20
    return statistics.median(taken)


def main() -> int:
    """Measure, print, and return 0 only if a look is as short as is required."""
    parser = argparse.ArgumentParser(description="A monitor's look through the ledger")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    configure_logging(level="ERROR")
    with stage() as here:
        found = [measure(here, _FEW), measure(here, options.runs)]
    if options.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        for each in found:
            print(f"{each.runs:>9,} finished runs: look {each.look_ms:.1f} ms, scrape {each.scrape_ms:.1f} ms")
    return 0 if max(found[-1].look_ms, found[-1].scrape_ms) < AT_MOST_MS else 1


if __name__ == "__main__":
    sys.exit(main())
