"""Every statement that the parser knows is read or refused with a reason, and the documentation says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from pglast import ast
from pglast.enums import AlterTableType, ObjectType

from ledger.errors import PlanRefused
from worker.plan import document, dropping, forms, refused, verbatim
from worker.plan.parse import parse
from worker.plan.performed import DOMAIN_PARTS, KINDS, PARTS

_PAGE = Path(__file__).parent.parent.parent.parent / "docs" / "statements.md"

#: What worker/plan/statements.py, aside.py and wrapping.py read, beside those in tables.
_COMPILED = {ast.DropStmt, ast.LockStmt, ast.VacuumStmt, ast.ReindexStmt}
#: What is read in some forms, and refused in all others.
_BOTH = {ast.VariableSetStmt, ast.TransactionStmt}


def test_page_is_what_the_code_says() -> None:
    """docs/statements.md is what `make docs` makes of the readers as they are now."""
    assert _PAGE.read_text(encoding="utf-8").splitlines() == list(document.lines()), "stale: run make docs"


def test_every_statement_of_the_parser_is_read_or_refused() -> None:
    """Each node class of a statement has one place: read, refused with a reason, or only a part of others."""
    every = {getattr(ast, name) for name in dir(ast) if name.endswith("Stmt")}
    read = set(verbatim.READERS) | _COMPILED

    assert read | set(refused.NODES) | refused.PARTS == every
    assert not read & set(refused.NODES)
    assert not (read | set(refused.NODES)) & refused.PARTS
    assert set(refused.NODES) >= _BOTH


def test_every_form_of_alter_table_is_read_or_refused() -> None:
    """Each form has one place: read, refused with a reason, or never given by the parser."""
    places = [set(dropping.ALTERED), set(forms.FORMS), set(forms.REFUSED), set(forms.INTERNAL)]

    assert set().union(*places) == set(AlterTableType)
    assert sum(map(len, places)) == len(AlterTableType)


def test_every_kind_of_object_is_known_or_refused() -> None:
    """Whatever a statement may name is of a kind that is kept, a part of one, or refused with a reason."""
    known = set(KINDS) | set(PARTS) | set(DOMAIN_PARTS)

    # A default has no name of its own.
    assert known | set(refused.KINDS) | {ObjectType.OBJECT_DEFAULT} == set(ObjectType)
    assert not known & set(refused.KINDS)
    assert set(dropping.DROPPED) <= known


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("CREATE EXTENSION x", "CREATE EXTENSION X is refused: what it brings"),
        ("DROP EXTENSION x", "DROP EXTENSION X is refused: what it brings"),
        ("COMMENT ON EXTENSION x IS 'y'", "COMMENT ON … EXTENSION is refused: what it brings"),
        ("ALTER FUNCTION f() DEPENDS ON EXTENSION x", "refused: what it brings"),
        ("DROP OPERATOR +(int, int)", "DROP OPERATOR is refused: indexes and plans"),
        ("CREATE OPERATOR + (FUNCTION = f, LEFTARG = int)", "CREATE … OPERATOR"),
        ("CREATE OPERATOR CLASS c FOR TYPE int USING btree AS OPERATOR 1 <", "refused: indexes and plans"),
        ("CREATE CAST (int AS text) WITH INOUT", "CREATE CAST is refused: what uses a cast"),
        ('CREATE COLLATION c FROM "C"', "CREATE … COLLATION is refused: indexes are ordered by it"),
        ("ALTER COLLATION c REFRESH VERSION", "ALTER COLLATION C is refused"),
        ("CREATE FOREIGN TABLE f (a int) SERVER s", "refused: its rows are on another server"),
        ("ALTER FOREIGN TABLE f ADD COLUMN b int", "ALTER … FOREIGN DATA is refused: its rows"),
        ("CREATE PUBLICATION p", "CREATE PUBLICATION P is refused: what subscribers miss"),
        ("DROP SUBSCRIPTION s", "DROP SUBSCRIPTION S is refused: its slot"),
        ("DROP EVENT TRIGGER e", "DROP EVENT TRIGGER is refused"),
        ("GRANT USAGE ON LANGUAGE plpgsql TO x", "GRANT or REVOKE … LANGUAGE is refused"),
        (
            "CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION f(internal))",
            "refused: it is the superuser's",
        ),
        ("CREATE ACCESS METHOD m TYPE TABLE HANDLER h", "CREATE ACCESS METHOD is refused"),
        ("ALTER TEXT SEARCH CONFIGURATION c DROP MAPPING FOR word", "refused: what uses a configuration"),
        ("SECURITY LABEL ON TABLE t IS 'x'", "SECURITY LABEL ON is refused: labels belong to a provider"),
        ("DROP TABLESPACE s", "DROP TABLESPACE S is refused: it is about the server's disks"),
        ("DROP DATABASE d", "DROP DATABASE D is refused: it is about more than this database"),
        ("DROP ROLE r", "DROP ROLE R is refused: roles belong to the whole server"),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO x", "refused: they are about objects that are not there"),
        ("ALTER TABLE t ALTER c DROP EXPRESSION", "DROP EXPRESSION is refused: no statement makes a column generated"),
        ("ALTER TABLE t SET TABLESPACE s", "SET TABLESPACE is refused: the server copies all files"),
        ("ALTER TABLE t OF x", "typed tables are not covered"),
        ("CREATE TABLE t OF x", "typed tables are not covered"),
        ("ALTER TABLE p DETACH PARTITION c CONCURRENTLY", "leave CONCURRENTLY out"),
        ("ALTER INDEX i ATTACH PARTITION j", "no statement takes an index from its parent"),
        ("ALTER INDEX i ALTER COLUMN 1 SET STATISTICS 5", "a column of an index has only a number"),
        ("ALTER MATERIALIZED VIEW m DROP COLUMN a", "not known to be safe for this kind of object"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", "leave CONCURRENTLY out"),
        ("RESET ROLE", "RESET ROLE is refused: it would change who runs later statements"),
        ("SET SESSION AUTHORIZATION x", "it would change who runs later statements"),
        ("SET TRANSACTION READ ONLY", "it would change who runs later statements"),
        ("RESET ALL", "it would change who runs later statements"),
        ("DISCARD ALL", "it is about the session, which is Stepback's own"),
        ("\\connect other", "psql meta-command; only SQL is understood: leave it out"),
    ],
)
def test_refusal_says_what_why_and_where(statement: str, says: str) -> None:
    """What no plan may say is refused by name, with the reason that the documentation gives, and its line."""
    with pytest.raises(PlanRefused) as error:
        parse(f"DROP TABLE t;\n{statement};")

    assert error.value.line == 2
    assert says in error.value.message


def test_temporary_and_unknown_are_refused_too() -> None:
    """A kind of object that cannot be said so falls back to a sentence of its own."""
    refusal = refused.of_kind(ObjectType.OBJECT_DEFAULT, 3, "RENAME")

    assert refusal.message == "line 3: RENAME is refused: this kind of object has no such thing"
