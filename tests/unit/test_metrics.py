"""Metrics are declared in code and documented in docs/metrics.md: the same ones, with the same kind and labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics import MetricWrapperBase

from ledger.model import Kind, Phase, State
from ledger.settings import MonitorSettings
from ledger.watching import Figures, Incident, OpenRun, Sight
from producers.gateway import counting
from tests.metric_names import used_in_dashboards, used_in_rule_tests, used_in_rules
from worker import metrics
from worker.monitor import collector, figures
from worker.monitor.chain import Chain
from worker.monitor.quarantines import Kept, Quarantines
from worker.monitor.queue import Queue

_ROOT = Path(__file__).parent.parent.parent
_NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

#: Name by kind and labels, as the rows of docs/metrics.md have them.
Declared = dict[str, tuple[str, frozenset[str]]]


def documented(section: str) -> Declared:
    """Return what a section of docs/metrics.md lists."""
    text = (_ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line[:3] == "| `"]
    return {name.strip("`"): (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}


def of_workers() -> Declared:
    """Return what a worker declares."""
    return _registered(metrics.REGISTRY)


def of_gateway() -> Declared:
    """Return what a gateway declares: its requests, and what every door counts."""
    return _registered(counting.REGISTRY)


def of_monitor() -> Declared:
    """Return what a monitor declares: what it counts itself, and what it reads, as if there were something of all."""
    return {**_registered(figures.REGISTRY), **_read()}


def _registered(registry: CollectorRegistry) -> Declared:
    declared = {}
    for each in registry._collector_to_names:
        known = each._labelnames if isinstance(each, MetricWrapperBase) else ()
        for family in each.describe() if isinstance(each, MetricWrapperBase) else each.collect():
            declared[_full(family)] = (family.type, frozenset(known))
    return declared


def _full(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _read() -> Declared:
    run = OpenRun(1, Kind.ROLLBACK, "shop", "m", "ada", State.IN_PROGRESS, Phase.APPLY, 1, _NOW, _NOW, _NOW, _NOW, None)
    incident = Incident(1, "failed", _NOW, Kind.ROLLBACK, "shop", "m", "ada", Phase.APPLY, None, None)
    quarantines = Quarantines({}, MonitorSettings().expiry_notice)
    quarantines.kept = {"shop": Kept(reached=True, objects=1, bytes=1, missing=(), expiry=_NOW)}
    nothing: Any = None
    chain = Chain(nothing, 3600)
    chain.verified_at = _NOW
    house = collector.House(nothing, nothing, chain, quarantines, "1")
    families = [
        *collector._of_ledger(Sight(_NOW, (run,), (incident,)), Figures({}, 1, 1, _NOW), ["shop"]),
        *collector._of_queue(Queue(1, 0, 0, 0, 0, _NOW)),
        *house._of_targets(),
        *house._of_audit(),
        *house._of_itself(),
    ]
    return {_full(family): (family.type, frozenset(family.samples[0].labels)) for family in families}


@pytest.mark.parametrize(
    ("section", "declared"),
    [
        ("Of a worker", of_workers()),
        ("Of the gateway", of_gateway()),
        ("Of the monitor", of_monitor()),
    ],
)
def test_what_is_declared_is_documented(section: str, declared: Declared) -> None:
    """And the other way round."""
    assert documented(section) == declared


@pytest.mark.parametrize("name", sorted({*of_workers(), *of_gateway(), *of_monitor()}))
def test_a_name_says_whose_it_is_and_what_it_is_counted_in(name: str) -> None:
    """It begins with stepback_, and nothing is in milliseconds or kilobytes."""
    assert re.fullmatch(r"stepback(_[a-z]+)+", name)
    assert not re.search(r"milli|_ms|_kb|_mb|minutes|_age", name)


@pytest.mark.parametrize("used", [used_in_rules, used_in_rule_tests, used_in_dashboards])
def test_what_is_used_is_declared(used: Callable[[], set[str]]) -> None:
    """Rules, their tests and dashboards look at nothing that nobody shows."""
    assert used() <= {*of_workers(), *of_gateway(), *of_monitor()}


def test_nobody_declares_what_another_does() -> None:
    """A sum over workers and monitors would be of two things; but each says which Stepback it is."""
    assert of_workers().keys() & of_monitor().keys() <= {"stepback_build_info"}


def test_no_label_is_the_number_of_a_run() -> None:
    """Nor anything else without a bound."""
    declared = [*of_workers().values(), *of_gateway().values(), *of_monitor().values()]
    labels = frozenset().union(*(labels for _, labels in declared))

    assert not labels & {"run", "command_id", "migration", "worker", "installation", "attempt"}
