"""ALTER of what is no table: types, domains, sequences, routines, policies, statistics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pglast import ast

from worker.plan import altering, forms
from worker.plan.performed import KINDS, Alteration, Found, Reader, TableLock
from worker.plan.rules import Rule
from worker.plan.statements import Named, object_named, relation_name

_AGAIN: Final = "run as written; the definition that stood before comes back"


def _enum(stmt: Any, line: int) -> Found:
    if stmt.oldVal is None:
        # Nothing is lost by a label more, and no statement of PostgreSQL takes it away again.
        return Found()
    named = object_named("type", stmt.typeName, line)
    return Found([Alteration("label", named, json.dumps([stmt.oldVal, stmt.newVal]))])


def _domain(stmt: Any, line: int) -> Found:
    """Read ALTER DOMAIN; what drops a constraint is compiled, and does not come here."""
    named = object_named("domain", stmt.typeName, line)
    match stmt.subtype:
        case "T":
            return Found([Alteration("domain default", named)])
        case "N" | "O":
            return Found([Alteration("domain not null", named)])
        case "V":
            return Found([Alteration("domain validation", Named("domain constraint", named.name, part=stmt.name))])
    name = stmt.def_.conname
    return Found(introduces=[(Named("domain constraint", named.name, part=name), None)] if name else [])


def _sequence(stmt: Any, line: int) -> Found:
    named = Named("sequence", relation_name(stmt.sequence, line), missing_ok=bool(stmt.missing_ok))
    return Found([Alteration("sequence", named)])


def _routine(stmt: Any, line: int) -> Found:
    return Found([Alteration("definition", object_named(KINDS[stmt.objtype], stmt.func, line))])


def _policy(stmt: Any, line: int) -> Found:
    table = relation_name(stmt.table, line)
    named = Named("policy", table, part=stmt.policy_name)
    return Found([Alteration("definition", named)], locks=[TableLock(table, "ACCESS EXCLUSIVE")])


def _statistics(stmt: Any, line: int) -> Found:
    named = object_named("statistics", stmt.defnames, line)
    return Found([Alteration("statistics target", named)])


READERS: Final[Mapping[type, Reader]] = {
    ast.AlterTableStmt: Reader(
        altering.alter_table,
        *dict.fromkeys(form.rule for form in forms.FORMS.values()),
        altering.ATTRIBUTES,
    ),
    ast.AlterEnumStmt: Reader(
        _enum,
        Rule("ALTER TYPE … RENAME VALUE", "run as written; the label gets its name again"),
        Rule(
            "ALTER TYPE … ADD VALUE",
            "run as written, and the label stays after a recovery",
            "PostgreSQL cannot take a label away; rows may use it by then",
        ),
    ),
    ast.AlterDomainStmt: Reader(
        _domain,
        Rule("ALTER DOMAIN … SET DEFAULT, DROP DEFAULT", "run as written; set again as it was"),
        Rule(
            "ALTER DOMAIN … SET NOT NULL, DROP NOT NULL",
            "run as written; set again as it was",
            "the server looks at all values of the domain when it is set",
        ),
        Rule("ALTER DOMAIN … ADD CONSTRAINT", "run as written; goes at the recovery, which keeps its definition"),
        Rule("ALTER DOMAIN … VALIDATE CONSTRAINT", "run as written; made again NOT VALID, if it was"),
    ),
    ast.AlterSeqStmt: Reader(
        _sequence,
        Rule("ALTER SEQUENCE", "run as written; options and position come back, and no number is given twice"),
    ),
    ast.AlterFunctionStmt: Reader(_routine, Rule("ALTER FUNCTION, PROCEDURE, ROUTINE", _AGAIN)),
    ast.AlterPolicyStmt: Reader(_policy, Rule("ALTER POLICY", _AGAIN)),
    ast.AlterStatsStmt: Reader(
        _statistics, Rule("ALTER STATISTICS … SET STATISTICS", "run as written; set again as it was")
    ),
}
