"""What targets keep: looked at every so often, in a thread of its own, since not to answer may take seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from ledger.errors import StepbackError
from ledger.settings import TargetSettings
from worker import stock
from worker.install import check_installed
from worker.monitor.alertmanager import Labels
from worker.monitor.trouble import Alert, Trouble, told
from worker.target import Session, connect

#: How long a statement may take that only looks at the catalog.
_STATEMENT_MS: Final = 10_000

_ALERTS: Final = frozenset({Alert.QUARANTINE_DAMAGED, Alert.QUARANTINE_EXPIRING})


@dataclass(frozen=True)
class Kept:
    """What one target keeps, when it was last looked at."""

    #: Whether the last look reached it.
    reached: bool = False
    objects: int | None = None
    bytes: int | None = None
    #: Names of preserved objects that are not where they were put; None: never looked at.
    missing: tuple[str, ...] | None = None
    #: When the oldest passes the target's retention; None: nothing is kept, or for ever.
    expiry: datetime | None = None
    #: When it was first seen that something is missing.
    damaged_since: datetime | None = None


class Quarantines:
    """All targets, as last seen."""

    def __init__(self, targets: Mapping[str, TargetSettings], notice: timedelta) -> None:
        self._targets = targets
        self._notice = notice
        self.kept: Mapping[str, Kept] = {name: Kept() for name in targets}

    def round(self) -> int:
        """Look at every target once; return how many did not answer."""
        failures = 0
        for name, target in self._targets.items():
            before = self.kept[name]
            try:
                seen = _look(target)
            except StepbackError:
                seen, failures = replace(before, reached=False), failures + 1
            since = (before.damaged_since or datetime.now(UTC)) if seen.missing else None
            self.kept = {**self.kept, name: replace(seen, damaged_since=since)}
        return failures

    def troubles(self) -> Sequence[Trouble]:
        """Return what is wrong with what targets keep."""
        return [trouble for name, kept in self.kept.items() for trouble in self._of_target(name, kept)]

    def is_known(self, labels: Labels) -> bool:
        """Whether it is about a target that was looked at, or is not configured any more."""
        if labels["alertname"] not in _ALERTS:
            return False
        kept = self.kept.get(labels.get("target", ""))
        return kept is None or (kept.reached and kept.missing is not None)

    def _of_target(self, name: str, kept: Kept) -> list[Trouble]:
        found, contact = [], self._targets[name].contact
        if kept.missing and kept.damaged_since is not None:
            listed = ", ".join(kept.missing[:5]) + (" …" if len(kept.missing) > 5 else "")
            found.append(
                Trouble(
                    Alert.QUARANTINE_DAMAGED,
                    kept.damaged_since,
                    f"{len(kept.missing)} preserved object(s) are gone from {name}",
                    f"Not where they were put: {listed}. Somebody has dropped or moved them by hand; what a recovery"
                    " would bring back is no longer all there.",
                    f"stepback validate --target {name}",
                    {"target": name},
                    contact,
                )
            )
        if kept.expiry is not None and kept.expiry - self._notice <= datetime.now(UTC):
            found.append(
                Trouble(
                    Alert.QUARANTINE_EXPIRING,
                    kept.expiry - self._notice,
                    f"what {name} keeps passes its retention",
                    f"The oldest passes the target's retention at {told(kept.expiry)}. Nothing is deleted by itself:"
                    " recover it, purge it, or keep it longer.",
                    f"stepback purge --target {name}",
                    {"target": name},
                    contact,
                )
            )
        return found


def _look(target: TargetSettings) -> Kept:
    session = connect(target.dsn(), "stepback monitor")
    try:
        session.limit(lock_timeout_ms=target.lock_timeout_ms, statement_timeout_ms=_STATEMENT_MS)
        check_installed(session)
        return _kept(session, target.retention)
    finally:
        session.close()


def _kept(session: Session, retention: timedelta | None) -> Kept:
    size = stock.size(session)
    since = [keeper.since for keeper in stock.keepers(session)] if retention is not None else []
    expiry = min(since) + retention if retention is not None and since else None
    return Kept(
        reached=True, objects=size.objects, bytes=size.bytes, missing=tuple(stock.missing(session)), expiry=expiry
    )
