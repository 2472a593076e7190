"""Pins: finding the plan of a rollback as it is at this moment, over sessions that are kept open."""

from __future__ import annotations

from threading import Lock
from types import TracebackType
from typing import Self

from ledger.errors import TargetUnreachable
from ledger.settings import Settings
from worker.install import check_installed
from worker.plan import source
from worker.target import Session, connect


class Pins:
    """Finds plans for a process that takes many commands: one session a target, one question at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sessions: dict[str, Session] = {}
        self._lock = Lock()

    def __call__(self, target: str, migration: str) -> str:
        """Return the SHA-256 of the plan of a migration.

        Raises:
            UnknownMigration: There is none.
            PlanRefused: It cannot be read.
            TargetUnreachable: The target does not answer.
        """
        with self._lock:
            kept = target in self._sessions
            try:
                return self._find(target, migration)
            except TargetUnreachable:
                self._hang_up(target)
                if not kept:
                    raise
                # What was kept open may have been cut since: only a new session tells whether the target is away.
                return self._find(target, migration)

    def _find(self, target: str, migration: str) -> str:
        configured = self._settings.target(target)
        if target not in self._sessions:
            session = connect(configured.dsn(), "stepback door")
            self._sessions[target] = session
            session.limit(
                lock_timeout_ms=configured.lock_timeout_ms, statement_timeout_ms=configured.statement_timeout_ms
            )
            check_installed(session)
        return source.find(self._sessions[target], configured.plans, migration).sha256

    def _hang_up(self, target: str) -> None:
        session = self._sessions.pop(target, None)
        if session is not None:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            for target in list(self._sessions):
                self._hang_up(target)
