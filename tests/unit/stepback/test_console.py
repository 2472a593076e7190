"""What is shown is text: neither rich nor the terminal takes orders from it."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from stepback.show.console import plain, table


def test_controls_become_visible() -> None:
    """Escape sequences and other controls are spelled out; line ends stay."""
    assert plain("a\x1b[31mb\x07\x9b\nc\u00e9").plain == "a\\x1b[31mb\\x07\\x9b\nc\u00e9"


def test_brackets_are_text() -> None:
    """What looks like markup is printed as it is."""
    printed = StringIO()
    made = table("name")
    made.add_row(plain("[red]x[/red]"))

    Console(file=printed, width=80, markup=False).print(made)

    assert "[red]x[/red]" in printed.getvalue()
