"""The doorbell rings: claim the command and carry it out. Every ring is harmless, however often it comes."""

from __future__ import annotations

from uuid import UUID

import dramatiq
import structlog

from ledger import runs
from ledger.doorbell import ACTOR, QUEUE
from ledger.errors import LedgerUnreachable
from worker import metrics
from worker.executor import Executor
from worker.intake import Intake

log = structlog.get_logger(__name__)


def answer(broker: Intake, executor: Executor, worker: str) -> None:
    """Let a worker answer the doorbell.

    Args:
        broker: Where it rings.
        executor: Carries out what was claimed.
        worker: Name of this worker, for the ledger.
    """

    @dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name=ACTOR, max_retries=0)
    def carry_out(command_id: str) -> None:
        with structlog.contextvars.bound_contextvars(command_id=command_id):
            _carry_out(executor, worker, UUID(command_id))


def _carry_out(executor: Executor, worker: str, command_id: UUID) -> None:
    lease_seconds = executor.settings.worker.lease_seconds
    try:
        claim = runs.claim(executor.engine, command_id, worker=worker, lease_seconds=lease_seconds)
        if claim is None:
            # Rung twice, late, or for a run that somebody else is carrying out: the usual fate of a repeated ring.
            metrics.DELIVERIES.labels("nothing_to_do").inc()
            return
        metrics.DELIVERIES.labels("claimed").inc()
        executor.carry_out(claim)
    except LedgerUnreachable as error:
        # The ledger keeps the run; its lease lapses, and the reconciler rings again.
        metrics.DELIVERIES.labels("ledger_unreachable").inc()
        log.warning("ledger_unreachable", code=error.code)
