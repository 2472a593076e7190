"""docker-compose.yml as tests read it: services with their variables filled in, files laid out as they are mounted."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docker-compose.yml"

#: `${NAME:?what to do}`, the only form that the file uses.
VARIABLE = re.compile(r"\$\{(\w+):\?[^}]+\}")
#: A password in a URL, as the file has it.
IN_URL = re.compile(r"://[^/@\s:]*:(\$\{[^}]*\}|[^@/\s]*)@")

#: The services that run our own image.
OURS = ("init", "worker", "monitor", "gateway")


@dataclass(frozen=True)
class Mount:
    """A file, a folder or a named volume in a container."""

    source: str
    target: str
    read_only: bool

    @property
    def named(self) -> bool:
        """Whether it is a volume, and no file of the repository."""
        return not self.source.startswith(".")


@cache
def document() -> dict[str, Any]:
    """Return the whole file."""
    read: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return read


def services() -> dict[str, dict[str, Any]]:
    """Return every service, by its name."""
    found: dict[str, dict[str, Any]] = document()["services"]
    return found


def variables() -> set[str]:
    """Return what the file wants to know from the environment."""
    return set(VARIABLE.findall(FILE.read_text(encoding="utf-8")))


def password(variable: str) -> str:
    """Return what a test gives for one of them."""
    return f"secret{variable.lower().replace('_', '')}"


def filled(text: str) -> str:
    """Return a text of the file as compose hands it on."""
    return VARIABLE.sub(lambda match: password(match[1]), text)


def environment(service: str) -> dict[str, str]:
    """Return the environment of a service."""
    return {name: filled(str(value)) for name, value in services()[service].get("environment", {}).items()}


def mounts(service: str) -> list[Mount]:
    """Return what a service has mounted."""
    parts = [str(volume).split(":") for volume in services()[service].get("volumes", ())]
    return [Mount(source, target, read_only=options == ["ro"]) for source, target, *options in parts]


def lay_out(service: str, folder: Path) -> Path:
    """Copy the files that a service has mounted to where it would find them below a folder; return the folder."""
    for mount in mounts(service):
        source, target = ROOT / mount.source, folder / mount.target.lstrip("/")
        if mount.named:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    return folder


def healthcheck(service: str) -> list[str]:
    """Return how a service is asked whether it is well, without the word in front."""
    kind, *command = services()[service]["healthcheck"]["test"]
    assert kind in {"CMD", "CMD-SHELL"}
    return [str(word) for word in command]
