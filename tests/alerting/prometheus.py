"""Prometheus as a process: it scrapes what a test points it at, and its rules alert at an Alertmanager."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tests.alerting.alertmanager import Alertmanager
from tests.alerting.asking import ask
from tests.alerting.child import Child

#: The label that it puts on every alert, so that one Alertmanager may serve several environments.
ENVIRONMENT = "test"


class Prometheus(Child):
    """One Prometheus that looks every second and tells its Alertmanager every second."""

    name: ClassVar[str] = "prometheus"

    def __init__(
        self, folder: Path, binary: str, alertmanager: Alertmanager, *, jobs: Mapping[str, int], rules: Sequence[Path]
    ) -> None:
        super().__init__(folder)
        self._binary = binary
        self._configuration = folder / "prometheus.yml"
        configuration = {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
                "external_labels": {"environment": ENVIRONMENT},
            },
            "rule_files": [str(rule) for rule in rules],
            "scrape_configs": [{"job_name": job, "static_configs": _at(port)} for job, port in jobs.items()],
            "alerting": {"alertmanagers": [{"static_configs": _at(alertmanager.port)}]},
        }
        # JSON is YAML too.
        self._configuration.write_text(json.dumps(configuration), encoding="utf-8")

    def command(self) -> Sequence[str]:
        """Return its program and arguments."""
        return [
            self._binary,
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self.folder}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--rules.alert.resend-delay=1s",
        ]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return every series of an expression right now: its labels and its value."""
        answer = json.loads(ask(self.port, "/api/v1/query", query=expression))
        return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]

    def fires(self, alert: str, **labels: str) -> bool:
        """Return whether an alert fires, and does not merely wait for its time."""
        answer = json.loads(ask(self.port, "/api/v1/alerts"))
        firing = [one["labels"] for one in answer["data"]["alerts"] if one["state"] == "firing"]
        return any({"alertname": alert, **labels}.items() <= one.items() for one in firing)


#: What the fixture `start_prometheus` gives.
StartPrometheus = Callable[..., Prometheus]


def hastened(rules: Path, folder: Path) -> Path:
    """Copy a rule file for a test that cannot wait: alerts fire, and go, a second after their condition does.

    When they do in earnest is a matter of promtool's tests, which have all the time in the world.
    """
    text = rules.read_text(encoding="utf-8")
    folder.mkdir(exist_ok=True)
    quick = folder / rules.name
    quick.write_text(re.sub(r"^(\s*(?:for|keep_firing_for):).*$", r"\1 1s", text, flags=re.MULTILINE), encoding="utf-8")
    return quick


def _at(port: int) -> list[dict[str, Any]]:
    return [{"targets": [f"127.0.0.1:{port}"]}]
