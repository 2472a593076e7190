"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ledger.model import AuditEvent, Kind, Preserved, Run, State
from stepback.show import checks, summary
from stepback.show.console import plain, table
from stepback.show.summary import Line
from worker.preview import Preview

_STYLES = {
    State.COMPLETED: "green",
    State.FAILED: "red",
    State.REFUSED: "yellow",
    State.NEEDS_OPERATOR: "bold red",
    State.CANCELLED: "yellow",
    State.IN_PROGRESS: "cyan",
}


def state(run: Run) -> Text:
    """Return where a run stands, in its colour."""
    return Text(run.state.value, _STYLES.get(run.state, ""))


def of_runs(runs: Sequence[Run]) -> Table:
    """Return runs, one a line."""
    made = table("run", "kind", "target", "migration", "state", "submitted", "by", "why it ended so", numbers=_NUMBERS)
    for run in runs:
        why = plain(run.error.code if run.error else "", "red")
        made.add_row(
            str(run.run),
            run.kind.value,
            plain(run.target),
            plain(run.subject),
            state(run),
            moment(run.submitted_at),
            plain(run.requested_by),
            why,
        )
    return made


def of_run(run: Run) -> RenderableType:
    """Return everything about a run."""
    parts: list[RenderableType] = [_facts(run)]
    if lines := summary.of_run(run):
        parts += [Text(""), of_summary(lines)]
    if run.steps:
        parts += [Text(""), _steps(run)]
    if run.preserved:
        parts += [Text(""), of_preserved(run.preserved)]
    if run.validation is not None:
        parts += [Text(""), checks.of_run(run)]
    if run.kind is Kind.PURGE and run.result is not None:
        parts += [Text(""), of_purged(run.result)]
    if run.notes:
        parts += [Text(""), *(plain(f"note: {note}") for note in run.notes)]
    return Group(*parts)


def of_summary(lines: Iterable[Line]) -> Table:
    """Return the summary of a run, a section a line."""
    made = table("section", "status", "time", "details")
    for line in lines:
        status = plain(line.status, {"SUCCESS": "green", "ERROR": "red"}.get(line.status, ""))
        made.add_row(line.step, status, moment(line.time), plain("\n".join(line.details)))
    return made


def of_preserved(preserved: Iterable[Preserved]) -> Table:
    """Return what a run keeps."""
    made = table("preserved", "name", "how", "rows", "bytes", "where", numbers=_NUMBERS)
    for kept in preserved:
        where = kept.quarantine or "preserved_objects"
        made.add_row(plain(kept.kind), plain(kept.name), kept.how, count(kept.rows), size(kept.bytes), plain(where))
    return made


def of_purged(result: Mapping[str, Any]) -> Table:
    """Return what a purge deleted."""
    made = table("purged", "what it was", "rows", "bytes", "checksum", "preserved at", numbers=_NUMBERS)
    for stone in result["objects"]:
        kept = stone["preserved_at"]
        since = moment(datetime.fromisoformat(kept)) if kept else ""
        told = plain(stone["checksum"] or "")
        made.add_row(plain(stone["kind"]), plain(stone["was"]), count(stone["rows"]), size(stone["bytes"]), told, since)
    for text in result["given_up"]:
        made.add_row(plain(text["kind"]), plain(f"{text['name']} (its text)"))
    return made


def of_events(events: Iterable[AuditEvent]) -> Table:
    """Return audit events, one a line."""
    made = table("seq", "when", "event", "run", "target", "phase", "step", "outcome", "by", numbers=_NUMBERS)
    for event in events:
        made.add_row(
            str(event.seq),
            event.occurred_at.replace("T", " ")[:19],
            event.type,
            "" if event.run is None else f"{event.run}.{event.attempt}" if event.attempt else str(event.run),
            plain(event.target or ""),
            event.phase or "",
            plain(event.step or ""),
            plain(event.outcome),
            plain(event.actor),
        )
    return made


def of_preview(preview: Preview) -> RenderableType:
    """Return what a rollback would do: impact, locks, the exact statements, notes."""
    work = preview.work
    if work is None:
        return Text("")
    impact = table("what goes", "name", "because", "how it is kept", "rows", "bytes", numbers=_NUMBERS)
    for item in work.items:
        impact.add_row(
            plain(item.kind),
            plain(item.name),
            plain(item.because),
            item.action.value,
            count(item.rows),
            size(item.bytes),
        )
    locks = table("locked", "mode")
    for lock in work.locks:
        locks.add_row(plain(lock.name), lock.mode)
    statements = [plain(f"{statement};") for change in work.all_changes for statement in change.statements]
    remarks: list[RenderableType] = [plain(f"note: {note}") for note in work.notes]
    remarks += [plain(f"mentions: {mention.told()}", "yellow") for mention in work.mentions]
    remarks += [plain(f"pins: {pin.told()}") for pin in work.pins]
    remarks += [plain(f"{each.object}: {each.count:,} {each.what}", "yellow") for each in preview.conflicts]
    hashed = plain(f"the impact's hash is {work.impact_sha256}")
    return Group(impact, hashed, Text(""), locks, Text(""), Text("statements", "bold"), *statements, *remarks)


def count(number: int | None) -> str:
    """Return a count with its thousands apart."""
    return "" if number is None else f"{number:,}"


def size(number: int | None) -> str:
    """Return a size in bytes as people read it."""
    if number is None:
        return ""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def milliseconds(seconds: float | None) -> str:
    """Return a duration in milliseconds."""
    return "" if seconds is None else f"{seconds * 1000:.0f}"


def moment(time: datetime | None) -> str:
    """Return a time to the second, in UTC."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def _facts(run: Run) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    what = f"{run.kind.value} of {run.subject}" + (f" (run {run.subject_run})" if run.subject_run else "")
    facts.add_row("run", f"{run.run}")
    facts.add_row("command", plain(what))
    facts.add_row("target", plain(run.target))
    facts.add_row("state", state(run))
    facts.add_row("phase", f"{run.phase.value if run.phase else 'not begun'}, attempt {run.attempt}")
    if run.error:
        facts.add_row("because", Text.assemble((run.error.code, "red"), ": ", plain(run.error.message)))
    facts.add_row("asked by", plain(f"{run.requested_by} at {moment(run.submitted_at)} UTC"))
    facts.add_row("reason", plain(run.reason or "none given"))
    if run.finished_at:
        facts.add_row("finished", f"{moment(run.finished_at)} UTC")
    if run.blocked_seconds is not None:
        facts.add_row("blocked", f"{milliseconds(run.blocked_seconds)} ms from the first lock to COMMIT")
    facts.add_row("plan", run.plan_sha256 or "")
    facts.add_row("impact", run.impact_sha256 or "")
    if run.accept_sha256:
        facts.add_row("accepted", f"the impact with hash {run.accept_sha256}, whatever the plan does not name of it")
    return facts


def _steps(run: Run) -> Table:
    made = table("phase", "step", "outcome", "ms", numbers=_NUMBERS)
    for step in run.steps:
        outcome = plain(step.outcome, "" if step.outcome == "completed" else "red")
        made.add_row(step.phase.value, plain(step.step), outcome, milliseconds(step.seconds))
    return made


_NUMBERS = frozenset({"run", "rows", "bytes", "ms", "seq", "blocked ms"})
