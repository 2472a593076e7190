"""Which runs are trouble, as the ledger has them: stuck, ended badly, or waiting for consent too long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from ledger.model import Kind, Phase, State
from ledger.watching import Incident, OpenRun, Over, Sight
from worker.monitor.limits import Limits
from worker.monitor.trouble import Alert, Trouble, lasting, told

_ALERTS: Final = {
    "failed": Alert.RUN_FAILED,
    "needs_operator": Alert.RUN_NEEDS_OPERATOR,
    "validation_failed": Alert.VALIDATION_FAILED,
}

_MEANS: Final = {
    Alert.RUN_FAILED: "It was taken back as a whole: the target is as it was before.",
    Alert.RUN_NEEDS_OPERATOR: "It stopped where only a person can tell what is right; nothing goes on by itself.",
    Alert.VALIDATION_FAILED: "It is committed, and checks of what it touched do not hold.",
}

_NOUNS: Final = {Kind.RECOVER: "recovery", Kind.VALIDATE: "validation"}


def troubles(sight: Sight, limits: Limits, contacts: Mapping[str, str]) -> list[Trouble]:
    """Return what is wrong with runs.

    Args:
        sight: The ledger at one moment.
        limits: How long things may take.
        contacts: By target.
    """
    found = [_of_incident(incident, contacts) for incident in sight.incidents]
    for run in sight.runs:
        found += (trouble for trouble in _of_run(run, limits, contacts) if trouble.since <= sight.now)
    return found


def over(sight: Sight) -> list[Trouble]:
    """Return what is lately over, as what it was called while it stood; it may never have."""
    return [
        Trouble(_ALERTS[each.incident] if each.incident else Alert.RUN_STUCK, each.at, "", "", "", _about(each))
        for each in sight.over
    ]


def _of_run(run: OpenRun, limits: Limits, contacts: Mapping[str, str]) -> Iterator[Trouble]:
    """Say what would be wrong with a run, each from its own moment on."""
    if run.state is State.AWAITING_APPROVAL:
        found = _waiting(run, limits.approval, contacts)
    elif run.state is State.IN_PROGRESS and run.progressed_at is not None and run.lease_until is not None:
        limit = limits.stuck[run.phase or Phase.PREFLIGHT]
        silent = _stuck(run, run.progressed_at, limit, "has got nowhere", contacts)
        lapsed = _stuck(run, run.lease_until, limits.lease_grace, "has lost its worker", contacts)
        found = min((silent, lapsed), key=lambda trouble: trouble.since)
    else:
        return
    # Somebody can take note of what is trouble, not of what may become it.
    if run.acknowledged_at is None or run.acknowledged_at < found.since:
        yield found


def _stuck(run: OpenRun, since: datetime, limit: timedelta, what: str, contacts: Mapping[str, str]) -> Trouble:
    phase = run.phase or Phase.PREFLIGHT
    return Trouble(
        Alert.RUN_STUCK,
        since + limit,
        f"run {run.run} on {run.target} is stuck in {phase}",
        f"{_label(run)} {what} in {phase} since {told(since)}, longer than the {lasting(limit)} that it may; attempt"
        f" {run.attempt}, asked by {run.requested_by}. {_fate(phase)}",
        f"stepback show {run.run}",
        _about(run),
        contacts.get(run.target, ""),
    )


def _fate(phase: Phase) -> str:
    if phase is Phase.FINISH:
        return "What it was asked for is committed."
    return "Nothing is committed unless its marker in the target says so; show tells."


def _waiting(run: OpenRun, limit: timedelta, contacts: Mapping[str, str]) -> Trouble:
    since = run.progressed_at or run.submitted_at
    return Trouble(
        Alert.APPROVAL_OVERDUE,
        since + limit,
        f"run {run.run} on {run.target} waits for approval",
        f"{_label(run)} waits for somebody's consent since {told(since)}, longer than {lasting(limit)}; asked by"
        f" {run.requested_by}.",
        f"stepback show {run.run}",
        _about(run),
        contacts.get(run.target, ""),
    )


def _of_incident(incident: Incident, contacts: Mapping[str, str]) -> Trouble:
    alert = _ALERTS[incident.incident]
    phase = "" if incident.phase is None else f" in {incident.phase}"
    word = incident.incident.replace("_", " ")
    why = "" if incident.error_code is None else f" {incident.error_code}: {incident.error_message}."
    return Trouble(
        alert,
        incident.opened_at,
        f"run {incident.run} on {incident.target}: {word}",
        f"{_label(incident)} ended{phase} at {told(incident.opened_at)}: {word}; asked by {incident.requested_by}."
        f"{why} {_MEANS[alert]}",
        f'stepback show {incident.run}; then stepback ack {incident.run} --reason "…"',
        _about(incident),
        contacts.get(incident.target, ""),
    )


def _label(run: OpenRun | Incident) -> str:
    return f"run {run.run}, a {_NOUNS.get(run.kind, run.kind)} of {run.migration or 'everything'} on {run.target},"


def _about(run: OpenRun | Incident | Over) -> dict[str, str]:
    return {"target": run.target, "migration": run.migration or "", "kind": run.kind.value, "run": str(run.run)}
