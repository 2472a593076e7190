"""The state of the house for Prometheus, read when it is asked for: right whatever becomes of a worker."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import Engine

from ledger import watching
from ledger.database import transaction
from ledger.errors import LedgerUnreachable
from ledger.model import Kind, State
from ledger.watching import Figures, Sight
from worker.monitor.chain import Chain
from worker.monitor.quarantines import Quarantines
from worker.monitor.question import NoAnswerYet, Question
from worker.monitor.queue import Queue

#: What is read, each by itself: one that does not answer hides none of the others.
PARTS: Final = ("ledger", "queue", "targets")
_OPEN: Final = (State.QUEUED, State.IN_PROGRESS, State.AWAITING_APPROVAL)
_INCIDENTS: Final = ("failed", "needs_operator", "validation_failed")

#: How long a scrape waits for the ledger: less than Prometheus waits for a scrape.
_ANSWER_SECONDS: Final = 4.0

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class House(Collector):
    """Everything that is read from ledger, queue and targets."""

    def __init__(
        self, engine: Engine, counted: Callable[[], Queue], chain: Chain, quarantines: Quarantines, version: str
    ) -> None:
        self._engine = engine
        self._asked = Question(self._ledger)
        self._one_at_a_time = threading.Lock()
        self._counted = counted
        self._chain = chain
        self._quarantines = quarantines
        self._version = version
        self._seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self._errors: dict[str, int] = dict.fromkeys(PARTS, 0)
        self._up: dict[str, bool] = dict.fromkeys(PARTS, False)

    def look_at_targets(self) -> None:
        """Look at all targets; what was seen is shown until the next time."""
        with _Timed(self._seconds, "targets"):
            failures = self._quarantines.round()
        self._errors["targets"] += failures
        self._up["targets"] = failures == 0

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not read everything."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read everything, and give what could be read."""
        with self._one_at_a_time:
            yield from self._collect()

    def _collect(self) -> Iterator[Metric]:
        seen = self._read("ledger", partial(self._asked.answer, _ANSWER_SECONDS))
        if seen is not None:
            yield from _of_ledger(*seen, targets=list(self._quarantines.kept))
        counted = self._read("queue", self._counted)
        if counted is not None:
            yield from _of_queue(counted)
        yield from self._of_targets()
        yield from self._of_audit()
        yield from self._of_itself()

    def _ledger(self) -> tuple[Sight, Figures]:
        with transaction(self._engine) as conn:
            return watching.look(conn), watching.figures(conn)

    def _read(self, part: str, act: Callable[[], _T]) -> _T | None:
        found = None
        with _Timed(self._seconds, part):
            try:
                found = act()
            except (LedgerUnreachable, NoAnswerYet, RedisError, OSError):
                self._errors[part] += 1
            except Exception:
                # Whatever it is, the other parts are shown.
                log.exception("look_broke", of=part)
                self._errors[part] += 1
        self._up[part] = found is not None
        return found

    def _of_targets(self) -> Iterator[Metric]:
        up = _gauge("target_up", "Whether the last look at a target reached it", "target")
        objects = _gauge("quarantine_objects", "Objects that are kept in a target", "target")
        size = _gauge("quarantine_bytes", "Bytes of the tables that are kept in a target", "target")
        damaged = _gauge("quarantine_damaged_objects", "Preserved objects that are not where they were put", "target")
        expiry = _gauge(
            "quarantine_next_expiry_timestamp_seconds", "When the oldest that is kept passes its retention", "target"
        )
        for name, kept in self._quarantines.kept.items():
            up.add_metric([name], kept.reached)
            if kept.missing is not None and kept.objects is not None and kept.bytes is not None:
                objects.add_metric([name], kept.objects)
                size.add_metric([name], kept.bytes)
                damaged.add_metric([name], len(kept.missing))
            if kept.expiry is not None:
                expiry.add_metric([name], kept.expiry.timestamp())
        yield from (up, objects, size, damaged, expiry)

    def _of_audit(self) -> Iterator[Metric]:
        chain = self._chain
        if chain.verified_at is None:
            return
        yield _single("audit_chain_ok", "Whether the audit chain holds as far as it was walked", bool(chain.holds))
        yield _single("audit_writable", "Whether an audit event could be appended", bool(chain.writable))
        yield _single(
            "audit_verified_timestamp_seconds", "When all of the chain was last walked", chain.verified_at.timestamp()
        )

    def _of_itself(self) -> Iterator[Metric]:
        up = _gauge("collector_up", "Whether the last look succeeded", "part")
        seconds = _gauge("collector_duration_seconds", "How long the last look took", "part")
        errors = CounterMetricFamily("stepback_collector_errors", "Looks that failed", labels=["part"])
        for part in PARTS:
            up.add_metric([part], self._up[part])
            seconds.add_metric([part], self._seconds[part])
            errors.add_metric([part], self._errors[part])
        yield from (up, seconds, errors)
        build = GaugeMetricFamily("stepback_build_info", "Which Stepback this is", labels=["version", "python"])
        build.add_metric([self._version, platform.python_version()], 1)
        yield build


class _Timed:
    """Notes how long a block took."""

    def __init__(self, seconds: dict[str, float], part: str) -> None:
        self._seconds, self._part = seconds, part

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._part] = time.monotonic() - self._began


def _of_ledger(sight: Sight, figures: Figures, targets: list[str]) -> Iterator[Metric]:
    yield _commands(figures)
    yield from _ages(sight)
    yield _incidents(sight, targets)
    # What somebody has taken note of is for nobody else to find.
    open_ = [run for run in sight.runs if run.state is State.IN_PROGRESS and not run.is_noted]
    lost = sum(1 for run in open_ if run.lease_until is not None and run.lease_until <= sight.now)
    yield _single("leases_lost", "Runs in progress whose lease has lapsed, and that nobody has taken note of", lost)
    yield _single("workers_alive", "Workers that have said lately that they live", figures.workers_alive)
    yield _single("audit_events_recorded", "Number of the newest audit event", figures.audit_events)
    yield _moment(
        "canary_success_timestamp_seconds", "When the last canary went all the way through", figures.canary_at
    )


def _commands(figures: Figures) -> Metric:
    found = _gauge("commands", "Commands by kind and state", "kind", "state")
    for kind in Kind:
        for state in State:
            found.add_metric([kind.value, state.value], figures.runs.get((kind.value, state.value), 0))
    return found


def _ages(sight: Sight) -> Iterator[Metric]:
    oldest = _gauge("oldest_timestamp_seconds", "Since when the oldest command is in a state", "state")
    for state in _OPEN:
        since = [_since(run) for run in sight.runs if run.state is state]
        if since:
            oldest.add_metric([state.value], min(since).timestamp())
    yield oldest
    still = _gauge(
        "oldest_progress_timestamp_seconds", "When the run last got on that has not for longest", "target", "phase"
    )
    found: dict[tuple[str, str], datetime] = {}
    for run in sight.runs:
        if run.state is State.IN_PROGRESS and run.progressed_at is not None and not run.is_noted:
            place = (run.target, run.phase.value if run.phase else "preflight")
            found[place] = min(found.get(place, run.progressed_at), run.progressed_at)
    for place, moment in sorted(found.items()):
        still.add_metric([*place], moment.timestamp())
    yield still


def _since(run: watching.OpenRun) -> datetime:
    if run.state is State.AWAITING_APPROVAL and run.progressed_at is not None:
        return run.progressed_at
    if run.state is State.IN_PROGRESS and run.started_at is not None:
        return run.started_at
    return run.submitted_at


def _incidents(sight: Sight, targets: list[str]) -> Metric:
    found = _gauge("incidents_open", "Bad ends that nobody has taken note of", "target", "incident")
    names = sorted({*targets, *(incident.target for incident in sight.incidents)})
    for target in names:
        for word in _INCIDENTS:
            count = sum(1 for incident in sight.incidents if (incident.target, incident.incident) == (target, word))
            found.add_metric([target, word], count)
    return found


def _of_queue(counted: Queue) -> Iterator[Metric]:
    messages = _gauge("queue_messages", "Doorbell messages by the place where they are", "place")
    for place in ("ready", "delayed", "unacked", "dead", "poison"):
        messages.add_metric([place], getattr(counted, place))
    yield messages
    yield _moment("queue_oldest_timestamp_seconds", "When the message was sent that waits for longest", counted.oldest)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"stepback_{name}", text, labels=labels)


def _single(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"stepback_{name}", text, value=value)


def _moment(name: str, text: str, moment: datetime | None) -> Metric:
    found = _gauge(name, text)
    if moment is not None:
        found.add_metric([], moment.timestamp())
    return found
