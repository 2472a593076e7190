"""What is done with a kind of statement, and why, as values: the readers hold them, docs/statements.md prints them."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.errors import PlanRefused


@dataclass(frozen=True)
class Rule:
    """A kind of statement that is understood."""

    #: As the plan writes it: "ALTER TABLE … DROP COLUMN".
    statement: str
    #: What happens to what it names, and how that comes back.
    done: str
    #: Why so and not as it is written, where that is not plain.
    why: str = ""


@dataclass(frozen=True)
class Refusal:
    """A kind of statement that is refused; the refusal says the same as the documentation."""

    statement: str
    #: Why, and what to do instead: the end of a sentence that says that it is refused.
    reason: str

    def at(self, line: int, told: str = "") -> PlanRefused:
        """Return the refusal of one statement.

        Args:
            line: Where it begins, counted from 1.
            told: What to call it, where the plan's own words say it better.
        """
        return PlanRefused(f"{told or self.statement} is refused: {self.reason}", line=line)
