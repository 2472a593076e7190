"""A plan's SQL as values: what is understood, and what is refused with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import PlanRefused
from worker.plan.parse import MAX_SCRIPT_BYTES, parse
from worker.plan.statements import Analyze, ArgumentType, Named, Removal


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
    with pytest.raises(PlanRefused, match="removes nothing"):
        parse("ANALYZE t;")


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "BEGIN",
        "PREPARE TRANSACTION 'x'",
        "SET ROLE postgres",
        "SET search_path = x",
        "RESET ALL",
        "COPY t TO PROGRAM 'id'",
        "COPY t FROM '/etc/passwd'",
        "ALTER SYSTEM SET fsync = off",
        "DELETE FROM t",
        "UPDATE t SET a = 1",
        "TRUNCATE t",
        "DO $$BEGIN END$$",
        "SELECT pg_terminate_backend(1)",
        "CREATE TABLE x ()",
        "DROP SCHEMA d.s",
        "DROP SEQUENCE d.s.q",
        "DROP DOMAIN d.s.t",
        "DROP MATERIALIZED VIEW d.s.v",
        "REFRESH MATERIALIZED VIEW v",
        "ALTER TABLE t DETACH PARTITION p",
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
        "DROP INDEX CONCURRENTLY i",
        "DROP TYPE t[]",
        "DROP TABLE d.s.t",
        "DROP TYPE d.s.t",
        "ALTER TABLE t RENAME TO u",
        "ALTER TABLE t DROP COLUMN a, ADD COLUMN b int",
        "ALTER TABLE t DROP CONSTRAINT a, ALTER COLUMN b DROP NOT NULL",
        "ALTER TABLE t ALTER COLUMN b DROP DEFAULT",
        "ALTER TABLE t DISABLE ROW LEVEL SECURITY",
        "ALTER VIEW v OWNER TO x",
        "ALTER FOREIGN TABLE t DROP COLUMN a",
        "GRANT ALL ON t TO x",
        "ANALYZE",
        "ANALYZE (VERBOSE) t",
        "VACUUM t",
        "REINDEX TABLE t",
        "LOCK TABLE t",
        "LISTEN x",
        "LOAD 'x'",
        "CALL p()",
        "EXPLAIN ANALYZE DROP TABLE t",
        "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y",
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
