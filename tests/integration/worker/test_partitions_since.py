"""Partitions come and go by themselves: a recovery gives back to those that are there, old and new."""

from __future__ import annotations

import pytest

from tests.harness import Engine, completed, ended

_SALES = (
    "CREATE TABLE sales (id int, at int, n int DEFAULT 1, t text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
    "CREATE TABLE old PARTITION OF sales FOR VALUES FROM (0) TO (10);"
    "CREATE TABLE current PARTITION OF sales FOR VALUES FROM (10) TO (20);"
    "ALTER TABLE old ALTER n SET DEFAULT 7; ALTER TABLE old ALTER t SET STATISTICS 9;"
    "COMMENT ON COLUMN old.n IS 'of old';"
    "CREATE INDEX by_n ON sales (n); COMMENT ON INDEX old_n_idx IS 'of old';"
    "ALTER TABLE sales ADD CONSTRAINT few CHECK (t <> '' OR n < 100); COMMENT ON CONSTRAINT few ON old IS 'of old';"
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    "CREATE TRIGGER whole AFTER INSERT ON sales FOR EACH ROW EXECUTE FUNCTION note();"
    "ALTER TABLE old DISABLE TRIGGER whole;"
    "INSERT INTO sales SELECT n, n, n % 3, 't' FROM generate_series(1, 19) AS n;"
)
_NEW = "CREATE TABLE new PARTITION OF sales FOR VALUES FROM (20) TO (30); INSERT INTO sales (id, at) VALUES (25, 25);"

_PLANS = [
    "ALTER TABLE sales DROP COLUMN n;",
    "DROP INDEX by_n;",
    "ALTER TABLE sales DROP CONSTRAINT few;",
    "DROP TRIGGER whole ON sales;",
    "ALTER TABLE sales ALTER n DROP DEFAULT;",
    "ALTER TABLE sales ALTER t SET NOT NULL;",
    "ALTER TABLE sales ALTER t SET STATISTICS 3;",
]


@pytest.mark.parametrize("plan", _PLANS)
@pytest.mark.parametrize("goes", ["DROP TABLE old;", "ALTER TABLE sales DETACH PARTITION old;"])
def test_a_partition_that_is_gone_since_keeps_nothing_from_coming_back(engine: Engine, plan: str, goes: str) -> None:
    """What a partition had of its own is left out if it is none any more; all else comes back."""
    engine.owner(_SALES)
    engine.plan(plan)
    before = engine.fingerprint()
    run = completed(engine.rollback())
    engine.owner(goes)

    completed(engine.recover(run))

    after = engine.fingerprint()
    gone = [fact for fact in set(before.schema) - set(after.schema) if "old" not in fact]
    assert gone == []


@pytest.mark.parametrize("plan", _PLANS)
def test_a_partition_that_is_new_since_gets_what_all_have(engine: Engine, plan: str) -> None:
    """What comes back on the whole comes to new partitions as to those that were made when it was there."""
    engine.owner(_SALES)
    engine.plan(plan)
    run = completed(engine.rollback())
    engine.owner("ALTER TABLE sales ALTER t SET DEFAULT 'x';" + _NEW)

    completed(engine.recover(run))

    assert engine.query("SELECT FROM pg_index WHERE NOT indisvalid") == []
    assert len(engine.query("SELECT FROM pg_index WHERE indrelid = 'new'::regclass")) == 2
    assert len(engine.query("SELECT FROM pg_constraint WHERE conrelid = 'new'::regclass AND conname = 'few'")) == 1
    assert len(engine.query("SELECT FROM pg_trigger WHERE tgrelid = 'new'::regclass AND tgname = 'whole'")) == 1
    assert engine.query("SELECT count(n) AS n FROM sales WHERE at < 20") == [{"n": 19}]


def test_a_name_of_a_partition_s_index_that_is_taken_again_is_told(engine: Engine) -> None:
    """An index of a partition has a name that somebody else may use by then: that is a conflict, found before."""
    engine.owner(_SALES)
    engine.plan("DROP INDEX by_n;")
    run = completed(engine.rollback())
    engine.owner("CREATE INDEX old_n_idx ON old (t)")

    back = engine.recover(run)

    assert 'refused: conflict: cannot be brought back as it was: "public"."old_n_idx" exists again' in ended(back)


def test_a_partition_in_the_way_of_the_locks_is_waited_for_within_bounds(engine: Engine) -> None:
    """All partitions are locked before anything is done: one that somebody else reads holds the run up, bounded."""
    engine.owner(_SALES)
    engine.plan("ALTER TABLE sales DROP COLUMN n;")
    engine.limits = {"lock_timeout_ms": 100, "lock_budget_seconds": 1}

    with engine.connect("goodbuy_app") as reader, reader.transaction():
        reader.execute("SELECT FROM current")
        run = engine.rollback()

    assert "lock_budget_spent" in ended(run)
    assert "public.current" in ended(run) or '"current"' in ended(run)
