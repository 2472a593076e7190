"""Which metrics rules, their tests and dashboards use, read from the files as Prometheus would."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tests.alerts import DASHBOARDS, PROMETHEUS, load, recordings, rules

#: Not within a longer name: those with colons are recorded by rules.
_NAME = re.compile(r"(?<![\w:])stepback_[a-z0-9_]+(?![\w:])")
_STRINGS = re.compile(r'"(?:\\.|[^"\\])*"')

#: What a histogram is exposed as beside its name.
_PARTS = re.compile(r"_(?:bucket|sum|count)$")


def used_in(expression: str) -> set[str]:
    """Return the names of Stepback's metrics in a PromQL expression.

    A part of a histogram counts as the histogram; a counter has its `_total`, as in docs/metrics.md.
    """
    return {_PARTS.sub("", name) for name in _NAME.findall(_STRINGS.sub('""', expression))}


def used_in_rules() -> set[str]:
    """Return what recording and alert rules use."""
    return _all([*recordings().values(), *(rule.expression for rule in rules())])


def used_in_rule_tests() -> set[str]:
    """Return what tests of rules make up."""
    documents = [load(path) for path in sorted((PROMETHEUS / "tests").glob("*.yml"))]
    groups = [group for each in documents for group in each["tests"]]
    return _all(each["series"] for group in groups for each in group.get("input_series", ()))


def used_in_dashboards() -> set[str]:
    """Return what panels and variables of the Grafana dashboards use."""
    return _all(dashboard_expressions())


def dashboard_expressions() -> list[str]:
    """Return every expression of the Grafana dashboards, those of variables included."""
    documents = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted((DASHBOARDS / "grafana").glob("*.json"))
    ]
    return [expression for document in documents for expression in _expressions(document)]


def _expressions(node: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Walk a document: an expression is the `expr` of a target, or the text of a variable's query."""
    if isinstance(node, list):
        for each in node:
            yield from _expressions(each)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in {"expr", "definition"}:
                yield value
            yield from _expressions(value)


def _all(expressions: Iterable[str]) -> set[str]:
    return set().union(*(used_in(expression) for expression in expressions))
