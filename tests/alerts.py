"""Which alerts there are: what the monitor raises itself, and the rules of dashboards/prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DASHBOARDS = Path(__file__).parent.parent / "dashboards"
PROMETHEUS = DASHBOARDS / "prometheus"

#: What the monitor raises itself, with the severity that it gives.
MONITOR = {
    "StepbackRunStuck": "critical",
    "StepbackRunFailed": "critical",
    "StepbackRunNeedsOperator": "critical",
    "StepbackValidationFailed": "critical",
    "StepbackApprovalOverdue": "warning",
    "StepbackAuditChainBroken": "critical",
    "StepbackAuditUnwritable": "critical",
    "StepbackQuarantineDamaged": "critical",
    "StepbackQuarantineExpiring": "warning",
    "StepbackLedgerUnreachable": "critical",
}


@dataclass(frozen=True)
class Rule:
    """One alert rule; two may share a name and differ in severity."""

    name: str
    expression: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def severity(self) -> str:
        """Who hears of it."""
        return self.labels["severity"]


def load(path: Path) -> Any:  # noqa: ANN401 - whatever the document is
    """Return a YAML document."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _rules(kind: str) -> list[dict[str, Any]]:
    documents = [load(path) for path in sorted(PROMETHEUS.glob("*.rules.yml"))]
    return [rule for each in documents for group in each["groups"] for rule in group["rules"] if kind in rule]


def rules() -> list[Rule]:
    """Return every alert rule."""
    return [Rule(each["alert"], each["expr"], each["labels"], each["annotations"]) for each in _rules("alert")]


def recordings() -> dict[str, str]:
    """Return the expression of every recording rule, by the name of what it records."""
    return {each["record"]: each["expr"] for each in _rules("record")}


def names() -> set[str]:
    """Return the name of every alert, whoever raises it."""
    return {*MONITOR, *(rule.name for rule in rules())}
