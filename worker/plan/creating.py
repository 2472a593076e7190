"""CREATE: what each makes, and what it replaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from pglast import ast
from pglast.enums import FunctionParameterMode as Mode
from pglast.enums import ObjectType

from ledger.errors import PlanRefused
from worker.plan.closure import OWN_SCHEMA_PREFIX
from worker.plan.performed import KINDS, Alteration, Found, TableLock
from worker.plan.statements import Named, argument_type, new_name, relation_name
from worker.plan.writing import written_in


def _creates(kind: str, name: Callable[[Any], Any]) -> Callable[[Any, int], Found]:
    def reader(stmt: Any, line: int) -> Found:
        return Found(introduces=[(Named(kind, new_name(name(stmt), line)), None)])

    return reader


def _create_table(stmt: Any, line: int) -> Found:
    found = Found(introduces=[(Named("table", new_name(stmt.relation, line)), None)])
    for element in stmt.tableElts or ():
        for constraint in (element, *(getattr(element, "constraints", None) or ())):
            referenced = getattr(constraint, "pktable", None)
            if referenced is not None:
                found.locks.append(TableLock(relation_name(referenced, line), "SHARE ROW EXCLUSIVE"))
    if stmt.inhRelations:
        raise PlanRefused("creating a partition or a child of a table is not known to be safe yet", line=line)
    return found


def _create_as(stmt: Any, line: int) -> Found:
    if isinstance(stmt.query, ast.ExecuteStmt):
        raise PlanRefused("CREATE TABLE … AS EXECUTE does not say what it does; write the query itself", line=line)
    made = Named(KINDS[stmt.objtype], new_name(stmt.into.rel, line))
    return Found(introduces=[(made, None)], writes=written_in(stmt.query, line))


def _index(stmt: Any, line: int) -> Found:
    if stmt.concurrent:
        raise PlanRefused("CREATE INDEX CONCURRENTLY cannot run in a transaction; write CREATE INDEX", line=line)
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
        raise PlanRefused("of CREATE with a list of properties only CREATE AGGREGATE is known to be safe", line=line)
    return Found(introduces=[(Named("aggregate", new_name(stmt.defnames, line)), None)])


def _statistics(stmt: Any, line: int) -> Found:
    tables = [relation_name(entry, line) for entry in stmt.relations]
    names = [(Named("statistics", new_name(stmt.defnames, line)), None)] if stmt.defnames else []
    return Found(introduces=list(names), locks=[TableLock(table, "SHARE UPDATE EXCLUSIVE") for table in tables])


def _schema(stmt: Any, line: int) -> Found:
    if stmt.schemaElts:
        raise PlanRefused("write CREATE SCHEMA and what is in it as statements of their own", line=line)
    if stmt.schemaname is None:
        raise PlanRefused("CREATE SCHEMA needs a name here", line=line)
    if stmt.schemaname.startswith(OWN_SCHEMA_PREFIX):
        raise PlanRefused(f"schemas that begin with {OWN_SCHEMA_PREFIX} are Stepback's own", line=line)
    return Found(introduces=[(Named("schema", (stmt.schemaname,)), None)])


READERS: Final[Mapping[type, Callable[[Any, int], Found]]] = {
    ast.CreateStmt: _create_table,
    ast.CreateTableAsStmt: _create_as,
    ast.CreateSeqStmt: _creates("sequence", lambda s: s.sequence),
    ast.CreateEnumStmt: _creates("type", lambda s: s.typeName),
    ast.CompositeTypeStmt: _creates("type", lambda s: s.typevar),
    ast.CreateDomainStmt: _creates("domain", lambda s: s.domainname),
    ast.CreateRangeStmt: _creates("type", lambda s: s.typeName),
    ast.CreateSchemaStmt: _schema,
    ast.CreateFunctionStmt: _function,
    ast.DefineStmt: _define,
    ast.CreateStatsStmt: _statistics,
    ast.IndexStmt: _index,
    ast.ViewStmt: _view,
    ast.CreateTrigStmt: _on_table,
    ast.RuleStmt: _on_table,
    ast.CreatePolicyStmt: _on_table,
}
