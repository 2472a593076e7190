"""The runbook has a heading per alert, and each tells what to type."""

from __future__ import annotations

import re

import click
import pytest

from stepback.cli.commands import stepback
from tests.alerts import names, rules
from tests.runbook import PLACEHOLDERS, Command, Section, commands, sections


def test_every_alert_has_its_heading_and_no_heading_is_left_over() -> None:
    """Of the monitor's alerts and of the rules' alike."""
    assert sorted(section.heading for section in sections()) == sorted(names())


def test_every_runbook_url_leads_to_a_heading() -> None:
    """A page that leads nowhere is no help at night."""
    slugs = {section.slug for section in sections()}

    assert {rule.annotations["runbook_url"].partition("#")[2] for rule in rules()} <= slugs


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.heading)
def test_every_section_says_how_to_look_what_to_type_and_when_to_escalate(section: Section) -> None:
    """In this order, after what it means; with something to type."""
    leads = re.findall(r"^(How to look|What to type|When to escalate):", section.text, re.MULTILINE)

    assert leads == ["How to look", "What to type", "When to escalate"]
    assert not section.text.startswith("How to look")
    assert section.commands


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.heading)
def test_code_blocks_hold_commands_and_nothing_else(section: Section) -> None:
    """Each line of a console block is a command after a prompt, so that none escapes the tests."""
    fences = re.findall(r"^```(.*)$", section.text, re.MULTILINE)
    blocks = re.findall(r"^```console\n(.*?)^```$", section.text, re.MULTILINE | re.DOTALL)

    assert fences == ["console", ""] * len(blocks)
    assert all(line.startswith("$ stepback ") for block in blocks for line in block.splitlines())


@pytest.mark.parametrize(
    "command", {command.line: command for command in commands()}.values(), ids=lambda one: one.line
)
def test_every_command_exists_with_its_options(command: Command) -> None:
    """The command line knows it, and takes what is given to it."""
    _, *words = command.words(RUN="7", TARGET="shop", MIGRATION="add_health_alerts")
    known: click.Command | None = stepback
    while isinstance(known, click.Group):
        name, known, words = known.resolve_command(click.Context(known), words)

    assert known is not None
    known.make_context(name, words)


def test_capitals_in_commands_are_placeholders() -> None:
    """Whoever reads RUN puts the run's number there; nothing else looks like it."""
    words = {word for command in commands() for word in re.findall(r"\b[A-Z]{2,}\b", command.line)}

    assert words == PLACEHOLDERS


def test_rules_tell_to_type_what_exists() -> None:
    """The command in an alert's annotations is one that its section of the runbook has, in other words or the same."""
    by_heading = {section.heading: {command.line.split()[1] for command in section.commands} for section in sections()}

    for rule in rules():
        assert rule.annotations["command"].split()[1] in by_heading[rule.name], rule.name
