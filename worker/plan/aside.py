"""Statements that no transaction can hold: done beside the run's own, after its COMMIT, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pglast import ast
from pglast.enums import ObjectType, ReindexObjectType

from ledger.errors import PlanRefused
from worker.plan.statements import Named, QualifiedName, relation_name


@dataclass(frozen=True)
class Aside:
    """One such statement; each can be repeated, and what it left half done is found by its names."""

    #: "vacuum", "reindex", "create index" or "drop index".
    what: str
    #: The table, or the index.
    name: QualifiedName
    #: The table of an index that is made.
    table: QualifiedName | None
    #: Whether IF EXISTS, or IF NOT EXISTS, is said.
    may_be: bool
    line: int
    text: str

    @property
    def named(self) -> Named:
        """The index that goes."""
        return Named("index", self.name, missing_ok=self.may_be)


_ONE_BY_ONE: Final = {ReindexObjectType.REINDEX_OBJECT_TABLE, ReindexObjectType.REINDEX_OBJECT_INDEX}


def read(stmt: object, line: int, text: str) -> Aside | None:
    """Read a statement that no transaction can hold; None if it is not one.

    Raises:
        PlanRefused: A form of it that could not be repeated, or would block others for long.
    """
    match stmt:
        case ast.VacuumStmt() as vacuum if vacuum.is_vacuumcmd:
            return _vacuum(vacuum, line, text)
        case ast.ReindexStmt() as reindex:
            return _reindex(reindex, line, text)
        case ast.IndexStmt() as index if index.concurrent:
            return _create(index, line, text)
        case ast.DropStmt() as drop if drop.concurrent and drop.removeType == ObjectType.OBJECT_INDEX:
            return _drop(drop, line, text)
    return None


def _vacuum(vacuum: Any, line: int, text: str) -> Aside:
    if not vacuum.rels or len(vacuum.rels) > 1:
        raise PlanRefused("VACUUM names one table here; write one statement for each", line=line)
    if "full" in {option.defname for option in vacuum.options or ()}:
        raise PlanRefused("VACUUM FULL locks the table for as long as it is rewritten; leave FULL out", line=line)
    return Aside("vacuum", relation_name(vacuum.rels[0].relation, line), None, may_be=False, line=line, text=text)


def _reindex(reindex: Any, line: int, text: str) -> Aside:
    if reindex.kind not in _ONE_BY_ONE:
        raise PlanRefused("REINDEX of a whole schema or database is refused; name the tables or indexes", line=line)
    if "concurrently" not in {option.defname for option in reindex.params or ()}:
        raise PlanRefused("REINDEX blocks writers for as long as it builds; write REINDEX … CONCURRENTLY", line=line)
    return Aside("reindex", relation_name(reindex.relation, line), None, may_be=False, line=line, text=text)


def _create(index: Any, line: int, text: str) -> Aside:
    if index.idxname is None:
        raise PlanRefused("CREATE INDEX CONCURRENTLY needs a name here, so that it is found again", line=line)
    table = relation_name(index.relation, line)
    # An index lives in the schema of its table.
    name = (*table[:-1], index.idxname)
    return Aside("create index", name, table, may_be=bool(index.if_not_exists), line=line, text=text)


def _drop(drop: Any, line: int, text: str) -> Aside:
    if len(drop.objects) > 1:
        raise PlanRefused("DROP INDEX CONCURRENTLY names one index; write one statement for each", line=line)
    parts = tuple(part.sval for part in drop.objects[0])
    if len(parts) > 2:
        raise PlanRefused("a name with a database in front is refused; write schema.name", line=line)
    return Aside("drop index", parts, None, may_be=bool(drop.missing_ok), line=line, text=text)
