"""Exit codes: what a script learns without reading anything."""

from __future__ import annotations

from ledger.model import Kind, Run, State

OK = 0
#: Failed, cancelled, needs an operator, or could not be done.
FAILED = 1
#: The command line or the configuration is wrong.
USAGE = 2
REFUSED = 3
#: Not decided yet: the time is up, or somebody has to approve.
WAITING = 4
#: As shells say it of a process that Ctrl-C ended.
INTERRUPTED = 130

_OF_STATE = {
    State.COMPLETED: OK,
    State.FAILED: FAILED,
    State.CANCELLED: FAILED,
    State.NEEDS_OPERATOR: FAILED,
    State.REFUSED: REFUSED,
}


def of_run(run: Run) -> int:
    """Return the exit code that says how a run ended, or that it has not; a validation ends as its checks do."""
    if run.kind is Kind.VALIDATE and run.validation is not None:
        return OK if run.validation["ok"] else FAILED
    return _OF_STATE.get(run.state, WAITING)
