"""Doing what no transaction can hold: look, act, look again. Each may be repeated after a crash at any point."""

from __future__ import annotations

import json
from typing import Any

from ledger.errors import StatementFailed, StepbackError
from worker import registry
from worker.fence import Holder
from worker.objects.keeping import Action, Address, Item, Keeping
from worker.target import Session


def do(session: Session, holder: Holder, argument: str) -> str | None:
    """Carry out one statement and return what came of it.

    Args:
        session: In the target, outside any transaction.
        holder: The attempt.
        argument: As worker/commands/asides.py writes it.

    Raises:
        StepbackError: It did not work out; nothing is left half done, or the message names it.
    """
    told = json.loads(argument)
    act = {"create index": create_index, "drop index": _drop, "reindex": _reindex, "vacuum": _vacuum}[told["what"]]
    with session.beside(told["owner"]):
        said = act(session, told)
    if told["what"] == "create index":
        _note_created(session, holder, told)
    return said


_BY_NAME = """
SELECT indexrelid::bigint AS oid, indisvalid AS valid,
       (pg_identify_object('pg_class'::regclass, indexrelid, 0)).identity AS name
  FROM pg_index WHERE indexrelid = to_regclass(%s)
"""


def create_index(session: Session, told: dict[str, Any]) -> str:
    """Build an index CONCURRENTLY, unless it is there; invalid remains are replaced.

    Args:
        session: In the target, outside any transaction, as its owner.
        told: `name` of the index, qualified and quoted, and `text`, the statement.

    Raises:
        StepbackError: It did not work out, and nothing is left of it.
    """
    left = session.row(_BY_NAME, (told["name"],))
    if left is not None and left["valid"]:
        return "built"
    if left is not None:
        # An earlier attempt was cut off: what it left is never used, and every writer pays for it.
        session.execute(f"DROP INDEX CONCURRENTLY {told['name']}")
    try:
        session.execute(told["text"])
    except StepbackError as first:
        _clear_after(session, told["name"], first)
        raise
    return "built" if left is None else "built, in place of invalid remains"


def _clear_after(session: Session, name: str, first: StepbackError) -> None:
    try:
        left = session.row(_BY_NAME, (name,))
        if left is not None and not left["valid"]:
            session.execute(f"DROP INDEX CONCURRENTLY {name}")
    except StepbackError as second:
        first.add_note(f"and its invalid remains could not be removed: {second}")


def _note_created(session: Session, holder: Holder, told: dict[str, Any]) -> None:
    """Write the index down as this run's, once: it goes when the run is recovered."""
    made = session.row(_BY_NAME, (told["name"],))
    if made is None or not made["valid"]:
        raise StatementFailed(f"index {told['name']} is not there, or not valid, although it was built")
    because = f"line {told['line']} creates it"
    item = Item(
        Address("pg_class", made["oid"]), "index", made["name"], because, Action.CREATED, relation=told["table"]
    )
    keeping = Keeping(item, remove=(), restore=(), facts={"table": told["table"]})
    with session.transaction():
        registry.preserve_later(session, holder, told["migration"], keeping)


def _drop(session: Session, told: dict[str, Any]) -> str:
    if session.value("SELECT true FROM pg_class WHERE oid = %s", (told["oid"],)) is None:
        return "dropped"
    here = session.row(_BY_NAME, (told["name"],))
    if here is None or here["oid"] != told["oid"]:
        raise StatementFailed(f"{told['name']} is not the index any more that preflight looked at; ask again")
    try:
        session.execute(f"DROP INDEX CONCURRENTLY {told['name']}")
    except StepbackError as error:
        left = session.row(_BY_NAME, (told["name"],))
        if left is not None and not left["valid"]:
            error.message += f"; {told['name']} is left invalid: it is not used any more, and can be dropped again"
        raise
    return "dropped"


#: What REINDEX CONCURRENTLY leaves when it is cut off: copies that are not valid, beside the indexes that still are.
_LEFT = """
SELECT i.oid::regclass::text AS name FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
 WHERE NOT x.indisvalid AND i.relname ~ '_cc(new|old)[0-9]*$'
   AND x.indrelid = coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass(%(name)s)),
                             to_regclass(%(name)s))
"""


def _reindex(session: Session, told: dict[str, Any]) -> str:
    cleared = _clear_copies(session, told["name"])
    try:
        session.execute(told["text"])
    except StepbackError as first:
        try:
            _clear_copies(session, told["name"])
        except StepbackError as second:
            first.add_note(f"and its invalid copies could not be removed: {second}")
        raise
    return f"built anew{f', {cleared} invalid copies removed' if cleared else ''}"


def _clear_copies(session: Session, name: str) -> int:
    left = session.rows(_LEFT, {"name": name})
    for row in left:
        session.execute(f"DROP INDEX CONCURRENTLY {row['name']}")
    return len(left)


def _vacuum(session: Session, told: dict[str, Any]) -> str | None:
    session.execute(told["text"])
    return None
