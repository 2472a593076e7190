"""What silences what, on a real Alertmanager: the same thing on the same target, and nothing else."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.alerts import DASHBOARDS
from tests.fix_tools import Tool

_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class _Alertmanager:
    url: str

    def post(self, *alerts: dict[str, str]) -> None:
        """Raise alerts, given by their labels."""
        body = json.dumps([{"labels": labels} for labels in alerts]).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v2/alerts", body, headers)  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - as above
            pass

    def states(self, mark: str) -> dict[str, str]:
        """Return whether the alerts with a mark are active or suppressed, by their part.

        What is posted reaches the inhibitor a moment later, in order. So a pair of which one silences the other
        is posted behind it, and waited for.
        """
        last = _pair(*_TWINS[0])
        self.post(last.own, last.backstop)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._states(last.mark)["backstop"] != "suppressed":
            assert time.monotonic() < deadline, "nothing is silenced"
            time.sleep(0.05)
        return self._states(mark)

    def _states(self, mark: str) -> dict[str, str]:
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:  # noqa: S310 - as above
            alerts = json.load(answer)
        return {each["labels"]["part"]: each["status"]["state"] for each in alerts if each["labels"]["mark"] == mark}


@pytest.fixture(scope="module")
def manager(alertmanager: Tool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Alertmanager]:
    """Give an Alertmanager with the configuration of dashboards/; whom it would tell does not answer."""
    folder = tmp_path_factory.mktemp("alertmanager")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [
        f"--config.file={DASHBOARDS / 'alertmanager' / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([alertmanager.path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_for(process, port, folder / "log")
        yield _Alertmanager(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE_SECONDS)


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        else:
            return


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


def _without(alert: dict[str, str], *labels: str) -> dict[str, str]:
    return {key: value for key, value in alert.items() if key not in labels}


@pytest.mark.parametrize(("name", "labels"), _TWINS, ids=[name for name, _ in _TWINS])
def test_the_monitors_alert_silences_its_backstop(manager: _Alertmanager, name: str, labels: dict[str, str]) -> None:
    """The same thing on the same target in the same environment is one page."""
    pair = _pair(name, labels)

    manager.post(pair.own, pair.backstop)

    assert manager.states(pair.mark) == {"own": "active", "backstop": "suppressed"}


@pytest.mark.parametrize(("name", "labels"), _TWINS, ids=[name for name, _ in _TWINS])
@pytest.mark.parametrize("label", ["target", "environment"])
def test_nothing_is_silenced_elsewhere(manager: _Alertmanager, name: str, labels: dict[str, str], label: str) -> None:
    """Neither on another target nor in another environment."""
    pair = _pair(name, labels)

    manager.post(pair.own, {**pair.backstop, label: "elsewhere"})

    assert manager.states(pair.mark) == {"own": "active", "backstop": "active"}


@pytest.mark.parametrize(("name", "labels"), _TWINS, ids=[name for name, _ in _TWINS])
@pytest.mark.parametrize("label", ["target", "environment"])
def test_labels_that_both_lack_are_not_equal(
    manager: _Alertmanager, name: str, labels: dict[str, str], label: str
) -> None:
    """Alertmanager takes a label that is missing on both sides for equal; the rules do not."""
    pair = _pair(name, labels)

    manager.post(_without(pair.own, label), _without(pair.backstop, label))

    assert manager.states(pair.mark) == {"own": "active", "backstop": "active"}


def test_another_thing_on_the_same_target_is_not_silenced(manager: _Alertmanager) -> None:
    """Each alert of the monitor silences its own twin, and no other backstop."""
    own = _pair("StepbackRunStuck", {}).own
    others = [
        {"alertname": "StepbackIncidentsOpen", "incident": "failed"},
        {"alertname": "StepbackTargetDown"},
        {"alertname": "StepbackLeaseLost"},
        {"alertname": "StepbackExporterDown"},
    ]

    manager.post(
        own,
        *({**_without(own, "run"), **other, "source": "prometheus", "part": other["alertname"]} for other in others),
    )

    assert set(manager.states(own["mark"]).values()) == {"active"}


def test_a_backstop_silences_nothing(manager: _Alertmanager) -> None:
    """An alert that only has the name of the monitor's, but not its source, silences nothing."""
    pair = _pair(*_TWINS[0])

    manager.post({**pair.own, "source": "prometheus"}, pair.backstop)

    assert manager.states(pair.mark) == {"own": "active", "backstop": "active"}
