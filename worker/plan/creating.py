"""CREATE: what each makes, and what it replaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from pglast import ast
from pglast.enums import FunctionParameterMode as Mode
from pglast.enums import ObjectType

from ledger.errors import PlanRefused
from worker.plan import refused
from worker.plan.closure import OWN_SCHEMA_PREFIX
from worker.plan.performed import KINDS, Alteration, Found, Reader, TableLock
from worker.plan.rules import Refusal, Rule
from worker.plan.statements import Named, argument_type, new_name, relation_name
from worker.plan.writing import written_in


def _creates(kind: str, name: Callable[[Any], Any]) -> Callable[[Any, int], Found]:
    def reader(stmt: Any, line: int) -> Found:
        return Found(introduces=[(Named(kind, new_name(name(stmt), line)), None)])

    return reader


def _create_table(stmt: Any, line: int) -> Found:
    if stmt.ofTypename is not None:
        raise TYPED.at(line)
    found = Found(introduces=[(Named("table", new_name(stmt.relation, line)), None)])
    for parent in stmt.inhRelations or ():
        # What is created below another is taken from it again at recovery: it is locked for that, too.
        found.alterations.append(Alteration("family", Named("table", relation_name(parent, line))))
    for element in stmt.tableElts or ():
        for constraint in (element, *(getattr(element, "constraints", None) or ())):
            referenced = getattr(constraint, "pktable", None)
            if referenced is not None:
                found.locks.append(TableLock(relation_name(referenced, line), "SHARE ROW EXCLUSIVE"))
    return found


def _create_as(stmt: Any, line: int) -> Found:
    if isinstance(stmt.query, ast.ExecuteStmt):
        raise AS_EXECUTE.at(line)
    made = Named(KINDS[stmt.objtype], new_name(stmt.into.rel, line))
    return Found(introduces=[(made, None)], writes=written_in(stmt.query, line))


def _index(stmt: Any, line: int) -> Found:
    table = relation_name(stmt.relation, line)
    found = Found(locks=[TableLock(table, "SHARE")])
    if stmt.idxname is not None:
        found.introduces.append((Named("index", (*table[:-1], stmt.idxname)), None))
    return found


def _on_table(stmt: Any, line: int) -> Found:
    """Read a trigger, rule or policy: made on a table, under a name of its own there."""
    match stmt:
        case ast.CreateTrigStmt():
            table, name, kind, mode = stmt.relation, stmt.trigname, "trigger", "SHARE ROW EXCLUSIVE"
        case ast.RuleStmt():
            table, name, kind, mode = stmt.relation, stmt.rulename, "rule", "ACCESS EXCLUSIVE"
        case _:
            table, name, kind, mode = stmt.table, stmt.policy_name, "policy", "ACCESS EXCLUSIVE"
    made = Named(kind, relation_name(table, line), part=name)
    found = Found(introduces=[(made, None)], locks=[TableLock(made.name, mode)])
    if getattr(stmt, "replace", False):
        found.introduces[:] = [(made, made)]
        found.alterations.append(Alteration("definition", replace(made, missing_ok=True)))
    return found


def _view(stmt: Any, line: int) -> Found:
    made = Named("view", new_name(stmt.view, line))
    replaced = [Alteration("definition", replace(made, missing_ok=True))] if stmt.replace else []
    return Found(replaced, [(made, made if replaced else None)])


def _function(stmt: Any, line: int) -> Found:
    kind = "procedure" if stmt.is_procedure else "function"
    inputs = [p for p in stmt.parameters or () if p.mode not in (Mode.FUNC_PARAM_OUT, Mode.FUNC_PARAM_TABLE)]
    types = tuple(argument_type(parameter.argType, line) for parameter in inputs)
    made = Named(kind, new_name(stmt.funcname, line), arguments=types, missing_ok=True)
    replaced = [Alteration("definition", made)] if stmt.replace else []
    return Found(replaced, [(made, made if replaced else None)])


def _define(stmt: Any, line: int) -> Found:
    if stmt.kind != ObjectType.OBJECT_AGGREGATE or stmt.replace:
        raise refused.of_kind(stmt.kind, line, "CREATE") if stmt.kind in refused.KINDS else PROPERTIES.at(line)
    return Found(introduces=[(Named("aggregate", new_name(stmt.defnames, line)), None)])


def _statistics(stmt: Any, line: int) -> Found:
    tables = [relation_name(entry, line) for entry in stmt.relations]
    names = [(Named("statistics", new_name(stmt.defnames, line)), None)] if stmt.defnames else []
    return Found(introduces=list(names), locks=[TableLock(table, "SHARE UPDATE EXCLUSIVE") for table in tables])


def _schema(stmt: Any, line: int) -> Found:
    if stmt.schemaElts:
        raise FILLED_SCHEMA.at(line)
    if stmt.schemaname is None:
        raise NAMELESS_SCHEMA.at(line)
    if stmt.schemaname.startswith(OWN_SCHEMA_PREFIX):
        raise PlanRefused(f"schemas that begin with {OWN_SCHEMA_PREFIX} are Stepback's own", line=line)
    return Found(introduces=[(Named("schema", (stmt.schemaname,)), None)])


TYPED: Final = Refusal(
    "CREATE TABLE … OF a type",
    "typed tables are not covered: what the type says, the table has to follow; list the columns",
)
AS_EXECUTE: Final = Refusal("CREATE TABLE … AS EXECUTE", "it does not say what it does; write the query itself")
PROPERTIES: Final = Refusal(
    "CREATE TYPE of a base type, CREATE OR REPLACE AGGREGATE",
    "what stood before could not be made again; do it by hand",
)
FILLED_SCHEMA: Final = Refusal(
    "CREATE SCHEMA with what is in it",
    "each statement is looked at by itself; write CREATE SCHEMA, and the others after it",
)
NAMELESS_SCHEMA: Final = Refusal("CREATE SCHEMA without a name", "it would take the name of whoever runs it; name it")

_MADE: Final = "run as written; what it made goes into the quarantine of the recovery"
_REPLACED: Final = "the same; the definition that OR REPLACE replaces comes back"


def _made(name: str, read: Callable[[Any, int], Found], why: str = "") -> Reader:
    return Reader(read, Rule(f"CREATE {name}", _MADE, why))


READERS: Final[Mapping[type, Reader]] = {
    ast.CreateStmt: Reader(
        _create_table,
        Rule("CREATE TABLE, also LIKE, PARTITION BY", _MADE),
        Rule("CREATE TABLE … PARTITION OF, INHERITS", f"{_MADE}, taken from its parents first"),
    ),
    ast.CreateTableAsStmt: _made("TABLE … AS, MATERIALIZED VIEW", _create_as),
    ast.CreateSeqStmt: _made("SEQUENCE", _creates("sequence", lambda s: s.sequence)),
    ast.CreateEnumStmt: _made("TYPE (enum)", _creates("type", lambda s: s.typeName)),
    ast.CompositeTypeStmt: _made("TYPE (composite)", _creates("type", lambda s: s.typevar)),
    ast.CreateDomainStmt: _made("DOMAIN", _creates("domain", lambda s: s.domainname)),
    ast.CreateRangeStmt: _made("TYPE (range)", _creates("type", lambda s: s.typeName)),
    ast.CreateSchemaStmt: _made("SCHEMA", _schema),
    ast.CreateFunctionStmt: Reader(
        _function, Rule("CREATE FUNCTION, PROCEDURE", _MADE), Rule("CREATE OR REPLACE FUNCTION, PROCEDURE", _REPLACED)
    ),
    ast.DefineStmt: _made("AGGREGATE", _define),
    ast.CreateStatsStmt: _made("STATISTICS", _statistics),
    ast.IndexStmt: _made("INDEX", _index, "it locks the table against writers for as long as it takes"),
    ast.ViewStmt: Reader(_view, Rule("CREATE VIEW", _MADE), Rule("CREATE OR REPLACE VIEW", _REPLACED)),
    ast.CreateTrigStmt: Reader(_on_table, Rule("CREATE TRIGGER", _MADE), Rule("CREATE OR REPLACE TRIGGER", _REPLACED)),
    ast.RuleStmt: Reader(_on_table, Rule("CREATE RULE", _MADE), Rule("CREATE OR REPLACE RULE", _REPLACED)),
    ast.CreatePolicyStmt: _made("POLICY", _on_table),
}
