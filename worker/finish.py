"""Finish: what is done after COMMIT. Each step may be repeated; failing never undoes what is committed."""

from __future__ import annotations

import json

from worker import registry
from worker.fence import Holder
from worker.target import Session
from worker.work import FinishStep


def do(session: Session, holder: Holder, step: FinishStep) -> None:
    """Do one step.

    Raises:
        StepbackError: It did not work out; the caller reports it and goes on.
    """
    match step.what:
        case "sql":
            session.execute(step.argument)
        case "analyze":
            if session.value("SELECT to_regclass(%s)", (step.argument,)) is not None:
                session.execute(f"ANALYZE {step.argument}")
        case "count":
            quarantine, relation = json.loads(step.argument)
            registry.count(session, holder, quarantine, relation)
        case _:
            raise AssertionError(f"unknown finish step {step.what!r}")
