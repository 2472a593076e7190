"""What a plan reaches without naming it: refused with the lines and the command that accept it, and then it runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from ledger.model import Run, State
from tests.harness import TARGET, Engine, completed, ended
from worker.plan import source
from worker.preview import Preview, preview

_ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, c int, d int);
INSERT INTO orders VALUES (1, 2, 3), (2, 3, 4);
"""
_VIEWS = f"""{_ORDERS}
CREATE VIEW seen AS SELECT id, c FROM orders;
CREATE VIEW "Seen ""it"" all" AS SELECT id FROM seen;
"""


def paste(engine: Engine, run: Run, migration: str = "m") -> str:
    """Put the line that a refusal prints into plan.toml, in place of one that says the same, and return it."""
    assert run.error is not None
    (line,) = re.findall(r"^(?:accepts|preserves) = \[.*\]$", run.error.message, re.MULTILINE)
    file: Path = engine.plans / migration / "plan.toml"
    key = line.split(" = ")[0]
    others = [other for other in (file.read_text().splitlines() if file.exists() else []) if not other.startswith(key)]
    file.write_text("\n".join([*others, line]), encoding="utf-8")
    tomllib.loads(file.read_text())
    return str(line)


def register(engine: Engine, migration: str = "m") -> None:
    """Register a plan again, which has changed since a run."""
    sha256 = source.read_folder(engine.plans / migration).sha256
    engine.admin(f"UPDATE migration_rollbacks SET plan_sha256 = '{sha256}' WHERE migration_name = '{migration}'")


def hash_in(run: Run) -> str:
    """Return the hash that a refusal prints."""
    assert run.error is not None
    (found,) = re.findall(
        rf"^stepback rollback \S+ --target {TARGET} --accept ([0-9a-f]{{64}})$", run.error.message, re.MULTILINE
    )
    return str(found)


def look(engine: Engine, migration: str = "m") -> Preview:
    """Take a dry run."""
    return preview(engine.session, engine.settings.target(TARGET), TARGET, migration)


# -- accepts


def test_line_that_a_refusal_prints_accepts_the_impact(engine: Engine) -> None:
    """Pasted as it is printed, with quoted names and what stood there before, the line lets the plan run."""
    engine.owner(_VIEWS)
    engine.plan("DROP TABLE orders CASCADE;", accepts=["view public.other"])
    before = engine.picture()

    refused = engine.rollback()
    line = paste(engine, refused)
    run = completed(engine.rollback())
    completed(engine.recover(run))

    assert ended(refused).startswith("refused: impact_not_accepted: CASCADE would take 2 object(s)")
    assert tomllib.loads(line)["accepts"] == [
        "view public.other",
        'view public."Seen ""it"" all"',
        "view public.seen",
    ]
    assert engine.picture() == before


def test_registered_plan_is_registered_again(engine: Engine) -> None:
    """A line in plan.toml changes the plan: the refusal says what else is to be done then."""
    engine.owner(_VIEWS)
    engine.plan("DROP TABLE orders CASCADE;")
    engine.row("DROP TABLE orders CASCADE;")
    register(engine)

    refused = engine.rollback()
    paste(engine, refused)
    register(engine)

    assert "and register the plan again" in ended(refused)
    completed(engine.rollback())


# -- --accept HASH


def test_hash_of_the_impact_accepts_all_of_it(engine: Engine) -> None:
    """What the plan does not name goes along if the command accepts the very impact, and comes back."""
    engine.owner(_VIEWS)
    engine.plan("DROP TABLE orders CASCADE;")
    before = engine.picture()

    refused = engine.rollback()
    run = completed(engine.rollback(accept_sha256=hash_in(refused)))
    completed(engine.recover(run))

    assert engine.picture() == before
    assert run.accept_sha256 == run.impact_sha256 == hash_in(refused)
    assert "view public.seen was accepted by the hash of the impact" in run.notes
    (event,) = [event for event in engine.events(run) if event.step == "compute impact"]
    assert event.detail["accepted"] == ['view public."Seen ""it"" all"', "view public.seen"]


def test_hash_accepts_no_other_impact(engine: Engine) -> None:
    """One object more, and the hash accepts nothing at all."""
    engine.owner(_VIEWS)
    engine.plan("DROP TABLE orders CASCADE;")
    accepted = hash_in(engine.rollback())
    engine.owner("CREATE VIEW third AS SELECT c FROM seen")
    before = engine.fingerprint()

    run = engine.rollback(accept_sha256=accepted)

    assert ended(run).startswith("failed: impact_changed: the impact is not the one that the command accepts")
    assert engine.fingerprint() == before


def test_hash_holds_for_plans_that_need_none(engine: Engine) -> None:
    """Who says which impact is meant is taken at their word, whatever plan.toml accepts."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;")

    other = engine.rollback(accept_sha256="0" * 64)
    found = look(engine)
    assert found.work is not None

    assert ended(other).startswith("failed: impact_changed")
    completed(engine.rollback(accept_sha256=found.work.impact_sha256))


def test_hash_covers_later_stages(engine: Engine) -> None:
    """What a CASCADE after a statement that is run as written takes is in the hash too."""
    engine.owner(_VIEWS)
    engine.plan("ALTER TABLE orders RENAME d TO e;\nDROP TABLE orders CASCADE;")
    before = engine.picture()

    refused = engine.rollback()
    run = completed(engine.rollback(accept_sha256=hash_in(refused)))
    completed(engine.recover(run))

    assert engine.picture() == before


def test_hash_accepts_what_a_bare_row_takes(engine: Engine) -> None:
    """A row has no plan.toml: only the command is offered."""
    engine.owner(_VIEWS)
    engine.row("DROP TABLE orders CASCADE;")
    before = engine.picture()

    refused = engine.rollback()
    run = completed(engine.rollback(accept_sha256=hash_in(refused)))
    completed(engine.recover(run))

    assert "accepts = " not in ended(refused)
    assert engine.picture() == before


def test_dry_run_shows_the_impact_that_nobody_accepted(engine: Engine) -> None:
    """All of the impact, why it would be refused, and the command that accepts it."""
    engine.owner(_VIEWS)
    engine.plan("DROP TABLE orders CASCADE;")

    found = look(engine)
    refused = engine.rollback()

    assert found.work is not None
    assert "view public.seen" in [item.label() for item in found.work.items]
    assert [refusal.code for refusal in found.refusals] == ["impact_not_accepted"]
    assert found.next == f"stepback rollback m --target {TARGET} --accept {hash_in(refused)}"


def test_nothing_is_offered_that_would_be_refused_all_the_same(engine: Engine) -> None:
    """Where accepting would lead to another refusal, that one is told at once."""
    engine.owner(
        "CREATE TYPE mood AS ENUM ('fine'); CREATE TABLE orders (id int, c mood) PARTITION BY LIST (id);"
        "CREATE TABLE ones PARTITION OF orders FOR VALUES IN (1)"
    )
    engine.plan("DROP TYPE mood CASCADE;")

    refused = engine.rollback()

    assert refused.state is State.REFUSED
    assert "--accept" not in ended(refused)
    assert "accepts = " not in ended(refused)


# -- preserves

_LOG = """
CREATE TABLE audit_log (id int PRIMARY KEY, note text);
INSERT INTO audit_log VALUES (1, 'one'), (2, 'two');
CREATE TABLE other_log (id int PRIMARY KEY, note text);
INSERT INTO other_log VALUES (1, 'one');
CREATE TABLE bare_log (note text);
INSERT INTO bare_log VALUES ('one');
"""
#: No name stands in its text.
_HIDDEN = "DO $$BEGIN EXECUTE 'DELETE FROM audit' || '_log WHERE id = 1'; {more} END$$;"


def test_line_that_a_refusal_prints_preserves_the_rows(engine: Engine) -> None:
    """Rows that a block changes unseen are refused with the line that has them kept; pasted, they come back."""
    engine.owner(_LOG)
    engine.plan(_HIDDEN.format(more="EXECUTE 'UPDATE other' || '_log SET note = NULL';"))
    before = engine.picture()

    refused = engine.rollback()
    line = paste(engine, refused)
    register(engine)
    run = completed(engine.rollback())
    between = engine.picture()
    completed(engine.recover(run))

    assert ended(refused).startswith("failed: would_lose_data: not preserved: 1 row(s) of public.audit_log; 1 row(s)")
    assert line == 'preserves = ["public.audit_log", "public.other_log"]'
    assert "and register the plan again" in ended(refused)
    assert between.rows["public.audit_log"] == [{"id": 2, "note": "two"}]
    assert engine.picture() == before


def test_what_preserves_names_already_stays_in_the_line(engine: Engine) -> None:
    """The line takes the place of the one in plan.toml."""
    engine.owner(_LOG)
    engine.plan(_HIDDEN.format(more="EXECUTE 'UPDATE other' || '_log SET note = NULL';"))
    (engine.plans / "m" / "plan.toml").write_text('preserves = ["other_log"]')

    refused = engine.rollback()

    assert paste(engine, refused) == 'preserves = ["other_log", "public.audit_log"]'
    register(engine)
    completed(engine.rollback())


def test_rows_that_a_trigger_changes_unseen_are_preserved(engine: Engine) -> None:
    """A plain DELETE may fire code that says nothing of what it does, too."""
    engine.owner(
        f"{_LOG} {_ORDERS} CREATE FUNCTION hidden() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN EXECUTE 'DELETE FROM audit' || '_log'; RETURN OLD; END$$;"
        "CREATE TRIGGER hidden BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION hidden()"
    )
    engine.plan("DELETE FROM orders;")
    before = engine.picture()

    paste(engine, engine.rollback())
    register(engine)
    run = completed(engine.rollback())
    completed(engine.recover(run))

    assert engine.picture() == before


def test_bare_row_is_told_to_become_a_folder(engine: Engine) -> None:
    """A row alone cannot say what its block changes."""
    engine.owner(_LOG)
    engine.row(_HIDDEN.format(more=""))

    refused = engine.rollback()

    assert 'make the row a plan folder, whose plan.toml says\npreserves = ["public.audit_log"]' in ended(refused)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (_HIDDEN.format(more="EXECUTE 'DROP VIEW se' || 'en';"), "nothing in plan.toml can accept that"),
        ("DO $$BEGIN EXECUTE 'UPDATE bare' || '_log SET note = NULL'; END$$;", "has no primary key"),
        ("DO $$BEGIN EXECUTE 'COMMENT ON TABLE or' || 'ders IS NULL'; END$$;", "nothing in plan.toml can accept that"),
    ],
    ids=["a view beside rows", "rows without a key", "a comment"],
)
def test_no_line_is_printed_that_would_not_help(engine: Engine, block: str, says: str) -> None:
    """What no line could make safe is said to be so."""
    engine.owner(f"{_LOG} {_ORDERS} CREATE VIEW seen AS SELECT id FROM orders; COMMENT ON TABLE orders IS 'mine'")
    engine.plan(block)
    before = engine.picture()

    failed = engine.rollback()

    assert ended(failed).startswith("failed: would_lose_data: ")
    assert says in ended(failed)
    assert "preserves = " not in ended(failed)
    assert engine.picture() == before


def test_deleted_rows_without_a_key_can_be_preserved(engine: Engine) -> None:
    """Rows that only go need no key to come back."""
    engine.owner(_LOG)
    engine.plan("DO $$BEGIN EXECUTE 'DELETE FROM bare' || '_log'; END$$;")
    before = engine.picture()

    assert paste(engine, engine.rollback()) == 'preserves = ["public.bare_log"]'
    register(engine)
    run = completed(engine.rollback())
    completed(engine.recover(run))

    assert engine.picture() == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("public.gone", "table public.gone does not exist"),
        ("seen", "seen is not a table"),
        ("public.audit_log; x", "is not the name of a table"),
        ("a.b.c", "is not the name of a table"),
        ("migration_rollbacks", "belongs to the server or to Stepback"),
        ("pg_catalog.pg_class", "belongs to the server or to Stepback"),
    ],
)
def test_preserves_names_tables_that_there_are(engine: Engine, name: str, says: str) -> None:
    """A name that means no table of the application is told before anything is done."""
    engine.owner(f"{_LOG} CREATE VIEW seen AS SELECT 1")
    engine.plan("DO $$BEGIN NULL; END$$;")
    (engine.plans / "m" / "plan.toml").write_text(f'preserves = ["{name}"]')

    refused = engine.rollback()

    assert ended(refused).startswith("refused: plan_refused: ")
    assert says in ended(refused)


def test_names_are_looked_for_as_they_are(engine: Engine) -> None:
    """A name that would be no regular expression, or another one, neither breaks the search nor is missed."""
    engine.owner(
        'CREATE TABLE "odd(" (id int PRIMARY KEY); INSERT INTO "odd(" VALUES (1);'
        'CREATE TABLE "o.d" (); CREATE TABLE "grün" ()'
    )
    engine.plan('DO $$BEGIN DELETE FROM "odd("; DELETE FROM "grün"; END$$;')
    before = engine.picture()

    run = completed(engine.rollback())
    completed(engine.recover(run))

    assert engine.picture() == before
