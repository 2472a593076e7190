"""How the demo ends: one table and a list of checks, or the same facts as one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from rich.table import Table
from rich.text import Text

from ledger.audit import Verification
from ledger.model import Preserved, Run
from stepback.demo.witness import Check, Sight
from stepback.show import documents, tables
from stepback.show.console import out, plain, table


@dataclass
class Facts:
    """What the demo found out, in the order of the story."""

    before: Sight | None = None
    rollbacks: tuple[Run, ...] = ()
    recovery: Run | None = None
    composite: Run | None = None
    composite_recovery: Run | None = None
    selective: Run | None = None
    validation: Run | None = None
    untouched: dict[str, bool] = field(default_factory=dict)
    audit: Verification | None = None
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether all of it holds."""
        return bool(self.checks) and all(check.ok for check in self.checks)


def document(facts: Facts) -> documents.Document:
    """Return the facts for scripts."""
    sample = {
        name.removeprefix("public."): total.rows for name, total in (facts.before.whole.data if facts.before else ())
    }
    return {
        "ok": facts.ok,
        "seconds": round(facts.seconds, 1),
        "sample": sample,
        "rollbacks": [documents.of_run(run) for run in facts.rollbacks],
        "recovery": facts.recovery and documents.of_run(facts.recovery),
        "composite": facts.composite and documents.of_run(facts.composite),
        "composite_recovery": facts.composite_recovery and documents.of_run(facts.composite_recovery),
        "selective": facts.selective and documents.of_run(facts.selective),
        "validation": facts.validation and documents.of_run(facts.validation),
        "untouched": facts.untouched,
        "audit": facts.audit and documents.of_verification(facts.audit),
        "checks": [asdict(check) for check in facts.checks],
    }


def summary(rollbacks: Sequence[Run], recovery: Run | None) -> Table:
    """Return the table: migration, state, what was preserved and how, rows, milliseconds blocked."""
    numbers = frozenset({"rows", "blocked ms"})
    made = table("migration", "state", "what was preserved, and how", "rows", "blocked ms", numbers=numbers)
    for run in rollbacks:
        recovered = recovery is not None and recovery.subject_run == run.run
        made.add_row(
            plain(run.migration),
            Text(f"{run.state.value}, then recovered", "green") if recovered else tables.state(run),
            plain("\n".join(_kept(run.preserved))),
            tables.count(_rows(run.preserved)),
            tables.milliseconds(run.blocked_seconds),
        )
    if recovery is not None:
        blocked = tables.milliseconds(recovery.blocked_seconds)
        made.add_row(plain(f"recovery of run {recovery.subject_run}"), tables.state(recovery), "", "", blocked)
    return made


def tell_checks(checks: Sequence[Check]) -> None:
    """Print what held and what did not."""
    for check in checks:
        mark = Text("  yes  ", "green") if check.ok else Text("  NO   ", "bold red")
        out().print(Text.assemble(mark, plain(check.check)), soft_wrap=True)


def _kept(preserved: Sequence[Preserved]) -> list[str]:
    """Return what is kept, the objects of one kind in one line."""
    lines: dict[tuple[str, str], list[str]] = {}
    for kept in preserved:
        short = kept.name.removeprefix("public.").split(" on ")[0]
        lines.setdefault((kept.how, kept.kind), []).append(short)
    return [f"{how}: {kind} {', '.join(names)}" for (how, kind), names in lines.items()]


def _rows(preserved: Sequence[Preserved]) -> int:
    """Return how many rows are kept; the columns of one table share their copy, so its rows count once."""
    copies = {(kept.quarantine, _table(kept)): kept.rows or 0 for kept in preserved}
    return sum(copies.values())


def _table(kept: Preserved) -> str:
    return kept.name.rpartition(".")[0] if kept.how == "copied" else kept.name
