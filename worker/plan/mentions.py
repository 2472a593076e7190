"""Mentions: bodies of surviving functions that speak of a name which goes; pg_depend does not look into text."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from worker.objects.remarks import Mention
from worker.plan.leaving import Leaving
from worker.target import Session

_MENTIONS = """
SELECT told.type AS kind, told.identity AS name, array_agg(DISTINCT gone.label ORDER BY gone.label) AS mentions
  FROM unnest(%(labels)s::text[], %(words)s::text[], %(tables)s::text[]) AS gone (label, word, of_table)
  JOIN pg_proc AS p ON p.prosrc ~* gone.word AND p.prosrc ~* gone.of_table
  JOIN pg_language AS l ON l.oid = p.prolang AND l.lanname NOT IN ('internal', 'c')
  JOIN pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND n.nspname NOT LIKE 'emergency\\_backup%%' AND n.nspname NOT LIKE 'pg\\_temp%%'
 CROSS JOIN LATERAL pg_identify_object('pg_proc'::regclass, p.oid, 0) AS told
 WHERE NOT p.oid = ANY (%(going)s::oid[]) AND NOT EXISTS (
       SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
 GROUP BY 1, 2
 ORDER BY 1, 2
"""


def find(session: Session, leaving: Sequence[Leaving], going: Collection[int]) -> tuple[Mention, ...]:
    """Return what mentions names that go. A column counts where its table is mentioned too.

    Args:
        session: In the target, before the plan has run.
        leaving: The names.
        going: Functions and procedures that the plan removes or replaces, as OIDs; they do not count.
    """
    found = session.rows(
        _MENTIONS,
        {
            "labels": [name.label for name in leaving],
            "words": [whole_word(name.column or name.name) for name in leaving],
            "tables": [whole_word(name.name) for name in leaving],
            "going": sorted(going),
        },
    )
    return tuple(Mention(row["kind"], row["name"], tuple(row["mentions"])) for row in found)


def whole_word(name: str) -> str:
    """Return the server's regular expression for a name as a whole word, whatever characters are in it."""
    literal = "".join(char if char.isalnum() or char == "_" else f"\\{char}" for char in name)
    return rf"(^|\W){literal}(\W|$)"
