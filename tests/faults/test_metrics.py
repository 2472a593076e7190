"""What a worker process shows to Prometheus, and what it weighs."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import product
from pathlib import Path

import psutil
import pytest

from ledger.model import TERMINAL, Kind, Phase, State
from tests.faults.processes import Station, wait_for
from tests.harness import completed

_DOCS = Path(__file__).parent.parent.parent / "docs"

_EVENTS = (
    *("run_claimed", "run_completed", "run_failed", "run_refused", "run_cancelled", "run_needs_operator"),
    *("step_completed", "step_failed", "lock_waited", "attempt_postponed", "copy_outdated"),
    *("validation_failed", "step_left_out", "approval_awaited"),
)


def _documented(document: str) -> list[list[str]]:
    """Return the cells of each table row that begins with a code word, without backquotes; of metrics, a worker's."""
    lines = (_DOCS / document).read_text(encoding="utf-8").partition("\n## Of the gateway\n")[0].splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| `")]
    return [[cell.strip().replace("`", "") for cell in row] for row in rows]


def _label_sets() -> set[str]:
    """Return every counter, and the count of every histogram, that the documents promise."""
    (results,) = re.findall(r"`result` of deliveries is one of: (.*)\.", (_DOCS / "metrics.md").read_text("utf-8"))
    values: dict[str, list[str]] = {
        "kind": [*Kind],
        "outcome": [*TERMINAL],
        "phase": [*Phase],
        "how": ["moved", "copied", "defined"],
        "result": results.replace("`", "").split(", "),
        "code": [row[0] for row in _documented("errors.md")],
        "type": [*_EVENTS],
        "version": [version("stepback-pg")],
        "python": [platform.python_version()],
    }
    promised = set()
    for name, kind, names, _ in _documented("metrics.md"):
        labels = [] if names == "—" else names.split(", ")
        for given in product(*(values[label] for label in labels)):
            inner = ",".join(sorted(f'{label}="{value}"' for label, value in zip(labels, given, strict=True)))
            promised.add(f"{name}{'_count' if kind == 'histogram' else ''}{f'{{{inner}}}' if inner else ''}")
    return promised


def _shown(samples: dict[str, float]) -> dict[str, float]:
    """Return the samples without buckets, sums and times of birth."""
    return {name: value for name, value in samples.items() if not re.search(r"_(bucket|sum|created)($|\{)", name)}


def _moved(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return by how much each sample has grown, if it has."""
    assert set(before) == set(after), "a label set was born later than the worker"
    return {name: after[name] - before[name] for name in before if after[name] != before[name]}


@contextmanager
def _installed_worker(station: Station) -> Iterator[int]:
    """Run a worker as it is installed; give its process id when it listens."""
    command = [sys.executable, "-m", "stepback", "worker"]
    with station.log.open("ab") as log:
        process = subprocess.Popen(command, env=station.environment(), stderr=log, stdout=log)
        try:
            station.port(process.pid)
            yield process.pid
        finally:
            process.terminate()
            process.wait(timeout=40)


def test_everything_is_there_at_zero(station: Station) -> None:
    """Every documented metric is shown from the start, with every label set, at 0, and nothing undocumented is;
    only which Stepback it is is 1.
    """
    with _installed_worker(station) as pid:
        shown = _shown(station.metrics(pid))

    assert set(shown) == _label_sets()
    assert {name.partition("{")[0] for name, value in shown.items() if value} == {"stepback_build_info"}


def _counts(values: Iterable[str]) -> Iterable[tuple[str, int]]:
    return Counter(values).items()


def test_a_rollback_and_a_refusal_are_counted(station: Station) -> None:
    """After one completed and one refused run, each count says so, and no other count has moved."""
    engine = station.engine
    good, bad = engine.command(), engine.command(migration="unknown")

    with station.workers(1) as (pid,):
        before = station.metrics(pid)
        done, refused = [station.ended(station.record(command)) for command in (good, bad)]
        wait_for("both to be counted", lambda: len(station.told("command_attempted")) == 2)
        after = station.metrics(pid)
        moved = _moved(_shown(before), _shown(after))

    assert refused.state is State.REFUSED
    assert completed(done).blocked_seconds is not None
    events = [*engine.events(done), *engine.events(refused)]
    # The command was another's to write down.
    told = [event.type for event in events if event.type != "command_submitted"]
    steps = [str(step.phase) for step in done.steps]
    deliveries = {name: moved.pop(name) for name in [*moved] if name.startswith("stepback_deliveries")}
    assert deliveries['stepback_deliveries_total{result="claimed"}'] == 2
    assert set(deliveries) <= {f'stepback_deliveries_total{{result="{it}"}}' for it in ("claimed", "nothing_to_do")}
    assert moved == {
        'stepback_runs_total{kind="rollback",outcome="completed"}': 1,
        'stepback_runs_total{kind="rollback",outcome="refused"}': 1,
        'stepback_run_duration_seconds_count{kind="rollback"}': 2,
        'stepback_blocked_seconds_count{kind="rollback"}': 1,
        'stepback_refusals_total{code="unknown_migration"}': 1,
        "stepback_preserved_rows_total": 200,
        "stepback_preserved_bytes_total": sum(item.bytes or 0 for item in done.preserved),
        **{
            f'stepback_preserved_objects_total{{how="{how}"}}': n
            for how, n in _counts(item.how for item in done.preserved)
        },
        **{f'stepback_step_duration_seconds_count{{phase="{phase}"}}': n for phase, n in _counts(steps)},
        **{f'stepback_audit_events_total{{type="{event}"}}': n for event, n in _counts(told)},
    }
    blocked = 'stepback_blocked_seconds_sum{kind="rollback"}'
    assert after[blocked] == pytest.approx(done.blocked_seconds, abs=1)


def test_idle_worker_is_light(station: Station) -> None:
    """A worker that waits for work keeps less than 120 MB of memory."""
    with _installed_worker(station) as pid:
        assert psutil.Process(pid).memory_info().rss < 120_000_000
