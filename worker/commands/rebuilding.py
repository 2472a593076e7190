"""Indexes of large tables come back after COMMIT, CONCURRENTLY: building one blocks for as long as the table is large.

What holds rows to a rule, a unique index, comes back inside the transaction all the same: afterwards would be too late.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from worker.objects.keeping import quoted
from worker.registry import Kept
from worker.target import Session
from worker.work import FinishStep

#: From this size of its table on, an index is built after COMMIT. Below, it takes some ten milliseconds.
LARGE_BYTES: Final = 8 * 1024 * 1024

#: The table may still be in quarantine.
_TABLE = """
SELECT c.relkind = 'r' AND pg_table_size(c.oid) >= %s AS is_large, pg_get_userbyid(c.relowner)::text AS owner
  FROM pg_class AS c WHERE c.oid = coalesce((SELECT oid FROM pg_class WHERE oid = %s), to_regclass(%s))
"""


def built_after(session: Session, kept: Sequence[Kept]) -> dict[int, FinishStep]:
    """Return the steps that build indexes after COMMIT, by the number under which these are preserved.

    Args:
        session: In the target.
        kept: What comes back.
    """
    steps: dict[int, FinishStep] = {}
    for each in kept:
        definition = each.definition
        others = (other for other in kept if other is not each)
        if each.kind != "index" or each.how != "defined" or not definition["restore"]:
            continue
        if "partitions" in definition["facts"]:
            # That of a partitioned table cannot be built CONCURRENTLY.
            continue
        # What changed about it before it went is changed back when it is there.
        if any(other.address.objid == each.address.objid for other in others):
            continue
        schema, _table, name, text = definition["facts"]["index"]
        ((table, oid),) = definition["locks"]
        found = session.row(_TABLE, (LARGE_BYTES, oid, table))
        if found is None or not found["is_large"] or not text.startswith("CREATE INDEX "):
            continue
        told = {
            "id": each.id,
            "name": quoted(schema, name),
            "text": text.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1),
            "definition": text,
            "then": definition["restore"][1:],
            "owner": found["owner"],
        }
        steps[each.id] = FinishStep(f"build index {each.name}", "index", json.dumps(told))
    return steps
