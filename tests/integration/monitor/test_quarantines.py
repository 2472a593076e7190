"""What targets keep, as a monitor sees it: all of it, where it was put, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import TargetSettings
from tests.faults.conftest import PLAN, SCHEMA
from tests.harness import TARGET, Engine, completed
from worker.monitor.quarantines import Quarantines

_NOTICE = timedelta(days=7)
_DAMAGED = {"alertname": "StepbackQuarantineDamaged", "target": TARGET}


@pytest.fixture
def url_file(engine: Engine, tmp_path: Path) -> Path:
    """Give the file that holds the target's URL."""
    file = tmp_path / "url"
    file.write_text(engine.url, encoding="utf-8")
    return file


def _seen(url_file: Path, **settings: Any) -> Quarantines:  # noqa: ANN401 - any setting of a target
    seen = Quarantines({TARGET: TargetSettings(url_file=url_file, contact="DBA on call", **settings)}, _NOTICE)
    assert seen.round() == 0
    return seen


def _alerts(seen: Quarantines) -> list[str]:
    return [trouble.alert.value for trouble in seen.troubles()]


def _rolled_back(engine: Engine) -> str:
    """Roll the small plan back; return where the table `box` is kept."""
    engine.owner(SCHEMA)
    engine.plan(PLAN)
    run = completed(engine.rollback())
    (box,) = [kept.inside for kept in engine.kept(run) if kept.name == "public.box" and kept.kind == "table"]
    assert box is not None
    return box


def test_before_the_first_look_nothing_is_known() -> None:
    """So no alert of a monitor before this one is ended."""
    seen = Quarantines({TARGET: TargetSettings(url="postgresql://x")}, _NOTICE)

    assert seen.troubles() == []
    assert not seen.is_known(_DAMAGED)
    assert not seen.is_known({"alertname": "StepbackRunFailed", "target": TARGET})


def test_a_target_that_keeps_nothing(url_file: Path) -> None:
    """Is reached, and says so."""
    seen = _seen(url_file, retention="30d")

    kept = seen.kept[TARGET]
    assert (kept.reached, kept.objects, kept.bytes, kept.missing, kept.expiry) == (True, 0, 0, (), None)
    assert seen.is_known(_DAMAGED)


def test_what_is_kept_is_counted(engine: Engine, url_file: Path) -> None:
    """Objects and bytes; without a retention it is kept for ever."""
    _rolled_back(engine)

    seen = _seen(url_file)

    kept = seen.kept[TARGET]
    (objects,) = engine.query("SELECT count(*) FROM emergency_backup.preserved_objects")
    assert (kept.objects, kept.missing, kept.expiry) == (objects["count"], (), None)
    assert kept.bytes is not None
    assert kept.bytes > 8192
    assert _alerts(seen) == []


def test_what_was_dropped_by_hand_is_missed(engine: Engine, url_file: Path) -> None:
    """By name, with its target and whom to call; and it stays so, since when it was first seen."""
    box = _rolled_back(engine)

    engine.admin(f"DROP TABLE {box} CASCADE")
    seen = _seen(url_file)
    (first,) = seen.troubles()
    seen.round()
    (second,) = seen.troubles()

    assert first == second
    assert (first.alert.value, first.about, first.contact) == (
        "StepbackQuarantineDamaged",
        {"target": TARGET},
        "DBA on call",
    )
    assert "table public.box (run 1)" in first.description
    assert first.command == f"stepback validate --target {TARGET}"


def test_what_was_moved_away_and_put_back_is_no_trouble_any_more(engine: Engine, url_file: Path) -> None:
    """As long as it is elsewhere it is."""
    box = _rolled_back(engine)
    schema, name = box.replace('"', "").split(".")

    engine.admin(f"ALTER TABLE {box} SET SCHEMA public")
    seen = _seen(url_file)
    away = _alerts(seen)
    engine.admin(f"ALTER TABLE public.{name} SET SCHEMA {schema}")
    seen.round()

    assert (away, _alerts(seen)) == (["StepbackQuarantineDamaged"], [])


def test_what_was_recovered_is_not_missed(engine: Engine, url_file: Path) -> None:
    """It is where it belongs."""
    _rolled_back(engine)

    completed(engine.recover(1))

    seen = _seen(url_file, retention="1h")
    assert (seen.kept[TARGET].objects, seen.kept[TARGET].expiry, _alerts(seen)) == (0, None, [])


@pytest.mark.parametrize(("retention", "alerts"), [("6d", ["StepbackQuarantineExpiring"]), ("8d", [])])
def test_what_will_pass_its_retention_soon_is_told(
    engine: Engine, url_file: Path, retention: str, alerts: list[str]
) -> None:
    """As long before as the notice says, and not earlier."""
    _rolled_back(engine)

    seen = _seen(url_file, retention=retention)

    assert _alerts(seen) == alerts
    expiry = seen.kept[TARGET].expiry
    assert expiry is not None
    days = timedelta(days=int(retention.removesuffix("d")))
    assert abs(expiry - days - datetime.now(UTC)) < timedelta(minutes=5)
    assert {trouble.since for trouble in seen.troubles()} <= {expiry - _NOTICE}


def test_while_a_target_is_away_what_was_wrong_stands(engine: Engine, url_file: Path) -> None:
    """And is not known to be over; when it is back, it is looked at again."""
    box = _rolled_back(engine)
    engine.admin(f"DROP TABLE {box} CASCADE")
    seen = _seen(url_file, retention="1d")
    url_file.write_text("postgresql://nobody@/nowhere?host=/nonexistent", encoding="utf-8")

    failures = seen.round()

    assert failures == 1
    assert _alerts(seen) == ["StepbackQuarantineDamaged", "StepbackQuarantineExpiring"]
    assert not seen.is_known(_DAMAGED)
    assert (seen.kept[TARGET].reached, seen.kept[TARGET].missing is not None) == (False, True)
    url_file.write_text(engine.url, encoding="utf-8")
    assert (seen.round(), seen.is_known(_DAMAGED)) == (0, True)


def test_one_target_that_is_away_hides_no_other(engine: Engine, url_file: Path) -> None:
    """Each is looked at by itself; whatever its URL is."""
    box = _rolled_back(engine)
    engine.admin(f"DROP TABLE {box} CASCADE")
    urls: list[Any] = ["postgresql://nobody@/nowhere?host=/nonexistent", "no URL at all"]
    others = {f"away{number}": TargetSettings(url=url) for number, url in enumerate(urls)}
    gone = {"gone": TargetSettings(url_file=url_file.parent / "gone")}
    seen = Quarantines({**others, **gone, TARGET: TargetSettings(url_file=url_file)}, _NOTICE)

    failures = seen.round()

    assert failures == 3
    assert _alerts(seen) == ["StepbackQuarantineDamaged"]


def test_an_alert_about_a_target_that_is_not_configured_any_more_is_over(url_file: Path) -> None:
    """Nobody would ever end it otherwise."""
    assert _seen(url_file).is_known({**_DAMAGED, "target": "was_once"})
