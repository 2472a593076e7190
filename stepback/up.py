"""`stepback up`: servers where no URL is configured, and a worker that is started again whenever it dies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ledger.errors import BadConfiguration
from ledger.settings import Settings
from stepback.embedded.usage import Usage
from stepback.endings import ending_on_signals
from stepback.environment import as_environment
from stepback.installation import Installation, has_sample
from stepback.installing import install_all
from stepback.sample import TARGET
from stepback.serving import make_data_folder, register_sample, servers_for
from stepback.worker_process import WorkerProcess

#: Pauses between a worker's death and the next one.
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
#: A worker that lived so long did not die of its start.
_LIVED_SECONDS = 60.0
#: Exit code of a worker that cannot start as it is configured; trying again would change nothing.
_BAD_CONFIGURATION = 2

Say = Callable[[str], None]


def up(settings: Settings, say: Say, environ: Mapping[str, str] = os.environ) -> int:
    """Serve until Ctrl-C or SIGTERM; everything that was started is stopped then.

    Args:
        settings: As configured.
        say: Hears what is going on, a line at a time.
        environ: What the settings were loaded from, for the worker.

    Returns:
        The exit code: 0 unless the worker cannot start.
    """
    make_data_folder(settings.data)
    try:
        with ending_on_signals(), _alone(settings.data), servers_for(settings, say) as served:
            with Installation(served) as here:
                _prepare(here, say, sample=has_sample(settings))
            say(_what_is_served(served))
            return _supervise({**environ, **as_environment(served)}, say)
    except KeyboardInterrupt:
        say("stopped; the data stays, `stepback up` goes on with it")
        return 0


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Be the only one who does this on a data folder."""
    usage = Usage(data / "up.lock")
    try:
        if not usage.alone():
            raise BadConfiguration(f"another `stepback up` serves {data.absolute()}; more workers: `stepback worker`")
        yield
    finally:
        usage.give_up()


def _prepare(here: Installation, say: Say, *, sample: bool) -> None:
    for each in install_all(here, lenient=True):
        trouble = f"not brought up to date: {each.error.message}" if each.error else "up to date"
        say(f"{each.what} {each.name}: {trouble}")
    if sample:
        say(f"plans registered: {', '.join(register_sample(here))}")


def _supervise(environ: Mapping[str, str], say: Say) -> int:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        began = time.monotonic()
        with WorkerProcess(environ) as worker:
            say(f"worker started, process {worker.pid}; Ctrl-C stops everything")
            code = worker.wait()
        if code == _BAD_CONFIGURATION:
            say("the worker cannot start; it said why")
            return code
        if time.monotonic() - began > _LIVED_SECONDS:
            pause = _FIRST_PAUSE_SECONDS
        say(f"the worker ended with {code}; the next one starts in {pause:g} s")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _what_is_served(settings: Settings) -> str:
    worker = settings.worker
    port = worker.metrics_port or "PORT (the worker's log names it)"
    target = TARGET if TARGET in settings.targets else next(iter(sorted(settings.targets)), "T")
    return "\n".join(
        (
            f"targets: {', '.join(sorted(settings.targets)) or 'none configured'}",
            f"metrics: http://{worker.metrics_host}:{port}/metrics",
            "in another terminal, in this folder and with the same STEPBACK_ variables:",
            "  stepback targets",
            f"  stepback plan add_health_alerts --target {target}",
            f"  stepback rollback add_health_alerts --target {target} --wait",
            "  stepback recover RUN --wait",
            '  eval "$(stepback env)"; $PSQL "$STEPBACK_LEDGER_URL"',
        )
    )
