"""What the documents list is what the code has."""

from __future__ import annotations

import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

from ledger.errors import Failed, Refused, StepbackError
from ledger.settings import _SECTIONS
from tests import metric_names

_DOCS = Path(__file__).parent.parent.parent / "docs"


def _below(kind: type[StepbackError]) -> set[type[StepbackError]]:
    return {kind}.union(*(_below(child) for child in kind.__subclasses__()))


def _rows(document: str) -> dict[str, list[str]]:
    """Return the cells of each table row that begins with a code word."""
    lines = (_DOCS / document).read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_every_error_code_is_listed_with_its_exit_code() -> None:
    """docs/errors.md lists exactly the codes that exist, each with the exit code of its class."""
    for package in ("ledger", "producers", "worker", "stepback"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.startswith("ledger.migrations") and not module.name.endswith("__main__"):
                importlib.import_module(module.name)

    codes = {kind.code: str(kind.exit_code) for kind in _below(StepbackError) - {Refused, Failed}}

    assert {code: row[0] for code, row in _rows("errors.md").items()} == codes


def test_every_metric_that_is_watched_exists() -> None:
    """Rules, their tests and the dashboards use what is exposed, and nothing else."""
    used = metric_names.used_in_rules() | metric_names.used_in_rule_tests() | metric_names.used_in_dashboards()

    assert used <= _rows("metrics.md").keys()


@pytest.mark.parametrize("document", sorted(path.name for path in _DOCS.rglob("*.md")))
def test_links_between_documents_lead_somewhere(document: str) -> None:
    """Every relative link in the documents and the README points to a file that is there."""
    for path in [_DOCS.parent / "README.md", *_DOCS.rglob(document)]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_setting_is_listed() -> None:
    """docs/configuration.md shows every key of every section, with its default where that is one value."""
    text = (_DOCS / "configuration.md").read_text(encoding="utf-8")
    for name, section in _SECTIONS.items():
        (shown,) = re.findall(rf"^\[{name}\].*?\n(.*?)^\n", text, re.MULTILINE | re.DOTALL)
        given = dict(re.findall(r"^(\w+) = (.*?)\s*(?:#.*)?$", shown, re.MULTILINE))

        assert set(given) == set(section.model_fields), name
        for key, value in given.items():
            default = section.model_fields[key].default
            if isinstance(default, int | float) or (isinstance(default, str) and default):
                assert tomllib.loads(f"it = {value}")["it"] == default, key
