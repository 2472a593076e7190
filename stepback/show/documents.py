"""The JSON that scripts may rely on: keys may be added here, none may change."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeAlias

from ledger.audit import Verification
from ledger.errors import StepbackError
from ledger.model import AuditEvent, Kind, Run
from stepback.show import summary
from worker.objects.remarks import as_document
from worker.preview import Preview

Document: TypeAlias = dict[str, Any]


def put_out(document: object, *, indent: int | None = 2) -> None:
    """Write one document to standard output. JSON is UTF-8, whatever the locale says."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()


def of_run(run: Run) -> Document:
    """Return a run; see "a run" in docs. A finished validation has `ok` and `checks` beside."""
    found = dict(run.validation) if run.kind is Kind.VALIDATE and run.validation is not None else {}
    return {
        **found,
        "run": run.run,
        "command_id": str(run.command_id),
        "kind": run.kind.value,
        "target": run.target,
        "migration": run.migration,
        "subject_run": run.subject_run,
        "state": run.state.value,
        "phase": run.phase and run.phase.value,
        "attempt": run.attempt,
        "requested_by": run.requested_by,
        "reason": run.reason,
        "submitted_at": time(run.submitted_at),
        "started_at": time(run.started_at),
        "finished_at": time(run.finished_at),
        "blocked_seconds": run.blocked_seconds,
        "plan_sha256": run.plan_sha256,
        "impact_sha256": run.impact_sha256,
        "accept_sha256": run.accept_sha256,
        "policy": run.policy and run.policy.value,
        "conditions": None if run.conditions is None else dict(run.conditions),
        "error": run.error and {"code": run.error.code, "message": run.error.message},
        "steps": [
            {
                "phase": step.phase.value,
                "step": step.step,
                "outcome": step.outcome,
                "seconds": step.seconds,
                "section": step.section,
                "detail": step.detail,
                "ended_at": time(step.ended_at),
            }
            for step in run.steps
        ],
        "preserved": [asdict(kept) for kept in run.preserved],
        "notes": list(run.notes),
        "result": None if run.result is None else dict(run.result),
        "summary": [
            {"step": line.step, "status": line.status, "time": time(line.time), "details": "; ".join(line.details)}
            for line in summary.of_run(run)
        ],
    }


def of_event(event: AuditEvent) -> Document:
    """Return an audit event."""
    return {**asdict(event), "event_id": str(event.event_id)}


def of_preview(target: str, preview: Preview) -> Document:
    """Return what `stepback plan` found."""
    work = preview.work
    return {
        "migration": preview.migration,
        "target": target,
        "plan_sha256": preview.plan_sha256,
        "impact_sha256": work and work.impact_sha256,
        "statements": [statement for change in work.all_changes for statement in change.statements] if work else [],
        "impact": [
            {
                "kind": item.kind,
                "name": item.name,
                "because": item.because,
                "action": item.action.value,
                "rows": item.rows,
                "bytes": item.bytes,
            }
            for item in (work.items if work else ())
        ],
        "locks": [{"name": lock.name, "mode": lock.mode} for lock in (work.locks if work else ())],
        "refusals": [asdict(refusal) for refusal in preview.refusals],
        "notes": list(work.notes) if work else [],
        "mentions": [as_document(mention) for mention in work.mentions] if work else [],
        "pins": [as_document(pin) for pin in work.pins] if work else [],
        "conflicts": [asdict(conflict) for conflict in preview.conflicts],
        "next": preview.next,
    }


def of_verification(verification: Verification) -> Document:
    """Return what walking the audit log found."""
    return {key: value for key, value in asdict(verification).items() if key != "until"}


def of_error(error: StepbackError) -> Document:
    """Return an error; `run` is there where one was recorded all the same."""
    document: Document = {"error": {"code": error.code, "message": error.message}}
    run = getattr(error, "run", None)
    return document if run is None else {**document, "run": run}


def time(moment: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
