"""What dashboards/runbook.md says: its headings, and the commands that it tells somebody to type."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Final

from tests.alerts import DASHBOARDS

#: Words in commands that stand for what the page names.
PLACEHOLDERS: Final = frozenset({"RUN", "TARGET", "MIGRATION"})

_PROMPT: Final = "$ "


@dataclass(frozen=True)
class Section:
    """What there is to know about one alert."""

    #: The alert's name.
    heading: str
    text: str

    @property
    def slug(self) -> str:
        """The anchor that the heading gets where Markdown is shown, as GitHub makes it."""
        return re.sub(r"[^\w\- ]", "", self.heading.lower()).replace(" ", "-")

    @property
    def commands(self) -> list[Command]:
        """Every command of its console blocks, in order."""
        blocks = re.findall(r"^```console\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()]
        return [Command(self.heading, line.removeprefix(_PROMPT)) for line in lines if line.startswith(_PROMPT)]


@dataclass(frozen=True)
class Command:
    """One command, as it stands after the prompt."""

    #: The alert that it is for.
    heading: str
    line: str

    def words(self, **values: str) -> list[str]:
        """Return its words, placeholders filled in.

        Args:
            values: What stands for each placeholder, such as RUN="7".

        Raises:
            KeyError: One of them has no value.
        """
        filled = re.sub(r"\b(RUN|TARGET|MIGRATION)\b", lambda word: values[word[0]], self.line)
        return shlex.split(filled)

    @property
    def placeholders(self) -> set[str]:
        """Which of them it has."""
        return {word for word in PLACEHOLDERS if re.search(rf"\b{word}\b", self.line)}


def sections() -> list[Section]:
    """Return every section of the runbook, in order."""
    text = (DASHBOARDS / "runbook.md").read_text(encoding="utf-8")
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return [Section(*map(str.strip, part.split("\n", 1))) for part in parts]


def commands() -> list[Command]:
    """Return every command of the runbook, in order; some are there more than once."""
    return [command for section in sections() for command in section.commands]
