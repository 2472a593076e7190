"""The proof: whatever a transaction takes away beyond what is preserved is found, named, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from ledger.errors import WouldLoseData
from tests.harness import TARGET, Engine
from worker import fence
from worker.apply import Apply
from worker.commands import Outcome
from worker.commands.rollback import Rollback
from worker.crash_points import pass_by
from worker.fence import Holder
from worker.target import Row, Session, connect
from worker.work import Change, FinishStep, Stage, Work

#: What the plan names, and what it does not name.
GIVEN = """
CREATE TABLE orders (id int PRIMARY KEY, what text);
INSERT INTO orders SELECT n, 'thing' FROM generate_series(1, 5) AS n;
CREATE SCHEMA elsewhere;
CREATE TYPE kind AS ENUM ('a', 'b');
CREATE DOMAIN percent AS int CONSTRAINT sane CHECK (VALUE BETWEEN 0 AND 100);
CREATE SEQUENCE numbers;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE other (
    id int PRIMARY KEY, n int NOT NULL DEFAULT 5, kind kind, share percent,
    parent int CONSTRAINT of_parent REFERENCES parent ON DELETE CASCADE, CONSTRAINT small CHECK (n < 1000)
);
CREATE INDEX other_n ON other (n);
CREATE TRIGGER touch BEFORE UPDATE ON other FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE ruled (id int);
CREATE RULE quiet AS ON DELETE TO ruled DO INSTEAD NOTHING;
CREATE POLICY mine ON other USING (n > 0);
CREATE STATISTICS pair ON id, n FROM other;
CREATE VIEW other_view AS SELECT id, n FROM other;
CREATE MATERIALIZED VIEW other_sums AS SELECT sum(n) FROM other;
CREATE PUBLICATION news FOR TABLE other;
COMMENT ON TABLE other IS 'leave me alone';
COMMENT ON COLUMN other.n IS 'a number';
GRANT SELECT ON other TO PUBLIC;
GRANT SELECT (n) ON other TO stepback_app;
INSERT INTO parent VALUES (1), (2);
INSERT INTO other VALUES (1, 1, 'a', 5, 1), (2, 2, 'b', 6, 2), (3, 3, NULL, NULL, NULL);
"""

#: A statement that no plan compiles to, and what the refusal must name.
LOSSES = {
    # No recovery would take these away again.
    "INSERT INTO other VALUES (9)": "1 new row(s) of public.other",
    'CREATE COLLATION extra FROM "C"': "1 row(s) of new pg_collation",
    "DROP INDEX other_n": "index public.other_n",
    "DROP TABLE other CASCADE": "table public.other",
    "DROP TABLE parent CASCADE": "table constraint of_parent on public.other",
    "DROP VIEW other_view": "view public.other_view",
    "DROP MATERIALIZED VIEW other_sums": "materialized view public.other_sums",
    "CREATE OR REPLACE VIEW other_view AS SELECT id, n + 1 AS n FROM other": "rule",
    "DROP FUNCTION twice(int)": "function public.twice(integer)",
    "CREATE OR REPLACE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1'": "changed: prosrc",
    "ALTER FUNCTION twice(int) SECURITY DEFINER": "changed: prosecdef",
    "DROP TYPE kind CASCADE": "table column public.other.kind",
    "ALTER TYPE kind RENAME VALUE 'a' TO 'c'": "type public.kind (changed: enumlabel)",
    "ALTER DOMAIN percent DROP CONSTRAINT sane": "domain constraint sane on public.percent",
    "DROP DOMAIN percent CASCADE": "type public.percent",
    "DROP SEQUENCE numbers": "sequence public.numbers",
    "ALTER SEQUENCE numbers INCREMENT 5": "sequence public.numbers (changed: seqincrement)",
    "ALTER SEQUENCE numbers RESTART 90": "sequence public.numbers",
    "DROP SCHEMA elsewhere": "schema elsewhere",
    "ALTER SCHEMA elsewhere RENAME TO nowhere": "schema elsewhere (changed: nspname)",
    "DROP TRIGGER touch ON other": "trigger touch on public.other",
    "ALTER TABLE other DISABLE TRIGGER touch": "trigger touch on public.other (changed: tgenabled)",
    "DROP RULE quiet ON ruled": "rule quiet on public.ruled",
    "DROP POLICY mine ON other": "policy mine on public.other",
    "ALTER POLICY mine ON other USING (true)": "policy mine on public.other (changed: polqual",
    "DROP STATISTICS pair": "statistics object public.pair",
    "ALTER STATISTICS pair SET STATISTICS 9": "changed: stxstattarget",
    "DROP PUBLICATION news": "pg_publication",
    "ALTER PUBLICATION news DROP TABLE other": "publication relation public.other in publication news",
    "ALTER PUBLICATION news SET (publish = 'insert')": "pg_publication",
    "COMMENT ON TABLE other IS NULL": "table public.other (gone from pg_description)",
    "COMMENT ON TABLE other IS 'another'": "table public.other (gone from pg_description)",
    "COMMENT ON COLUMN other.n IS NULL": "table column public.other.n (gone from pg_description)",
    "REVOKE SELECT ON other FROM PUBLIC": "table public.other (changed: relacl)",
    "REVOKE SELECT (n) ON other FROM stepback_app": "table column public.other.n (changed: attacl)",
    "ALTER TABLE other SET SCHEMA elsewhere": "table public.other (changed: relnamespace)",
    "ALTER TABLE other RENAME TO others": "table public.other (changed: relname)",
    "ALTER TABLE other RENAME n TO m": "table column public.other.n (changed: attname)",
    "ALTER TABLE other DROP COLUMN n CASCADE": "table column public.other.n",
    "ALTER TABLE other ALTER share TYPE int": "table column public.other.share (changed: ",
    "ALTER TABLE other ALTER n DROP DEFAULT": "default value for public.other.n",
    "ALTER TABLE other ALTER n SET DEFAULT 6": "default value for public.other.n",
    "ALTER TABLE other ALTER n DROP NOT NULL": "table column public.other.n (changed: attnotnull)",
    "ALTER TABLE other DROP CONSTRAINT small": "table constraint small on public.other",
    "ALTER TABLE other SET (fillfactor = 50)": "table public.other (changed: reloptions)",
    "ALTER TABLE other ENABLE ROW LEVEL SECURITY": "table public.other (changed: relrowsecurity)",
    "TRUNCATE other": "table public.other (changed: relfilenode)",
    "TRUNCATE parent, other": "table public.parent (changed: relfilenode)",
    "DELETE FROM other WHERE id = 3": "1 row(s) of public.other",
    "UPDATE other SET n = n + 1": "3 row(s) of public.other",
    "DELETE FROM parent WHERE id = 1": "1 row(s) of public.other",
    "MERGE INTO other USING parent ON other.id = parent.id WHEN MATCHED THEN DELETE": "2 row(s) of public.other",
    "INSERT INTO other VALUES (3) ON CONFLICT (id) DO UPDATE SET n = 0": "1 row(s) of public.other",
    "WITH gone AS (DELETE FROM other WHERE id < 3 RETURNING 1) SELECT FROM gone": "2 row(s) of public.other",
}

#: The same for the table that the plan does name: before it is moved, and after.
LOSSES_OF_THE_PLANS_OWN = {
    "ALTER TABLE orders DROP COLUMN what": "table column public.orders.what",
    "DELETE FROM orders WHERE id > 1": "4 row(s) of",
    "UPDATE orders SET what = 'x'": "5 row(s) of",
    "TRUNCATE orders": "table public.orders (changed: relfilenode",
    "ALTER TABLE orders DROP CONSTRAINT orders_pkey": "table constraint orders_pkey on public.orders",
    "ALTER TABLE {quarantine}.orders DROP COLUMN what CASCADE": "table column public.orders.what",
    "DELETE FROM {quarantine}.orders": "5 row(s) of",
    "TRUNCATE {quarantine}.orders": "table public.orders (changed: relfilenode",
    "DROP TABLE {quarantine}.orders CASCADE": "table public.orders (gone from pg_class)",
    "DROP SCHEMA {quarantine} CASCADE": "table public.orders (gone from pg_class)",
}

#: What only adds loses nothing.
GAINS = [
    "CREATE TABLE extra (id int)",
    "CREATE INDEX extra ON other (id)",
    "ALTER TABLE other ADD COLUMN extra int DEFAULT 5",
    "ALTER TYPE kind ADD VALUE 'c'",
    "CREATE VIEW extra AS SELECT 1",
    "COMMENT ON VIEW other_view IS 'a view'",
    "CREATE SCHEMA extra CREATE TABLE t (id int)",
    "CREATE TEMP TABLE extra AS SELECT * FROM other; DROP TABLE extra",
    "SELECT FROM other FOR UPDATE",
]


@dataclass
class Tampered:
    """A rollback that does something more than what its plan compiles to."""

    procedure: Rollback
    extra: str
    first: bool

    def prepare(self, session: Session) -> Work:
        """Say what is to be done, and slip something in."""
        work = self.procedure.prepare(session)
        extra = self.extra.replace("{quarantine}", work.groundwork[0].step.removeprefix("create "))
        path = ("SET LOCAL search_path = public", extra, "SET LOCAL search_path = pg_catalog, pg_temp")
        added = Change("tamper", path)
        changes = (added, *work.changes) if self.first else (*work.changes, added)
        return replace(work, changes=changes)

    def record(self, session: Session, work: Work) -> None:
        """Write down what the plan preserves."""
        self.procedure.record(session, work)

    def stage(self, session: Session, number: int) -> Stage:
        """Compile a later stage; a plan that only drops has none."""
        return self.procedure.stage(session, number)

    def record_stage(self, session: Session, number: int, created: Sequence[Row]) -> tuple[FinishStep, ...]:
        """Write down what a later stage did; a plan that only drops has none."""
        return self.procedure.record_stage(session, number, created)

    def outcome(self, session: Session, left: Mapping[str, str]) -> Outcome:
        """Say what came of it, as the plan alone would."""
        return self.procedure.outcome(session, left)

    def registry_rows(self, session: Session) -> list[int]:
        """Return the plan's row."""
        return self.procedure.registry_rows(session)


def apply(engine: Engine, extra: str, *, first: bool = False, at: Callable[[str], None] = pass_by) -> None:
    """Apply the plan with something slipped in, as the worker would apply the plan alone."""
    holder = Holder(engine.installation, 1, 1)
    rollback = Rollback(engine.command(), holder, engine.settings.target(TARGET))
    procedure = Tampered(rollback, extra, first)
    session, witness = connect(engine.url, "apply"), connect(engine.url, "witness")
    try:
        fence.raise_fence(session, holder)
        session.begin(read_only=True)
        work = procedure.prepare(session)
        session.rollback()
        Apply(session, witness, holder, "rollback", "m", procedure, at).once(work, lambda _xid: None)
    finally:
        session.close()
        witness.close()


@pytest.fixture
def shop(engine: Engine) -> Engine:
    """Give an engine on a target with a table that the plan drops and much else."""
    engine.owner(GIVEN)
    engine.plan("DROP TABLE orders;")
    return engine


def test_plan_alone_is_proved(shop: Engine) -> None:
    """Without anything slipped in the same plan commits: it is not the rig that refuses."""
    apply(shop, "SELECT 1")

    assert shop.query("SELECT to_regclass('orders') AS orders") == [{"orders": None}]


@pytest.mark.parametrize("how", ["plain", "in a subtransaction"])
@pytest.mark.parametrize(("extra", "named"), LOSSES.items(), ids=LOSSES)
def test_loss_is_found_named_and_taken_back(shop: Engine, extra: str, named: str, how: str) -> None:
    """Whatever is lost without being preserved is named, in a block with EXCEPTION too, and the target is as it was."""
    before = shop.fingerprint()

    with pytest.raises(WouldLoseData) as refusal:
        apply(shop, extra if how == "plain" else nested(extra))

    assert named in refusal.value.message
    assert shop.fingerprint() == before


@pytest.mark.parametrize(("extra", "named"), LOSSES_OF_THE_PLANS_OWN.items(), ids=LOSSES_OF_THE_PLANS_OWN)
def test_preserved_table_must_be_whole(shop: Engine, extra: str, named: str) -> None:
    """That an object is preserved does not allow anything to be taken out of it, before the move or after."""
    before = shop.fingerprint()

    with pytest.raises(WouldLoseData) as refusal:
        apply(shop, extra, first="quarantine" not in extra)

    assert named in refusal.value.message
    assert shop.fingerprint() == before


@pytest.mark.parametrize("extra", GAINS)
def test_gain_is_no_loss(shop: Engine, extra: str) -> None:
    """What only adds something is not refused: nothing that was there is gone."""
    apply(shop, extra)

    assert shop.query("SELECT to_regclass('orders') AS orders") == [{"orders": None}]


def test_loss_taken_back_within_the_transaction_is_none(shop: Engine) -> None:
    """What a block with EXCEPTION took away and gave back is still there, so nothing is refused."""
    apply(
        shop, "DO $$BEGIN DROP TABLE other CASCADE; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END$$"
    )

    assert shop.query("SELECT count(*) FROM other") == [{"count": 3}]


def test_several_losses_are_all_named(shop: Engine) -> None:
    """One refusal names everything, so that its author need not try again and again."""
    with pytest.raises(WouldLoseData) as refusal:
        apply(shop, "DROP VIEW other_view; DELETE FROM other WHERE id = 1; COMMENT ON TABLE other IS NULL")

    for named in (
        "view public.other_view",
        "1 row(s) of public.other",
        "table public.other (gone from pg_description)",
    ):
        assert named in refusal.value.message


MEANWHILE = """
CREATE TABLE newcomer (id serial PRIMARY KEY, n int); INSERT INTO newcomer (n) VALUES (1); DROP TABLE newcomer;
CREATE TABLE stays (id int PRIMARY KEY);
CREATE TEMP TABLE passing (id int); DROP TABLE passing;
CREATE INDEX newer ON other (n, id); DROP INDEX other_n;
ALTER TABLE other DROP COLUMN share, ADD COLUMN late int DEFAULT 1;
COMMENT ON TABLE other IS 'changed by somebody else'; REVOKE SELECT ON other FROM PUBLIC; DROP VIEW other_view;
DROP FUNCTION twice(int); ALTER TYPE kind RENAME VALUE 'a' TO 'z';
ALTER PUBLICATION news DROP TABLE other; DROP PUBLICATION news;
DELETE FROM other WHERE id = 3; UPDATE other SET n = n + 1; DROP SCHEMA elsewhere; TRUNCATE stays;
DO $$BEGIN DROP STATISTICS pair; EXCEPTION WHEN division_by_zero THEN END$$
"""


@pytest.mark.parametrize("point", ["locked", "changed", "recorded", "gates_held"])
def test_what_others_take_away_meanwhile_is_theirs(shop: Engine, point: str) -> None:
    """DDL that other sessions commit between the locks and the proof is no loss of ours."""

    def meanwhile(passed: str) -> None:
        if passed == point and not shop.query("SELECT FROM pg_class WHERE relname = 'stays'"):
            shop.owner(MEANWHILE)
            shop.owner("ANALYZE other; ANALYZE parent")
            shop.owner("VACUUM FULL parent")

    apply(shop, "SELECT 1", at=meanwhile)

    assert shop.query("SELECT to_regclass('orders') AS orders, to_regclass('stays')::text AS stays") == [
        {"orders": None, "stays": "stays"}
    ]


def test_what_others_have_not_committed_is_still_there(shop: Engine) -> None:
    """DDL that another session has under way at the proof is neither a loss of ours nor waited for."""
    with shop.connect("goodbuy_app") as other:

        def meanwhile(passed: str) -> None:
            if passed == "locked":
                other.execute("BEGIN; DROP VIEW other_view; DROP INDEX other_n; COMMENT ON TABLE parent IS 'x'")
                other.execute("ALTER PUBLICATION news SET (publish = 'insert'); ALTER ROLE goodbuy_app SET jit = off")

        apply(shop, "SELECT 1", at=meanwhile)
        other.execute("ROLLBACK")

    assert shop.query("SELECT to_regclass('orders') AS orders") == [{"orders": None}]


def test_our_loss_is_found_among_those_of_others(shop: Engine) -> None:
    """While others change the catalog, what we take away ourselves is still found, and only that is named."""

    def meanwhile(passed: str) -> None:
        if passed == "locked":
            shop.owner("DROP VIEW other_view; ANALYZE other")

    with pytest.raises(WouldLoseData) as refusal:
        apply(shop, "DROP FUNCTION twice(int)", at=meanwhile)

    assert "function public.twice(integer)" in refusal.value.message
    assert "other" not in refusal.value.message


def nested(statement: str) -> str:
    """Return a block that runs a statement in a subtransaction."""
    return f"DO $block$BEGIN EXECUTE $run${statement}$run$; EXCEPTION WHEN division_by_zero THEN NULL; END$block$"


def test_our_loss_is_found_where_somebody_locks_the_row(shop: Engine) -> None:
    """A catalog row that another session has locked carries another mark than a transaction's; it is found still."""
    with shop.connect("postgres") as other:
        other.execute("BEGIN; SELECT FROM pg_class WHERE relname = 'other' FOR KEY SHARE")

        with pytest.raises(WouldLoseData) as refusal:
            apply(shop, "REVOKE SELECT ON other FROM PUBLIC")

    assert "table public.other (changed: relacl)" in refusal.value.message


def test_what_others_changed_and_we_then_take_away_is_our_loss(shop: Engine) -> None:
    """A row version that somebody committed while we were at it is not ours to remove either."""

    def meanwhile(passed: str) -> None:
        if passed == "locked":
            shop.owner("GRANT INSERT ON other TO PUBLIC; CREATE TABLE late (id int)")

    with pytest.raises(WouldLoseData) as refusal:
        apply(shop, "REVOKE INSERT ON other FROM PUBLIC; DROP TABLE late", at=meanwhile)

    assert "table public.other (changed: relacl)" in refusal.value.message
    assert "table public.late (gone from pg_class)" in refusal.value.message
