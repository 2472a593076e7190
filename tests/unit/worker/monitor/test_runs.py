"""When a run is trouble: just past each limit and not just before, until somebody took note of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ledger.model import Kind, Phase, State
from ledger.settings import MonitorSettings
from ledger.watching import Incident, OpenRun, Sight
from worker.monitor.limits import Limits
from worker.monitor.runs import troubles
from worker.monitor.trouble import Alert, Trouble

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LIMITS = Limits.of(MonitorSettings())
#: As the settings' defaults have them.
PHASES = {
    None: timedelta(minutes=2),
    Phase.PREFLIGHT: timedelta(minutes=2),
    Phase.PRESERVE: timedelta(minutes=10),
    Phase.APPLY: timedelta(minutes=2),
    Phase.FINISH: timedelta(minutes=30),
}

RUN = OpenRun(
    run=7,
    kind=Kind.ROLLBACK,
    target="shop",
    migration="add_prices",
    requested_by="local:ada",
    state=State.IN_PROGRESS,
    phase=Phase.APPLY,
    attempt=3,
    lease_until=NOW + 15 * SECOND,
    submitted_at=NOW - timedelta(hours=2),
    started_at=NOW - timedelta(hours=1),
    progressed_at=NOW,
    acknowledged_at=None,
)
WAITING = replace(RUN, state=State.AWAITING_APPROVAL, lease_until=NOW - timedelta(hours=1))
INCIDENT = Incident(
    run=7,
    incident="failed",
    opened_at=NOW - timedelta(minutes=5),
    kind=Kind.ROLLBACK,
    target="shop",
    migration="add_prices",
    requested_by="local:ada",
    phase=Phase.APPLY,
    error_code="gate_failed",
    error_message="a check did not hold",
)


def _of(*runs: OpenRun) -> list[Trouble]:
    return troubles(Sight(NOW, runs, ()), LIMITS, {"shop": "DBA on call"})


def _silent(run: OpenRun, span: timedelta) -> OpenRun:
    return replace(run, progressed_at=NOW - span)


@pytest.mark.parametrize(("phase", "limit"), PHASES.items())
def test_a_run_that_gets_nowhere_is_stuck_once_its_phase_s_limit_is_passed(
    phase: Phase | None, limit: timedelta
) -> None:
    """Not a second before; since the moment it was passed. A run that has entered no phase yet is in preflight."""
    run = replace(RUN, phase=phase)

    assert _of(_silent(run, limit - SECOND)) == []
    (trouble,) = _of(_silent(run, limit + SECOND))
    assert (trouble.alert, trouble.since) == (Alert.RUN_STUCK, NOW - SECOND)


def test_a_run_that_has_lost_its_worker_is_stuck_once_nobody_took_it_over() -> None:
    """After the grace in which another worker may; however lately it got on."""
    grace = timedelta(seconds=15)

    assert _of(replace(RUN, lease_until=NOW - grace + SECOND)) == []
    (trouble,) = _of(replace(RUN, lease_until=NOW - grace - SECOND))
    assert (trouble.alert, trouble.since) == (Alert.RUN_STUCK, NOW - SECOND)
    assert "has lost its worker" in trouble.description


def test_a_run_is_stuck_once_and_since_the_earlier_reason() -> None:
    """Silent and without a worker, it is one trouble, and does not become another when the second reason comes."""
    lost = replace(RUN, lease_until=NOW - timedelta(minutes=5))

    (first,), (second,) = _of(lost), _of(_silent(lost, timedelta(minutes=5)))

    assert (first.alert, first.about) == (second.alert, second.about)
    assert first.since == second.since == NOW - timedelta(minutes=5) + timedelta(seconds=15)


@pytest.mark.parametrize("state", [State.QUEUED, State.AWAITING_APPROVAL])
def test_only_what_is_in_progress_can_be_stuck(state: State) -> None:
    """An old lease of a run that waits says nothing."""
    run = replace(RUN, state=state, lease_until=NOW - timedelta(minutes=20), progressed_at=NOW - timedelta(minutes=20))

    assert _of(run) == []


def test_consent_is_overdue_once_its_limit_is_passed() -> None:
    """Since preflight asked for it; it is a warning, and pages nobody."""
    limit = timedelta(minutes=30)

    assert _of(_silent(WAITING, limit - SECOND)) == []
    (trouble,) = _of(_silent(WAITING, limit + SECOND))
    assert (trouble.alert, trouble.alert.severity) == (Alert.APPROVAL_OVERDUE, "warning")
    assert trouble.since == NOW - SECOND


@pytest.mark.parametrize("run", [RUN, WAITING], ids=["stuck", "overdue"])
def test_what_was_taken_note_of_is_no_trouble_until_it_gets_on_and_stops_again(run: OpenRun) -> None:
    """Acknowledged: nothing. It got on since and stopped again: another matter, and trouble again."""
    stuck = _silent(run, timedelta(hours=1))
    acknowledged = replace(stuck, acknowledged_at=NOW - timedelta(minutes=20))
    got_on = replace(acknowledged, acknowledged_at=NOW - timedelta(hours=2))

    assert [len(_of(each)) for each in (stuck, acknowledged, got_on)] == [1, 0, 1]


@pytest.mark.parametrize("run", [RUN, WAITING], ids=["stuck", "overdue"])
def test_what_was_not_trouble_yet_cannot_be_taken_note_of(run: OpenRun) -> None:
    """Somebody who acknowledges a run that is well is paged all the same when it gets stuck right there."""
    run = replace(_silent(run, timedelta(hours=1)), acknowledged_at=NOW - timedelta(minutes=59, seconds=30))

    assert len(_of(run)) == 1


def test_what_was_taken_note_of_while_its_worker_was_lost_stays_so_when_its_time_is_up_too() -> None:
    """The second reason for the same standstill is no news."""
    run = replace(
        _silent(RUN, timedelta(minutes=10)),
        lease_until=NOW - timedelta(minutes=10),
        acknowledged_at=NOW - timedelta(minutes=9),
    )

    assert _of(run) == []


@pytest.mark.parametrize(
    ("word", "alert"),
    [
        ("failed", Alert.RUN_FAILED),
        ("needs_operator", Alert.RUN_NEEDS_OPERATOR),
        ("validation_failed", Alert.VALIDATION_FAILED),
    ],
)
def test_a_bad_end_is_trouble_since_it_came(word: str, alert: Alert) -> None:
    """Each by its own name; all of them page."""
    (trouble,) = troubles(Sight(NOW, (), (replace(INCIDENT, incident=word),)), LIMITS, {})

    assert (trouble.alert, trouble.since, trouble.alert.severity) == (alert, INCIDENT.opened_at, "critical")


def test_the_page_of_a_stuck_run_says_it_all() -> None:
    """Target, migration, run, phase, since when and how long it may, who asked, whom to call, what to type."""
    (trouble,) = _of(_silent(RUN, timedelta(minutes=5)))

    assert trouble.summary == "run 7 on shop is stuck in apply"
    for part in (
        "run 7, a rollback of add_prices on shop,",
        "since 2026-11-23 11:55:00 UTC",
        "longer than the 2 min",
        "attempt 3, asked by local:ada",
    ):
        assert part in trouble.description
    assert (trouble.command, trouble.contact) == ("stepback show 7", "DBA on call")
    assert trouble.about == {"target": "shop", "migration": "add_prices", "kind": "rollback", "run": "7"}


def test_the_page_of_a_bad_end_says_it_all() -> None:
    """Also how it ended, and how to take note of it."""
    (trouble,) = troubles(Sight(NOW, (), (INCIDENT,)), LIMITS, {"shop": "DBA on call"})

    assert trouble.summary == "run 7 on shop: failed"
    for part in (
        "run 7, a rollback of add_prices on shop, ended in apply at 2026-11-23 11:55:00 UTC",
        "asked by local:ada",
        "gate_failed: a check did not hold.",
    ):
        assert part in trouble.description
    assert trouble.command == 'stepback show 7; then stepback ack 7 --reason "…"'
    assert (trouble.contact, trouble.about["run"]) == ("DBA on call", "7")


def test_the_page_of_overdue_consent_says_it_all() -> None:
    """Whose run waits for it, and since when."""
    (trouble,) = _of(_silent(WAITING, timedelta(minutes=45)))

    assert trouble.summary == "run 7 on shop waits for approval"
    assert "run 7, a rollback of add_prices on shop, waits for somebody's consent" in trouble.description
    assert "since 2026-11-23 11:15:00 UTC, longer than 30 min; asked by local:ada" in trouble.description
    assert (trouble.command, trouble.contact) == ("stepback show 7", "DBA on call")


def test_a_validation_of_everything_says_so() -> None:
    """Where there is no migration to name."""
    (trouble,) = _of(replace(_silent(RUN, timedelta(minutes=5)), kind=Kind.VALIDATE, migration=None))

    assert "run 7, a validation of everything on shop," in trouble.description
    assert trouble.about["migration"] == ""


def test_the_same_trouble_is_known_by_the_same_labels_however_often_it_is_seen() -> None:
    """Also when an error message or the attempt differs: what it is about does not."""
    (first,) = _of(_silent(RUN, timedelta(minutes=5)))
    (second,) = _of(_silent(replace(RUN, attempt=4), timedelta(minutes=6)))

    assert (first.alert, first.about) == (second.alert, second.about)
