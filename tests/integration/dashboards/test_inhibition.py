"""What silences what, on a real Alertmanager: the same thing on the same target, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.alerting.alertmanager import Alertmanager
from tests.alerting.receivers import Receiver
from tests.alerts import DASHBOARDS
from tests.faults.processes import wait_for
from tests.fix_tools import Tool


@pytest.fixture(scope="module")
def manager(alertmanager: Tool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """Give an Alertmanager with the configuration of dashboards/."""
    with Receiver() as receiver:
        made = Alertmanager(tmp_path_factory.mktemp("alertmanager"), alertmanager.path, receiver)
        made.adopt(DASHBOARDS / "alertmanager" / "alertmanager.yml")
        with made:
            yield made


#: What the monitor raises, and the backstop of the same thing.
_TWINS = [
    ("StepbackRunStuck", {"alertname": "StepbackRunsStuck", "phase": "apply"}),
    ("StepbackRunFailed", {"alertname": "StepbackIncidentsOpen", "incident": "failed"}),
    ("StepbackRunNeedsOperator", {"alertname": "StepbackIncidentsOpen", "incident": "needs_operator"}),
    ("StepbackValidationFailed", {"alertname": "StepbackIncidentsOpen", "incident": "validation_failed"}),
]


@dataclass(frozen=True)
class _Pair:
    """A monitor's alert and its backstop, on a target and in an environment that no other test has."""

    mark: str
    own: dict[str, str]
    backstop: dict[str, str]


def _pair(name: str, labels: dict[str, str]) -> _Pair:
    mark = uuid4().hex[:8]
    common = {"mark": mark, "environment": f"production-{mark}", "target": "shop", "severity": "critical"}
    return _Pair(
        mark,
        {**common, "alertname": name, "source": "stepback-monitor", "run": "7", "part": "own"},
        {**common, **labels, "source": "prometheus", "part": "backstop"},
    )


def _post(manager: Alertmanager, *alerts: dict[str, str]) -> None:
    for labels in alerts:
        manager.post(labels)


def _states(manager: Alertmanager, mark: str) -> dict[str, str]:
    labelled = [(each["labels"], each["status"]["state"]) for each in manager.alerts()]
    return {labels["part"]: state for labels, state in labelled if labels["mark"] == mark}


def _settled(manager: Alertmanager, mark: str) -> dict[str, str]:
    """Return whether the alerts with a mark are active or suppressed, by their part.

    What is posted reaches the inhibitor a moment later, in order. So a pair of which one silences the other is posted
    behind it, and waited for.
    """
    last = _pair(*_TWINS[0])
    _post(manager, last.own, last.backstop)
    wait_for("the pair behind it", lambda: _states(manager, last.mark).get("backstop") == "suppressed")
    return _states(manager, mark)


def _without(alert: dict[str, str], *labels: str) -> dict[str, str]:
    return {key: value for key, value in alert.items() if key not in labels}


@pytest.mark.parametrize(("name", "labels"), _TWINS, ids=[name for name, _ in _TWINS])
def test_the_monitors_alert_silences_its_backstop(manager: Alertmanager, name: str, labels: dict[str, str]) -> None:
    """The same thing on the same target in the same environment is one page."""
    pair = _pair(name, labels)

    _post(manager, pair.own, pair.backstop)

    assert _settled(manager, pair.mark) == {"own": "active", "backstop": "suppressed"}


@pytest.mark.parametrize(("name", "labels"), _TWINS, ids=[name for name, _ in _TWINS])
@pytest.mark.parametrize("label", ["target", "environment"])
def test_nothing_is_silenced_elsewhere(manager: Alertmanager, name: str, labels: dict[str, str], label: str) -> None:
    """Neither on another target nor in another environment."""
    pair = _pair(name, labels)

    _post(manager, pair.own, {**pair.backstop, label: "elsewhere"})

    assert _settled(manager, pair.mark) == {"own": "active", "backstop": "active"}


@pytest.mark.parametrize(("name", "labels"), _TWINS, ids=[name for name, _ in _TWINS])
@pytest.mark.parametrize("label", ["target", "environment"])
def test_labels_that_both_lack_are_not_equal(
    manager: Alertmanager, name: str, labels: dict[str, str], label: str
) -> None:
    """Alertmanager takes a label that is missing on both sides for equal; the rules do not."""
    pair = _pair(name, labels)

    _post(manager, _without(pair.own, label), _without(pair.backstop, label))

    assert _settled(manager, pair.mark) == {"own": "active", "backstop": "active"}


def test_another_thing_on_the_same_target_is_not_silenced(manager: Alertmanager) -> None:
    """Each alert of the monitor silences its own twin, and no other backstop."""
    own = _pair("StepbackRunStuck", {}).own
    others = [
        {"alertname": "StepbackIncidentsOpen", "incident": "failed"},
        {"alertname": "StepbackTargetDown"},
        {"alertname": "StepbackLeaseLost"},
        {"alertname": "StepbackExporterDown"},
    ]

    _post(
        manager,
        own,
        *({**_without(own, "run"), **other, "source": "prometheus", "part": other["alertname"]} for other in others),
    )

    assert set(_settled(manager, own["mark"]).values()) == {"active"}


def test_a_backstop_silences_nothing(manager: Alertmanager) -> None:
    """An alert that only has the name of the monitor's, but not its source, silences nothing."""
    pair = _pair(*_TWINS[0])

    _post(manager, {**pair.own, "source": "prometheus"}, pair.backstop)

    assert _settled(manager, pair.mark) == {"own": "active", "backstop": "active"}
