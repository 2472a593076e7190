"""An environment of another service: Python with stepback-client and what that asks for, and nothing of the house."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

_CLIENT = Path(__file__).parent.parent.parent / "producers" / "client"


@dataclass(frozen=True)
class Service:
    """An environment with its own Python."""

    python: Path

    def run(self, script: Path | str, *, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script, apart from everything of this environment.

        Args:
            script: Its text, or where it is.
            folder: Where it is run.
            variables: Over a clean environment.
        """
        arguments = [str(script)] if isinstance(script, Path) else ["-c", script]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STEPBACK_", "PYTHON"))}
        return subprocess.run(
            [self.python, "-I", *arguments],
            cwd=folder,
            env={**clean, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def make(folder: Path) -> Service:
    """Make the environment: the client's wheel is built and installed, its dependencies are linked from here.

    Args:
        folder: Does not exist yet.
    """
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=_CLIENT)
    (wheel,) = folder.glob("*.whl")
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    _link(site, _needed(wheel))
    # With --no-index it can only be satisfied by what was linked.
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--quiet")
    _run(*pip, str(wheel), cwd=folder)
    return Service(python)


def _needed(wheel: Path) -> list[Distribution]:
    """Return what a wheel depends on, all the way down, as it is installed here."""
    (asking,) = Distribution.discover(name="stepback-client", path=[str(wheel)])
    waiting = list(asking.requires or [])
    found: dict[str, Distribution] = {}
    while waiting:
        requirement = Requirement(waiting.pop())
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and requirement.name not in found:
            found[requirement.name] = distribution(requirement.name)
            waiting.extend(found[requirement.name].requires or [])
    return list(found.values())


def _link(site: Path, distributions: list[Distribution]) -> None:
    for each in distributions:
        for name in {file.parts[0] for file in each.files or [] if file.parts[0] not in {"..", "__pycache__"}}:
            (site / name).symlink_to(str(each.locate_file(name)))


def _run(*words: str, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
