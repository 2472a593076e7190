"""The summary of a run in the sections that operators know: step, status, time, details."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ledger.model import Run, State, StepRecord
from worker.work import Section


@dataclass(frozen=True)
class Line:
    """One section of a run."""

    step: str
    #: SUCCESS, ERROR or INFO.
    status: str
    #: When its last step ended.
    time: datetime | None
    details: tuple[str, ...]


def of_run(run: Run) -> tuple[Line, ...]:
    """Return one line for each section that a run went through, and one for its beginning and its end; or none."""
    lines = [_line(section, steps) for section in Section if (steps := [s for s in run.steps if s.section == section])]
    if not lines:
        return ()
    start = Line(f"{run.kind.name}_START", "INFO", run.started_at, (f"{run.kind.value} of {run.subject}",))
    if run.finished_at is None:
        return (start, *lines)
    went_well = run.state is State.COMPLETED
    details = () if run.error is None else (f"{run.error.code}: {run.error.message}",)
    status = "SUCCESS" if went_well else "ERROR"
    end = Line(f"{run.kind.name}_{'COMPLETE' if went_well else 'FAILED'}", status, run.finished_at, details)
    return (start, *lines, end)


def _line(section: Section, steps: list[StepRecord]) -> Line:
    failed = any(step.outcome != "completed" for step in steps)
    told = tuple(f"{step.step}: {step.detail}" if step.detail else step.step for step in steps)
    ended = [step.ended_at for step in steps if step.ended_at is not None]
    return Line(section.value, "ERROR" if failed else "SUCCESS", max(ended, default=None), told)
