"""Schemas are kept as definitions: what stood in them is kept by its own kind, and leaves first."""

from __future__ import annotations

from worker.objects import ownership
from worker.objects.definition import comment
from worker.objects.keeping import GONE, Item, Keeping, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Session


def keep(session: Session, item: Item, _quarantine: Quarantine) -> Keeping:
    """Say how a schema is kept: dropped once it is empty, made again before anything comes back into it."""
    found = session.row(
        "SELECT nspname AS name, pg_get_userbyid(nspowner) AS owner FROM pg_namespace WHERE oid = %s",
        (item.address.objid,),
    )
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    schema = quoted(found["name"])
    return Keeping(
        item,
        # Without CASCADE: had anything come into it since, the server would refuse.
        remove=(f"DROP SCHEMA {schema}",),
        restore=(
            f"CREATE SCHEMA {schema} AUTHORIZATION {quoted(found['owner'])}",
            *ownership.again(session, item.address, f"SCHEMA {schema}"),
            *comment(session, item.address, f"SCHEMA {schema}"),
        ),
        permits={item.address: GONE},
        facts={"schema_must_be_free": found["name"]},
    )
