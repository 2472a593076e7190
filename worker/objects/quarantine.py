"""The schemas that a run's preserved objects live in, one per source schema, and where a name goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

#: Every schema that holds preserved objects begins with this.
PREFIX = "emergency_backup_r"


@dataclass
class Quarantine:
    """Names the quarantine schemas of one run, in the order in which they are needed."""

    run: int
    command_id: UUID
    _of: dict[str, str] = field(default_factory=dict)

    @property
    def copies(self) -> str:
        """The schema for copies that Stepback makes itself."""
        return self.of("")

    def of(self, schema: str) -> str:
        """Return the quarantine schema for objects of a source schema."""
        if schema not in self._of:
            # Copies are always number 0, so that the numbers of the others do not depend on whether there are any.
            number = 0 if schema == "" else 1 + sum(1 for known in self._of if known)
            self._of[schema] = f"{PREFIX}{self.run}_{self.command_id.hex[:6]}_{number}"
        return self._of[schema]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the schemas named so far."""
        return tuple(self._of.values())
