"""The files that checks are in: those that come along in sql/checks, then those of the target's own folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from pglast import ast

from ledger.errors import PlanRefused
from worker.plan.parse import MAX_SCRIPT_BYTES, slice_of, statements

_SUFFIX: Final = ".sql"


@dataclass(frozen=True)
class CheckFile:
    """One file with one query, or the reason why it is none."""

    name: str
    query: str | None
    #: Why there is no query.
    fault: str | None = None
    #: Whether it is the target's own: names in it mean what they mean to the application.
    own: bool = False

    @property
    def title(self) -> str:
        """What it is called in findings, where it has none of its own."""
        return self.name.removesuffix(_SUFFIX)

    @property
    def step(self) -> str:
        """What the step that looks at it is called."""
        return f"check {self.title}"


def read(folder: Path | None) -> tuple[CheckFile, ...]:
    """Read every file of checks; one that is broken is a check that fails, and hides no other.

    Args:
        folder: The target's own; None: it has none.
    """
    packaged = _sorted(resources.files("sql") / "checks")
    taken = frozenset(entry.name for entry in packaged)
    return (*(_read(entry) for entry in packaged), *(_own(folder, taken) if folder is not None else ()))


# Parsing a check takes longer than asking it. What cannot be read or parsed is not kept: it may be mended meanwhile.
@lru_cache(maxsize=256)
def query_of(text: str, name: str) -> str:
    """Return the one query of a text.

    Raises:
        PlanRefused: It is something else.
    """
    found = statements(text, name)
    if len(found) != 1 or not isinstance(found[0].stmt, ast.SelectStmt):
        raise PlanRefused(f"{name} is not one SELECT, which is what a check is")
    return slice_of(found[0], text)


def _own(folder: Path, taken: frozenset[str]) -> Iterator[CheckFile]:
    try:
        entries = _sorted(folder)
    except OSError as error:
        yield CheckFile("own checks", None, f"the folder {folder} cannot be read: {error.strerror}", own=True)
        return
    for entry in entries:
        if entry.name in taken:
            why = "a check of this name comes along with Stepback; give the file another name"
            yield CheckFile(f"own {entry.name}", None, why, own=True)
        else:
            yield _read(entry, own=True)


def _sorted(folder: Traversable) -> list[Traversable]:
    return sorted((entry for entry in folder.iterdir() if entry.name.endswith(_SUFFIX)), key=lambda entry: entry.name)


def _read(entry: Traversable, *, own: bool = False) -> CheckFile:
    try:
        with entry.open("rb") as file:
            text = file.read(MAX_SCRIPT_BYTES + 1).decode("utf-8")
        return CheckFile(entry.name, query_of(text, entry.name), own=own)
    except UnicodeDecodeError:
        why = f"{entry.name} is not UTF-8"
    except OSError as error:
        why = f"{entry.name} cannot be read: {error.strerror}"
    except PlanRefused as error:
        why = error.message
    return CheckFile(entry.name, None, why, own=own)
