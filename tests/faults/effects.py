"""What every fault test comes down to: whatever happened, a run had its effect once."""

from __future__ import annotations

from ledger.model import Kind, Run
from tests.harness import Engine


def one_effect(engine: Engine, run: Run) -> int:
    """See that a completed run has one marker, one quarantine at most, one end, and every step completed.

    Returns:
        The attempt that had the effect.
    """
    (marked,) = engine.query(f"SELECT attempt, steps FROM emergency_backup.marker WHERE run = {run.run}")
    schemas = engine.query(f"SELECT FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r{run.run}\\_%'")
    assert len(schemas) == (1 if run.kind is Kind.ROLLBACK else 0)
    settled = [e.type for e in engine.events(run) if e.type.startswith("run_") and e.type != "run_claimed"]
    assert settled == ["run_completed"]
    assert {step.outcome for step in run.steps} == {"completed"}
    assert [s.step for s in run.steps if s.phase == "apply"] == [step["step"] for step in marked["steps"]]
    attempt: int = marked["attempt"]
    return attempt
