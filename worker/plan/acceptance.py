"""Acceptance: what a plan reaches or changes without naming it, and what somebody may write or type to take it on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.errors import ImpactChanged, ImpactNotAccepted
from ledger.model import Command
from worker.objects.keeping import Item
from worker.plan.source import Plan


def toml_line(key: str, values: Iterable[str]) -> str:
    """Return a line of plan.toml, ready to be pasted: `accepts = ["view public.v"]`."""
    # JSON's strings are TOML's, but for one control character that JSON leaves as it is.
    return f"{key} = {json.dumps(list(dict.fromkeys(values)), ensure_ascii=False)}".replace("\x7f", "\\u007f")


def advised(plan: Plan, key: str, values: Sequence[str]) -> str:
    """Say which line of plan.toml would do, with what stands there already, and what has to be done with it.

    Args:
        plan: Where the line would stand; a bare row has no plan.toml.
        key: "accepts" or "preserves".
        values: What the line has to name beside what it names already.
    """
    line = toml_line(key, (*getattr(plan.options, key), *values))
    if plan.bare:
        return f"make the row a plan folder, whose plan.toml says\n{line}"
    if plan.members:
        return f"let plan.toml of the member that it is about say so too\n{line}"
    again = "" if plan.row is None or plan.row.plan_sha256 is None else "\nand register the plan again"
    return f"let plan.toml say\n{line}{again}"


@dataclass(frozen=True)
class Acceptance:
    """What may go along with what the plan names."""

    command: Command
    plan: Plan
    #: Labels of what preflight found and the command accepts by its hash.
    by_hash: frozenset[str] = frozenset()

    def missing(self, unaccepted: Iterable[Item]) -> tuple[str, ...]:
        """Return the labels of objects of others that nobody accepted."""
        accepted = self.by_hash.union(self.plan.accepts)
        return tuple(sorted({item.label() for item in unaccepted} - accepted))

    def check_hash(self, impact_sha256: str) -> None:
        """See that the impact is the one that the command accepts, if it accepts one.

        Raises:
            ImpactChanged: It is another.
        """
        if self.command.accept_sha256 not in (None, impact_sha256):
            raise ImpactChanged(
                "the impact is not the one that the command accepts; look at it as it is now, and accept that:"
                f" stepback plan {self.command.migration} --target {self.command.target}"
            )

    def refusal(self, missing: Sequence[str], impact_sha256: str) -> ImpactNotAccepted:
        """Return the refusal of what nobody accepted: all of it, and both ways to accept it."""
        told = f"{_would_take(missing)}. If that is meant, "
        if not self.plan.bare:
            told += f"{advised(self.plan, 'accepts', missing)}\nor "
        return ImpactNotAccepted(f"{told}accept exactly this impact:\n{self.typed(impact_sha256)}")

    def typed(self, impact_sha256: str) -> str:
        """Return the command that accepts an impact."""
        return f"stepback rollback {self.command.migration} --target {self.command.target} --accept {impact_sha256}"

    def refuse_later(self, unaccepted: Iterable[Item]) -> None:
        """Refuse what a later stage would take, on the catalog as it is by then, and nobody accepted.

        Raises:
            ImpactNotAccepted: Names all of it. No hash can accept it, since no dry run would find it.
        """
        missing = self.missing(unaccepted)
        if missing:
            raise ImpactNotAccepted(
                f"{_would_take(missing)}. If that is meant, {advised(self.plan, 'accepts', missing)}"
            )


def _would_take(missing: Sequence[str]) -> str:
    return f"CASCADE would take {len(missing)} object(s) that the plan does not name: {', '.join(missing)}"
