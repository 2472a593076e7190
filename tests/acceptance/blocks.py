"""Blocks of code in a document: what is behind the language says whose they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCED = re.compile(r"^```(\w+)(?: ([\w ]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One of them, as it stands."""

    #: `sh`, `python` or `toml`.
    language: str
    #: Whom it is for; nobody where the fence says the language alone.
    of: frozenset[str]
    text: str


def read(document: Path) -> list[Block]:
    """Return the blocks of a document, in order."""
    found = _FENCED.findall(document.read_text(encoding="utf-8"))
    return [Block(language, frozenset(of.split()), text) for language, of, text in found]
