"""RENAME, SET SCHEMA, OWNER TO, COMMENT, GRANT and REVOKE: what can be said of almost any object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pglast import ast
from pglast.enums import GrantTargetType

from worker.plan import refused
from worker.plan.performed import DOMAIN_PARTS, KINDS, PARTS, Alteration, Found, Reader
from worker.plan.rules import Refusal, Rule
from worker.plan.statements import Named, object_named, relation_name

ALL_IN_SCHEMA: Final = Refusal(
    "GRANT, REVOKE … ON ALL … IN SCHEMA", "they reach what the plan does not name; name the objects"
)


def _rename(stmt: Any, line: int) -> Found:
    was = _renamed(stmt, line)
    own = {"name": (*was.name[:-1], stmt.newname)} if was.part is None else {"part": stmt.newname}
    now = replace(was, **own)
    return Found([Alteration("name", was, stmt.newname)], [(now, was)])


def _renamed(stmt: Any, line: int) -> Named:
    kind, missing_ok = stmt.renameType, bool(stmt.missing_ok)
    if kind in PARTS:
        table = relation_name(stmt.relation, line)
        return Named(PARTS[kind], table, part=stmt.subname, table_missing_ok=missing_ok)
    if kind in DOMAIN_PARTS:
        return replace(object_named("domain", stmt.object, line), kind=DOMAIN_PARTS[kind], part=stmt.subname)
    if kind in KINDS and stmt.relation is not None:
        return Named(KINDS[kind], relation_name(stmt.relation, line), missing_ok=missing_ok)
    if kind in KINDS:
        return object_named(KINDS[kind], stmt.object if stmt.object is not None else stmt.subname, line)
    raise refused.of_kind(kind, line, "RENAME")


def _set_schema(stmt: Any, line: int) -> Found:
    kind = KINDS.get(stmt.objectType)
    if kind is None:
        raise refused.of_kind(stmt.objectType, line, "SET SCHEMA")
    missing_ok = bool(stmt.missing_ok)
    if stmt.relation is not None:
        named = Named(kind, relation_name(stmt.relation, line), missing_ok=missing_ok)
    else:
        named = object_named(kind, stmt.object, line)
    now = replace(named, name=(stmt.newschema, named.name[-1]))
    return Found([Alteration("schema", named, stmt.newschema)], [(now, named)])


def _set_owner(stmt: Any, line: int) -> Found:
    kind = KINDS.get(stmt.objectType)
    if kind is None:
        raise refused.of_kind(stmt.objectType, line, "OWNER TO")
    named = (
        Named(kind, relation_name(stmt.relation, line))
        if stmt.relation is not None
        else object_named(kind, stmt.object, line)
    )
    return Found([Alteration("owner", named)])


def _comment(stmt: Any, line: int) -> Found:
    if stmt.objtype in PARTS:
        *table, part = (name.sval for name in stmt.object)
        return Found([Alteration("comment", Named(PARTS[stmt.objtype], tuple(table), part=part))])
    if stmt.objtype in DOMAIN_PARTS:
        domain, part = stmt.object
        named = object_named("domain", domain, line)
        return Found([Alteration("comment", replace(named, kind=DOMAIN_PARTS[stmt.objtype], part=part.sval))])
    if stmt.objtype in KINDS:
        return Found([Alteration("comment", object_named(KINDS[stmt.objtype], stmt.object, line))])
    raise refused.of_kind(stmt.objtype, line, "COMMENT ON")


def _grant(stmt: Any, line: int) -> Found:
    if stmt.targtype != GrantTargetType.ACL_TARGET_OBJECT:
        raise ALL_IN_SCHEMA.at(line)
    kind = KINDS.get(stmt.objtype)
    if kind is None:
        raise refused.of_kind(stmt.objtype, line, "GRANT or REVOKE")
    found = Found()
    for entry in stmt.objects:
        table = isinstance(entry, ast.RangeVar)
        named = Named(kind, relation_name(entry, line)) if table else object_named(kind, entry, line)
        found.alterations.append(Alteration("grants", named))
    return found


READERS: Final[Mapping[type, Reader]] = {
    ast.RenameStmt: Reader(
        _rename,
        Rule(
            "ALTER … RENAME",
            "run as written; the name comes back: of tables, columns, constraints, indexes, sequences, views,"
            " materialized views, types, attributes, domains and their constraints, schemas, routines, triggers,"
            " rules, policies, statistics",
        ),
    ),
    ast.AlterObjectSchemaStmt: Reader(_set_schema, Rule("ALTER … SET SCHEMA", "run as written; it moves back")),
    ast.AlterOwnerStmt: Reader(_set_owner, Rule("ALTER … OWNER TO", "run as written; the owner comes back")),
    ast.CommentStmt: Reader(_comment, Rule("COMMENT ON", "run as written; the comment that stood there comes back")),
    ast.GrantStmt: Reader(
        _grant,
        Rule("GRANT, REVOKE", "run as written; all grants on the object and its columns come back as they were"),
    ),
}
