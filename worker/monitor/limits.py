"""How long things may take before somebody is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ledger.model import Phase
from ledger.settings import MonitorSettings


@dataclass(frozen=True)
class Limits:
    """Times, as configured."""

    stuck: dict[Phase, timedelta]
    lease_grace: timedelta
    approval: timedelta

    @classmethod
    def of(cls, settings: MonitorSettings) -> Limits:
        """Return what the settings say."""
        stuck = {
            Phase.PREFLIGHT: settings.stuck_preflight_seconds,
            Phase.PRESERVE: settings.stuck_preserve_seconds,
            Phase.APPLY: settings.stuck_apply_seconds,
            Phase.FINISH: settings.stuck_finish_seconds,
        }
        return cls(
            {phase: timedelta(seconds=seconds) for phase, seconds in stuck.items()},
            timedelta(seconds=settings.lease_grace_seconds),
            timedelta(seconds=settings.approval_seconds),
        )
