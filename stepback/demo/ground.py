"""What every chapter of the demo stands on: a folder, an environment of its own, and nothing left when it is over."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from ledger.errors import BadConfiguration
from ledger.settings import Settings
from stepback.demo.witness import Check
from stepback.environment import as_environment
from stepback.serving import make_data_folder

Say = Callable[[str], None]

#: How long processes that were stopped may take to disappear.
_GONE_SECONDS = 5.0


@contextmanager
def folder(data: Path | None, *, keep: bool) -> Iterator[Path]:
    """Give the folder for everything.

    Args:
        data: A new folder, which stays; None: a temporary one.
        keep: The temporary one stays too.

    Raises:
        BadConfiguration: There is something in it.
    """
    if data is not None:
        if data.exists() and any(data.iterdir()):
            raise BadConfiguration(f"{data} is not empty; the demo needs a new folder, or none to make its own")
        make_data_folder(data)
        yield data.absolute()
        return
    made = Path(tempfile.mkdtemp(prefix="stepback-demo-"))
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root: another account has to pass through.
        made.chmod(0o711)
    try:
        yield made
    finally:
        if not keep:
            shutil.rmtree(made, ignore_errors=True)


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a worker or a monitor: these settings, and nothing that is configured here."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("STEPBACK_")}
    config = settings.data / "stepback.toml"
    config.touch()
    # Any free port: a worker of somebody else's may have the usual one.
    ours = {
        "STEPBACK_CONFIG": str(config.absolute()),
        "STEPBACK_WORKER_METRICS_PORT": "0",
        "STEPBACK_MONITOR_METRICS_PORT": "0",
    }
    return {**alone, **as_environment(settings), **ours}


@contextmanager
def nothing_left(checks: list[Check]) -> Iterator[set[psutil.Process]]:
    """See that no process outlives the block, neither those put into the set nor any other child; add a check of it."""
    started: set[psutil.Process] = set()
    yield started
    started.update(psutil.Process().children(recursive=True))
    _, left = psutil.wait_procs(started, timeout=_GONE_SECONDS)
    checks.append(Check(f"of {len(started)} processes none is left running", bool(started) and not left))
