"""Every kind of object, there and back: picture, roll back, look, deliver again, recover, same picture, and again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Engine, KeptRow, Picture, completed, in_order, rows_of
from tests.integration.worker.cases.alterations import ALTERATIONS, REDEFINITIONS
from tests.integration.worker.cases.case import BYSTANDERS, Case
from tests.integration.worker.cases.columns import COLUMNS
from tests.integration.worker.cases.definitions import DEFINITIONS
from tests.integration.worker.cases.domains import DOMAINS
from tests.integration.worker.cases.functions import FUNCTIONS
from tests.integration.worker.cases.identities import IDENTITIES
from tests.integration.worker.cases.indexes import INDEXES
from tests.integration.worker.cases.inheritance import INHERITANCE
from tests.integration.worker.cases.matviews import MATVIEWS
from tests.integration.worker.cases.partitions import PARTITIONS, PARTS_OF_PARTITIONED
from tests.integration.worker.cases.redefined_types import REDEFINED_TYPES
from tests.integration.worker.cases.retypings import RETYPINGS
from tests.integration.worker.cases.rows import ROWS
from tests.integration.worker.cases.schemas import SCHEMAS
from tests.integration.worker.cases.scripts import SCRIPTS
from tests.integration.worker.cases.sequences import SEQUENCES
from tests.integration.worker.cases.tables import TABLES
from tests.integration.worker.cases.ties import TIES
from tests.integration.worker.cases.types import TYPES
from tests.integration.worker.cases.views import VIEWS
from tests.integration.worker.cases.whole_tables import WHOLE_TABLES

KINDS = {
    "table": TABLES,
    "index": INDEXES,
    "type": TYPES,
    "column": COLUMNS,
    "alter": ALTERATIONS,
    "redefine": REDEFINITIONS,
    "identity": IDENTITIES,
    "redefine type": REDEFINED_TYPES,
    "tie": TIES,
    "whole table": WHOLE_TABLES,
    "rows": ROWS,
    "script": SCRIPTS,
    "retype": RETYPINGS,
    "partition": PARTITIONS,
    "of partitioned": PARTS_OF_PARTITIONED,
    "inheritance": INHERITANCE,
    "sequence": SEQUENCES,
    "domain": DOMAINS,
    "matview": MATVIEWS,
    "schema": SCHEMAS,
    "view": VIEWS,
    "function": FUNCTIONS,
    "definition": DEFINITIONS,
}

CASES = [pytest.param(case, id=f"{kind}: {case.name}") for kind, cases in KINDS.items() for case in cases]

#: The version that made NOT NULL a constraint with a name.
NOT_NULL_HAS_A_NAME = 18


@pytest.mark.parametrize("case", CASES)
def test_comes_back_as_it_was_any_number_of_times(engine: Engine, case: Case) -> None:
    """A rollback keeps everything that it removes and touches nothing else; a recovery gives the same database."""
    round_trip(engine, case)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in COLUMNS])
def test_columns_that_are_copied_online_come_back_as_well(engine: Engine, case: Case) -> None:
    """Whatever columns a plan drops, they may be copied before apply: nothing is different afterwards."""
    round_trip(engine, case, online_rows=0)

    assert engine.query("SELECT FROM emergency_backup.online_copies") == []


def round_trip(engine: Engine, case: Case, *, online_rows: int | None = None) -> None:
    """Roll back, look, deliver again, recover, look, and once more."""
    version = engine.postgres.version
    if version < case.since:
        pytest.skip(f"PostgreSQL {version} does not know {case.why}")
    engine.owner(BYSTANDERS + case.given)
    engine.plan(
        case.plan,
        verify=f"SELECT count(*) = 3 FROM bystander; {case.gate};",
        accepts=case.accepts,
        online_rows=online_rows,
    )
    before = engine.picture()

    first = completed(engine.rollback(), case.broken)
    between, kept = engine.picture(), engine.kept(first)
    rolled_back_again = engine.deliver(first.command_id)
    held = {row.inside: contents(engine, row) for row in kept if row.inside is not None}
    back = completed(engine.recover(first), case.broken)
    recovered_again = engine.deliver(back.command_id)
    after = engine.picture()

    keeps = case.keeps + (case.keeps_18 if version >= NOT_NULL_HAS_A_NAME else ())
    assert sorted(row.label() for row in kept) == sorted(keeps)
    assert not [line for line in before.lost(between) if "bystander" in line]
    assert not [line for line in between.lost(before) if "bystander" in line]
    if not case.alters:
        assert not [line for line in between.lost(before) if not any(part in line for part in case.leaves)]
        assert without(dropped(before, between), before) == between.rows
    if not case.alters:
        assert_all_is_held(kept, held, before)
    assert not rolled_back_again
    assert not recovered_again
    assert after == before
    assert engine.registry() == ["recovered"]
    second = completed(engine.rollback(), case.broken)
    assert engine.picture() == between
    completed(engine.recover(second), case.broken)
    assert engine.picture() == before


def contents(engine: Engine, row: KeptRow) -> list[dict[str, Any]]:
    """Return the rows that are kept of an object; the worker may read them too."""
    assert row.inside is not None
    with engine.connect("stepback_worker") as conn:
        conn.execute(f"SELECT * FROM {row.inside}".encode())
    with engine.connect("postgres") as conn:
        return rows_of(conn, row.inside)


def dropped(before: Picture, between: Picture) -> dict[str, set[str]]:
    """Return which columns each surviving table lost, told by its rows."""
    return {
        table: {column for row in before.rows[table] for column in row} - {column for row in rows for column in row}
        for table, rows in between.rows.items()
    }


def without(columns: dict[str, set[str]], picture: Picture) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a picture as they are without some columns, tables that lost none as they are."""
    return {
        table: in_order({name: row[name] for name in row if name not in gone} for row in picture.rows[table])
        for table, gone in columns.items()
    }


def assert_all_is_held(kept: list[KeptRow], held: dict[str, list[dict[str, Any]]], before: Picture) -> None:
    """See that moved tables hold the rows that they had, and copies a part of every row."""
    for row in kept:
        if row.inside is None:
            continue
        rows = held[row.inside]
        assert row.rows == len(rows)
        if not row.sources:
            assert rows == before.rows[row.name]
            continue
        were = [whole for source in row.sources for whole in before.rows.get(source, [])]
        assert len(rows) == len(were)
        # What tells rows without a key apart is no column of theirs.
        parts = [{name: value for name, value in part.items() if not name.startswith("stepback ")} for part in rows]
        assert all(any(part.items() <= whole.items() for whole in were) for part in parts)
