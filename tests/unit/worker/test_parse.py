"""A plan's SQL as values: what is understood, and what is refused with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import PlanRefused
from worker.plan.parse import MAX_SCRIPT_BYTES, Statement, parse
from worker.plan.performed import Alteration, Performed, TableLock
from worker.plan.statements import Analyze, ArgumentType, Named, QualifiedName, Removal
from worker.plan.wrapping import Ignored, Locking, Path, Setting


def test_drop_table_with_everything() -> None:
    """IF EXISTS, a list, schemas, quotes and CASCADE are read as PostgreSQL reads them."""
    (drop,) = parse('DROP TABLE IF EXISTS a.b, "C d", E CASCADE;').statements

    assert drop == Removal(
        tuple(Named("table", name, missing_ok=True, cascade=True) for name in (("a", "b"), ("C d",), ("e",))),
        line=1,
        text='DROP TABLE IF EXISTS a.b, "C d", E CASCADE',
    )


def test_drop_columns() -> None:
    """Each DROP COLUMN keeps its own IF EXISTS and CASCADE."""
    (alter,) = parse("ALTER TABLE IF EXISTS t DROP COLUMN IF EXISTS a, DROP b CASCADE").statements

    assert isinstance(alter, Removal)
    assert alter.named == (
        Named("column", ("t",), part="a", missing_ok=True, table_missing_ok=True),
        Named("column", ("t",), part="b", table_missing_ok=True, cascade=True),
    )


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("MATERIALIZED VIEW", "materialized view"),
        ("SEQUENCE", "sequence"),
        ("DOMAIN", "domain"),
        ("TYPE", "type"),
    ],
)
def test_drop_of_other_kinds(words: str, kind: str) -> None:
    """Whatever has a schema is read alike."""
    (drop,) = parse(f'DROP {words} IF EXISTS a.b, "C d" CASCADE').statements

    assert isinstance(drop, Removal)
    assert drop.named == tuple(Named(kind, name, missing_ok=True, cascade=True) for name in (("a", "b"), ("C d",)))


def test_drop_constraints_beside_columns() -> None:
    """One ALTER TABLE may drop both, each with its own IF EXISTS and CASCADE."""
    (alter,) = parse('ALTER TABLE a.t DROP CONSTRAINT IF EXISTS "C d" CASCADE, DROP COLUMN b').statements

    assert isinstance(alter, Removal)
    assert alter.named == (
        Named("constraint", ("a", "t"), part="C d", missing_ok=True, cascade=True),
        Named("column", ("a", "t"), part="b"),
    )


def test_drop_identity_and_constraint_of_a_domain() -> None:
    """What belongs to a column or a domain is named by it, with IF EXISTS and CASCADE of its own."""
    alter, domain = parse(
        "ALTER TABLE t ALTER a DROP IDENTITY IF EXISTS; ALTER DOMAIN s.d DROP CONSTRAINT IF EXISTS k CASCADE;"
    ).statements

    assert isinstance(alter, Removal)
    assert isinstance(domain, Removal)
    assert alter.named == (Named("identity", ("t",), part="a", missing_ok=True),)
    assert domain.named == (Named("domain constraint", ("s", "d"), part="k", missing_ok=True, cascade=True),)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [("VIEW", "view"), ("STATISTICS", "statistics"), ("FUNCTION", "function"), ("ROUTINE", "routine")],
)
def test_drop_of_what_has_a_name_of_its_own(statement: str, kind: str) -> None:
    """Views, statistics and routines without arguments are named like tables."""
    (drop,) = parse(f'DROP {statement} IF EXISTS a.b, "C d" CASCADE').statements

    assert isinstance(drop, Removal)
    assert drop.named == tuple(Named(kind, name, missing_ok=True, cascade=True) for name in (("a", "b"), ("C d",)))


def test_drop_schema() -> None:
    """A schema's name has one part."""
    (drop,) = parse('DROP SCHEMA a, "B c"').statements

    assert isinstance(drop, Removal)
    assert drop.named == (Named("schema", ("a",)), Named("schema", ("B c",)))


@pytest.mark.parametrize("kind", ["trigger", "rule", "policy"])
def test_drop_of_what_is_part_of_a_table(kind: str) -> None:
    """With IF EXISTS the table may be missing, too."""
    (careful,) = parse(f'DROP {kind} IF EXISTS "P q" ON a.t CASCADE').statements
    (plain,) = parse(f"DROP {kind} p ON t").statements

    assert isinstance(careful, Removal)
    assert isinstance(plain, Removal)
    may_be = Named(kind, ("a", "t"), part="P q", missing_ok=True, table_missing_ok=True, cascade=True)
    assert careful.named == (may_be,)
    assert plain.named == (Named(kind, ("t",), part="p"),)


def test_drop_of_functions_with_arguments() -> None:
    """Types are read as the server reads them: aliases, arrays, schemas; names of arguments do not count."""
    (drop,) = parse("DROP FUNCTION a.f(n int, s.mood[], varchar(3)), g(), h").statements

    assert isinstance(drop, Removal)
    integer, moods = ArgumentType(("pg_catalog", "int4")), ArgumentType(("s", "mood"), array=True)
    types = (integer, moods, ArgumentType(("pg_catalog", "varchar")))
    assert drop.named == (
        Named("function", ("a", "f"), arguments=types, all_arguments=types),
        Named("function", ("g",), arguments=(), all_arguments=()),
        Named("function", ("h",)),
    )
    assert str(drop.named[0]) == "function a.f(pg_catalog.int4, s.mood[], pg_catalog.varchar)"


def test_drop_of_a_procedure_that_gives_something_out() -> None:
    """What is marked OUT tells nothing apart; what is not marked may be either."""
    (drop,) = parse("DROP PROCEDURE p(IN int, OUT text), p(int, text)").statements

    assert isinstance(drop, Removal)
    integer, text = ArgumentType(("pg_catalog", "int4")), ArgumentType(("text",))
    assert drop.named == (
        Named("procedure", ("p",), arguments=(integer,)),
        Named("procedure", ("p",), arguments=(integer, text), all_arguments=(integer, text)),
    )


def test_drop_of_aggregates() -> None:
    """A star is no argument, and ordered ones follow the direct ones."""
    (drop,) = parse("DROP AGGREGATE a(*), b(int ORDER BY text)").statements

    assert isinstance(drop, Removal)
    assert [str(named) for named in drop.named] == ["aggregate a()", "aggregate b(pg_catalog.int4, text)"]


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN TRANSACTION", "START TRANSACTION", "begin work"])
@pytest.mark.parametrize("end", ["COMMIT", "END", "COMMIT WORK"])
def test_outer_transaction_is_taken_off_and_said_so(begin: str, end: str) -> None:
    """One BEGIN at the start and one COMMIT at the end go; the note says it."""
    script = parse(f"-- a comment\n{begin};\nDROP TABLE t;\n{end};")

    assert [statement.line for statement in script.statements] == [3]
    assert "taken off" in script.notes[0]


def test_analyze_is_understood_beside_a_drop() -> None:
    """ANALYZE of named tables belongs to a plan, but does not make one by itself."""
    _, analyze = parse("DROP INDEX i; ANALYZE a.t, u;").statements

    assert isinstance(analyze, Analyze)
    assert analyze.tables == (("a", "t"), ("u",))
    with pytest.raises(PlanRefused, match="changes nothing; a plan needs a statement that does"):
        parse("ANALYZE t;")


T = Named("table", ("t",))


def column(name: str, table: QualifiedName = ("t",)) -> Named:
    """Return a column of t."""
    return Named("column", table, part=name)


def only(text: str) -> Statement:
    """Return the one statement of a script between two that are dropped, so that its line counts."""
    _, statement, _ = parse(f"DROP TABLE before;\n\n{text};\nDROP TABLE after;").statements
    assert statement.line == 3
    assert statement.text == text
    return statement


def performed(text: str) -> Performed:
    """Return a statement that is run as it is written."""
    statement = only(text)
    assert isinstance(statement, Performed)
    return statement


@pytest.mark.parametrize(
    ("statement", "alterations"),
    [
        ("ALTER TABLE t ALTER COLUMN a DROP DEFAULT", [Alteration("default", column("a"))]),
        ("ALTER TABLE s.t ALTER a SET DEFAULT now()", [Alteration("default", column("a", ("s", "t")))]),
        (
            "ALTER TABLE t ALTER a SET NOT NULL, ALTER b DROP NOT NULL",
            [Alteration("not null", column("a")), Alteration("not null", column("b"))],
        ),
        ("ALTER TABLE t ALTER a SET (n_distinct = 5)", [Alteration("column settings", column("a"), "n_distinct")]),
        ("ALTER TABLE t ALTER a SET STATISTICS 100", [Alteration("column settings", column("a"))]),
        ("ALTER TABLE t DISABLE ROW LEVEL SECURITY", [Alteration("row security", T)]),
        (
            "ALTER TABLE t SET (fillfactor = 70, toast.autovacuum_enabled = false)",
            [Alteration("storage options", T, "fillfactor, toast.autovacuum_enabled")],
        ),
        ("ALTER TABLE t OWNER TO x", [Alteration("owner", T)]),
        ("ALTER TABLE t DISABLE TRIGGER x", [Alteration("firing", Named("trigger", ("t",), part="x"))]),
        ("ALTER TABLE t DISABLE TRIGGER USER", [Alteration("firing of all", T)]),
        ("ALTER TABLE t VALIDATE CONSTRAINT c", [Alteration("validation", Named("constraint", ("t",), part="c"))]),
        ("ALTER TABLE t ADD COLUMN a int", []),
        (
            "ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY (a, b)",
            [Alteration("not null", column("a")), Alteration("not null", column("b"))],
        ),
        ("ALTER TABLE t RENAME TO u", [Alteration("name", T, "u")]),
        ("ALTER TABLE t RENAME CONSTRAINT c TO d", [Alteration("name", Named("constraint", ("t",), part="c"), "d")]),
        ("ALTER VIEW v OWNER TO x", [Alteration("owner", Named("view", ("v",)))]),
        (
            "ALTER INDEX s.i SET (fillfactor = 50)",
            [Alteration("storage options", Named("index", ("s", "i")), "fillfactor")],
        ),
        (
            "ALTER SEQUENCE IF EXISTS q INCREMENT 2",
            [Alteration("sequence", Named("sequence", ("q",), missing_ok=True))],
        ),
        ("ALTER TYPE e RENAME VALUE 'x' TO 'y'", [Alteration("label", Named("type", ("e",)), '["x", "y"]')]),
        ("ALTER TYPE e ADD VALUE 'x'", []),
        (
            "ALTER TYPE c ADD ATTRIBUTE x int, DROP ATTRIBUTE y",
            [Alteration("attributes", Named("type", ("c",)), '["y"]')],
        ),
        ("ALTER TYPE c RENAME ATTRIBUTE a TO b", [Alteration("name", Named("attribute", ("c",), part="a"), "b")]),
        ("ALTER DOMAIN s.d SET DEFAULT 1", [Alteration("domain default", Named("domain", ("s", "d")))]),
        ("ALTER DOMAIN d DROP NOT NULL", [Alteration("domain not null", Named("domain", ("d",)))]),
        ("ALTER DOMAIN d ADD CHECK (VALUE > 0)", []),
        (
            "ALTER DOMAIN d VALIDATE CONSTRAINT k",
            [Alteration("domain validation", Named("domain constraint", ("d",), part="k"))],
        ),
        (
            "ALTER DOMAIN d RENAME CONSTRAINT k TO l",
            [Alteration("name", Named("domain constraint", ("d",), part="k"), "l")],
        ),
        (
            "COMMENT ON CONSTRAINT k ON DOMAIN s.d IS 'x'",
            [Alteration("comment", Named("domain constraint", ("s", "d"), part="k"))],
        ),
        (
            "ALTER TABLE t ATTACH PARTITION s.p DEFAULT",
            [Alteration("family", T), Alteration("partition", Named("table", ("s", "p")), '["t"]')],
        ),
        (
            "ALTER TABLE t DETACH PARTITION p",
            [Alteration("family", T), Alteration("partition", Named("table", ("p",)))],
        ),
        ("ALTER TABLE t INHERIT p", [Alteration("family", Named("table", ("p",))), Alteration("parents", T, '["p"]')]),
        (
            "ALTER TABLE t NO INHERIT p",
            [Alteration("family", Named("table", ("p",))), Alteration("leaving", T, '["p"]')],
        ),
        ("CREATE TABLE x PARTITION OF t DEFAULT", [Alteration("family", T)]),
        ("ALTER TABLE t SET UNLOGGED", [Alteration("persistence", T)]),
        ("ALTER TABLE t ALTER a ADD GENERATED ALWAYS AS IDENTITY", [Alteration("identity", column("a"))]),
        ("ALTER TABLE t ALTER a SET GENERATED ALWAYS RESTART", [Alteration("identity", column("a"))]),
        ("ALTER TABLE t ALTER a SET EXPRESSION AS (b)", [Alteration("expression", column("a"))]),
        ("ALTER STATISTICS s SET STATISTICS 5", [Alteration("statistics target", Named("statistics", ("s",)))]),
        ("REFRESH MATERIALIZED VIEW m", [Alteration("contents", Named("materialized view", ("m",)))]),
        ("ALTER POLICY p ON t USING (true)", [Alteration("definition", Named("policy", ("t",), part="p"))]),
        ("COMMENT ON TABLE t IS NULL", [Alteration("comment", T)]),
        ("COMMENT ON COLUMN s.t.a IS 'x'", [Alteration("comment", column("a", ("s", "t")))]),
        ("COMMENT ON CONSTRAINT c ON t IS 'x'", [Alteration("comment", Named("constraint", ("t",), part="c"))]),
        ("GRANT ALL ON t TO x", [Alteration("grants", T)]),
        (
            "REVOKE USAGE ON SCHEMA a, b FROM x",
            [Alteration("grants", Named("schema", ("a",))), Alteration("grants", Named("schema", ("b",)))],
        ),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", [Alteration("definition", Named("view", ("v",), missing_ok=True))]),
        ("CREATE VIEW v AS SELECT 1", []),
        (
            "CREATE OR REPLACE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()",
            [Alteration("definition", Named("trigger", ("t",), part="x", missing_ok=True))],
        ),
        ("UPDATE t SET a = 1", []),
    ],
)
def test_what_is_altered(statement: str, alterations: list[Alteration]) -> None:
    """Each thing that a statement changes about an object is told, as what must be known to change it back."""
    assert performed(statement).alterations == tuple(alterations)


def test_routines_that_are_altered_or_replaced() -> None:
    """They are told apart by the types of what goes in."""
    number = (ArgumentType(("pg_catalog", "int4")),)
    (altered,) = performed("ALTER FUNCTION f(int) STABLE").alterations
    (replaced,) = performed("CREATE OR REPLACE FUNCTION s.f(int, OUT text) AS '' LANGUAGE sql").alterations

    assert altered == Alteration("definition", Named("function", ("f",), arguments=number, all_arguments=number))
    assert replaced == Alteration("definition", Named("function", ("s", "f"), arguments=number, missing_ok=True))


@pytest.mark.parametrize(
    ("statement", "introduces"),
    [
        ("ALTER TABLE s.t RENAME TO u", [(Named("table", ("s", "u")), Named("table", ("s", "t")))]),
        ("ALTER TABLE t RENAME COLUMN a TO b", [(column("b"), column("a"))]),
        ("ALTER TABLE t SET SCHEMA s", [(Named("table", ("s", "t")), T)]),
        ("ALTER SCHEMA a RENAME TO b", [(Named("schema", ("b",)), Named("schema", ("a",)))]),
        ("ALTER TABLE t ADD COLUMN a int, ADD b text", [(column("a"), None), (column("b"), None)]),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", [(Named("constraint", ("t",), part="c"), None)]),
        ("CREATE TABLE x ()", [(Named("table", ("x",)), None)]),
        ("CREATE TABLE s.x AS SELECT 1", [(Named("table", ("s", "x")), None)]),
        ("SELECT 1 AS a INTO x", [(Named("table", ("x",)), None)]),
        ("CREATE MATERIALIZED VIEW x AS SELECT 1", [(Named("materialized view", ("x",)), None)]),
        ("CREATE VIEW x AS SELECT 1", [(Named("view", ("x",)), None)]),
        ("CREATE SEQUENCE s.q", [(Named("sequence", ("s", "q")), None)]),
        ("CREATE TYPE e AS ENUM ('a')", [(Named("type", ("e",)), None)]),
        ("CREATE TYPE s.c AS (a int)", [(Named("type", ("s", "c")), None)]),
        ("CREATE TYPE r AS RANGE (subtype = int)", [(Named("type", ("r",)), None)]),
        ("CREATE DOMAIN d AS int", [(Named("domain", ("d",)), None)]),
        ("CREATE SCHEMA s", [(Named("schema", ("s",)), None)]),
        ("CREATE AGGREGATE a (int) (sfunc = f, stype = int)", [(Named("aggregate", ("a",)), None)]),
        ("CREATE STATISTICS s ON a, b FROM t", [(Named("statistics", ("s",)), None)]),
        ("CREATE INDEX i ON s.t (a)", [(Named("index", ("s", "i")), None)]),
        ("CREATE INDEX ON t (a)", []),
        ("CREATE POLICY p ON t", [(Named("policy", ("t",), part="p"), None)]),
        ("CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING", [(Named("rule", ("t",), part="r"), None)]),
        ("COMMENT ON TABLE t IS 'x'", []),
    ],
)
def test_which_names_come_to_be(statement: str, introduces: list[tuple[Named, Named | None]]) -> None:
    """A new name is told with the old one, or with none for something new."""
    assert performed(statement).introduces == tuple(introduces)


@pytest.mark.parametrize(
    ("statement", "locks"),
    [
        ("ALTER TABLE s.t ADD COLUMN a int", [TableLock(("s", "t"), "ACCESS EXCLUSIVE")]),
        (
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u",
            [TableLock(("u",), "SHARE ROW EXCLUSIVE"), TableLock(("t",), "ACCESS EXCLUSIVE")],
        ),
        (
            "CREATE TABLE x (a int REFERENCES u, FOREIGN KEY (a) REFERENCES s.v)",
            [TableLock(("u",), "SHARE ROW EXCLUSIVE"), TableLock(("s", "v"), "SHARE ROW EXCLUSIVE")],
        ),
        ("CREATE INDEX i ON t (a)", [TableLock(("t",), "SHARE")]),
        ("CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()", [TableLock(("t",), "SHARE ROW EXCLUSIVE")]),
        ("CREATE POLICY p ON t", [TableLock(("t",), "ACCESS EXCLUSIVE")]),
        ("CREATE STATISTICS s ON a, b FROM t", [TableLock(("t",), "SHARE UPDATE EXCLUSIVE")]),
        ("COMMENT ON TABLE t IS 'x'", []),
    ],
)
def test_what_is_locked_besides(statement: str, locks: list[TableLock]) -> None:
    """Tables that a statement locks go through the protocol, in the mode that the server takes."""
    assert performed(statement).locks == tuple(locks)


@pytest.mark.parametrize(
    ("statement", "writes"),
    [
        ("INSERT INTO t VALUES (1)", [("t",)]),
        ("UPDATE s.t SET a = 1 FROM u", [("s", "t")]),
        ("DELETE FROM t USING u", [("t",)]),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", [("t",)]),
        ("TRUNCATE t, s.u", [("t",), ("s", "u")]),
        ("WITH x AS (DELETE FROM s.t RETURNING *) INSERT INTO u SELECT * FROM x", [("u",), ("s", "t")]),
        ("WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM x", [("t",)]),
        ("CREATE TABLE y AS WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", [("t",)]),
        ("SELECT 1", []),
    ],
)
def test_whose_rows_are_written(statement: str, writes: list[QualifiedName]) -> None:
    """Wherever in the statement the writing stands."""
    assert performed(statement).writes == tuple(writes)


@pytest.mark.parametrize(
    "statement",
    ["DO $$BEGIN END$$", "CALL p()", "SELECT pg_terminate_backend(1)", "WITH x AS (SELECT f()) SELECT * FROM x"],
)
def test_what_does_not_say_what_it_does(statement: str) -> None:
    """A block, a procedure or a function may write anything that it mentions."""
    assert performed(statement).opaque


@pytest.mark.parametrize("statement", ["UPDATE t SET a = 1", "ALTER TABLE t RENAME TO u", "CREATE TABLE x ()"])
def test_what_says_what_it_does(statement: str) -> None:
    """Nothing but what it names is looked at."""
    assert not performed(statement).opaque


def test_truncate_is_told_from_delete() -> None:
    """It gives tables new files, which the proof has to know."""
    assert performed("TRUNCATE t RESTART IDENTITY").truncates
    assert not performed("DELETE FROM t").truncates


@pytest.mark.parametrize(
    ("statement", "locks"),
    [
        ("LOCK t", [TableLock(("t",), "ACCESS EXCLUSIVE")]),
        ("LOCK TABLE s.t, u IN SHARE MODE NOWAIT", [TableLock(("s", "t"), "SHARE"), TableLock(("u",), "SHARE")]),
        ("LOCK TABLE t IN ROW EXCLUSIVE MODE", [TableLock(("t",), "ROW EXCLUSIVE")]),
    ],
)
def test_lock_table_is_read(statement: str, locks: list[TableLock]) -> None:
    """LOCK TABLE goes through the lock protocol with all others."""
    found = only(statement)

    assert isinstance(found, Locking)
    assert found.locks == tuple(locks)


@pytest.mark.parametrize(
    ("statement", "schemas"),
    [
        ('SET search_path = a, "B c"', ("a", "B c")),
        ("SET LOCAL search_path TO a", ("a",)),
        ("SET search_path TO DEFAULT", None),
        ("RESET search_path", None),
    ],
)
def test_search_path_is_honoured(statement: str, schemas: tuple[str, ...] | None) -> None:
    """Names after it are resolved with it; DEFAULT and RESET give the target's own back."""
    found = only(statement)

    assert isinstance(found, Path)
    assert found.schemas == schemas


@pytest.mark.parametrize(
    "statement",
    [
        "SET client_encoding = 'UTF8'",
        "SET standard_conforming_strings = on",
        "SET row_security = off",
        "SET default_tablespace = ''",
        "SET default_table_access_method = heap",
        "SET xmloption = content",
        "SET client_min_messages = warning",
        "SET timezone = 'UTC'",
        "SET timezone TO 'Etc/UTC'",
    ],
)
def test_what_tools_set_is_left_out_and_said_so(statement: str) -> None:
    """What changes nothing about what is done is no reason to refuse a script."""
    script = parse(f"{statement};\nDROP TABLE t;")

    assert isinstance(script.statements[0], Ignored)
    assert script.notes == (f"line 1: SET {statement.split()[1]} is left out.",)


@pytest.mark.parametrize("statement", ["SET lock_timeout = '1s'", "SET LOCAL lock_timeout = 0", "RESET lock_timeout"])
def test_limits_of_a_script_are_left_out(statement: str) -> None:
    """The note says whose limits hold."""
    (note,) = parse(f"{statement};\nDROP TABLE t;").notes

    assert note.endswith("_timeout is left out. The target's own limits hold.")


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("SET statement_timeout = 5000", "5000"),
        ("SET LOCAL statement_timeout = '1.5 min'", "90000"),
        ("SET statement_timeout TO '2s'", "2000"),
        ("SET statement_timeout TO DEFAULT", "0"),
        ("RESET statement_timeout", "0"),
        ("SET check_function_bodies = off", "off"),
        ("SET check_function_bodies TO True", "on"),
        ("RESET check_function_bodies", "on"),
    ],
)
def test_setting_that_is_honoured(statement: str, value: str) -> None:
    """A limit of time is read as the server reads it, in milliseconds; a switch is on or off."""
    setting, _ = parse(f"{statement};\nDROP TABLE t;").statements

    assert isinstance(setting, Setting)
    assert setting.value == value


@pytest.mark.parametrize(
    ("statement", "takes"),
    [
        ("SET statement_timeout = 'long'", "takes a time"),
        ("SET statement_timeout = '5 weeks'", "takes a time"),
        ("SET statement_timeout = -1", "takes a time"),
        ("SET check_function_bodies = 'perhaps'", "takes on or off"),
    ],
)
def test_setting_to_what_the_server_would_not_take(statement: str, takes: str) -> None:
    """It is found before anything is touched, and told what to write."""
    with pytest.raises(PlanRefused, match=takes):
        parse(f"{statement};\nDROP TABLE t;")


@pytest.mark.parametrize("statement", ["LOCK TABLE t", "SET search_path = a", "SET lock_timeout = 0"])
def test_what_wraps_makes_no_plan_by_itself(statement: str) -> None:
    """A plan needs something that it does."""
    with pytest.raises(PlanRefused, match="changes nothing; a plan needs a statement that does"):
        parse(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "BEGIN",
        "PREPARE TRANSACTION 'x'",
        "SET ROLE postgres",
        "RESET ALL",
        "COPY t TO PROGRAM 'id'",
        "COPY t FROM '/etc/passwd'",
        "ALTER SYSTEM SET fsync = off",
        "DROP SCHEMA d.s",
        "DROP SEQUENCE d.s.q",
        "DROP DOMAIN d.s.t",
        "DROP MATERIALIZED VIEW d.s.v",
        "DROP FUNCTION f(t.a%TYPE)",
        "DROP FUNCTION d.s.f",
        "DROP FUNCTION f(d.s.t)",
        "DROP VIEW d.s.v",
        "DROP TRIGGER x ON d.s.t",
        "DROP OPERATOR +(int, int)",
        "DROP CAST (int AS text)",
        "DROP EVENT TRIGGER e",
        "DROP EXTENSION plpgsql",
        "DROP ROLE r",
        "DROP DATABASE d",
        "DROP OWNED BY r",
        "DROP INDEX CONCURRENTLY i, j",
        "DROP TYPE t[]",
        "DROP TABLE d.s.t",
        "DROP TYPE d.s.t",
        "ALTER FOREIGN TABLE t DROP COLUMN a",
        "ANALYZE",
        "ANALYZE (VERBOSE) t",
        "VACUUM t",
        "REINDEX TABLE t",
        "LISTEN x",
        "LOAD 'x'",
        "EXPLAIN ANALYZE DROP TABLE t",
        "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y",
        "SET SESSION AUTHORIZATION x",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET session_replication_role = replica",
        "SET timezone = 'Europe/Berlin'",
        "SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE",
        "SET client_encoding = 'LATIN1'",
        "SET standard_conforming_strings = off",
        "SET row_security = on",
        "SET default_tablespace = 'x'",
        "RESET ROLE",
        "LOCK TABLE d.s.t",
        "CREATE SCHEMA emergency_backup_mine",
        "CREATE EXTENSION x",
        "CREATE OPERATOR + (FUNCTION = f, LEFTARG = int)",
        "CREATE CAST (int AS text) WITH INOUT",
        'CREATE COLLATION c FROM "C"',
        "CREATE TYPE t",
        "CREATE TYPE t (INPUT = f, OUTPUT = g)",
        "CREATE OR REPLACE AGGREGATE a (int) (sfunc = f, stype = int)",
        "CREATE TEXT SEARCH CONFIGURATION c (COPY = simple)",
        "CREATE FOREIGN TABLE f (a int) SERVER s",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE USER MAPPING FOR x SERVER s",
        "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()",
        "CREATE PUBLICATION p",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p",
        "CREATE ROLE r",
        "CREATE DATABASE d",
        "CREATE TABLESPACE s LOCATION '/x'",
        "CREATE SCHEMA s CREATE TABLE x ()",
        "CREATE SCHEMA AUTHORIZATION x",
        "CREATE TABLE d.s.x ()",
        "CREATE TYPE d.s.t AS ENUM ()",
        "CREATE TYPE d.s.t AS RANGE (subtype = int)",
        "CREATE DOMAIN d.s.t AS int",
        "CREATE STATISTICS d.s.t ON a, b FROM t",
        "CREATE AGGREGATE d.s.a (int) (sfunc = f, stype = int)",
        "CREATE FUNCTION d.s.f() RETURNS int AS '' LANGUAGE sql",
        "CREATE INDEX CONCURRENTLY ON t (a)",
        "CREATE TEMP TABLE x ()",
        "CREATE TABLE pg_temp.x ()",
        "CREATE TEMP TABLE x AS SELECT 1",
        "CREATE TABLE pg_temp.x AS SELECT 1",
        "SELECT 1 AS a INTO TEMP x",
        "SELECT 1 AS a INTO pg_temp.x",
        "CREATE TEMP VIEW v AS SELECT 1",
        "CREATE VIEW pg_temp.v AS SELECT 1",
        "CREATE TEMP SEQUENCE q",
        "CREATE SEQUENCE pg_temp.q",
        "CREATE TYPE pg_temp.t AS (a int)",
        "CREATE TYPE pg_temp.t AS ENUM ()",
        "CREATE FUNCTION pg_temp.f() RETURNS int AS '' LANGUAGE sql",
        "ALTER TABLE t SET TABLESPACE x",
        "ALTER TABLE t DISABLE TRIGGER ALL",
        "ALTER TABLE t ADD PRIMARY KEY USING INDEX i",
        "ALTER FUNCTION f() DEPENDS ON EXTENSION x",
        "ALTER FOREIGN TABLE t RENAME TO u",
        "ALTER DATABASE a RENAME TO b",
        "ALTER ROLE r SET search_path = x",
        "ALTER EXTENSION x UPDATE",
        "ALTER EXTENSION x SET SCHEMA s",
        "ALTER COLLATION c RENAME TO d",
        "ALTER OPERATOR + (int, int) OWNER TO x",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO x",
        "GRANT SELECT ON ALL TABLES IN SCHEMA s TO x",
        "GRANT r TO x",
        "REVOKE r FROM x",
        "GRANT CONNECT ON DATABASE d TO x",
        "GRANT USAGE ON LANGUAGE plpgsql TO x",
        "GRANT USAGE ON FOREIGN SERVER s TO x",
        "GRANT SELECT ON LARGE OBJECT 1 TO x",
        "COMMENT ON DATABASE d IS 'x'",
        "COMMENT ON ROLE r IS 'x'",
        "COMMENT ON EXTENSION x IS 'x'",
        "SECURITY LABEL ON TABLE t IS 'x'",
        "REASSIGN OWNED BY a TO b",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "CREATE TABLE x AS EXECUTE p",
        "DECLARE c CURSOR FOR SELECT 1",
        "DISCARD ALL",
        "CLUSTER t",
        "NOTIFY x",
    ],
)
def test_anything_else_is_refused_with_its_line(statement: str) -> None:
    """What is not known to be safe is refused wherever it stands, with the line it begins on."""
    with pytest.raises(PlanRefused, match=r"^line 3: ") as refused:
        parse(f"DROP TABLE t;\n\n{statement};\nDROP TABLE u;")

    assert refused.value.line == 3


@pytest.mark.parametrize("text", ["", " \n ", "-- only a comment", ";;", "/* nothing */ ;"])
def test_nothing_is_refused(text: str) -> None:
    """A script without a statement is no plan."""
    with pytest.raises(PlanRefused, match="no statement"):
        parse(text)


def test_too_large_is_refused() -> None:
    """Over 1 MiB is refused before it is parsed."""
    with pytest.raises(PlanRefused, match="1 MiB"):
        parse("DROP TABLE t;" + " " * MAX_SCRIPT_BYTES)


def test_nul_is_refused_with_its_line() -> None:
    """The parser would stop at NUL as if the script ended there."""
    with pytest.raises(PlanRefused, match=r"line 2: .*NUL"):
        parse("DROP TABLE t;\n-- \x00\nDROP TABLE u;")


def test_syntax_error_is_told_with_its_line() -> None:
    """What does not parse is told with the line of the offending word."""
    with pytest.raises(PlanRefused, match=r"line 2: .*not valid SQL"):
        parse("DROP TABLE t;\nDROP TABEL u;")


@pytest.mark.parametrize(
    "script",
    ["SELECT 'hunter2", "DROP TABLE 'hunter2'", "SELECT $$hunter2", "DROP TABLE E'hunter2'", 'DROP TABLE "hunter2'],
)
def test_syntax_error_quotes_no_literal(script: str) -> None:
    """A name is quoted, so that it is found; a literal may be a secret, and the line is enough."""
    with pytest.raises(PlanRefused, match=r"line 1: .*not valid SQL") as refused:
        parse(script)
    assert "hunter2" not in str(refused.value)

    with pytest.raises(PlanRefused, match='at or near "TABEL"'):
        parse("DROP TABEL u")


def test_meta_command_is_told_as_such() -> None:
    """Psql's own commands are recognised, and said not to be SQL."""
    with pytest.raises(PlanRefused, match=r"line 2: .*meta-command"):
        parse("DROP TABLE t;\n\\connect other\n")


def test_nesting_does_not_break_the_parser() -> None:
    """A deeply nested expression is refused, and the process lives."""
    with pytest.raises(PlanRefused):
        parse("SELECT " + "(" * 50_000 + "1" + ")" * 50_000)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is given, the answer is a script or a refusal, never another error."""
    try:
        script = parse(text)
    except PlanRefused:
        return
    assert script.statements
