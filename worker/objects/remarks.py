"""Remarks: what somebody should know of a rollback beside what it removes; values, found by worker/plan."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.model import Json


@dataclass(frozen=True)
class Mention:
    """A survivor whose text holds, as whole words, names that go. A warning: the words may mean something else."""

    kind: str
    name: str
    #: Labels of what it mentions.
    mentions: tuple[str, ...]

    def told(self) -> str:
        """Return it as a note."""
        return f"{self.kind} {self.name} mentions {', '.join(self.mentions)}"


@dataclass(frozen=True)
class Pin:
    """Something outside that quarantine holds fast: a type, a function in a default, a collation, a tablespace."""

    kind: str
    name: str
    #: Label of what goes into quarantine, as it is called before.
    held_by: str

    def told(self) -> str:
        """Return it as a note."""
        return f"{self.kind} {self.name} cannot be dropped while {self.held_by} is kept"


def as_document(remark: Mention | Pin) -> dict[str, Json]:
    """Return a remark as JSON, for the audit log and for scripts."""
    about: dict[str, Json] = {"kind": remark.kind, "name": remark.name}
    if isinstance(remark, Mention):
        return {**about, "mentions": list(remark.mentions)}
    return {**about, "held_by": remark.held_by}
