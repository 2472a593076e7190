"""The demo's checks fail when what they claim is not so."""

from __future__ import annotations

from stepback.demo.witness import OLD_TABLES, Sight, untouched
from worker.fingerprint import Fingerprint, TableSum


def _sight(*facts: str, rows: int = 3) -> Sight:
    old = {table: TableSum(3, "7") for table in OLD_TABLES} | {"price_alerts": TableSum(rows, "7")}
    return Sight(Fingerprint(facts, ()), old)


def test_same_is_untouched() -> None:
    """Equal sums and equal facts: nothing was touched."""
    assert all(untouched(_sight("relation | public.users | r"), _sight("relation | public.users | r")).values())


def test_changed_rows_are_noticed() -> None:
    """A lost row of the bystander is noticed, and only there."""
    found = untouched(_sight(), _sight(rows=2))

    assert [table for table, same in found.items() if not same] == ["price_alerts"]


def test_changed_schema_is_noticed() -> None:
    """A constraint that an old table lost is noticed."""
    found = untouched(_sight("constraint | public.price_alerts | fkey | f"), _sight())

    assert [table for table, same in found.items() if not same] == ["price_alerts"]


def test_columns_of_the_migration_do_not_count() -> None:
    """The columns that a migration added to businesses may go; any other may not."""
    added = _sight("column | public.businesses | auto_sync_enabled | boolean")
    own = _sight("column | public.businesses | title | text")

    assert untouched(added, _sight())["businesses"]
    assert not untouched(own, _sight())["businesses"]
