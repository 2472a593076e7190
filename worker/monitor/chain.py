"""The audit chain: whether it holds, walked from where it was last seen to hold, and whether it can be written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy import Engine

from ledger import audit
from ledger.database import transaction
from ledger.errors import LedgerUnreachable
from worker.monitor.alertmanager import Labels
from worker.monitor.trouble import Alert, Trouble, told

_ALERTS: Final = frozenset({Alert.AUDIT_CHAIN_BROKEN, Alert.AUDIT_UNWRITABLE})

#: How often a chain that does not hold is walked again.
_AGAIN_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class Chain:
    """The chain as last seen."""

    def __init__(self, engine: Engine, verify_seconds: float) -> None:
        self._engine = engine
        self._verify_seconds = verify_seconds
        #: The last event up to which it was walked and held.
        self._until = audit.START
        self._walked = float("-inf")
        self._broken: audit.Verification | None = None
        self._broken_since: datetime | None = None
        self._unwritable: str | None = None
        self._unwritable_since: datetime | None = None
        #: When all of it was last walked; None: not yet.
        self.verified_at: datetime | None = None

    @property
    def holds(self) -> bool | None:
        """Whether it holds as far as it was walked; None before the first look."""
        return None if self.verified_at is None else self._broken is None

    @property
    def writable(self) -> bool | None:
        """Whether an event could be appended; None before the first look."""
        return None if self.verified_at is None else self._unwritable is None

    def round(self) -> None:
        """Walk what is new, or all of it once its time has come; and see whether it can be written."""
        try:
            self._verify()
            self._try_to_write()
        except LedgerUnreachable:
            # That is told by others.
            return

    def _verify(self) -> None:
        wait = self._verify_seconds if self._broken is None else min(self._verify_seconds, _AGAIN_SECONDS)
        whole = time.monotonic() - self._walked >= wait
        if self._broken is not None and not whole:
            return
        with transaction(self._engine) as conn:
            # On from where it was seen to hold, also when all of it is walked: what was cut off since holds by itself.
            found = audit.verify(conn, self._until)
            if found.ok and whole and self._until != audit.START:
                found = audit.verify(conn)
        if whole:
            self._walked, self.verified_at = time.monotonic(), datetime.now(UTC)
        if found.ok:
            self._broken, self._broken_since, self._until = None, None, found.until or self._until
            return
        if self._broken is None:
            log.error("audit_chain_broken", first_bad_seq=found.first_bad_seq, reason=found.reason)
        self._broken, self._broken_since = found, self._broken_since or datetime.now(UTC)

    def _try_to_write(self) -> None:
        refused = audit.try_append(self._engine)
        if refused is not None and self._unwritable is None:
            log.error("audit_unwritable", reason=refused)
        self._unwritable_since = None if refused is None else self._unwritable_since or datetime.now(UTC)
        self._unwritable = refused

    def troubles(self) -> Sequence[Trouble]:
        """Return what is wrong with the chain."""
        found = []
        if self._broken is not None and self._broken_since is not None:
            found.append(
                Trouble(
                    Alert.AUDIT_CHAIN_BROKEN,
                    self._broken_since,
                    "the audit log is not as it was written",
                    f"Seen at {told(self._broken_since)}: {self._broken.reason}. Somebody with the owner's rights has"
                    " changed it, or the ledger was restored; until it is known which, trust no entry from there on.",
                    "stepback audit verify",
                )
            )
        if self._unwritable is not None and self._unwritable_since is not None:
            found.append(
                Trouble(
                    Alert.AUDIT_UNWRITABLE,
                    self._unwritable_since,
                    "nothing can be written into the audit log",
                    f"Since {told(self._unwritable_since)}: {self._unwritable}. No run begins or ends without it.",
                    "stepback audit verify",
                )
            )
        return found

    def is_known(self, labels: Labels) -> bool:
        """Whether it is about the chain, and that was looked at."""
        return labels["alertname"] in _ALERTS and self.verified_at is not None
