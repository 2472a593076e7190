"""The chapter about alerts: a worker freezes in mid-run, somebody is paged; it goes on, and the page is taken back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from ledger.database import transaction
from ledger.history import find
from ledger.model import Phase, Run, State
from ledger.settings import Settings
from stepback.asking import ask_rollback
from stepback.child_process import ChildProcess
from stepback.demo import ground
from stepback.demo.pager import Page, Pager, find_alertmanager, pager
from stepback.demo.report import tell_checks
from stepback.demo.witness import Check
from stepback.endings import ending_on_signals
from stepback.following import follow
from stepback.installation import Installation
from stepback.installing import install_all
from stepback.sample import TARGET
from stepback.serving import register_sample, servers_for
from stepback.show.console import err, out, plain
from stepback.show.documents import Document, of_run, put_out

_MIGRATION, _TABLE = "add_health_alerts", "public.health_alerts"
#: Short, so that nobody waits, and long enough for a busy machine to take the run over once the worker goes on; what is
#: usual is in docs/configuration.md.
_LEASE_SECONDS, _GRACE_SECONDS = 6, 9
_MONITOR = {
    "STEPBACK_MONITOR_LEASE_GRACE_SECONDS": str(_GRACE_SECONDS),
    "STEPBACK_MONITOR_SCAN_SECONDS": "0.5",
    "STEPBACK_MONITOR_POST_SECONDS": "2",
    "STEPBACK_MONITOR_ENVIRONMENT": "demo",
}
_PATIENCE_SECONDS = 60.0


@dataclass
class _Facts:
    checks: list[Check] = field(default_factory=list)
    page: Page | None = None
    paged_after: float | None = None
    resolved_after: float | None = None
    run: Run | None = None

    @property
    def ok(self) -> bool:
        return bool(self.checks) and all(check.ok for check in self.checks)

    def document(self) -> Document:
        return {
            "ok": self.ok,
            "page": None if self.page is None else asdict(self.page),
            "paged_after_seconds": self.paged_after,
            "resolved_after_seconds": self.resolved_after,
            "run": None if self.run is None else of_run(self.run),
            "checks": [asdict(check) for check in self.checks],
        }


def tell_of_alert(*, data: Path | None, keep: bool, as_json: bool) -> int:
    """Tell the chapter on servers of its own; return the exit code, 0 only if every check held.

    Args:
        data: A new folder for everything, which stays; None: a temporary one.
        keep: The temporary one stays too.
        as_json: Tell it on standard error, and end with one document on standard output.

    Raises:
        NotPossible: No Alertmanager is installed here.
    """
    console = err() if as_json else out()

    def say(text: str) -> None:
        console.print(plain(text), soft_wrap=True)

    find_alertmanager()
    facts = _Facts()
    with ending_on_signals(), ground.folder(data, keep=keep) as folder, ground.nothing_left(facts.checks) as started:
        say("1. A real PostgreSQL, a real Redis and a real Alertmanager, started for this demo alone.")
        with (
            servers_for(Settings(data=folder), lambda text: say(f"   {text}")) as settings,
            Installation(settings) as here,
            pager(folder) as heard,
        ):
            for each in install_all(here):
                if each.error is not None:
                    raise each.error
            register_sample(here)
            with _children(settings, heard, folder) as worker:
                _tell(facts, here, worker, heard, say)
                started.update(psutil.Process().children(recursive=True))
    if as_json:
        put_out(facts.document())
    else:
        say("")
        tell_checks(facts.checks)
    return 0 if facts.ok else 1


@contextmanager
def _children(settings: Settings, heard: Pager, folder: Path) -> Iterator[ChildProcess]:
    environ = {
        **ground.environment(settings),
        **_MONITOR,
        "STEPBACK_WORKER_LEASE_SECONDS": str(_LEASE_SECONDS),
        "STEPBACK_MONITOR_ALERTMANAGER_URLS": heard.url,
    }
    with ExitStack() as stack:
        worker, _monitor = (
            stack.enter_context(
                ChildProcess(command, environ, log=stack.enter_context((folder / f"{command}.log").open("ab")))
            )
            for command in ("worker", "monitor")
        )
        yield worker


def _tell(facts: _Facts, here: Installation, worker: ChildProcess, heard: Pager, say: ground.Say) -> None:
    run = _freeze_in_mid_run(here, worker, say)
    frozen = time.monotonic()
    facts.page = heard.wait_for(lambda page: _is_of(page, run, "firing"), _PATIENCE_SECONDS)
    facts.checks.append(Check("somebody was paged for the stuck run, with its name and what to type", _names_it(facts)))
    if facts.page is not None:
        facts.paged_after = round(time.monotonic() - frozen, 1)
        say(f"3. Paged after {facts.paged_after:.1f} s (lease {_LEASE_SECONDS} s, grace {_GRACE_SECONDS} s):")
        say(f"   {facts.page.labels['alertname']}: {facts.page.annotations['summary']}")
        say(f"   {facts.page.annotations['description']}")
        say(f"   $ {facts.page.annotations['command']}")
    say(f"4. $ kill -CONT {worker.pid}: it goes on where it was; nothing is done twice.")
    psutil.Process(worker.pid).resume()
    thawed = time.monotonic()
    (facts.run,) = follow(here.engine, [run], lambda _: None, timeout_seconds=_PATIENCE_SECONDS)
    facts.checks.append(Check("the run completed", facts.run.state is State.COMPLETED))
    resolved = heard.wait_for(lambda page: _is_of(page, run, "resolved"), _PATIENCE_SECONDS)
    facts.checks.append(Check("the page was taken back when the ledger said so", resolved is not None))
    if resolved is not None:
        facts.resolved_after = round(time.monotonic() - thawed, 1)
        say(f"5. The page is resolved after {facts.resolved_after:.1f} s.")
    pages = [page for page in heard.pages if _is_of(page, run, "firing")]
    facts.checks.append(Check("one page, not two", len(pages) == 1))


def _freeze_in_mid_run(here: Installation, worker: ChildProcess, say: ground.Say) -> int:
    """Let a rollback wait for a table that somebody reads, and freeze its worker there."""
    with here.session(TARGET) as reader:
        reader.begin()
        # Ours is a session that a target would rather throw out: it sits there with a lock and does nothing.
        reader.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        reader.execute(f"LOCK TABLE {_TABLE} IN ACCESS SHARE MODE")
        say(f"2. $ stepback rollback {_MIGRATION} --target {TARGET}, while somebody reads the table;")
        run = ask_rollback(here, target=TARGET, migration=_MIGRATION, reason="demo").run
        _wait_until_applying(here, run)
        psutil.Process(worker.pid).suspend()
        say(f"   and in mid-run the worker freezes: $ kill -STOP {worker.pid}")
        reader.rollback()
    return run


def _wait_until_applying(here: Installation, run: int) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        with transaction(here.engine) as conn:
            known = find(conn, run)
        if known.phase is Phase.APPLY and known.state is State.IN_PROGRESS:
            return
        time.sleep(0.05)


def _is_of(page: Page, run: int, status: str) -> bool:
    return (page.status, page.labels.get("run"), page.labels["alertname"]) == (status, str(run), "StepbackRunStuck")


def _names_it(facts: _Facts) -> bool:
    if facts.page is None:
        return False
    told = " ".join(facts.page.annotations.values())
    return all(word in told for word in (TARGET, _MIGRATION, "stepback show"))
