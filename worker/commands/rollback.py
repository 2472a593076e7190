"""Roll a migration back: its plan, compiled so that nothing it removes is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ledger.errors import NotAllowed, NotPossible, PlanChanged
from ledger.model import Command
from ledger.settings import TargetSettings
from worker import gates, registry
from worker.commands.backup_views import make_views
from worker.fence import Holder
from worker.objects.keeping import Action, Keeping, merge, quoted
from worker.objects.quarantine import Quarantine
from worker.plan import source
from worker.plan.compile import compile_plan
from worker.plan.impact import Impact, compute
from worker.plan.parse import Script, parse
from worker.plan.source import Plan
from worker.target import Session
from worker.work import Change, FinishStep, Lock, Work


class Rollback:
    """Prepares and records one rollback."""

    def __init__(self, command: Command, holder: Holder, target: TargetSettings) -> None:
        self._command = command
        self._holder = holder
        self._target = target
        self._keepings: tuple[Keeping, ...] = ()
        self._lock_names: dict[int, str] = {}

    def prepare(self, session: Session) -> Work:
        """Find the plan, compute its impact and compile it.

        Raises:
            StepbackError: Any reason not to do it, before anything is done.
        """
        plan = self._plan(session)
        script = parse(plan.rollback_sql)
        checks = () if plan.verify_sql is None else gates.read(plan.verify_sql)
        impact = compute(session, script, plan.options.accepts)
        if plan.bare:
            _check_writer(session, plan, impact)
        quarantine = Quarantine(self._holder.run, self._command.command_id)
        self._keepings = compile_plan(session, impact, quarantine)
        self._lock_names = relation_names(session, {oid for keeping in self._keepings for oid in keeping.locks})
        check_rights(session, self._keepings)
        views, view_permits = make_views(session, self._keepings)
        return Work(
            items=impact.items,
            impact_sha256=impact.sha256,
            plan_sha256=plan.sha256,
            locks=tuple(Lock(oid, name) for oid, name in sorted(self._lock_names.items())),
            groundwork=tuple(Change(f"create {name}", (f"CREATE SCHEMA {quoted(name)}",)) for name in quarantine.names),
            changes=(
                *(Change(_verb(keeping), keeping.remove) for keeping in self._keepings),
                *views,
            ),
            permits=merge([*(keeping.permits for keeping in self._keepings), view_permits]),
            gates=checks,
            quarantine=quarantine.names,
            finish=(*_counting(self._keepings), *_analyzing(session, impact)),
            registry_id=plan.row.id if plan.row else None,
            notes=_notes(script, impact),
        )

    def registry_row(self, session: Session) -> int:
        """Return the plan's registry row; a folder plan that nobody registered gets one."""
        plan = self._plan(session)
        if plan.row is not None:
            return plan.row.id
        return registry.ensure_row(session, plan.migration, plan.rollback_sql, plan.sha256)

    def record(self, session: Session, work: Work) -> None:
        """Write down what is now preserved, and how it comes back."""
        assert work.items  # noqa: S101 - an impact without items is refused
        locks = [[[self._lock_names[oid], "ACCESS EXCLUSIVE"] for oid in sorted(k.locks)] for k in self._keepings]
        registry.preserve(session, self._holder, self._keepings, locks)

    def _plan(self, session: Session) -> Plan:
        plan = source.find(session, self._target.plans, self._command.migration)
        if self._command.plan_sha256 not in (None, plan.sha256):
            raise PlanChanged(f"the plan of {plan.migration} is not the one that was pinned when this was asked for")
        return plan


def relation_names(session: Session, oids: set[int]) -> dict[int, str]:
    """Return qualified, quoted names of relations, by OID."""
    found = session.rows(
        "SELECT c.oid::bigint, n.nspname AS schema, c.relname AS name FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = ANY (%s::oid[])",
        (sorted(oids),),
    )
    return {row["oid"]: quoted(row["schema"], row["name"]) for row in found}


def check_rights(session: Session, keepings: Sequence[Keeping]) -> None:
    """Check before anything is touched that this role may do all of it.

    Raises:
        NotPossible: Names the object, its owner, and the GRANT that would help.
    """
    if not session.value("SELECT has_database_privilege(current_database(), 'CREATE')"):
        raise NotPossible("the worker's role may not create schemas here; GRANT CREATE ON DATABASE to it")
    own = {k.item.relation for k in keepings if k.item.relation is not None}
    locks = {oid for keeping in keepings for oid in keeping.locks}
    routines = [k.item.address.objid for k in keepings if k.item.address.catalog == "pg_proc"]
    types = sorted(k.item.address.objid for k in keepings if k.item.address.catalog == "pg_type")
    missing = session.row(
        "SELECT what, owner, current_user AS role FROM ("
        "  SELECT CASE relkind WHEN 'v' THEN 'view ' ELSE 'table ' END || oid::regclass AS what,"
        "         relowner::regrole::text AS owner, relowner AS owner_oid,"
        "         NOT oid = ANY (%(locks)s::oid[]) OR has_table_privilege(oid, 'UPDATE') AS lockable,"
        "         oid = ANY (%(own)s::oid[]) AS own"
        "    FROM pg_class WHERE oid = ANY (%(relations)s::oid[])"
        "  UNION ALL"
        "  SELECT 'type ' || oid::regtype, typowner::regrole::text, typowner, true, true"
        "    FROM pg_type WHERE oid = ANY (%(types)s::oid[])"
        "  UNION ALL"
        "  SELECT 'routine ' || oid::regprocedure, proowner::regrole::text, proowner, true, true"
        "    FROM pg_proc WHERE oid = ANY (%(routines)s::oid[])"
        ") AS needed WHERE (own AND NOT pg_has_role(owner_oid, 'USAGE')) OR NOT lockable LIMIT 1",
        {
            "relations": sorted(locks | own),
            "locks": sorted(locks),
            "types": types,
            "routines": routines,
            "own": sorted(own),
        },
    )
    if missing is not None:
        raise NotPossible(
            f"{missing['what']} belongs to {missing['owner']}; GRANT {missing['owner']} TO {missing['role']} first"
        )
    _check_homes(session, keepings)


#: What is made again as somebody's, in a schema where they may make nothing.
_HOMELESS = """
SELECT pg_get_userbyid(owner) AS owner, schema::regnamespace::text AS schema
  FROM (SELECT relowner, relnamespace FROM pg_class WHERE oid = ANY (%(views)s::oid[])
        UNION SELECT proowner, pronamespace FROM pg_proc WHERE oid = ANY (%(routines)s::oid[])) AS made (owner, schema)
 WHERE NOT has_schema_privilege(owner, schema, 'CREATE') OR NOT has_schema_privilege(schema, 'CREATE')
 LIMIT 1
"""


def _check_homes(session: Session, keepings: Sequence[Keeping]) -> None:
    """See now that what is made again later may be made there, by its owner as by this role."""
    views = [k.item.address.objid for k in keepings if k.item.kind == "view"]
    routines = [k.item.address.objid for k in keepings if k.item.address.catalog == "pg_proc"]
    homeless = session.row(_HOMELESS, {"views": views, "routines": routines})
    if homeless is not None:
        raise NotPossible(
            f"what {homeless['owner']} has in schema {homeless['schema']} could not be made there again;"
            f" GRANT CREATE ON SCHEMA {homeless['schema']} TO {homeless['owner']} first"
        )


def _check_writer(session: Session, plan: Plan, impact: Impact) -> None:
    """A bare row is only as good as whoever wrote it: may that role itself drop what the row names?"""
    assert plan.row is not None  # noqa: S101 - a bare plan is a row
    writer = plan.row.recorded_by
    if writer is None:
        raise NotAllowed(
            f"the registry row of {plan.migration} was written before Stepback was installed, so nobody knows by whom;"
            " look at it, then write or register it again"
        )
    forbidden = session.value(
        "SELECT coalesce((SELECT 'role ' || %(writer)s || ' does not exist any more' WHERE NOT EXISTS"
        " (SELECT FROM pg_roles WHERE rolname = %(writer)s)),"
        " (SELECT format('role %%s, who wrote this plan, may not drop table %%s', %(writer)s, oid::regclass)"
        "    FROM pg_class WHERE oid = ANY (%(relations)s::oid[]) AND NOT pg_has_role(%(writer)s, relowner, 'USAGE')"
        "   LIMIT 1),"
        " (SELECT format('role %%s, who wrote this plan, may not drop type %%s', %(writer)s, oid::regtype)"
        "    FROM pg_type WHERE oid = ANY (%(types)s::oid[]) AND NOT pg_has_role(%(writer)s, typowner, 'USAGE')"
        "   LIMIT 1),"
        " (SELECT format('role %%s, who wrote this plan, may not drop %%s', %(writer)s, oid::regprocedure)"
        "    FROM pg_proc WHERE oid = ANY (%(routines)s::oid[]) AND NOT pg_has_role(%(writer)s, proowner, 'USAGE')"
        "   LIMIT 1))",
        {
            "writer": writer,
            "relations": sorted({i.relation for i in impact.items if i.relation is not None}),
            "types": sorted(i.address.objid for i in impact.items if i.address.catalog == "pg_type"),
            "routines": sorted(i.address.objid for i in impact.items if i.address.catalog == "pg_proc"),
        },
    )
    if forbidden is not None:
        raise NotAllowed(str(forbidden))


def _verb(keeping: Keeping) -> str:
    verb = {Action.MOVED: "move", Action.COPIED: "copy and drop", Action.DEFINED: "write down and drop"}
    return f"{verb[keeping.item.action]} {keeping.item.label()}"


def _counting(keepings: Sequence[Keeping]) -> list[FinishStep]:
    tables = dict.fromkeys((k.quarantine, k.relation) for k in keepings if k.relation is not None)
    return [FinishStep(f"count {relation}", "count", json.dumps([schema, relation])) for schema, relation in tables]


def _analyzing(session: Session, impact: Impact) -> list[FinishStep]:
    names = relation_names(session, set(impact.analyze))
    return [FinishStep(f"analyze {name}", "sql", f"ANALYZE {name}") for name in names.values()]


def _notes(script: Script, impact: Impact) -> tuple[str, ...]:
    absent = tuple(f"{name} does not exist: nothing to do for it" for name in impact.absent)
    return (*script.notes, *absent)
