"""Scripts that try to get rows, numbers or objects past the engine: refused, with nothing changed."""

from __future__ import annotations

import pytest

from ledger.model import State
from tests.harness import Engine, ended

_T = "CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 7, b text); INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y');"
_EACH = "FOR n IN SELECT tgname FROM pg_trigger WHERE tgrelid = 't'::regclass LOOP EXECUTE format('ALTER TABLE t {} TRIGGER %I', n); END LOOP;"  # noqa: E501 - one statement
_BEHIND = f"DO $$DECLARE n name; BEGIN {_EACH.format('DISABLE')} TRUNCATE t; {_EACH.format('ENABLE ALWAYS')} END$$;"
_VIEWS = _T + "CREATE VIEW v AS SELECT id FROM t; CREATE VIEW w AS SELECT id FROM v;"

ATTACKS = {
    "DO $$BEGIN EXECUTE 'TRUNCATE ' || chr(116); END$$;": ("would_lose_data", "table public.t"),
    "DO $$BEGIN EXECUTE 'DELETE FROM ' || chr(116); END$$;": ("would_lose_data", "2 row(s) of public.t"),
    "DO $$BEGIN EXECUTE 'INSERT INTO ' || chr(116) || ' VALUES (9)'; END$$;": ("would_lose_data", "1 new row(s)"),
    _BEHIND: ("would_lose_data", "meddled"),
    f"ALTER TABLE t ALTER a TYPE text; {_BEHIND}": ("would_lose_data", "meddled"),
    f"ALTER TABLE t ADD COLUMN z serial; {_BEHIND}": ("would_lose_data", "meddled"),
    "DO $$BEGIN PERFORM lo_unlink(4711); END$$;": ("would_lose_data", "large object 4711"),
    "DO $$BEGIN PERFORM lo_put(4711, 0, 'xyz'); END$$;": ("would_lose_data", "pg_largeobject"),
    "DO $$BEGIN PERFORM lo_create(815); END$$;": ("would_lose_data", "new pg_largeobject_metadata"),
    "DO $$BEGIN ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; END$$;": (
        "would_lose_data",
        "pg_default_acl",
    ),
    "DO $$BEGIN CREATE PUBLICATION p FOR TABLE t; END$$;": ("would_lose_data", "new pg_publication"),
    "SELECT make_role();": ("would_lose_data", "new pg_authid"),
    "SELECT delete_theirs();": ("would_lose_data", "1 row(s) of public.theirs"),
    "SELECT drop_theirs();": ("not_possible", "permission denied for table theirs"),
    "UPDATE migration_rollbacks SET rollback_status = 'completed';": ("plan_refused", "belongs to"),
    "DROP TABLE emergency_backup.marker;": ("plan_refused", "belongs to"),
    "DO $$BEGIN DELETE FROM emergency_backup.marker; END$$;": ("not_possible", "lacks a privilege"),
    "CREATE OR REPLACE VIEW v AS SELECT id, a FROM t;": ("plan_refused", "view public.v gets more columns"),
    "ALTER TABLE parts ADD CONSTRAINT k UNIQUE (id);": ("plan_refused", "a recovery could not take away"),
}

_GIVEN = (
    _VIEWS + "SELECT lo_create(4711); SELECT lo_put(4711, 0, 'abc');CREATE TABLE parts (id int) PARTITION BY LIST (id);"
)
#: What somebody stronger lends to everybody.
_LENT = """
CREATE TABLE theirs (id int PRIMARY KEY); INSERT INTO theirs VALUES (1);
CREATE FUNCTION make_role() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN CREATE ROLE stronger; END$$;
CREATE FUNCTION delete_theirs() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
    $$BEGIN EXECUTE 'DELETE FROM the' || 'irs'; END$$;
CREATE FUNCTION drop_theirs() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN DROP TABLE theirs; END$$;
"""


@pytest.mark.parametrize("script", ATTACKS)
def test_attack_is_refused_and_leaves_no_trace(engine: Engine, script: str) -> None:
    """What would be lost, or stay for ever, is named; the target is as it was."""
    engine.owner(_GIVEN)
    engine.admin(_LENT)
    engine.plan(script)
    before = engine.picture()
    code, named = ATTACKS[script]

    run = engine.rollback()

    assert run.error is not None, ended(run)
    assert run.error.code == code
    assert named in run.error.message
    assert engine.picture() == before


SETTING = {
    "by name": "SELECT setval('numbers', 500)",
    "of a table's": "SELECT setval(pg_get_serial_sequence('s', 'id'), max(id) + 400) FROM s",
    "in a function": "SELECT far()",
    "in a block": "DO $$BEGIN EXECUTE 'ALTER SEQUENCE numbers RESTART WITH 900'; END$$",
}


@pytest.mark.parametrize("how", SETTING)
def test_positions_are_put_back_when_a_run_fails(engine: Engine, how: str) -> None:
    """Setval takes no heed of transactions; a run that is taken back leaves sequences where they were all the same."""
    engine.owner(
        "CREATE SEQUENCE numbers; SELECT nextval('numbers'); CREATE TABLE s (id serial PRIMARY KEY);"
        "INSERT INTO s DEFAULT VALUES; CREATE FUNCTION far() RETURNS bigint LANGUAGE sql RETURN setval('s_id_seq', 77)"
    )
    engine.plan(f"{SETTING[how]};", verify="SELECT false;")
    before = engine.picture()

    run = engine.rollback()

    assert run.error is not None, ended(run)
    assert run.error.code == "gate_failed"
    assert engine.picture() == before


def test_line_that_accepts_can_be_pasted(engine: Engine) -> None:
    """Names with quotes are written in the refusal as TOML reads them."""
    engine.owner('CREATE TABLE "p""arent" (id int); CREATE TABLE "c""hild" () INHERITS ("p""arent")')
    engine.plan('DROP TABLE "p""arent" CASCADE;')
    refused = engine.rollback()
    assert refused.error is not None
    engine.plan('DROP TABLE "p""arent" CASCADE;')
    (line,) = [line for line in refused.error.message.splitlines() if line.startswith("accepts = ")]
    (engine.plans / "m" / "plan.toml").write_text(line, encoding="utf-8")

    run = engine.rollback()

    assert run.state is State.COMPLETED, ended(run)
