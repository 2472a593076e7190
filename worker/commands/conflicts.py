"""What stands in the way of bringing back what is more than a name: parts of ranges, schemas, partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worker.objects.keeping import quoted
from worker.target import Session


def of_parts(session: Session, parts: Sequence[str]) -> list[str]:
    """Return which parts of a range exist again.

    Args:
        session: In the target.
        parts: As ALTER names them: "TYPE public.m", "FUNCTION public.r(integer, integer)".
    """
    problems = []
    for part in parts:
        word, name = part.split(" ", 1)
        # Before 16 to_regprocedure raises an error where a type of an argument is gone.
        there = "to_regtype(%s) IS NOT NULL"
        if word == "FUNCTION":
            there = "EXISTS (SELECT FROM pg_proc WHERE oid::regprocedure::text = %s)"
        if session.value(f"SELECT {there}", (name,)):
            problems.append(f"{word.lower()} {name} exists again")
    return problems


def of_schema(session: Session, name: str | None) -> list[str]:
    """Return whether a schema exists again, even an empty one: it would not be the one that was dropped."""
    if name is None or session.value("SELECT to_regnamespace(%s)", (quoted(name),)) is None:
        return []
    return [f"schema {quoted(name)} exists again"]


_BOUND = """
SELECT c.oid::regclass::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bound, c.relkind = 'p' AS whole
  FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
 WHERE i.inhparent = to_regclass(%s) AND pg_get_expr(c.relpartbound, c.oid) IN (%s, 'DEFAULT')
"""


def of_partition(session: Session, name: str, facts: Mapping[str, Any]) -> list[str]:
    """Return what has the partition's bound by now, or rows that belong to it."""
    problems = []
    for row in session.rows(_BOUND, (facts["parent"], facts["bound"])):
        if row["bound"] == facts["bound"]:
            problems.append(f"{row['name']} has the bound of partition {name} by now")
        elif _has(session, row["name"], facts["fits"]):
            problems.append(
                f"{row['name']}, the default partition, has rows that belong to partition {name}; move them aside first"
            )
    return problems


def _has(session: Session, table: str, condition: str | None) -> bool:
    """Whether a table has rows for which a partition's own condition holds; it is the server's text, made by it."""
    if condition is None:
        return False
    return bool(session.value(f"SELECT EXISTS (SELECT FROM {table} WHERE {condition})"))


def of_needs(session: Session, label: str, facts: Mapping[str, Any]) -> list[str]:
    """Return which roles and publications are gone that a definition speaks of.

    Args:
        session: In the target.
        label: What is to be made again, as messages call it.
        facts: Of it.
    """
    roles = session.rows(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE name NOT IN (SELECT rolname FROM pg_roles)",
        (list(facts.get("roles", [])),),
    )
    problems = [f"role {row['name']}, which {label} needs, does not exist any more: create it again" for row in roles]
    publication = facts.get("publication")
    if publication is not None and not session.value(
        "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = %s)", (publication,)
    ):
        problems.append(f"publication {publication}, which {label} was in, does not exist any more: create it again")
    return problems
