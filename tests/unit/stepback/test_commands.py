"""The list of commands is what there is."""

from __future__ import annotations

import click
import pytest

from stepback.cli.commands import COMMANDS, stepback

#: Commands that write, or run until they are stopped.
_NO_JSON = {"up", "worker", "monitor", "gateway", "outbox", "stream", "audit", "keys"}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_there(name: str) -> None:
    """Every command that the help lists can be loaded, goes by its name, and says what it does."""
    command = stepback.get_command(click.Context(stepback), name)

    assert command is not None
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - _NO_JSON))
def test_command_takes_json(name: str) -> None:
    """Every command that ends with something to say takes --json."""
    command = stepback.get_command(click.Context(stepback), name)

    assert command is not None
    assert any("--json" in parameter.opts for parameter in command.params)
