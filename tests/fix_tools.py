"""Plugin: programs of others that tests call: what a laptop lacks skips with its reason, and fails in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Tool:
    """A program that is installed."""

    path: str

    def run(self, *arguments: str | Path) -> str:
        """Run it to its end, see that it succeeds, and return what it printed, errors and all."""
        done = subprocess.run(
            [self.path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def find(*names: str, package: str) -> Tool:
    """Return a program; without it the test skips, in CI it fails.

    Args:
        names: Its file names; the first that is there is taken.
        package: The Debian package that brings it.
    """
    for name in names:
        if path := shutil.which(name):
            return Tool(path)
    missing = f"{names[0]} is not installed; Debian has it in {package}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def promtool() -> Tool:
    """Give what checks rules and runs their tests."""
    return find("promtool", package="prometheus")


@pytest.fixture(scope="session")
def amtool() -> Tool:
    """Give what checks routes and renders templates."""
    return find("amtool", package="prometheus-alertmanager")


@pytest.fixture(scope="session")
def prometheus() -> Tool:
    """Give the program of Prometheus, to be started by the test."""
    return find("prometheus", package="prometheus")


@pytest.fixture(scope="session")
def alertmanager() -> Tool:
    """Give the program of Alertmanager, to be started by the test."""
    return find("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager")
