"""The story, step by step: each is told in plain words, done by the same code as the command line's, and measured."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from ledger.audit import verify
from ledger.database import transaction
from ledger.model import Run
from ledger.settings import Settings
from stepback.asking import ask_recover, ask_rollback, ask_validate, selection_of
from stepback.child_process import ChildProcess
from stepback.demo import ground, report
from stepback.demo.ground import Say
from stepback.demo.report import Facts
from stepback.demo.witness import (
    COMPOSITE,
    OLD_TABLES,
    Check,
    Sight,
    checks_hold,
    checks_of_composite,
    checks_of_recovery,
    checks_of_rollbacks,
    checks_of_selection,
    look,
    registry_statuses,
    untouched,
)
from stepback.endings import ending_on_signals
from stepback.following import follow
from stepback.installation import Installation
from stepback.installing import install_all
from stepback.sample import TARGET, migrations
from stepback.serving import register_sample, servers_for
from stepback.show import results, summary, tables
from stepback.show.checks import counts, found_by
from stepback.show.console import err, out, plain
from stepback.show.documents import put_out
from stepback.show.progress import Progress

#: The rollback that is undone, and the names of what it removed.
_RECOVERED = "add_health_metrics_table"
_ITS_NAMES = ("health_metrics", "health_trajectory")
#: How long the rollbacks, or the recoveries, of one step may take before the demo has failed.
_PATIENCE_SECONDS = 120.0


def tell_story(*, data: Path | None, keep: bool, as_json: bool) -> int:
    """Tell the story on servers of its own.

    Args:
        data: A new folder for everything, which stays; None: a temporary one.
        keep: The temporary one stays too.
        as_json: Tell it on standard error, and end with one document on standard output.

    Returns:
        The exit code: 0 only if every check held.
    """
    console = err() if as_json else out()

    def say(text: str) -> None:
        console.print(plain(text), soft_wrap=True)

    facts = Facts()
    began = time.monotonic()
    with ending_on_signals(), ground.folder(data, keep=keep) as folder:
        with ground.nothing_left(facts.checks) as started:
            _tell(facts, folder, started, say)
        facts.seconds = time.monotonic() - began
    if as_json:
        put_out(report.document(facts))
    else:
        _tell_end(facts, say)
    if data is not None or keep:
        say(f"everything is kept in {folder}; go on with it: STEPBACK_DATA={folder} stepback up")
    return 0 if facts.ok else 1


def _tell(facts: Facts, folder: Path, started: set[psutil.Process], say: Say) -> None:
    say("1. A real PostgreSQL and a real Redis, started for this demo alone.")
    with servers_for(Settings(data=folder), lambda text: say(f"   {text}")) as settings, Installation(settings) as here:
        for each in install_all(here):
            if each.error is not None:
                raise each.error
        before = facts.before = _look(here)
        say(f"   {_rows_of(before)}")
        say("2. The plans: what undoes each migration, pinned by its SHA-256 in the target's registry.")
        for migration in register_sample(here):
            say(f"   {migration}")
        say("3. A worker in a process of its own. Five signed commands go into the ledger; Redis rings the doorbell.")
        with (
            (folder / "worker.log").open("ab") as log,
            ChildProcess("worker", ground.environment(settings), log=log) as worker,
        ):
            say(f"   worker: process {worker.pid}, its log: {log.name}")
            _roll_back(facts, here, before, say)
            _recover(facts, here, before, say)
            _all_at_once(facts, here, before, say)
            _choose(facts, here, before, say)
            _validate(facts, here, say)
            started.update(psutil.Process().children(recursive=True))
        _verify(facts, here, say)


def _roll_back(facts: Facts, here: Installation, before: Sight, say: Say) -> None:
    numbers = []
    # The newest first, as one would by hand; the worker may carry out two at once.
    for migration in reversed(migrations()):
        say(f"   $ stepback rollback {migration} --target {TARGET}")
        numbers.append(ask_rollback(here, target=TARGET, migration=migration, reason="demo").run)
    facts.rollbacks = _follow(here, numbers)
    rolled = _look(here)
    facts.checks += checks_of_rollbacks(before, rolled, facts.rollbacks)
    facts.untouched = untouched(before, rolled)
    same = [table for table, is_same in facts.untouched.items() if is_same]
    say(f"   gone from the schema, kept in quarantine; unchanged to the last byte: {', '.join(same)}")
    facts.checks.append(Check(f"old tables are untouched: {', '.join(OLD_TABLES)}", all(facts.untouched.values())))


def _recover(facts: Facts, here: Installation, before: Sight, say: Say) -> None:
    rolled = _look(here)
    subject = next(run for run in facts.rollbacks if run.migration == _RECOVERED)
    say(f"4. The scores were needed after all. $ stepback recover {subject.run}")
    (facts.recovery,) = _follow(here, [ask_recover(here, run=subject.run, reason="demo").run])
    after = _look(here)
    facts.checks += checks_of_recovery(before, rolled, after, facts.recovery, words=_ITS_NAMES)
    still = untouched(before, after)
    facts.checks.append(Check("old tables are untouched by the recovery too", all(still.values())))
    rows = after.rows(f"public.{_ITS_NAMES[0]}")
    say(f"   {_ITS_NAMES[0]} is back: {rows or 0:,} rows, types, keys, indexes; compared with before, fact by fact")


def _all_at_once(facts: Facts, here: Installation, before: Sight, say: Say) -> None:
    """Bring the rest back, then let the composite plan take all five away in one transaction, and bring that back."""
    others = [run for run in facts.rollbacks if run.migration != _RECOVERED]
    say(f"5. The other four come back too. Then all five at once: $ stepback rollback {COMPOSITE} --target {TARGET}")
    back = _follow(here, [ask_recover(here, run=run.run, reason="demo").run for run in others])
    whole = _look(here)
    (rolled,) = _follow(here, [ask_rollback(here, target=TARGET, migration=COMPOSITE, reason="demo").run])
    gone = _look(here)
    say(f"   $ stepback recover {rolled.run}")
    (recovered,) = _follow(here, [ask_recover(here, run=rolled.run, reason="demo").run])
    facts.composite, facts.composite_recovery = rolled, recovered
    with here.session(TARGET) as session:
        statuses = registry_statuses(session)
    facts.checks += checks_of_composite((before, whole, gone, _look(here)), back, (rolled, recovered), statuses)


def _choose(facts: Facts, here: Installation, before: Sight, say: Say) -> None:
    """Take the scores away once more, and let only those come back that can be relied upon."""
    say(f"6. Once more, choosily. $ stepback rollback {_RECOVERED} --target {TARGET}")
    (rolled,) = _follow(here, [ask_rollback(here, target=TARGET, migration=_RECOVERED, reason="demo").run])
    say(f"   $ stepback recover {rolled.run} --selective")
    chosen = selection_of(here, rolled.run)
    (facts.selective,) = _follow(here, [ask_recover(here, run=rolled.run, reason="demo", selection=chosen).run])
    for line in results.of_run(facts.selective):
        say(f"   {line}")
    facts.checks += checks_of_selection(before, _look(here), facts.selective, f"public.{_ITS_NAMES[0]}")


def _validate(facts: Facts, here: Installation, say: Say) -> None:
    (facts.validation,) = _follow(here, [ask_validate(here, target=TARGET, reason="demo").run])
    told = counts(found_by(facts.validation))
    facts.checks.append(Check(f"the target is sound: {told}", checks_hold(facts.validation)))
    say(f"7. $ stepback validate --target {TARGET}: {told}")


def _verify(facts: Facts, here: Installation, say: Say) -> None:
    with transaction(here.engine) as conn:
        facts.audit = verify(conn)
    facts.checks.append(Check(f"the audit log is one unbroken chain of {facts.audit.events} events", facts.audit.ok))
    say(f"8. $ stepback audit verify: {facts.audit.events} events, {'unbroken' if facts.audit.ok else 'BROKEN'}")


def _follow(here: Installation, numbers: list[int]) -> tuple[Run, ...]:
    with Progress() as progress:
        return follow(here.engine, numbers, progress.tell, timeout_seconds=_PATIENCE_SECONDS)


def _look(here: Installation) -> Sight:
    with here.session(TARGET) as session:
        return look(session)


def _rows_of(sight: Sight) -> str:
    rows = (f"{name.removeprefix('public.')} {total.rows:,}" for name, total in sight.whole.data)
    return f"rows: {', '.join(rows)}"


def _tell_end(facts: Facts, say: Say) -> None:
    say("")
    out().print(report.summary(facts.rollbacks, facts.recovery))
    say("")
    if facts.composite is not None:
        say(f"run {facts.composite.run}, {COMPOSITE}, as `stepback show` sums it up:")
        out().print(tables.of_summary(summary.of_run(facts.composite)))
        say("")
    report.tell_checks(facts.checks)
    say(f"\n{'All of it holds' if facts.ok else 'NOT all of it holds'}, after {facts.seconds:.0f} s.")
