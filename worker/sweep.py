"""Takes away what runs that are over have left in targets: triggers, half-made copies and half-filled columns.

An attempt that ends badly does so itself; this is for workers that were killed for good, and for tables that were in
use just then. Whether a run is over is asked of the ledger, whether its copy is needed of the target.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import structlog
from sqlalchemy import Engine

from ledger import runs
from ledger.database import transaction
from ledger.errors import LockNotAvailable, StepbackError, UnknownRun
from ledger.model import TERMINAL
from ledger.settings import Settings, TargetSettings
from worker.online import filling, leftovers
from worker.target import Row, Session, connect

log = structlog.get_logger(__name__)


class Sweeper:
    """Looks through all targets."""

    def __init__(self, engine: Engine, settings: Settings, installation: UUID) -> None:
        self._engine = engine
        self._targets = settings.targets
        self._installation = installation
        #: What went wrong with each target the last time: said once, not every round.
        self._trouble: dict[str, str] = {}

    def round(self) -> int:
        """Sweep every target once; return how many copies were taken away."""
        swept = 0
        for name, target in self._targets.items():
            try:
                swept += self._sweep(name, target)
                self._trouble.pop(name, None)
            except StepbackError as error:
                if self._trouble.get(name) != error.code:
                    log.warning("sweep_impeded", target=name, code=error.code)
                self._trouble[name] = error.code
        return swept

    def _sweep(self, name: str, target: TargetSettings) -> int:
        session = connect(target.dsn(), "stepback sweeper")
        try:
            session.limit(lock_timeout_ms=target.lock_timeout_ms, statement_timeout_ms=target.statement_timeout_ms)
            return self._sweep_through(session, name)
        finally:
            session.close()

    def _sweep_through(self, session: Session, name: str) -> int:
        if session.value("SELECT to_regclass('emergency_backup.online_fills')") is None:
            return 0
        swept = 0
        for kind in (leftovers, filling):
            for left in kind.of_run(session, self._installation, None):
                swept += self._let_go(session, name, kind.let_go, left)
        return swept

    def _let_go(self, session: Session, name: str, let_go: Callable[[Session, UUID, Row], None], left: Row) -> int:
        if not self._is_over(left["run"]):
            return 0
        told = {"target": name, "run": left["run"], "source": left["source"]}
        try:
            let_go(session, self._installation, left)
        except LockNotAvailable:
            # In use just now; the others need not wait for it.
            log.info("copy_not_swept_yet", **told)
            return 0
        log.info("copy_swept", **told)
        return 1

    def _is_over(self, run: int) -> bool:
        """Whether no attempt will come any more. Of a run that the ledger does not know, nobody can say."""
        try:
            with transaction(self._engine) as conn:
                return runs.find(conn, run).state in TERMINAL
        except UnknownRun:
            return False
