"""ALTER TABLE, and of whatever else it can be said: what it changes about which object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from pglast.enums import AlterTableType as Sub
from pglast.enums import ConstrType

from worker.plan import refused
from worker.plan.forms import FORMS, REFUSED, UNKNOWN, part_of
from worker.plan.performed import KINDS, Alteration, Found, TableLock
from worker.plan.rules import Refusal, Rule
from worker.plan.statements import Named, relation_name

USING_INDEX: Final = Refusal(
    "ADD CONSTRAINT … USING INDEX",
    "it would rename the index and make it part of the constraint; create the constraint",
)

ATTRIBUTES: Final = Rule(
    "ALTER TYPE … ADD, DROP, ALTER ATTRIBUTE",
    "run as written, if no column holds values of the type; the attributes as they were come back in their order",
    "the values of one attribute cannot be kept apart from the rest of a value",
)


def alter_table(stmt: Any, line: int) -> Found:
    """Read ALTER TABLE, VIEW, MATERIALIZED VIEW, INDEX, SEQUENCE and, of attributes, TYPE."""
    kind = KINDS.get(stmt.objtype)
    if kind is None:
        raise refused.of_kind(stmt.objtype, line, "ALTER")
    subject = Named(kind, relation_name(stmt.relation, line), missing_ok=bool(stmt.missing_ok))
    if kind == "type":
        return _attributes(stmt, subject)
    found = Found()
    for command in stmt.cmds:
        found.alterations.extend(_alter(command, subject, line))
        if command.subtype == Sub.AT_AddColumn:
            found.introduces.append((part_of(subject, "column", command.def_.colname), None))
            # Where each row needs a value of its own: serial, identity, generated, now() and its like.
            found.rewrites.append(subject.name)
        elif command.subtype == Sub.AT_AddConstraint:
            _add_constraint(command.def_, subject, found, line)
    if kind == "table":
        found.locks.append(TableLock(subject.name, "ACCESS EXCLUSIVE"))
    return found


def _alter(command: Any, subject: Named, line: int) -> Iterator[Alteration]:
    form = FORMS.get(command.subtype)
    if form is None:
        raise REFUSED.get(command.subtype, UNKNOWN).at(line)
    return form.says(command, subject, form.what, line)


def _attributes(stmt: Any, subject: Named) -> Found:
    touched = [command.name for command in stmt.cmds if command.subtype != Sub.AT_AddColumn]
    added = [command.def_.colname for command in stmt.cmds if command.subtype == Sub.AT_AddColumn]
    introduces = [(Named("attribute", subject.name, part=name), None) for name in added]
    return Found([Alteration("attributes", subject, json.dumps(touched))], list(introduces))


def _add_constraint(constraint: Any, table: Named, found: Found, line: int) -> None:
    if constraint.indexname:
        raise USING_INDEX.at(line)
    if constraint.conname:
        found.introduces.append((part_of(table, "constraint", constraint.conname), None))
    if constraint.pktable is not None:
        found.locks.append(TableLock(relation_name(constraint.pktable, line), "SHARE ROW EXCLUSIVE"))
    if constraint.contype == ConstrType.CONSTR_PRIMARY:
        columns = [key.sval for key in constraint.keys or ()]
        found.alterations.extend(Alteration("not null", part_of(table, "column", name)) for name in columns)
