"""Prints docs/statements.md from the rules that the readers hold: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Final

from worker.plan import (
    altering,
    aside,
    creating,
    dropping,
    forms,
    naming,
    parse,
    redefining,
    refused,
    statements,
    wrapping,
    writing,
)
from worker.plan.performed import Reader
from worker.plan.rules import Refusal, Rule

_HEAD: Final = """# Statements

What a plan may say, what is done with it, and why; and what is refused. This page is made from the code that reads
plans (`make docs`). What an object must be like to be kept, and what else a plan is, says [plans.md](plans.md).

*Run as written* means: as the plan's owner and no stronger, once what it changes is written down. *The quarantine of
the recovery* is where a recovery puts what the rollback had made: nothing is destroyed on the way back either.
CASCADE is never sent to the server.
"""


def _dropped() -> Iterator[Rule]:
    yield from (dropped.rule for dropped in dropping.DROPPED.values())
    yield from (dropped.rule for dropped in dropping.ALTERED.values())
    yield dropping.DOMAIN_CONSTRAINT.rule


def _read(readers: Iterable[Reader]) -> Iterator[Rule]:
    yield from (rule for reader in readers for rule in reader.rules)


def _refused() -> Iterator[Refusal]:
    for module in (statements, aside, altering, forms, naming, creating, writing, parse):
        yield from (
            value for value in vars(module).values() if isinstance(value, Refusal) and value is not forms.UNKNOWN
        )
    yield from forms.REFUSED.values()
    yield from refused.NODES.values()
    yield from refused.KINDS.values()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(title: str, rules: Iterable[Rule]) -> Iterator[str]:
    yield from ("", f"## {title}", "", "| the plan says | what is done | why |", "|---|---|---|")
    for rule in dict.fromkeys(rules):
        yield f"| `{_cell(rule.statement)}` | {_cell(rule.done)} | {_cell(rule.why)} |"


def lines() -> Iterator[str]:
    """Return the page, line by line."""
    yield from _HEAD.rstrip().splitlines()
    yield from _table("Removed: compiled, never sent as it is written", _dropped())
    yield from _table("Changed", _read(redefining.READERS.values()))
    yield from _table("Named, owned, described", _read(naming.READERS.values()))
    yield from _table("Created", _read(creating.READERS.values()))
    yield from _table("Rows, and what may do anything", _read(writing.READERS.values()))
    yield from _table("Around the work", (*wrapping.RULES, statements.ANALYZE))
    yield from _table("Beside the transaction", aside.RULES)
    yield from ("", "## Refused", "", "| the plan says | why, and what to do instead |", "|---|---|")
    for refusal in dict.fromkeys(_refused()):
        yield f"| `{_cell(refusal.statement)}` | {_cell(refusal.reason)} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
