"""One round of watching: look at everything, say what is wrong, tell whoever pages people."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol

import httpx
import structlog
from sqlalchemy import Engine

from ledger.database import transaction
from ledger.errors import LedgerUnreachable
from ledger.watching import Sight, look
from worker.monitor import figures, runs
from worker.monitor.alertmanager import Alertmanager, Labels, reason
from worker.monitor.limits import Limits
from worker.monitor.question import NoAnswerYet, Question
from worker.monitor.trouble import Alert, Trouble, told

#: How long a round waits for the ledger.
_ANSWER_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class View(Protocol):
    """Something that is looked at, and what was wrong with it when that was last possible."""

    def troubles(self) -> Sequence[Trouble]:
        """Return what is wrong with it, as far as is known."""

    def is_known(self, labels: Labels) -> bool:
        """Whether an alert is about this, and would be among its troubles if it still stood."""


#: What is told of runs.
_OF_RUNS: Final = frozenset(
    {
        Alert.RUN_STUCK,
        Alert.RUN_FAILED,
        Alert.RUN_NEEDS_OPERATOR,
        Alert.VALIDATION_FAILED,
        Alert.APPROVAL_OVERDUE,
        Alert.LEDGER_UNREACHABLE,
    }
)


class LedgerView:
    """The runs in the ledger. While it does not answer, what was last seen stands."""

    def __init__(self, engine: Engine, limits: Limits, contacts: Mapping[str, str], patience: timedelta) -> None:
        self._engine = engine
        self._question = Question(self._ask)
        self._limits = limits
        self._contacts = contacts
        self._patience = patience
        self._seen: Sequence[Trouble] = ()
        #: What is lately over.
        self.over: Sequence[Trouble] = ()
        self._silent_since: datetime | None = None
        #: Nothing is known before the first look.
        self._looked = False

    def look(self) -> None:
        """Look once."""
        try:
            sight = self._question.answer(_ANSWER_SECONDS)
        except (LedgerUnreachable, NoAnswerYet):
            return self._had_no_answer()
        except Exception:
            # Nor is a ledger of any use that answers and cannot be read.
            log.exception("look_broke")
            return self._had_no_answer()
        self.over = runs.over(sight)
        self._seen = runs.troubles(sight, self._limits, self._contacts)
        self._silent_since, self._looked = None, True
        return None

    def _had_no_answer(self) -> None:
        self._silent_since = self._silent_since or datetime.now(UTC)

    def _ask(self) -> Sight:
        began = time.monotonic()
        with transaction(self._engine) as conn:
            sight = look(conn)
        figures.SCAN_SECONDS.observe(time.monotonic() - began)
        return sight

    def troubles(self) -> Sequence[Trouble]:
        """Return what is wrong with runs, or with the ledger itself."""
        if self._silent_since is None or datetime.now(UTC) - self._silent_since < self._patience:
            return self._seen
        unreachable = Trouble(
            Alert.LEDGER_UNREACHABLE,
            self._silent_since + self._patience,
            "the ledger does not answer",
            f"The ledger has not answered since {told(self._silent_since)}: nothing is begun, nothing is recorded, and"
            " what is told of runs is what was known then.",
            "stepback targets",
        )
        return [*self._seen, unreachable]

    def is_known(self, labels: Labels) -> bool:
        """Whether it is about runs, and they can be seen."""
        return labels["alertname"] in _OF_RUNS and self._looked and self._silent_since is None


class Watch:
    """Looks, and tells; once a round, and at once when something happens."""

    def __init__(
        self, ledger: LedgerView, views: Sequence[View], alertmanagers: Sequence[Alertmanager], post_seconds: float
    ) -> None:
        self._ledger = ledger
        self._views = (ledger, *views)
        self._alertmanagers = alertmanagers
        self._post_seconds = post_seconds
        self._told: frozenset[tuple[str, str]] | None = None
        self._told_at = 0.0
        #: How those failed that did not take the last telling.
        self._failing: dict[str, Mapping[str, str]] = {}
        self._pool = ThreadPoolExecutor(max(1, len(alertmanagers)), "alertmanager")
        self._happened = threading.Event()

    def happened(self) -> None:
        """Let the next round begin at once."""
        self._happened.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the next round, or until something happens; return whether it did."""
        happened = self._happened.wait(seconds)
        self._happened.clear()
        return happened

    def round(self) -> Sequence[Trouble]:
        """Look once and tell what is new, and all of it every so often; return what stands."""
        self._ledger.look()
        troubles = [trouble for view in self._views for trouble in view.troubles()]
        figures.stand(troubles)
        now, seen = time.monotonic(), frozenset((t.alert.value, str(sorted(t.about.items()))) for t in troubles)
        doubtful = any(alertmanager.doubts for alertmanager in self._alertmanagers)
        if seen != self._told or self._failing or doubtful or now - self._told_at >= self._post_seconds:
            self._tell(troubles)
            self._told, self._told_at = seen, now
        return troubles

    def _tell(self, troubles: Sequence[Trouble]) -> None:
        """Tell all of them at once: one that hangs keeps nobody else from hearing."""
        came = self._pool.map(partial(_attempt, troubles, self._is_over, self._ledger.over), self._alertmanagers)
        for number, (alertmanager, failure) in enumerate(zip(self._alertmanagers, came, strict=True), start=1):
            known = self._failing.pop(alertmanager.url, None)
            figures.POSTS.labels("accepted" if failure is None else failure["result"]).inc()
            if failure is not None:
                self._failing[alertmanager.url] = failure
            if failure != known:
                log.warning("alertmanager_failed", number=number, **(failure or {"result": "accepted"}))

    def _is_over(self, labels: Labels) -> bool:
        return any(view.is_known(labels) for view in self._views)


def _attempt(
    troubles: Sequence[Trouble],
    is_over: Callable[[Labels], bool],
    over: Sequence[Trouble],
    alertmanager: Alertmanager,
) -> Mapping[str, str] | None:
    try:
        alertmanager.tell(troubles, is_over, over)
    except httpx.HTTPError as error:
        return reason(error)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {"result": "rejected", "reason": "its answer is not Alertmanager's"}
    return None
