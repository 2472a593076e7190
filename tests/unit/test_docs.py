"""What the documents list is what the code has."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from ledger.errors import Failed, Refused, StepbackError
from tests import metric_names
from worker import metrics
from worker.monitor import collector, figures

_DOCS = Path(__file__).parent.parent.parent / "docs"


def _below(kind: type[StepbackError]) -> set[type[StepbackError]]:
    return {kind}.union(*(_below(child) for child in kind.__subclasses__()))


def _rows(document: str) -> dict[str, list[str]]:
    """Return the cells of each table row that begins with a code word."""
    lines = (_DOCS / document).read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_every_error_code_is_listed_with_its_exit_code() -> None:
    """docs/errors.md lists exactly the codes that exist, each with the exit code of its class."""
    for package in ("ledger", "producers", "worker", "stepback"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.startswith("ledger.migrations") and not module.name.endswith("__main__"):
                importlib.import_module(module.name)

    codes = {kind.code: str(kind.exit_code) for kind in _below(StepbackError) - {Refused, Failed}}

    assert {code: row[0] for code, row in _rows("errors.md").items()} == codes


def _declared(registry: CollectorRegistry) -> dict[str, list[str]]:
    """Return kind and labels of every metric of a registry that is not read from elsewhere."""
    found = {}
    for metric in registry._collector_to_names:
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            found[family.name + ("_total" if family.type == "counter" else "")] = [family.type, labels or "—"]
    return found


def _read() -> set[str]:
    """Return the names of the metrics that are read when they are asked for."""
    made = {*re.findall(r"_(?:gauge|single|moment)\(\s*\"(\w+)\"", inspect.getsource(collector))}
    whole = re.findall(r"(\w+)MetricFamily\(\s*\"(\w+)\"", inspect.getsource(collector) + inspect.getsource(metrics))
    return {f"stepback_{name}" for name in made} | {
        name + ("_total" if kind == "Counter" else "") for kind, name in whole
    }


def test_every_metric_is_listed() -> None:
    """docs/metrics.md lists exactly the metrics that a worker and a monitor expose, with kind and labels."""
    listed = {name: row[:2] for name, row in _rows("metrics.md").items()}
    declared = _declared(metrics.REGISTRY) | _declared(figures.REGISTRY)

    assert listed.keys() == declared.keys() | _read()
    assert {name: listed[name] for name in declared} == declared


def test_every_metric_that_is_watched_exists() -> None:
    """Rules, their tests and the dashboards use what is exposed, and nothing else."""
    used = metric_names.used_in_rules() | metric_names.used_in_rule_tests() | metric_names.used_in_dashboards()

    assert used <= _rows("metrics.md").keys()


@pytest.mark.parametrize("document", sorted(path.name for path in _DOCS.rglob("*.md")))
def test_links_between_documents_lead_somewhere(document: str) -> None:
    """Every relative link in the documents and the README points to a file that is there."""
    for path in [_DOCS.parent / "README.md", *_DOCS.rglob(document)]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
