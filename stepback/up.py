"""`stepback up`: servers where no URL is configured; worker, monitor and doors, started again when they die."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ledger.errors import BadConfiguration
from ledger.rights import trusts_local_operator
from ledger.settings import Settings
from stepback.child_process import ChildProcess
from stepback.embedded.usage import Usage
from stepback.endings import ending_on_signals
from stepback.environment import as_environment
from stepback.installation import Installation, has_sample
from stepback.installing import install_all
from stepback.sample import TARGET
from stepback.serving import make_data_folder, register_sample, servers_for

#: Pauses between a death and the next start.
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
#: What lived so long did not die of its start.
_LIVED_SECONDS = 60.0
#: Exit code of what cannot start as it is configured; trying again would change nothing.
_BAD_CONFIGURATION = 2
#: How often they are looked at.
_LOOK_SECONDS = 0.2

Say = Callable[[str], None]


def up(settings: Settings, say: Say, environ: Mapping[str, str] = os.environ) -> int:
    """Serve until Ctrl-C or SIGTERM; everything that was started is stopped then.

    Args:
        settings: As configured.
        say: Hears what is going on, a line at a time.
        environ: What the settings were loaded from, for the children.

    Returns:
        The exit code: 0 unless one of the processes cannot start.
    """
    make_data_folder(settings.data)
    try:
        with ending_on_signals(), _alone(settings.data), servers_for(settings, say) as served:
            with Installation(served) as here:
                _prepare(here, say, sample=has_sample(settings))
            say(_what_is_served(served))
            return _supervise(_commands(served), {**environ, **as_environment(served)}, say)
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


def _commands(settings: Settings) -> list[str]:
    """Return what runs beside the servers: of the doors those that have somewhere to look."""
    doors = {"outbox": bool(settings.outboxes), "stream": settings.stream.enabled}
    return ["worker", "monitor", "gateway", *(door for door, is_wanted in doors.items() if is_wanted)]


class _Supervised:
    """One child that is started again whenever it dies."""

    def __init__(self, command: str, environ: Mapping[str, str], say: Say) -> None:
        self._command, self._environ, self._say = command, environ, say
        self._pause = _FIRST_PAUSE_SECONDS
        self._start_at = self._began = time.monotonic()
        self.process: ChildProcess | None = None

    def look(self) -> int | None:
        """Start it when it is time; return the exit code of one that will never do."""
        now = time.monotonic()
        if self.process is None:
            if now >= self._start_at:
                self.process, self._began = ChildProcess(self._command, self._environ), now
                self._say(f"{self._command} started, process {self.process.pid}; Ctrl-C stops everything")
            return None
        code = self.process.ended()
        if code is None:
            return None
        self.process.stop()
        self.process = None
        if code == _BAD_CONFIGURATION:
            self._say(f"the {self._command} cannot start; it said why")
            return code
        self._pause = _FIRST_PAUSE_SECONDS if now - self._began > _LIVED_SECONDS else self._pause
        self._say(f"the {self._command} ended with {code}; the next one starts in {self._pause:g} s")
        self._start_at, self._pause = now + self._pause, min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        return None


def _supervise(commands: Sequence[str], environ: Mapping[str, str], say: Say) -> int:
    children = [_Supervised(command, environ, say) for command in commands]
    try:
        while True:
            for child in children:
                code = child.look()
                if code is not None:
                    return code
            time.sleep(_LOOK_SECONDS)
    finally:
        running = [child.process for child in children if child.process is not None]
        for process in running:
            process.tell_to_stop()
        for process in running:
            process.stop()


def _rights(settings: Settings) -> str:
    named = ", ".join(sorted(settings.producers)) or "nobody else"
    if trusts_local_operator(settings):
        return f"whoever runs commands here may ask for everything ([trust] local_operator); besides: {named}"
    return f"those that stepback.toml names: {named}"


def _what_is_served(settings: Settings) -> str:
    worker, monitor, gateway = settings.worker, settings.monitor, settings.gateway
    configured = (worker.metrics_port, monitor.metrics_port, gateway.metrics_port, gateway.port)
    ports = [port or "PORT (its log names it)" for port in configured]
    told = ", ".join(str(url) for url in monitor.alertmanager_urls) or "none configured: nobody is paged"
    target = TARGET if TARGET in settings.targets else next(iter(sorted(settings.targets)), "T")
    return "\n".join(
        (
            f"targets: {', '.join(sorted(settings.targets)) or 'none configured'}",
            f"metrics of the worker: http://{worker.metrics_host}:{ports[0]}/metrics",
            f"metrics of the monitor: http://{monitor.metrics_host}:{ports[1]}/metrics",
            f"metrics of the gateway: http://{gateway.metrics_host}:{ports[2]}/metrics",
            f"gateway for signed commands: http://{gateway.host}:{ports[3]}, described at /openapi.json",
            f"outboxes: {', '.join(sorted(settings.outboxes)) or 'none configured'}",
            f"Redis stream: {settings.stream.name if settings.stream.enabled else 'not read; [stream] enabled = true'}",
            f"Alertmanager: {told}",
            f"rights: {_rights(settings)}",
            "in another terminal, in this folder and with the same STEPBACK_ variables:",
            "  stepback targets",
            f"  stepback plan add_health_alerts --target {target}",
            f"  stepback rollback add_health_alerts --target {target} --wait",
            "  stepback recover RUN --wait",
            '  eval "$(stepback env)"; $PSQL "$STEPBACK_LEDGER_URL"',
        )
    )
