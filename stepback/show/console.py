"""The two consoles: standard output for what was asked for, standard error for everything said beside it."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Width of tables that nobody looks at: wide enough for grep to find whole words in them.
_PIPE_WIDTH = 240

#: Controls, those of the terminal's escape sequences too: a name from a catalog may hold any.
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != ord("\n")}


def out() -> Console:
    """Return the console for what was asked for."""
    return _console(stderr=False)


def err() -> Console:
    """Return the console for everything else."""
    return _console(stderr=True)


def plain(text: object, style: str = "") -> Text:
    """Return text in which nothing is an instruction, neither to rich nor to the terminal."""
    return Text(str(text).translate(_VISIBLE), style)


def table(*columns: str, numbers: frozenset[str] = frozenset(), title: str | None = None) -> Table:
    """Return an empty table.

    Args:
        columns: Their headings.
        numbers: Those whose cells stand to the right.
        title: Stands above it.
    """
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
