"""What the bench is made of: no process outlives its test, lines fall silent, and missing programs are told of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from stepback.embedded import Postgres
from tests.alerting.line import Line
from tests.faults.processes import wait_for
from tests.fix_tools import Tool, find

_ROOT = Path(__file__).parent.parent.parent

#: Starts an Alertmanager, freezes it where asked to, says its process id, and waits to be killed.
_STARTS_ONE = """
import sys
from pathlib import Path
from tests.alerting.alertmanager import Alertmanager
from tests.alerting.receivers import Receiver
started = Alertmanager(Path(sys.argv[1]), sys.argv[2], Receiver()).start()
if sys.argv[3] == "frozen":
    started.freeze()
print(started.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")
@pytest.mark.parametrize("state", ["running", "frozen"])
def test_killed_test_leaves_nothing_behind(data_folder: Path, alertmanager: Tool, state: str) -> None:
    """When a test's process is killed, the server that it started is gone, also when it was {state}."""
    command = [sys.executable, "-c", _STARTS_ONE, str(data_folder / "alertmanager"), alertmanager.path, state]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as doomed:
        assert doomed.stdout is not None
        pid = int(doomed.stdout.readline())
        assert psutil.pid_exists(pid)

        doomed.kill()

    wait_for("Alertmanager to be gone", lambda: not _lives(pid), 10)


def _lives(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        # Orphans are reaped by whoever adopts them, sooner or later.
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_silent_line(postgres: Postgres) -> None:
    """A line that is silent lets nobody know; what was asked meanwhile is answered afterwards."""
    with Line(postgres.socket_dir) as line, psycopg.connect(line.url("postgres", "postgres")) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
        with ThreadPoolExecutor() as pool:
            with line.silent():
                asked = pool.submit(lambda: conn.execute("SELECT 2").fetchone())
                with pytest.raises(TimeoutError):
                    asked.result(timeout=1)

            assert asked.result(timeout=10) == (2,)


def test_missing_binary_on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine lacks skips the test and says how to get it."""
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="Debian has it in no-such-package"):
        find("no-such-binary", package="no-such-package")


def test_missing_binary_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI the same is a failure."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="no-such-binary is not installed"):
        find("no-such-binary", package="no-such-package")
