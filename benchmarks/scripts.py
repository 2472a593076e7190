"""Other people's migrations, read as their own tools read them: what goes up, what comes down, in which order."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pglast import ast, parse_sql, split
from pglast.parser import ParseError


@dataclass(frozen=True)
class Script:
    """One direction of a migration."""

    text: str
    #: Whether the tool runs it in one transaction, be it that the server makes one of several statements sent together.
    in_transaction: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it but comments and transaction control."""
        try:
            return all(isinstance(raw.stmt, ast.TransactionStmt) for raw in parse_sql(self.text))
        except ParseError:
            return False

    @property
    def parts(self) -> tuple[str, ...]:
        """What is sent to the server at once: all of it, or each statement where there is no transaction."""
        return (self.text,) if self.in_transaction else tuple(split(self.text))


@dataclass(frozen=True)
class Migration:
    """A step that a tool knows by its name."""

    name: str
    #: None where it is not written in SQL.
    up: Script | None
    #: None where there is no way down, or it is not written in SQL.
    down: Script | None
    #: What a step in another language says of the schema, so that later ones find what they expect.
    stand_in: tuple[str, ...] = ()


def read_project(folder: Path) -> list[Migration]:
    """Return the migrations of a folder, in the order of the tool that they are written for.

    Understood are golang-migrate's pairs and those of sqlx (`N_x.up.sql`, `N_x.down.sql`), the folders of diesel and
    sqlx (`<name>/up.sql`, `<name>/down.sql`), and the sections of goose and sql-migrate in one file.

    Raises:
        ValueError: It holds none of these.
    """
    for read in (_folders, _pairs, _sections):
        found = list(read(folder))
        if found:
            return found
    raise ValueError(f"{folder} holds no migrations of a kind that is known here")


# -- diesel, sqlx: a folder each ------------------------------------------------


def _folders(folder: Path) -> Iterator[Migration]:
    # Diesel compares versions as text, without their dashes.
    for place in sorted((up.parent for up in folder.glob("*/up.sql")), key=lambda place: _version(place.name)):
        settings = place / "metadata.toml"
        told = tomllib.loads(_text(settings)) if settings.exists() else {}
        whole = bool(told.get("run_in_transaction", True))
        down = place / "down.sql"
        yield Migration(
            place.name, _script(place / "up.sql", whole=whole), _script(down, whole=whole) if down.exists() else None
        )


def _version(name: str) -> tuple[str, str]:
    return name.split("_", 1)[0].replace("-", ""), name


def _script(path: Path, *, whole: bool = True) -> Script:
    text = _text(path)
    return Script(text, in_transaction=whole and not _NO_TRANSACTION.search(text))


#: What sqlx wants as the first line, and other tools somewhere at the beginning.
_NO_TRANSACTION = re.compile(r"\A\s*--\s*(no[-_ ]transaction)\b", re.IGNORECASE)


# -- golang-migrate, sqlx: a pair of files ----------------------------------------


def _pairs(folder: Path) -> Iterator[Migration]:
    # A step of another language is named too, so that it is counted: N_x.up.go.
    ups = {re.sub(r"\.up\.\w+$", "", path.name): path for path in folder.glob("*.up.*")}
    for name in sorted(ups, key=_number):
        if ups[name].suffix != ".sql":
            yield Migration(name, None, None, tuple(_QUOTED.findall(_text(ups[name]))))
            continue
        down = folder / f"{name}.down.sql"
        yield Migration(name, _script(ups[name]), _script(down) if down.exists() else None)


#: Statements about the schema, as other languages write text.
_QUOTED = re.compile(r"""[`"']\s*((?:ALTER|CREATE|DROP)\s[^`"]*)[`"']""")


def _number(name: str) -> tuple[int, str]:
    found = re.match(r"\d+", name)
    return int(found.group()) if found else 0, name


# -- goose, sql-migrate: sections of a file ----------------------------------------

_SECTION = re.compile(r"^--\s*\+(?:goose|migrate)\s+(Up|Down)\b(.*)$", re.IGNORECASE | re.MULTILINE)
_GOOSE_NO_TRANSACTION = re.compile(r"^--\s*\+goose\s+NO\s+TRANSACTION\b", re.IGNORECASE | re.MULTILINE)


def _sections(folder: Path) -> Iterator[Migration]:
    for path in sorted(folder.glob("*.sql"), key=lambda path: _number(path.name)):
        text = _text(path)
        parts = _SECTION.split(text)[1:]
        whole = not _GOOSE_NO_TRANSACTION.search(text)
        # Three by three: which way, what else the line says, what follows.
        found: dict[str, Script] = {}
        for way, told, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            script = Script(body, whole and "notransaction" not in told.lower())
            known = found.get(way.lower())
            found[way.lower()] = script if known is None else Script(known.text + body, known.in_transaction)
        if "up" in found:
            yield Migration(path.stem, found["up"], found.get("down"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")
