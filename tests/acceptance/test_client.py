"""stepback-client where it is meant to be used: in the environment of another service, without the house."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.acceptance import isolated
from tests.acceptance.isolated import Service

_ROOT = Path(__file__).parent.parent.parent

_WHAT_IS_THERE = """
from importlib.metadata import distributions
from importlib.util import find_spec
import stepback_client
print(*sorted(name for name in ("stepback", "producers", "ledger", "worker") if find_spec(name)))
print(*sorted(each.name for each in distributions()))
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Give the environment of another service."""
    return isolated.make(tmp_path_factory.mktemp("service"))


def test_it_stands_alone(service: Service, tmp_path: Path) -> None:
    """It is imported where there is httpx, joserfc, what these need, and nothing of the house."""
    done = service.run(_WHAT_IS_THERE, folder=tmp_path)

    assert done.returncode == 0, done.stderr
    house, installed = done.stdout.splitlines()
    assert house == ""
    assert {"stepback-client", "httpx", "joserfc"} <= set(installed.split())


def test_its_types_are_seen(service: Service, tmp_path: Path) -> None:
    """A type checker takes the types from the wheel, and finds what is used wrongly."""
    script = tmp_path / "service.py"
    script.write_text(
        "from stepback_client import Client\n"
        "def ask(client: Client) -> int:\n"
        '    return client.rollback("add_health_alerts", target="goodbuy_hq", reason=7).run\n',
        encoding="utf-8",
    )

    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", str(service.python), str(script))
    done = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert 'Argument "reason" to "rollback" of "Client" has incompatible type "int"' in done.stdout
    assert "Found 1 error" in done.stdout


def test_the_house_does_not_bring_it(tmp_path: Path) -> None:
    """The wheel of stepback-pg holds the producers without the client, which is a distribution of its own."""
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    subprocess.run(build, cwd=_ROOT, capture_output=True, check=True)

    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert "producers/submit.py" in names
    assert [name for name in names if "client" in name.split("/")[1:2]] == []
