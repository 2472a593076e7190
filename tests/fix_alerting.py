"""Plugin: real Prometheus, Alertmanager and monitor processes, and receivers that hear what they send.

A machine without their binaries skips what needs them and says so; in CI (the variable `CI` is set) that fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.alerting.alertmanager import Alertmanager, StartAlertmanager
from tests.alerting.monitor import Monitor, StartMonitor, Watch
from tests.alerting.prometheus import Prometheus, StartPrometheus
from tests.alerting.receivers import DeadMan, Receiver
from tests.faults.processes import Station
from tests.fix_tools import Tool


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a webhook receiver that keeps what it is told."""
    with Receiver() as listening:
        yield listening


@pytest.fixture
def dead_man(receiver: Receiver) -> DeadMan:
    """Give the switch that trips when the watchdog's heartbeats stay away from the receiver."""
    return DeadMan(receiver)


@pytest.fixture
def start_alertmanager(data_folder: Path, receiver: Receiver, alertmanager: Tool) -> Iterator[StartAlertmanager]:
    """Give a function that starts an Alertmanager, which tells the receiver, until the end of the test.

    Several are strangers to each other.
    """
    with ExitStack() as stack:
        numbers = count()

        def start() -> Alertmanager:
            folder = data_folder / f"alertmanager{next(numbers)}"
            return stack.enter_context(Alertmanager(folder, alertmanager.path, receiver))

        yield start


@pytest.fixture
def running_alertmanager(start_alertmanager: StartAlertmanager) -> Alertmanager:
    """Give an Alertmanager that runs and tells the receiver."""
    return start_alertmanager()


@pytest.fixture
def start_prometheus(
    data_folder: Path, running_alertmanager: Alertmanager, prometheus: Tool
) -> Iterator[StartPrometheus]:
    """Give a function that starts a Prometheus, which tells the Alertmanager, until the end of the test.

    It takes `rules`, a list of rule files, and `jobs`, the port to scrape for each job's name.
    """
    with ExitStack() as stack:

        def start(rules: Sequence[Path] = (), jobs: Mapping[str, int] | None = None) -> Prometheus:
            made = Prometheus(
                data_folder / "prometheus", prometheus.path, running_alertmanager, rules=rules, jobs=jobs or {}
            )
            return stack.enter_context(made)

        yield start


@pytest.fixture
def start_monitor(data_folder: Path, running_alertmanager: Alertmanager) -> Iterator[StartMonitor]:
    """Give a function that starts a monitor for a station, which tells the Alertmanager, until the end of the test.

    It takes settings of the monitor over those of a monitor in a hurry: `lease_grace_seconds=1`.
    """
    with ExitStack() as stack:

        def start(station: Station, **settings: object) -> Monitor:
            given = {key.upper(): str(value) for key, value in settings.items()}
            made = Monitor(data_folder / "monitor", Watch(station, running_alertmanager, given))
            return stack.enter_context(made)

        yield start
